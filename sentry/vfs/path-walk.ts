// Resolving paths: struct nameidata of fs/namei.c. One state is reused by all walks, since handlers
// do not interleave and no file system walks a path while it answers a lookup; a caller that needs
// two places (rename, link) copies the first result out.
//
// A symbolic link's text is walked in place: what is left of the path it interrupts goes on a stack.

import { ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EXDEV } from '../abi/errno.ts';
import { RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV } from '../abi/fcntl.ts';
import { MAXSYMLINKS, NAME_MAX } from '../abi/limits.ts';
import { MS_NOSYMFOLLOW } from '../abi/mount.ts';
import { knownPart } from '../base/latin1.ts';
import type { VfsContext } from './context.ts';
import { type Dentry, lookupChild } from './dentry.ts';
import type { VfsPath } from './filesystem.ts';
import type { Mount } from './mount.ts';
import { credsOn } from './mount-idmap.ts';
import { openIntent } from './open-intent.ts';
import { inodePermission, MAY_EXEC, mayFollow } from './permissions.ts';
import { touchLink } from './times.ts';

/** The last component is followed if it is a symbolic link. */
export const LOOKUP_FOLLOW = 1;
/** The result must be a directory. */
export const LOOKUP_DIRECTORY = 2;
/** An empty path means the starting directory itself: AT_EMPTY_PATH. */
export const LOOKUP_EMPTY = 4;

// What a parent walk has stopped before.
export const LAST_NORM = 0;
export const LAST_DOT = 1;
export const LAST_DOTDOT = 2;
/** Nothing was left: the place reached (a root, or the target of a magic link) is the result itself. */
export const LAST_NONE = 3;

const SLASH = 47;
const DOT = 46;

export class PathWalk {
  /** Where the walk stands; after success, its result (lookup) or the parent directory (parent). */
  mount!: Mount;
  dentry!: Dentry;
  /** After parent(): the last component, and whether slashes follow it. */
  last = '';
  lastType = LAST_NONE;
  lastSlash = false;

  private ctx!: VfsContext;
  private rootMount!: Mount;
  private rootDentry!: Dentry;
  private flags = 0;
  private resolve = 0;
  private links = 0;
  private path = '';
  private pos = 0;
  private readonly restPath: string[] = [];
  private readonly restPos: number[] = [];
  private depth = 0;

  /** Resolves to an existing object: 0 or -errno. `start` null is the working directory. */
  lookup(ctx: VfsContext, start: VfsPath | null, path: string, flags: number, resolve = 0): number {
    const error = this.begin(ctx, start, path, flags, resolve);
    return error < 0 ? error : this.run(false);
  }

  /** Resolves all but the last component: 0 with `last`, `lastType` and `lastSlash`, or -errno. */
  parent(ctx: VfsContext, start: VfsPath | null, path: string, resolve = 0): number {
    const error = this.begin(ctx, start, path, 0, resolve);
    return error < 0 ? error : this.run(true);
  }

  /** After parent(): goes on through `link`, the symbolic link found under `last`, again up to its last component. */
  followLast(link: Dentry): number {
    this.path = '';
    this.pos = 0;
    const error =
      mayFollow(this.ctx, credsOn(this.mount, this.ctx.creds), this.dentry.inode!, link.inode!) || this.follow(this.mount, link);
    if (error < 0) return error;
    return this.run(true);
  }

  /** Steps from the parent directory onto the child found under `last`, and onto what is mounted there. 0 or -EXDEV. */
  stepInto(child: Dentry): number {
    this.dentry = child;
    return child.mountCount > 0 ? this.crossMounts() : 0;
  }

  private begin(ctx: VfsContext, start: VfsPath | null, path: string, flags: number, resolve: number): number {
    openIntent.walks = (openIntent.walks + 1) | 0;
    this.ctx = ctx;
    this.flags = flags;
    this.resolve = resolve;
    this.links = 0;
    this.path = path;
    this.pos = 0;
    this.depth = 0;
    this.last = '';
    this.lastType = LAST_NONE;
    this.lastSlash = false;
    const root = ctx.fs.root;
    this.rootMount = root.mount;
    this.rootDentry = root.dentry;
    const from = start ?? ctx.fs.cwd;
    if (path === '') {
      if ((flags & LOOKUP_EMPTY) === 0) return -ENOENT;
    } else if (path.charCodeAt(0) === SLASH && (resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) === 0) {
      this.mount = root.mount;
      this.dentry = root.dentry;
      return 0;
    } else if (!from.dentry.isDir()) return -ENOTDIR;
    this.mount = from.mount;
    this.dentry = from.dentry;
    if ((resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0) {
      this.rootMount = from.mount;
      this.rootDentry = from.dentry;
      if ((resolve & RESOLVE_BENEATH) !== 0 && path.charCodeAt(0) === SLASH) return -EXDEV;
    }
    return 0;
  }

  private run(parentOnly: boolean): number {
    for (;;) {
      const path = this.path;
      const length = path.length;
      let pos = this.pos;
      while (pos < length && path.charCodeAt(pos) === SLASH) pos++;
      if (pos >= length) {
        if (this.depth > 0) {
          this.depth--;
          this.path = this.restPath[this.depth]!;
          this.pos = this.restPos[this.depth]!;
          continue;
        }
        this.lastType = LAST_NONE;
        if ((this.flags & LOOKUP_DIRECTORY) !== 0 && !this.dentry.isDir()) return -ENOTDIR;
        return 0;
      }

      const dir = this.dentry.inode!;
      if (!dir.isDir()) return -ENOTDIR;
      const denied = inodePermission(dir, credsOn(this.mount, this.ctx.creds), MAY_EXEC);
      if (denied < 0) return denied;

      let end = path.indexOf('/', pos);
      if (end < 0) end = length;
      let next = end;
      while (next < length && path.charCodeAt(next) === SLASH) next++;
      const isLast = next >= length && this.depth === 0;
      this.pos = next;
      if (isLast && end < length) {
        this.lastSlash = true;
        this.flags |= LOOKUP_FOLLOW | LOOKUP_DIRECTORY;
      } else if (isLast) this.lastSlash = false;

      const type = componentType(path, pos, end);
      if (parentOnly && isLast) {
        if (end - pos > NAME_MAX) return -ENAMETOOLONG;
        this.last = path.slice(pos, end);
        this.lastType = type;
        return 0;
      }
      if (type === LAST_DOT) continue;
      if (type === LAST_DOTDOT) {
        const error = this.dotdot();
        if (error < 0) return error;
        continue;
      }
      if (end - pos > NAME_MAX) return -ENAMETOOLONG;
      openIntent.isLast = isLast;
      const child = lookupChild(this.dentry, knownPart(path, pos, end));
      if (typeof child === 'number') return child;
      const inode = child.inode;
      if (inode === null) return -ENOENT;

      if (child.mountCount === 0 && inode.isSymlink()) {
        if (!isLast || (this.flags & LOOKUP_FOLLOW) !== 0) {
          const error =
            (isLast ? mayFollow(this.ctx, credsOn(this.mount, this.ctx.creds), dir, inode) : 0) || this.follow(this.mount, child);
          if (error < 0) return error;
          continue;
        }
      }
      this.dentry = child;
      if (child.mountCount > 0) {
        const error = this.crossMounts();
        if (error < 0) return error;
      }
    }
  }

  /** Goes on at the link's target; what is left of the present path is kept for later. pick_link(). */
  private follow(mount: Mount, link: Dentry): number {
    if (++this.links > MAXSYMLINKS) return -ELOOP;
    if ((this.resolve & RESOLVE_NO_SYMLINKS) !== 0 || (mount.flags & MS_NOSYMFOLLOW) !== 0) return -ELOOP;
    const inode = link.inode!;
    const task = this.ctx.task;
    if (this.pos < this.path.length) {
      this.restPath[this.depth] = this.path;
      this.restPos[this.depth] = this.pos;
      this.depth++;
    }
    touchLink(mount, inode);
    const target = inode.followMagic(task);
    if (target !== undefined) {
      if (typeof target === 'number') return target;
      if ((this.resolve & RESOLVE_NO_MAGICLINKS) !== 0) return -ELOOP;
      if ((this.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0) return -EXDEV;
      if ((this.resolve & RESOLVE_NO_XDEV) !== 0 && target.mount !== mount) return -EXDEV;
      this.mount = target.mount;
      this.dentry = target.dentry;
      this.path = '';
      this.pos = 0;
      return 0;
    }
    const text = inode.readlink(task);
    if (typeof text === 'number') return text;
    if (text === '') return -ENOENT;
    if (text.charCodeAt(0) === SLASH) {
      if ((this.resolve & RESOLVE_BENEATH) !== 0) return -EXDEV;
      if ((this.resolve & RESOLVE_NO_XDEV) !== 0 && this.mount !== this.rootMount) return -EXDEV;
      this.mount = this.rootMount;
      this.dentry = this.rootDentry;
    }
    this.path = text;
    this.pos = 0;
    return 0;
  }

  private dotdot(): number {
    for (;;) {
      if (this.mount === this.rootMount && this.dentry === this.rootDentry) {
        if ((this.resolve & RESOLVE_BENEATH) !== 0) return -EXDEV;
        break;
      }
      const mount = this.mount;
      if (this.dentry !== mount.root) {
        const up = this.dentry.parent;
        if (up !== null) this.dentry = up;
        // A directory moved out of the mounted tree must not lead outside: path_connected().
        if (mount.root.parent !== null && !this.dentry.isUnder(mount.root)) return -ENOENT;
        break;
      }
      if (mount.parent === null) break;
      if ((this.resolve & RESOLVE_NO_XDEV) !== 0) return -EXDEV;
      this.dentry = mount.mountpoint!;
      this.mount = mount.parent;
    }
    return this.dentry.mountCount > 0 ? this.crossMounts() : 0;
  }

  private crossMounts(): number {
    for (let over = this.mount.childAt(this.dentry); over !== undefined; over = this.mount.childAt(this.dentry)) {
      if ((this.resolve & RESOLVE_NO_XDEV) !== 0) return -EXDEV;
      this.mount = over;
      this.dentry = over.root;
    }
    return 0;
  }

  /** The result as an object that outlives the next walk. */
  result(): VfsPath {
    return { mount: this.mount, dentry: this.dentry };
  }
}

function componentType(path: string, pos: number, end: number): number {
  if (path.charCodeAt(pos) !== DOT) return LAST_NORM;
  if (end - pos === 1) return LAST_DOT;
  return end - pos === 2 && path.charCodeAt(pos + 1) === DOT ? LAST_DOTDOT : LAST_NORM;
}

// Control descriptors: what a handle of the protocol stands for. Each is an O_PATH descriptor, so that holding one
// reads nothing and blocks nothing, and follows its file through renames.

import { close, openat2, statx } from 'ptrace-napi';
import { EMFILE } from '../sentry/abi/errno.ts';
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../sentry/abi/fcntl.ts';
import { S_IFDIR, S_IFMT } from '../sentry/abi/stat.ts';
import { ProtocolError } from '../sentry/base/errors.ts';
import { ATTRIBUTES, STATX_SIZE_BYTES } from './protocol/attributes.ts';
import type { Writer } from './protocol/buffer.ts';

/** Every step of ours: one name, below its directory, through no link of any kind. */
export const RESOLVE_STEP: number = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/** A served tree. */
export interface Tree {
  /** O_PATH descriptor of its root. */
  readonly rootFd: number;
  readonly readOnly: boolean;
  /** TREE_* for the Sentry. */
  readonly flags: number;
}

export class ControlFd {
  readonly fd: number;
  /** S_IFMT bits; a file never changes them. */
  readonly type: number;
  readonly tree: Tree;

  constructor(fd: number, type: number, tree: Tree) {
    this.fd = fd;
    this.type = type;
    this.tree = tree;
  }

  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }
}

/** More than any host lets us open; the host's own limit answers EMFILE before. */
const MAX_HANDLES = 1 << 20;

/** The handles of one connection. Handle 0 is never given out. */
export class HandleTable {
  private readonly slots: (ControlFd | undefined)[] = [undefined];
  private readonly free: number[] = [];

  /** The handle, or -EMFILE; the descriptor is the table's from now on (closed when there is no room). */
  add(fd: number, type: number, tree: Tree): number {
    const control = new ControlFd(fd, type, tree);
    const reused = this.free.pop();
    if (reused !== undefined) {
      this.slots[reused] = control;
      return reused;
    }
    if (this.slots.length >= MAX_HANDLES) {
      close(fd);
      return -EMFILE;
    }
    return this.slots.push(control) - 1;
  }

  get(handle: number): ControlFd {
    const control = handle < this.slots.length ? this.slots[handle] : undefined;
    if (control === undefined) throw new ProtocolError(`handle ${handle} is not open`);
    return control;
  }

  remove(handle: number): void {
    close(this.get(handle).fd);
    this.slots[handle] = undefined;
    this.free.push(handle);
  }

  closeAll(): void {
    for (const control of this.slots) if (control !== undefined) close(control.fd);
    this.slots.length = 1;
    this.free.length = 0;
  }

  get size(): number {
    return this.slots.length - 1 - this.free.length;
  }
}

/** An O_PATH descriptor for `name` in a directory, or -errno. */
export function openPath(directory: ControlFd, name: string): number {
  return openat2(directory.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_STEP);
}

// include/uapi/linux/stat.h: everything of struct stat, and the birth time.
const STATX_WANTED = 0xfff;
/** kernel/sys.c: fs_overflowuid, what an id without a mapping reads as. */
const OVERFLOW_ID = 65534;

/** Reads attributes into private memory first: the region that is shared with the Sentry is never read back. */
export class AttributeReader {
  readonly u8: Uint8Array = new Uint8Array(STATX_SIZE_BYTES);
  readonly view: DataView = new DataView(this.u8.buffer);
  private readonly head: Uint8Array = this.u8.subarray(0, ATTRIBUTES.size);
  private readonly singleId: boolean;

  constructor(singleId: boolean) {
    this.singleId = singleId;
  }

  /** Of the file that a descriptor stands for. 0 or -errno. */
  ofFd(fd: number): number {
    return this.loaded(statx(fd, '', AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_WANTED, this.u8, 0));
  }

  /** Of a name in a directory, itself if it is a link. */
  ofName(directoryFd: number, name: string): number {
    return this.loaded(statx(directoryFd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_WANTED, this.u8, 0));
  }

  private loaded(result: number): number {
    if (result < 0 || !this.singleId) return result;
    if (this.uid === OVERFLOW_ID) this.view.setUint32(ATTRIBUTES.uid, 0, true);
    if (this.gid === OVERFLOW_ID) this.view.setUint32(ATTRIBUTES.gid, 0, true);
    return result;
  }

  get mode(): number {
    return this.view.getUint16(ATTRIBUTES.mode, true);
  }

  get type(): number {
    return this.mode & S_IFMT;
  }

  get uid(): number {
    return this.view.getUint32(ATTRIBUTES.uid, true);
  }

  get gid(): number {
    return this.view.getUint32(ATTRIBUTES.gid, true);
  }

  get rdevMajor(): number {
    return this.view.getUint32(ATTRIBUTES.rdevMajor, true);
  }

  get rdevMinor(): number {
    return this.view.getUint32(ATTRIBUTES.rdevMinor, true);
  }

  put(w: Writer): void {
    this.putAt(w, w.skip(ATTRIBUTES.size));
  }

  /** Into bytes that were skipped before. */
  putAt(w: Writer, at: number): void {
    w.u8.set(this.head, at);
  }
}

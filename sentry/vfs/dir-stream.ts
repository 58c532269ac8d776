// An open directory whose entries carry cookies that grow in the order of their making: tmpfs and
// overlay. Cookies 0 and 1 are "." and "..", so a reader's position stays right whatever comes or
// goes between two getdents calls: an entry is returned at most once, and one that was there all
// the time exactly once. After fs/libfs.c:offset_dir_operations.

import { ENOENT } from '../abi/errno.ts';
import { S_IFDIR, S_IFMT } from '../abi/stat.ts';
import type { Task } from '../kernel/task.ts';
import { DirectoryDescription } from './directory-description.ts';
import type { DirSink, Inode, VfsPath } from './filesystem.ts';
import { touchAtime } from './times.ts';

/** The first cookie of a real entry. */
export const FIRST_COOKIE = 2;

/** S_DT(): the DT_* of a mode. */
export function direntType(mode: number): number {
  return (mode & S_IFMT) >> 12;
}

/** An entry as the stream needs it. */
export interface StreamEntry {
  readonly name: string;
  readonly cookie: number;
  /** Taken out of its directory since. */
  removed: boolean;
  entryIno(): number;
  entryMode(): number;
}

/** A directory that can be streamed: its live entries in the order of their cookies. */
export interface StreamSource {
  entries(): Iterator<StreamEntry>;
}

export class DirStream extends DirectoryDescription {
  private readonly source: StreamSource;
  /** Goes on where the last call ended, while `pos` is still `next`; a Map's iterator stands changes. */
  private iterator: Iterator<StreamEntry> | null = null;
  private pending: StreamEntry | null = null;
  private nextPos = -1;

  constructor(path: VfsPath, flags: number, dir: Inode, source: StreamSource) {
    super(path, flags, dir);
    this.source = source;
  }

  override readdir(_t: Task, sink: DirSink): number {
    if (this.dir.dead) return -ENOENT;
    const at = this.path!;
    touchAtime(at.mount, this.dir);
    if (this.pos === 0) {
      if (!sink.entry('.', this.dir.ino, direntType(S_IFDIR), 1)) return 0;
      this.pos = 1;
    }
    if (this.pos === 1) {
      const parent = at.dentry.parent?.inode ?? this.dir;
      if (!sink.entry('..', parent.ino, direntType(S_IFDIR), FIRST_COOKIE)) return 0;
      this.pos = FIRST_COOKIE;
    }
    if (this.iterator === null || this.pos !== this.nextPos) {
      this.iterator = this.source.entries();
      this.pending = null;
    }
    for (;;) {
      const entry: StreamEntry | null = this.pending ?? this.advance();
      if (entry === null) break;
      this.pending = null;
      if (entry.removed || entry.cookie < this.pos) continue;
      if (!sink.entry(entry.name, entry.entryIno(), direntType(entry.entryMode()), entry.cookie + 1)) {
        this.pending = entry;
        break;
      }
      this.pos = entry.cookie + 1;
    }
    this.nextPos = this.pos;
    return 0;
  }

  private advance(): StreamEntry | null {
    const step = this.iterator!.next();
    if (step.done !== true) return step.value;
    // A finished iterator would not see what is added later.
    this.iterator = null;
    return null;
  }
}

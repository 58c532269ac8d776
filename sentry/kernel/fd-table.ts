// Open file descriptors: struct files_struct. Numbers are handed out lowest first; a reserved
// number is taken but has no file yet, so that open can fail on a full table before it walks.

import { EBADF, EMFILE } from '../abi/errno.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Task } from './task.ts';

const RESERVED = null;

/** include/uapi/linux/fs.h: the default of fs.nr_open, and so the highest RLIMIT_NOFILE. */
export const NR_OPEN = 1048576;

export class FdTable {
  refs = 1;
  /** undefined: free; null: reserved. */
  private files: (FileDescription | null | undefined)[] = [];
  private cloexec: boolean[] = [];
  /** No free number lies below. */
  private firstFree = 0;

  get(fd: number): FileDescription | undefined {
    if (fd < 0 || fd >= this.files.length) return undefined;
    return this.files[fd] ?? undefined;
  }

  /** Takes the lowest free number at or above `from`: the number, or -EMFILE at `limit` (RLIMIT_NOFILE). */
  reserve(limit: number, from = 0): number {
    let fd = Math.max(from, this.firstFree);
    while (fd < this.files.length && this.files[fd] !== undefined) fd++;
    if (fd >= limit) return -EMFILE;
    while (this.files.length <= fd) {
      this.files.push(undefined);
      this.cloexec.push(false);
    }
    this.files[fd] = RESERVED;
    if (fd === this.firstFree) this.firstFree = fd + 1;
    return fd;
  }

  /** Gives a reserved number back. */
  release(fd: number): void {
    this.files[fd] = undefined;
    if (fd < this.firstFree) this.firstFree = fd;
  }

  /** Puts a file (whose reference it takes over) at a reserved number. */
  install(fd: number, file: FileDescription, cloexec: boolean): void {
    this.files[fd] = file;
    this.cloexec[fd] = cloexec;
  }

  /** reserve and install: the new fd or -EMFILE, in which case the reference stays the caller's. */
  add(file: FileDescription, cloexec: boolean, limit: number, from = 0): number {
    const fd = this.reserve(limit, from);
    if (fd >= 0) this.install(fd, file, cloexec);
    return fd;
  }

  /** dup2: puts a new reference at exactly `fd`, closing what was there. -EBADF beyond the limit. */
  replace(t: Task, fd: number, file: FileDescription, cloexec: boolean, limit: number): number {
    if (fd < 0 || fd >= limit) return -EBADF;
    while (this.files.length <= fd) {
      this.files.push(undefined);
      this.cloexec.push(false);
    }
    const old = this.files[fd];
    file.incRef();
    this.files[fd] = file;
    this.cloexec[fd] = cloexec;
    if (fd === this.firstFree) this.firstFree = fd + 1;
    if (old) {
      old.close(t);
      old.decRef(t);
    }
    return fd;
  }

  /** close(2): the file's flush result, or -EBADF. */
  close(t: Task, fd: number): number {
    const file = this.get(fd);
    if (file === undefined) return -EBADF;
    this.files[fd] = undefined;
    if (fd < this.firstFree) this.firstFree = fd;
    const result = file.close(t);
    file.decRef(t);
    return result;
  }

  isCloexec(fd: number): boolean {
    return this.cloexec[fd] === true;
  }

  setCloexec(fd: number, on: boolean): void {
    this.cloexec[fd] = on;
  }

  /** One past the highest number in use. */
  get size(): number {
    let n = this.files.length;
    while (n > 0 && !this.files[n - 1]) n--;
    return n;
  }

  /** fork without CLONE_FILES: same descriptions, a table of its own. */
  clone(): FdTable {
    const c = new FdTable();
    for (let fd = 0; fd < this.files.length; fd++) {
      const file = this.files[fd];
      file?.incRef();
      c.files.push(file ?? undefined);
      c.cloexec.push(this.cloexec[fd]!);
    }
    c.firstFree = 0;
    return c;
  }

  /** exec: closes what is marked. */
  closeOnExec(t: Task): void {
    for (let fd = 0; fd < this.files.length; fd++) if (this.cloexec[fd] && this.files[fd]) this.close(t, fd);
  }

  /** The last task that uses the table is gone. */
  decRef(t: Task): void {
    if (--this.refs > 0) return;
    for (let fd = 0; fd < this.files.length; fd++) if (this.files[fd]) this.close(t, fd);
  }
}

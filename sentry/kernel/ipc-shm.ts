// System V shared memory: ipc/shm.c. A segment is a memfd that attached mappings hold; one that is
// marked for removal goes with its last mapping.

import { EINVAL, ENOMEM } from '../abi/errno.ts';
import { SHM_DEST, SHMMAX, SHMMNI } from '../abi/ipc.ts';
import { SharedMemory } from '../mm/backing.ts';
import type { Backing } from '../mm/vma.ts';
import { IpcObject, IpcTable } from './ipc.ts';
import type { Kernel } from './kernel.ts';
import type { IpcNamespace } from './namespaces.ts';
import type { Task } from './task.ts';

export class ShmSegment extends IpcObject implements Backing {
  readonly size: number;
  private readonly memory: SharedMemory;
  private readonly ns: IpcNamespace;
  private readonly kernel: Kernel;
  /** Mappings: shm_nattch. */
  attached = 0;
  atimeSec = 0;
  dtimeSec = 0;
  /** In the root pid namespace. */
  readonly creatorPid: number;
  lastPid = 0;

  private constructor(t: Task, key: number, mode: number, size: number, memory: SharedMemory) {
    super(t, key, mode);
    this.size = size;
    this.memory = memory;
    this.ns = t.ns.ipc;
    this.kernel = t.kernel;
    this.creatorPid = t.group.tgid;
  }

  /** A new segment of `size` bytes (rounded up to pages for the host), or -errno. */
  static create(t: Task, key: number, mode: number, size: number): ShmSegment | number {
    if (size < 1 || size > SHMMAX) return -EINVAL;
    if (size > t.mm.top) return -ENOMEM;
    const memory = SharedMemory.create(Math.ceil(size / 4096) * 4096, `/SYSV${(key >>> 0).toString(16).padStart(8, '0')} (deleted)`);
    return typeof memory === 'number' ? memory : new ShmSegment(t, key, mode, size, memory);
  }

  get hostFd(): number {
    return this.memory.hostFd;
  }

  readOnlyFd(): number {
    return this.memory.readOnlyFd();
  }

  get hostOffset(): number {
    return 0;
  }

  get dev(): number {
    return this.memory.dev;
  }

  /** The inode number in /proc/[pid]/maps is the segment's id. */
  get ino(): number {
    return this.id;
  }

  name(): string {
    return this.memory.name();
  }

  incRef(): void {
    this.attached++;
  }

  decRef(): void {
    this.attached--;
    this.dtimeSec = this.kernel.clock.realtimeSec();
    this.dropIfUnused();
  }

  /** IPC_RMID: gone at once, or with the last mapping; the key is free either way. */
  markRemoved(): void {
    this.mode |= SHM_DEST;
    shmTable(this.ns).dropKey(this);
    this.dropIfUnused();
  }

  private dropIfUnused(): void {
    if (this.attached > 0 || (this.mode & SHM_DEST) === 0 || this.removed) return;
    shmTable(this.ns).remove(this);
    this.memory.decRef();
  }
}

export function shmTable(ns: IpcNamespace): IpcTable<ShmSegment> {
  return IpcTable.of<ShmSegment>(ns, 'shm', SHMMNI);
}

// What System V shared memory, semaphores and message queues have in common: objects by key and id,
// owners and modes. ipc/util.c. Ids carry a sequence number above the index, so that an id of
// yesterday does not name the object of today.

import { EACCES, EEXIST, EIDRM, EINVAL, ENOENT, ENOSPC, EPERM } from '../abi/errno.ts';
import { IPC_CREAT, IPC_EXCL, IPC_PRIVATE, type IpcPermission } from '../abi/ipc.ts';
import { CAP_IPC_OWNER, CAP_SYS_ADMIN } from '../abi/sched.ts';
import type { IpcNamespace } from './namespaces.ts';
import type { Task } from './task.ts';

/** IPCMNI: indexes are below it, the sequence number lies above. */
const INDEX_RANGE = 32768;

export abstract class IpcObject implements IpcPermission {
  readonly key: number;
  /** Root-namespace ids. */
  uid: number;
  gid: number;
  readonly cuid: number;
  readonly cgid: number;
  /** Permission bits. */
  mode: number;
  seq = 0;
  id = -1;
  ctimeSec: number;
  removed = false;

  constructor(t: Task, key: number, mode: number) {
    this.key = key;
    this.uid = this.cuid = t.creds.euid;
    this.gid = this.cgid = t.creds.egid;
    this.mode = mode & 0o777;
    this.ctimeSec = t.kernel.clock.realtimeSec();
  }

  /** ipcperms(): whether t may do what `flags`' permission bits (any of the three places) say. */
  permits(t: Task, flags: number): boolean {
    const requested = (flags >> 6) | (flags >> 3) | flags;
    let granted = this.mode;
    if (t.creds.euid === this.cuid || t.creds.euid === this.uid) granted >>= 6;
    else if (t.creds.inGroup(this.cgid) || t.creds.inGroup(this.gid)) granted >>= 3;
    return (requested & ~granted & 7) === 0 || t.creds.capableIn(t.ns.ipc.userns, CAP_IPC_OWNER);
  }

  /** Whether t may remove or change it: ipcctl_obtain_check(). */
  ownedBy(t: Task): boolean {
    return t.creds.euid === this.cuid || t.creds.euid === this.uid || t.creds.capableIn(t.ns.ipc.userns, CAP_SYS_ADMIN);
  }

  /** The permission as t's user namespace shows it. */
  shownTo(t: Task): IpcPermission {
    const ns = t.creds.userns;
    return {
      key: this.key,
      uid: ns.uidFromKernel(this.uid),
      gid: ns.gidFromKernel(this.gid),
      cuid: ns.uidFromKernel(this.cuid),
      cgid: ns.gidFromKernel(this.cgid),
      mode: this.mode,
      seq: this.seq,
    };
  }
}

export class IpcTable<T extends IpcObject> {
  private readonly slots: (T | undefined)[] = [];
  private readonly byKey = new Map<number, T>();
  private readonly limit: number;
  private lastIndex = -1;
  private seq = 0;
  count = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** The namespace's table of one kind. */
  static of<T extends IpcObject>(ns: IpcNamespace, name: string, limit: number): IpcTable<T> {
    let table = ns.tables.get(name) as IpcTable<T> | undefined;
    if (table === undefined) {
      table = new IpcTable<T>(limit);
      ns.tables.set(name, table);
    }
    return table;
  }

  /** ipcget(): the object's id. `fits` checks what exists, `make` makes a new one; both answer -errno on refusal. */
  get(t: Task, key: number, flags: number, fits: (object: T) => number, make: () => T | number): number {
    const found = key === IPC_PRIVATE ? undefined : this.byKey.get(key);
    if (found !== undefined) {
      if ((flags & IPC_CREAT) !== 0 && (flags & IPC_EXCL) !== 0) return -EEXIST;
      const error = fits(found);
      if (error < 0) return error;
      return found.permits(t, flags) ? found.id : -EACCES;
    }
    if (key !== IPC_PRIVATE && (flags & IPC_CREAT) === 0) return -ENOENT;
    if (this.count >= this.limit) return -ENOSPC;
    const made = make();
    return typeof made === 'number' ? made : this.add(made);
  }

  private add(object: T): number {
    let index = 0;
    while (this.slots[index] !== undefined) index++;
    if (index <= this.lastIndex) this.seq = (this.seq + 1) % 65536;
    this.lastIndex = index;
    object.seq = this.seq;
    object.id = object.seq * INDEX_RANGE + index;
    this.slots[index] = object;
    if (object.key !== IPC_PRIVATE) this.byKey.set(object.key, object);
    this.count++;
    return object.id;
  }

  /** By id: -EINVAL for one that never was, -EIDRM for one that is gone. */
  find(id: number): T | number {
    if (id < 0) return -EINVAL;
    const object = this.slots[id % INDEX_RANGE];
    if (object === undefined) return -EINVAL;
    return object.id === id ? object : -EIDRM;
  }

  /** By index, for the *_STAT commands. */
  at(index: number): T | number {
    return this.slots[index % INDEX_RANGE] ?? -EINVAL;
  }

  /** Id and key are free again; the object lives on as long as somebody holds it. */
  remove(object: T): void {
    object.removed = true;
    this.slots[object.id % INDEX_RANGE] = undefined;
    if (this.byKey.get(object.key) === object) this.byKey.delete(object.key);
    this.count--;
  }

  /** The key no longer leads to it, the id does: shared memory that is marked for removal. */
  dropKey(object: T): void {
    if (this.byKey.get(object.key) === object) this.byKey.delete(object.key);
  }

  /** The highest index in use, what the *_INFO commands answer; 0 when the table is empty. */
  maxIndex(): number {
    let index = this.slots.length - 1;
    while (index > 0 && this.slots[index] === undefined) index--;
    return Math.max(index, 0);
  }

  all(): T[] {
    return this.slots.filter((object) => object !== undefined) as T[];
  }
}

/** IPC_SET's new owner and mode, in the caller's ids: ipc_update_perm(). 0, -EINVAL, -EPERM. */
export function updatePermission(t: Task, object: IpcObject, uid: number, gid: number, mode: number): number {
  if (!object.ownedBy(t)) return -EPERM;
  const kuid = t.creds.userns.uidToKernel(uid);
  const kgid = t.creds.userns.gidToKernel(gid);
  if (kuid < 0 || kgid < 0) return -EINVAL;
  object.uid = kuid;
  object.gid = kgid;
  object.mode = (object.mode & ~0o777) | (mode & 0o777);
  object.ctimeSec = t.kernel.clock.realtimeSec();
  return 0;
}

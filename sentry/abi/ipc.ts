// System V IPC: include/uapi/linux/{ipc,sem,shm,msg}.h and their 64-bit layouts.

import { assert } from '../base/assert.ts';
import { put64 } from '../base/int64.ts';
import { array, i32, i64, layout, u16, u32, u64 } from './layout.ts';

export const IPC_PRIVATE = 0;
export const IPC_CREAT = 0o1000;
export const IPC_EXCL = 0o2000;
export const IPC_NOWAIT = 0o4000;
export const IPC_RMID = 0;
export const IPC_SET = 1;
export const IPC_STAT = 2;
export const IPC_INFO = 3;

export const GETPID = 11;
export const GETVAL = 12;
export const GETALL = 13;
export const GETNCNT = 14;
export const GETZCNT = 15;
export const SETVAL = 16;
export const SETALL = 17;
export const SEM_STAT = 18;
export const SEM_INFO = 19;
export const SEM_STAT_ANY = 20;
export const SEM_UNDO = 0x1000;
export const SEMMNI = 32000;
export const SEMMSL = 32000;
export const SEMOPM = 500;
export const SEMVMX = 32767;

export const SHM_RDONLY = 0o10000;
export const SHM_RND = 0o20000;
export const SHM_REMAP = 0o40000;
export const SHM_EXEC = 0o100000;
export const SHM_HUGETLB = 0o4000;
export const SHM_DEST = 0o1000;
export const SHM_LOCKED = 0o2000;
export const SHM_LOCK = 11;
export const SHM_UNLOCK = 12;
export const SHM_STAT = 13;
export const SHM_INFO = 14;
export const SHM_STAT_ANY = 15;
export const SHMMNI = 4096;
/** ULONG_MAX - (1 << 24) bytes or pages: more than a double holds exactly, so as two words. */
export const SHMMAX_LO = 0xfeffffff;
export const SHMMAX_HI = 0xffffffff;
/** The same, as near as a double comes. */
export const SHMMAX: number = 2 ** 64 - 2 ** 24;

export const MSG_NOERROR = 0o10000;
export const MSG_EXCEPT = 0o20000;
export const MSG_COPY = 0o40000;
export const MSG_STAT = 11;
export const MSG_INFO = 12;
export const MSG_STAT_ANY = 13;
export const MSGMNI = 32000;
export const MSGMAX = 8192;
export const MSGMNB = 16384;

// struct ipc64_perm, include/uapi/asm-generic/ipcbuf.h.
export const IPC_PERM = layout({
  key: i32,
  uid: u32,
  gid: u32,
  cuid: u32,
  cgid: u32,
  mode: u32,
  seq: u16,
  pad: u16,
  unused: array(u64, 2),
});
assert(IPC_PERM.size === 48);

const perm = { size: 48, align: 8 };

// struct shmid64_ds, include/uapi/asm-generic/shmbuf.h.
export const SHMID_DS = layout({
  perm,
  segsz: u64,
  atime: i64,
  dtime: i64,
  ctime: i64,
  cpid: i32,
  lpid: i32,
  nattch: u64,
  unused: array(u64, 2),
});
assert(SHMID_DS.size === 112);

// struct semid64_ds, arch/x86/include/uapi/asm/sembuf.h.
export const SEMID_DS = layout({ perm, otime: i64, unused1: u64, ctime: i64, unused2: u64, nsems: u64, unused3: array(u64, 2) });
assert(SEMID_DS.size === 104);

// struct msqid64_ds, include/uapi/asm-generic/msgbuf.h.
export const MSQID_DS = layout({
  perm,
  stime: i64,
  rtime: i64,
  ctime: i64,
  cbytes: u64,
  qnum: u64,
  qbytes: u64,
  lspid: i32,
  lrpid: i32,
  unused: array(u64, 2),
});
assert(MSQID_DS.size === 120);

/** What ipc64_perm tells; ids as the reader's namespace shows them. */
export interface IpcPermission {
  key: number;
  uid: number;
  gid: number;
  cuid: number;
  cgid: number;
  mode: number;
  seq: number;
}

export function putIpcPermission(v: DataView, at: number, p: IpcPermission): void {
  v.setInt32(at + IPC_PERM.key, p.key, true);
  v.setUint32(at + IPC_PERM.uid, p.uid, true);
  v.setUint32(at + IPC_PERM.gid, p.gid, true);
  v.setUint32(at + IPC_PERM.cuid, p.cuid, true);
  v.setUint32(at + IPC_PERM.cgid, p.cgid, true);
  v.setUint32(at + IPC_PERM.mode, p.mode, true);
  v.setUint16(at + IPC_PERM.seq, p.seq, true);
  v.setUint16(at + IPC_PERM.pad, 0, true);
  put64(v, at + IPC_PERM.unused, 0);
  put64(v, at + IPC_PERM.unused + 8, 0);
}

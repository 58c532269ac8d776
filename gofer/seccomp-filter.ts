// What a serving gofer may still ask of the host: the calls of its handlers, and what Node and the C library need to
// keep a loop, a collector and a log running. Everything else answers EPERM, whoever asks.

import { loadSeccompProgram } from 'ptrace-napi';
import { EPERM, errnoName } from '../sentry/abi/errno.ts';
import { F_DUPFD_CLOEXEC, F_GETFD, F_GETFL } from '../sentry/abi/fcntl.ts';
import { AF_UNIX } from '../sentry/abi/socket.ts';
import {
  SYS_bind,
  SYS_brk,
  SYS_clock_gettime,
  SYS_clock_nanosleep,
  SYS_close,
  SYS_connect,
  SYS_epoll_ctl,
  SYS_epoll_pwait,
  SYS_epoll_wait,
  SYS_exit,
  SYS_exit_group,
  SYS_fadvise64,
  SYS_fchmodat,
  SYS_fchownat,
  SYS_fcntl,
  SYS_fstat,
  SYS_fstatfs,
  SYS_fsync,
  SYS_ftruncate,
  SYS_futex,
  SYS_getdents64,
  SYS_getpid,
  SYS_getrandom,
  SYS_gettid,
  SYS_getxattr,
  SYS_inotify_add_watch,
  SYS_inotify_init1,
  SYS_inotify_rm_watch,
  SYS_linkat,
  SYS_listxattr,
  SYS_lseek,
  SYS_madvise,
  SYS_membarrier,
  SYS_mkdirat,
  SYS_mknodat,
  SYS_mmap,
  SYS_mprotect,
  SYS_mremap,
  SYS_munmap,
  SYS_nanosleep,
  SYS_openat2,
  SYS_pkey_mprotect,
  SYS_poll,
  SYS_preadv2,
  SYS_read,
  SYS_readlinkat,
  SYS_removexattr,
  SYS_renameat2,
  SYS_restart_syscall,
  SYS_rseq,
  SYS_rt_sigaction,
  SYS_rt_sigprocmask,
  SYS_rt_sigreturn,
  SYS_sched_getparam,
  SYS_sched_getscheduler,
  SYS_sched_yield,
  SYS_sendmsg,
  SYS_set_robust_list,
  SYS_setxattr,
  SYS_sigaltstack,
  SYS_socket,
  SYS_statx,
  SYS_symlinkat,
  SYS_syncfs,
  SYS_unlinkat,
  SYS_utimensat,
  SYS_write,
  SYS_writev,
} from '../sentry/abi/sysno-x64.ts';
import { type AllowedCall, seccompErrno, seccompFilter } from '../sentry/base/bpf.ts';

/** The handlers' own. openat2 stands alone: open, openat and creat cannot say "beneath, and through no link". */
const SERVING: readonly number[] = [
  SYS_statx,
  SYS_openat2,
  SYS_close,
  SYS_sendmsg,
  SYS_readlinkat,
  SYS_getdents64,
  SYS_preadv2,
  SYS_fadvise64,
  SYS_lseek,
  SYS_mkdirat,
  SYS_mknodat,
  SYS_symlinkat,
  SYS_inotify_init1,
  SYS_inotify_add_watch,
  SYS_inotify_rm_watch,
  SYS_linkat,
  SYS_unlinkat,
  SYS_renameat2,
  SYS_fchmodat,
  SYS_fchownat,
  SYS_utimensat,
  SYS_ftruncate,
  SYS_fsync,
  SYS_syncfs,
  SYS_fstatfs,
  SYS_getxattr,
  SYS_setxattr,
  SYS_listxattr,
  SYS_removexattr,
];

/** Node, V8 and the C library: memory, waiting, time, signals, the end. */
const RUNTIME: readonly number[] = [
  SYS_futex,
  SYS_madvise,
  SYS_mmap,
  SYS_mprotect,
  SYS_pkey_mprotect,
  SYS_munmap,
  SYS_mremap,
  SYS_brk,
  SYS_clock_gettime,
  SYS_clock_nanosleep,
  SYS_nanosleep,
  SYS_sched_yield,
  SYS_membarrier,
  SYS_getrandom,
  SYS_getpid,
  SYS_gettid,
  SYS_read,
  SYS_write,
  SYS_writev,
  SYS_fstat,
  SYS_poll,
  SYS_epoll_wait,
  SYS_epoll_pwait,
  SYS_epoll_ctl,
  SYS_rt_sigaction,
  SYS_rt_sigprocmask,
  SYS_rt_sigreturn,
  SYS_sigaltstack,
  SYS_restart_syscall,
  // A thread that was made before the filter may not have run yet: the C library ends the process if these fail.
  SYS_rseq,
  SYS_set_robust_list,
  SYS_sched_getparam,
  SYS_sched_getscheduler,
  SYS_exit,
  SYS_exit_group,
];

const always = (nr: number): AllowedCall => ({ nr });
/** Only with one of these values as an argument's low word. */
const only = (nr: number, arg: number, values: readonly number[]): AllowedCall => ({ nr, when: values.map((value) => [{ arg, value }]) });

/** Only where a tree's policy lets the guest meet sockets of the host. */
const SOCKETS: readonly AllowedCall[] = [only(SYS_socket, 0, [AF_UNIX]), always(SYS_bind), always(SYS_connect)];

/** The gofer's filter as a program: what is not listed answers EPERM. */
export function goferFilter(withSockets: boolean): Uint8Array {
  const allowed = [
    ...SERVING.map(always),
    ...RUNTIME.map(always),
    only(SYS_fcntl, 1, [F_DUPFD_CLOEXEC, F_GETFD, F_GETFL]),
    ...(withSockets ? SOCKETS : []),
  ];
  return seccompFilter(allowed, seccompErrno(EPERM));
}

/** Puts the filter on all threads of the process. */
export function loadFilter(withSockets: boolean): void {
  const result = loadSeccompProgram(goferFilter(withSockets));
  if (result < 0) throw new Error(`loading the seccomp filter: ${errnoName(-result)}`);
}

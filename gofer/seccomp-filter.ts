// What a serving gofer may still ask of the host: the calls of its handlers, and what Node and the C library need to
// keep a loop, a collector and a log running. Everything else answers EPERM, whoever asks. The lists are data; the
// program made of them is classic BPF (Documentation/userspace-api/seccomp_filter.rst).

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

/** The handlers' own. openat2 stands alone: open, openat and creat cannot say "beneath, and through no link". */
const SERVING: readonly number[] = [
  SYS_statx,
  SYS_openat2,
  SYS_close,
  SYS_sendmsg,
  SYS_readlinkat,
  SYS_getdents64,
  SYS_lseek,
  SYS_mkdirat,
  SYS_mknodat,
  SYS_symlinkat,
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

/** A call that is allowed only with one of these values as the low word of an argument. */
export interface ArgRule {
  readonly nr: number;
  readonly arg: number;
  readonly values: readonly number[];
}

const LIMITED: readonly ArgRule[] = [{ nr: SYS_fcntl, arg: 1, values: [F_DUPFD_CLOEXEC, F_GETFD, F_GETFL] }];
/** Only where a tree's policy lets the guest meet sockets of the host. */
const SOCKETS: readonly ArgRule[] = [{ nr: SYS_socket, arg: 0, values: [AF_UNIX] }];
const SOCKET_CALLS: readonly number[] = [SYS_bind, SYS_connect];

// include/uapi/linux/bpf_common.h, seccomp.h, audit.h.
const LD_W_ABS = 0x20;
const JEQ_K = 0x15;
const RET_K = 0x06;
const RET_ALLOW = 0x7fff0000;
const RET_ERRNO = 0x00050000;
const RET_KILL_PROCESS = 0x80000000;
const AUDIT_ARCH_X86_64 = 0xc000003e;
// struct seccomp_data.
const DATA_NR = 0;
const DATA_ARCH = 4;
const DATA_ARGS = 16;

/** Instructions of struct sock_filter: u16 code, u8 jump if true, u8 jump if false, u32 operand. */
class Assembler {
  private readonly words: number[] = [];

  op(code: number, operand: number, jumpTrue = 0, jumpFalse = 0): void {
    this.words.push(code | (jumpTrue << 16) | (jumpFalse << 24), operand);
  }

  program(): Uint8Array {
    return new Uint8Array(Uint32Array.from(this.words, (word) => word >>> 0).buffer);
  }
}

/** A filter that lets the numbers through, and the limited ones with their arguments; all else is EPERM. */
export function assembleFilter(allowed: readonly number[], limited: readonly ArgRule[]): Uint8Array {
  const a = new Assembler();
  a.op(LD_W_ABS, DATA_ARCH);
  a.op(JEQ_K, AUDIT_ARCH_X86_64, 1, 0);
  a.op(RET_K, RET_KILL_PROCESS);
  a.op(LD_W_ABS, DATA_NR);
  for (const nr of allowed) {
    a.op(JEQ_K, nr, 0, 1);
    a.op(RET_K, RET_ALLOW);
  }
  for (const rule of limited) {
    a.op(JEQ_K, rule.nr, 0, 2 + 2 * rule.values.length);
    a.op(LD_W_ABS, DATA_ARGS + 8 * rule.arg);
    for (const value of rule.values) {
      a.op(JEQ_K, value, 0, 1);
      a.op(RET_K, RET_ALLOW);
    }
    a.op(RET_K, RET_ERRNO | EPERM);
  }
  a.op(RET_K, RET_ERRNO | EPERM);
  return a.program();
}

/** The gofer's filter as a program. */
export function goferFilter(withSockets: boolean): Uint8Array {
  const allowed = [...SERVING, ...RUNTIME, ...(withSockets ? SOCKET_CALLS : [])];
  return assembleFilter(allowed, withSockets ? [...LIMITED, ...SOCKETS] : LIMITED);
}

/** Puts the filter on all threads of the process. */
export function loadFilter(withSockets: boolean): void {
  const result = loadSeccompProgram(goferFilter(withSockets));
  if (result < 0) throw new Error(`loading the seccomp filter: ${errnoName(-result)}`);
}

// What the Sentry may still ask of the host once it serves a guest. A guest that got hold of the Sentry would have
// these calls and no others: nothing that opens, names or executes a file, nothing that makes a process that was not
// there as a stub, and sockets only where the network is the host's.
//
// The list is walked for each call, so what the loop asks for most stands first.

import { ENOSYS, EPERM } from '../abi/errno.ts';
import { F_ADD_SEALS, F_DUPFD_CLOEXEC, F_GET_SEALS, F_GETFD, F_GETFL, F_SETFD, F_SETFL, O_CLOEXEC } from '../abi/fcntl.ts';
import { TIOCLINUX, TIOCSTI } from '../abi/ioctl.ts';
import { MAP_ANONYMOUS, PROT_EXEC } from '../abi/mman.ts';
import { AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX } from '../abi/socket.ts';
import {
  SYS_accept4,
  SYS_bind,
  SYS_brk,
  SYS_clock_getres,
  SYS_clock_gettime,
  SYS_clock_nanosleep,
  SYS_clone,
  SYS_clone3,
  SYS_close,
  SYS_connect,
  SYS_dup,
  SYS_epoll_create1,
  SYS_epoll_ctl,
  SYS_epoll_pwait,
  SYS_epoll_wait,
  SYS_eventfd2,
  SYS_exit,
  SYS_exit_group,
  SYS_fallocate,
  SYS_fcntl,
  SYS_fdatasync,
  SYS_fstat,
  SYS_fsync,
  SYS_ftruncate,
  SYS_futex,
  SYS_getcpu,
  SYS_getpeername,
  SYS_getpid,
  SYS_getrandom,
  SYS_getsockname,
  SYS_getsockopt,
  SYS_gettid,
  SYS_getuid,
  SYS_inotify_add_watch,
  SYS_ioctl,
  SYS_kill,
  SYS_listen,
  SYS_lseek,
  SYS_madvise,
  SYS_membarrier,
  SYS_memfd_create,
  SYS_mmap,
  SYS_move_pages,
  SYS_mprotect,
  SYS_mremap,
  SYS_munmap,
  SYS_nanosleep,
  SYS_openat,
  SYS_pidfd_open,
  SYS_pidfd_send_signal,
  SYS_pipe2,
  SYS_pkey_mprotect,
  SYS_poll,
  SYS_ppoll,
  SYS_prctl,
  SYS_pread64,
  SYS_preadv2,
  SYS_process_vm_readv,
  SYS_process_vm_writev,
  SYS_ptrace,
  SYS_pwrite64,
  SYS_pwritev2,
  SYS_read,
  SYS_readv,
  SYS_recvfrom,
  SYS_recvmsg,
  SYS_restart_syscall,
  SYS_rseq,
  SYS_rt_sigaction,
  SYS_rt_sigprocmask,
  SYS_rt_sigreturn,
  SYS_sched_getaffinity,
  SYS_sched_getparam,
  SYS_sched_getscheduler,
  SYS_sched_setaffinity,
  SYS_sched_yield,
  SYS_sendfile,
  SYS_sendmsg,
  SYS_sendto,
  SYS_set_robust_list,
  SYS_setpriority,
  SYS_setsockopt,
  SYS_shutdown,
  SYS_sigaltstack,
  SYS_socket,
  SYS_socketpair,
  SYS_statx,
  SYS_tgkill,
  SYS_timerfd_create,
  SYS_timerfd_settime,
  SYS_uname,
  SYS_wait4,
  SYS_waitid,
  SYS_write,
  SYS_writev,
} from '../abi/sysno-x64.ts';
import { type AllowedCall, SECCOMP_RET_ALLOW, seccompErrno, seccompFilter } from '../base/bpf.ts';
import type { BootConfig } from './boot-config.ts';

const always = (nr: number): AllowedCall => ({ nr });
/** Only with one of these values, by the argument's low word. */
const only = (nr: number, arg: number, values: readonly number[]): AllowedCall => ({
  nr,
  when: values.map((value) => [{ arg, value: value >>> 0 }]),
});

// The loop: sleeping and waking, stubs' events, guest memory.
const loop: readonly AllowedCall[] = [
  SYS_futex,
  SYS_wait4,
  SYS_ptrace,
  SYS_process_vm_readv,
  SYS_process_vm_writev,
  SYS_move_pages,
  SYS_preadv2,
  SYS_pwritev2,
  SYS_clock_gettime,
  SYS_epoll_wait,
  SYS_epoll_pwait,
  SYS_read,
  SYS_write,
  SYS_recvmsg,
  SYS_sendmsg,
  SYS_close,
  SYS_tgkill,
  SYS_kill,
  SYS_waitid,
].map(always);

// Stubs are forked from the stub that was started before lock-down, and by its own clone(2); the Sentry itself makes
// threads only, of Node's and of the notifier.
const CLONE_THREAD_FLAGS = 0x3d0f00;
const processes: readonly AllowedCall[] = [
  // Libraries go back to clone(2) when this one is not there: its flags are in memory, where no filter sees them.
  { nr: SYS_clone3, action: seccompErrno(ENOSYS) },
  { nr: SYS_clone, when: [[{ arg: 0, value: CLONE_THREAD_FLAGS, high: 0 }]] },
  always(SYS_pidfd_open),
  always(SYS_pidfd_send_signal),
];

// Donated descriptors and our own memfds.
const files: readonly AllowedCall[] = [
  always(SYS_statx),
  always(SYS_fstat),
  always(SYS_lseek),
  always(SYS_ftruncate),
  always(SYS_fallocate),
  always(SYS_fsync),
  always(SYS_fdatasync),
  always(SYS_pread64),
  always(SYS_pwrite64),
  always(SYS_readv),
  always(SYS_writev),
  always(SYS_sendfile),
  always(SYS_memfd_create),
  only(SYS_fcntl, 1, [F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS]),
  always(SYS_dup),
  // These two put keystrokes into a terminal, which the host's shell would read once we are gone: CVE-2017-5226.
  {
    nr: SYS_ioctl,
    when: [[{ arg: 1, value: TIOCSTI }], [{ arg: 1, value: TIOCLINUX }]],
    action: seccompErrno(EPERM),
    others: SECCOMP_RET_ALLOW,
  },
  always(SYS_inotify_add_watch),
  always(SYS_pipe2),
  always(SYS_eventfd2),
  always(SYS_socketpair),
  always(SYS_poll),
  always(SYS_ppoll),
  always(SYS_epoll_ctl),
  always(SYS_epoll_create1),
  always(SYS_accept4),
];

// Node, V8 and the C library. Executable memory is the compiler's, always anonymous: no file is ever mapped to run.
const runtime: readonly AllowedCall[] = [
  { nr: SYS_mmap, when: [[{ arg: 3, mask: MAP_ANONYMOUS, value: MAP_ANONYMOUS }], [{ arg: 2, mask: PROT_EXEC, value: 0 }]] },
  ...[
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_pkey_mprotect,
    SYS_madvise,
    SYS_brk,
    SYS_membarrier,
    SYS_clock_nanosleep,
    SYS_clock_getres,
    SYS_nanosleep,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_setaffinity,
    SYS_setpriority,
    SYS_getcpu,
    SYS_getpid,
    SYS_gettid,
    SYS_getuid,
    SYS_getrandom,
    SYS_uname,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    // A new thread begins with these; the C library ends the process if the first is refused.
    SYS_rseq,
    SYS_set_robust_list,
    SYS_prctl,
    SYS_exit,
    SYS_exit_group,
  ].map(always),
];

// Sockets of the host for guests: families as net/host-socket.ts offers them.
const sockets: readonly AllowedCall[] = [
  only(SYS_socket, 0, [AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_PACKET]),
  ...[
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_shutdown,
    SYS_recvfrom,
    SYS_sendto,
  ].map(always),
];

/** The Sentry's filter: what is not listed answers EPERM. */
export function sentryFilter(_network: BootConfig['network'], ownDescriptors: number): Uint8Array {
  // No file has a name here, but for the descriptors that are there anyway: they may be opened once more, to read. What stubs map and
  // must not write goes to them by such a descriptor.
  const again: AllowedCall = {
    nr: SYS_openat,
    when: [
      [
        { arg: 0, value: ownDescriptors },
        { arg: 2, value: O_CLOEXEC, high: 0 },
      ],
    ],
  };
  // lo exists in every network namespace, so sockets are needed whatever the mode.
  return seccompFilter([...loop, ...files, again, ...runtime, ...sockets, ...processes], seccompErrno(EPERM));
}

// Names of the numbers that system calls take, for strace: which argument of which call means what.

import * as fcntl from '../abi/fcntl.ts';
import * as mman from '../abi/mman.ts';
import * as mount from '../abi/mount.ts';
import * as poll from '../abi/poll.ts';
import * as ptrace from '../abi/ptrace.ts';
import * as sched from '../abi/sched.ts';
import * as signal from '../abi/signal.ts';
import * as socket from '../abi/socket.ts';
import * as time from '../abi/time.ts';

/** As the kernel counts. */
const SIGRTMIN = 32;

type Numbers = Readonly<Record<string, unknown>>;

/** One of several values, or bits that are or'ed. */
export interface NameSet {
  readonly kind: 'one' | 'bits';
  readonly names: ReadonlyMap<number, string>;
}

/** The constants of a module whose names fit, by value; of two names for a value the first in `names` order counts. */
function pick(kind: 'one' | 'bits', module: Numbers, pattern: RegExp): NameSet {
  const names = new Map<number, string>();
  for (const [name, value] of Object.entries(module)) {
    if (typeof value === 'number' && pattern.test(name) && !names.has(value | 0)) names.set(value | 0, name);
  }
  return { kind, names };
}

const OPEN = pick(
  'bits',
  fcntl,
  /^O_(APPEND|ASYNC|CLOEXEC|CREAT|DIRECT|DIRECTORY|DSYNC|EXCL|LARGEFILE|NOATIME|NOCTTY|NOFOLLOW|NONBLOCK|PATH|SYNC|TMPFILE|TRUNC)$/,
);
const AT = pick('bits', fcntl, /^AT_(SYMLINK_NOFOLLOW|REMOVEDIR|SYMLINK_FOLLOW|NO_AUTOMOUNT|EMPTY_PATH|STATX_FORCE_SYNC|STATX_DONT_SYNC)$/);
const PROT = pick('bits', mman, /^PROT_(READ|WRITE|EXEC|GROWSDOWN|GROWSUP)$/);
const MAP = pick(
  'bits',
  mman,
  /^MAP_(32BIT|ANONYMOUS|FIXED|FIXED_NOREPLACE|GROWSDOWN|HUGETLB|LOCKED|NONBLOCK|NORESERVE|POPULATE|PRIVATE|SHARED|STACK|DENYWRITE)$/,
);
const CLONE = pick('bits', sched, /^CLONE_/);
const SIGNAL = pick('one', signal, /^SIG[A-Z0-9]+$/);
const WAIT = pick('bits', sched, /^(W[A-Z]+|__W[A-Z]+)$/);
const MSG = pick('bits', socket, /^MSG_[A-Z]+$/);
const SOCKET_FLAGS = pick('bits', socket, /^SOCK_(CLOEXEC|NONBLOCK)$/);

const BY_ARGUMENT: Readonly<Record<string, NameSet>> = {
  'lseek.whence': pick('one', fcntl, /^SEEK_/),
  'fcntl.cmd': pick(
    'one',
    fcntl,
    /^F_(DUPFD|GETFD|SETFD|GETFL|SETFL|GETLK|SETLK|SETLKW|SETOWN|GETOWN|SETSIG|GETSIG|DUPFD_CLOEXEC|SETPIPE_SZ|GETPIPE_SZ|ADD_SEALS|GET_SEALS|OFD_GETLK|OFD_SETLK|OFD_SETLKW|SETOWN_EX|GETOWN_EX|SETLEASE|GETLEASE)$/,
  ),
  'access.mode': pick('bits', fcntl, /^[FRWX]_OK$/),
  'faccessat.mode': pick('bits', fcntl, /^[FRWX]_OK$/),
  'flock.op': pick('bits', fcntl, /^LOCK_(SH|EX|UN|NB)$/),
  'madvise.advice': pick('one', mman, /^MADV_/),
  'mremap.flags': pick('bits', mman, /^MREMAP_/),
  'msync.flags': pick('bits', mman, /^MS_/),
  'memfd_create.flags': pick('bits', mman, /^MFD_/),
  'rt_sigprocmask.how': pick('one', signal, /^SIG_(BLOCK|UNBLOCK|SETMASK)$/),
  'futex.op': futexOperations(),
  'epoll_ctl.op': pick('one', poll, /^EPOLL_CTL_/),
  'epoll_create1.flags': pick('bits', poll, /^EPOLL_CLOEXEC$/),
  'eventfd2.flags': pick('bits', poll, /^EFD_/),
  'timerfd_create.flags': pick('bits', poll, /^TFD_(CLOEXEC|NONBLOCK)$/),
  'signalfd4.flags': pick('bits', poll, /^SFD_/),
  'socket.family': pick('one', socket, /^AF_(UNIX|INET|INET6|NETLINK|PACKET|UNSPEC)$/),
  'socketpair.family': pick('one', socket, /^AF_(UNIX|INET|INET6)$/),
  'setsockopt.level': pick('one', socket, /^(SOL_SOCKET|SOL_TCP|SOL_IP|SOL_IPV6|SOL_UDP|SOL_RAW)$/),
  'getsockopt.level': pick('one', socket, /^(SOL_SOCKET|SOL_TCP|SOL_IP|SOL_IPV6|SOL_UDP|SOL_RAW)$/),
  'shutdown.how': pick('one', socket, /^SHUT_/),
  'accept4.flags': SOCKET_FLAGS,
  'mount.flags': pick('bits', mount, /^MS_/),
  'umount2.flags': pick('bits', mount, /^(MNT_|UMOUNT_)/),
  'prctl.option': pick('one', sched, /^PR_(SET|GET|CAPBSET|CAP_AMBIENT)/),
  'arch_prctl.code': pick('one', sched, /^ARCH_/),
  'ptrace.request': pick('one', ptrace, /^PTRACE_(?!O_|EVENT_|SYSCALL_INFO)/),
  'prlimit64.resource': pick('one', sched, /^RLIMIT_(?!NLIMITS)/),
  'getrlimit.resource': pick('one', sched, /^RLIMIT_(?!NLIMITS)/),
  'setrlimit.resource': pick('one', sched, /^RLIMIT_(?!NLIMITS)/),
  'getrusage.who': pick('one', sched, /^RUSAGE_/),
  'waitid.idtype': pick('one', sched, /^P_/),
  'renameat2.flags': pick('bits', fcntl, /^RENAME_/),
  'close_range.flags': pick('bits', fcntl, /^CLOSE_RANGE_/),
  'clock_nanosleep.flags': pick('bits', time, /^TIMER_ABSTIME$/),
  'getitimer.which': pick('one', time, /^ITIMER_/),
  'setitimer.which': pick('one', time, /^ITIMER_/),
};

const BY_NAME: readonly (readonly [RegExp, NameSet])[] = [
  [/^(open|openat|pipe2|dup3)\.flags$/, OPEN],
  [/^(fchownat|newfstatat|unlinkat|linkat|utimensat|statx|execveat|faccessat2|fchmodat2|name_to_handle_at)\.flags$/, AT],
  [/^(clone|unshare)\.flags$|^setns\.nstype$/, CLONE],
  [/^wait(4|id)\.options$/, WAIT],
  [/^(sendto|recvfrom|sendmsg|recvmsg|sendmmsg|recvmmsg)\.flags$/, MSG],
];

const CLOCKS = pick('one', time, /^CLOCK_/);
const cache = new Map<string, NameSet | null>();

/** What the number `call.argument` of the given type means, or null when it is just a number. */
export function namesOf(call: string, argument: string, type: string): NameSet | null {
  if (type === 'prot') return PROT;
  if (type === 'mapflags') return MAP;
  if (type === 'sig') return SIGNAL;
  if (type === 'clock') return CLOCKS;
  const key = `${call}.${argument}`;
  let set = cache.get(key);
  if (set === undefined) {
    set = BY_ARGUMENT[key] ?? BY_NAME.find(([pattern]) => pattern.test(key))?.[1] ?? null;
    cache.set(key, set);
  }
  return set;
}

export function signalName(signo: number): string {
  return SIGNAL.names.get(signo) ?? (signo >= SIGRTMIN ? `SIGRT_${signo - SIGRTMIN}` : `${signo}`);
}

/** socket(2)'s type: the kind and its two flags. */
export function socketType(type: number): string {
  const kinds = ['SOCK_0', 'SOCK_STREAM', 'SOCK_DGRAM', 'SOCK_RAW', 'SOCK_RDM', 'SOCK_SEQPACKET'];
  const flags = type & ~15;
  return (kinds[type & 15] ?? `${type & 15}`) + (flags === 0 ? '' : `|${bits(SOCKET_FLAGS, flags)}`);
}

/** open(2)'s flags: the access mode is no bit. */
export function openFlags(flags: number): string {
  const access = ['O_RDONLY', 'O_WRONLY', 'O_RDWR', 'O_ACCMODE'][flags & fcntl.O_ACCMODE]!;
  const rest = flags & ~fcntl.O_ACCMODE;
  return rest === 0 ? access : `${access}|${bits(OPEN, rest)}`;
}

/** clone(2)'s flags: the low byte is a signal. */
export function cloneFlags(flags: number): string {
  const signo = flags & 0xff;
  const rest = flags & ~0xff;
  const text = rest === 0 ? '' : bits(CLONE, rest);
  if (signo === 0) return text === '' ? '0' : text;
  return text === '' ? signalName(signo) : `${text}|${signalName(signo)}`;
}

/** The value by name; unknown bits in hexadecimal. */
export function named(set: NameSet, value: number): string {
  if (set.kind === 'one')
    return set.names.get(value) ?? (value > 0xffff || value < -0xffff ? `0x${(value >>> 0).toString(16)}` : `${value}`);
  return bits(set, value);
}

function bits(set: NameSet, value: number): string {
  if (value === 0) return set.names.get(0) ?? '0';
  let text = '';
  let rest = value;
  // Names of several bits first, so that O_SYNC is not O_DSYNC and something.
  for (const [bit, name] of [...set.names].sort((a, b) => weight(b[0]) - weight(a[0]))) {
    if (bit === 0 || (rest & bit) !== bit) continue;
    text += text === '' ? name : `|${name}`;
    rest &= ~bit;
  }
  if (rest !== 0) text += `${text === '' ? '' : '|'}0x${(rest >>> 0).toString(16)}`;
  return text;
}

function weight(n: number): number {
  let count = 0;
  for (let m = n >>> 0; m !== 0; m &= m - 1) count++;
  return count;
}

function futexOperations(): NameSet {
  const names = new Map<number, string>();
  for (const [name, value] of Object.entries(sched as Numbers)) {
    if (
      typeof value !== 'number' ||
      !/^FUTEX_(WAIT|WAKE|FD|REQUEUE|CMP_REQUEUE|WAKE_OP|LOCK_PI|UNLOCK_PI|TRYLOCK_PI|WAIT_BITSET|WAKE_BITSET|WAIT_REQUEUE_PI|CMP_REQUEUE_PI|LOCK_PI2)$/.test(
        name,
      )
    )
      continue;
    names.set(value, name);
    names.set(value | sched.FUTEX_PRIVATE_FLAG, `${name}_PRIVATE`);
    names.set(value | sched.FUTEX_CLOCK_REALTIME, `${name}|FUTEX_CLOCK_REALTIME`);
    names.set(value | sched.FUTEX_PRIVATE_FLAG | sched.FUTEX_CLOCK_REALTIME, `${name}_PRIVATE|FUTEX_CLOCK_REALTIME`);
  }
  return { kind: 'one', names };
}

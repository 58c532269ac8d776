// The machine and its administration: uname(2), sysinfo(2), getrandom(2), and the many calls that
// only a host's root has a use for. Those check the capability as Linux does and then say that the
// kernel was built without them.

import { EACCES, EBADF, EFAULT, EINVAL, ENODEV, ENOENT, ENOSYS, EPERM } from '../abi/errno.ts';
import {
  CAP_BPF,
  CAP_PERFMON,
  CAP_SYS_ADMIN,
  CAP_SYS_BOOT,
  CAP_SYS_MODULE,
  CAP_SYS_PACCT,
  CAP_SYS_PTRACE,
  CAP_SYS_RAWIO,
  CAP_SYS_TTY_CONFIG,
  CAP_SYSLOG,
} from '../abi/sched.ts';
import { SIGHUP, SIGINT } from '../abi/signal.ts';
import {
  SYS_acct,
  SYS_bpf,
  SYS_create_module,
  SYS_delete_module,
  SYS_fanotify_init,
  SYS_fanotify_mark,
  SYS_finit_module,
  SYS_getcpu,
  SYS_getrandom,
  SYS_init_module,
  SYS_io_uring_enter,
  SYS_io_uring_register,
  SYS_io_uring_setup,
  SYS_ioperm,
  SYS_iopl,
  SYS_kexec_file_load,
  SYS_kexec_load,
  SYS_lookup_dcookie,
  SYS_modify_ldt,
  SYS_perf_event_open,
  SYS_quotactl,
  SYS_reboot,
  SYS_swapoff,
  SYS_swapon,
  SYS_sysfs,
  SYS_sysinfo,
  SYS_syslog,
  SYS_uname,
  SYS_userfaultfd,
  SYS_ustat,
  SYS_vhangup,
} from '../abi/sysno-x64.ts';
import { put64 } from '../base/int64.ts';
import { loadAverages, memoryInUse, uptimeSeenBy } from '../fs/proc-files.ts';
import { Pty } from '../fs/tty.ts';
import { fillRandom } from '../host/entropy.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { startGroupExit } from '../kernel/task-signals.ts';
import { putLatin1, scratch } from '../mm/guest-memory.ts';
import { aioCalls } from './aio.ts';
import { keyCalls } from './keys.ts';
import { mempolicyCalls } from './mempolicy.ts';
import { mqueueCalls } from './mqueue.ts';
import { call, type SyscallLine } from './syscall-line.ts';

// ---- what the machine is

/** struct new_utsname: six fields of 65 bytes. */
const UTS_FIELD = 65;

/** personality(2). */
const PER_MASK = 0xff;
const PER_LINUX32 = 8;

/** uname(2). */
export function uname(t: Task, a: SyscallArgs): number {
  const { machine } = t.kernel;
  // override_architecture() of kernel/sys.c.
  const hardware = (t.group.personality & PER_MASK) === PER_LINUX32 ? 'i686' : machine.hardware;
  const fields = [machine.sysname, t.uts.hostname, machine.release, machine.version, hardware, t.uts.domainname];
  scratch.u8.fill(0, 0, UTS_FIELD * fields.length);
  for (let i = 0; i < fields.length; i++) putLatin1(scratch.u8, i * UTS_FIELD, fields[i]!);
  return t.mm.copyOut(a.addr(0), scratch.u8, 0, UTS_FIELD * fields.length);
}

// struct sysinfo, include/uapi/linux/sysinfo.h.
const SYSINFO = { uptime: 0, loads: 8, totalram: 32, freeram: 40, sharedram: 48, procs: 80, memUnit: 104, size: 112 } as const;
/** Loads are fixed-point with 16 bits: SI_LOAD_SHIFT. */
const LOAD_SCALE = 65536;

/** sysinfo(2). */
export function sysinfo(t: Task, a: SyscallArgs): number {
  const { kernel } = t;
  const v = scratch.view;
  const use = memoryInUse(t);
  scratch.u8.fill(0, 0, SYSINFO.size);
  put64(v, SYSINFO.uptime, Math.floor(uptimeSeenBy(t) / 1e9));
  const loads = loadAverages(kernel);
  for (let i = 0; i < 3; i++) put64(v, SYSINFO.loads + i * 8, Math.floor(loads[i]! * LOAD_SCALE));
  put64(v, SYSINFO.totalram, t.group.container.memory.memoryBytes);
  put64(v, SYSINFO.freeram, t.group.container.memory.memoryBytes - use.used);
  put64(v, SYSINFO.sharedram, use.shared);
  v.setUint16(SYSINFO.procs, Math.min(kernel.tasks.size, 65535), true);
  v.setUint32(SYSINFO.memUnit, 1, true);
  return t.mm.copyOut(a.addr(0), scratch.u8, 0, SYSINFO.size);
}

/** getcpu(2): the host moves threads as it likes, so it is the first allowed processor. */
export function getcpu(t: Task, a: SyscallArgs): number {
  let cpu = 0;
  while (!t.sched.allows(cpu)) cpu++;
  if (a.addr(0) !== 0 && t.mm.storeU32(a.addr(0), cpu) < 0) return -EFAULT;
  if (a.addr(1) !== 0 && t.mm.storeU32(a.addr(1), 0) < 0) return -EFAULT;
  return 0;
}

const GRND_NONBLOCK = 1;
const GRND_RANDOM = 2;
const GRND_INSECURE = 4;
const RANDOM_CHUNK = 64 * 1024;
const INT_MAX = 0x7fffffff;

/** getrandom(2). */
export function getrandom(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if ((flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)) !== 0) return -EINVAL;
  if ((flags & (GRND_RANDOM | GRND_INSECURE)) === (GRND_RANDOM | GRND_INSECURE)) return -EINVAL;
  const want = Math.min(a.addr(1), INT_MAX);
  let done = 0;
  while (done < want) {
    const n = Math.min(want - done, RANDOM_CHUNK);
    fillRandom(scratch.u8, 0, n);
    const put = t.mm.writeSome(a.addr(0) + done, scratch.u8, 0, n);
    done += put;
    if (put < n) return done > 0 ? done : -EFAULT;
  }
  return done;
}

// ---- syslog

const BOOT_LOG =
  '<5>[    0.000000] Linux version 6.18.0-runsc\n' +
  '<6>[    0.000000] Command line: BOOT_IMAGE=/vmlinuz ro quiet\n' +
  '<6>[    0.000000] runsc: guest kernel in user space\n';
const LOG_SIZE = 1 << 17;
const ACTION_CLOSE = 0;
const ACTION_OPEN = 1;
const ACTION_READ = 2;
const ACTION_READ_ALL = 3;
const ACTION_READ_CLEAR = 4;
const ACTION_CLEAR = 5;
const ACTION_CONSOLE_OFF = 6;
const ACTION_CONSOLE_ON = 7;
const ACTION_CONSOLE_LEVEL = 8;
const ACTION_SIZE_UNREAD = 9;
const ACTION_SIZE_BUFFER = 10;

/** syslog(2). */
export function syslog(t: Task, a: SyscallArgs): number {
  const action = a.int(0);
  const open = action === ACTION_READ_ALL || action === ACTION_SIZE_BUFFER;
  if (!open || t.kernel.sysctls.int('kernel.dmesg_restrict') !== 0) {
    if (!t.creds.capable(CAP_SYSLOG) && !t.creds.capable(CAP_SYS_ADMIN)) return -EPERM;
  }
  const length = a.int(2);
  switch (action) {
    case ACTION_CLOSE:
    case ACTION_OPEN:
    case ACTION_CLEAR:
    case ACTION_CONSOLE_OFF:
    case ACTION_CONSOLE_ON:
    case ACTION_SIZE_UNREAD:
      return 0;
    case ACTION_READ:
    case ACTION_READ_ALL:
    case ACTION_READ_CLEAR: {
      if (a.addr(1) === 0 || length < 0) return -EINVAL;
      const n = Math.min(length, BOOT_LOG.length);
      putLatin1(scratch.u8, 0, BOOT_LOG.slice(BOOT_LOG.length - n));
      return t.mm.copyOut(a.addr(1), scratch.u8, 0, n) < 0 ? -EFAULT : n;
    }
    case ACTION_CONSOLE_LEVEL:
      return length < 1 || length > 8 ? -EINVAL : 0;
    case ACTION_SIZE_BUFFER:
      return LOG_SIZE;
    default:
      return -EINVAL;
  }
}

// ---- file-system types, the oldest way

/** sysfs(2): names and numbers of file-system types. */
export function sysfs(t: Task, a: SyscallArgs): number {
  const names = [...t.kernel.vfs.types.keys()];
  switch (a.int(0)) {
    case 1: {
      const name = t.mm.copyInPath(a.addr(1));
      if (typeof name === 'number') return name;
      const index = names.indexOf(name);
      return index < 0 ? -EINVAL : index;
    }
    case 2: {
      const name = names[a.uint(1)];
      if (name === undefined) return -EINVAL;
      putLatin1(scratch.u8, 0, `${name}\0`);
      return t.mm.copyOut(a.addr(2), scratch.u8, 0, name.length + 1);
    }
    case 3:
      return names.length;
    default:
      return -EINVAL;
  }
}

/** ustat(2): no device number of ours is that of a mounted block device. */
export function ustat(): number {
  return -EINVAL;
}

// ---- administration

const MAGIC1 = 0xfee1dead;
const MAGIC2: readonly number[] = [672274793, 85072278, 369367448, 537993216];
const REBOOT_RESTART = 0x01234567;
const REBOOT_RESTART2 = 0xa1b2c3d4;
const REBOOT_HALT = 0xcdef0123;
const REBOOT_POWER_OFF = 0x4321fedc;

/** reboot(2) in a pid namespace: its init ends as if by a signal, reboot_pid_ns(). */
export function reboot(t: Task, a: SyscallArgs): number {
  if (!t.creds.capableIn(t.pidns.userns, CAP_SYS_BOOT)) return -EPERM;
  if (a.uint(0) !== MAGIC1 || !MAGIC2.includes(a.uint(1))) return -EINVAL;
  const command = a.uint(2);
  const init = t.pidns.init;
  if (command === REBOOT_RESTART || command === REBOOT_RESTART2) {
    if (init !== null) startGroupExit(init, SIGHUP);
    return 0;
  }
  if (command === REBOOT_HALT || command === REBOOT_POWER_OFF) {
    if (init !== null) startGroupExit(init, SIGINT);
    return 0;
  }
  return -EINVAL;
}

/** vhangup(2). */
export function vhangup(t: Task): number {
  if (!t.creds.capable(CAP_SYS_TTY_CONFIG)) return -EPERM;
  const { tty } = t.group;
  if (tty instanceof Pty) tty.hangupWithSignals();
  return 0;
}

function absentBehind(cap: number): (t: Task) => number {
  return (t) => (t.creds.capable(cap) ? -ENOSYS : -EPERM);
}

/** iopl(2): level 0 is what everybody has. */
export function iopl(t: Task, a: SyscallArgs): number {
  if (a.uint(0) > 3) return -EINVAL;
  if (a.uint(0) === 0) return 0;
  return t.creds.capable(CAP_SYS_RAWIO) ? -ENOSYS : -EPERM;
}

/** modify_ldt(2): the table is empty, and stays so. */
export function modify_ldt(_t: Task, a: SyscallArgs): number {
  return a.int(0) === 0 ? 0 : -ENOSYS;
}

/** bpf(2): kernel.unprivileged_bpf_disabled is 2. */
export function bpf(t: Task): number {
  return t.creds.capable(CAP_BPF) || t.creds.capable(CAP_SYS_ADMIN) ? -ENOSYS : -EPERM;
}

/** perf_event_open(2): kernel.perf_event_paranoid is 2, and there is no counter. */
export function perf_event_open(t: Task): number {
  return t.creds.capable(CAP_PERFMON) || t.creds.capable(CAP_SYS_ADMIN) ? -ENODEV : -EACCES;
}

/** quotactl(2): no file system of ours has quotas. */
export function quotactl(t: Task, a: SyscallArgs): number {
  if (!t.creds.capable(CAP_SYS_ADMIN)) return -EPERM;
  return a.addr(1) === 0 ? -ENOSYS : -ENOENT;
}

/** fanotify_mark(2): on what is not a group of fanotify_init. */
export function fanotify_mark(t: Task, a: SyscallArgs): number {
  return t.fds.get(a.int(0)) === undefined ? -EBADF : -EINVAL;
}

function absent(): number {
  return -ENOSYS;
}

export const systemCalls: readonly SyscallLine[] = [
  ...mempolicyCalls,
  ...keyCalls,
  ...aioCalls,
  ...mqueueCalls,
  call(SYS_uname, 'uname', 'buf:addr', uname),
  call(SYS_sysinfo, 'sysinfo', 'info:addr', sysinfo, 'partial', 'no buffers, swap or high memory'),
  call(SYS_syslog, 'syslog', 'type:int buf:addr len:int', syslog, 'partial', 'a fixed boot text'),
  call(SYS_getrandom, 'getrandom', 'buf:out:1 count:size flags:uint', getrandom),
  call(SYS_getcpu, 'getcpu', 'cpu:addr node:addr cache:addr', getcpu, 'partial', 'the first processor of the affinity mask'),
  call(SYS_sysfs, 'sysfs', 'option:int arg1:addr arg2:addr', sysfs),
  call(SYS_ustat, 'ustat', 'dev:uint buf:addr', ustat, 'partial', 'no device is known by number'),
  call(SYS_reboot, 'reboot', 'magic:int magic2:int cmd:uint arg:addr', reboot),
  call(SYS_vhangup, 'vhangup', '', vhangup),
  call(SYS_acct, 'acct', 'path:path', absentBehind(CAP_SYS_PACCT), 'none', 'EPERM without CAP_SYS_PACCT, else ENOSYS'),
  call(SYS_swapon, 'swapon', 'path:path flags:int', absentBehind(CAP_SYS_ADMIN), 'none', 'EPERM without CAP_SYS_ADMIN, else ENOSYS'),
  call(SYS_swapoff, 'swapoff', 'path:path', absentBehind(CAP_SYS_ADMIN), 'none', 'EPERM without CAP_SYS_ADMIN, else ENOSYS'),
  call(SYS_quotactl, 'quotactl', 'cmd:int special:addr id:int addr:addr', quotactl, 'none', 'no file system has quotas'),
  call(SYS_iopl, 'iopl', 'level:int', iopl, 'none', 'EPERM without CAP_SYS_RAWIO, else ENOSYS'),
  call(SYS_ioperm, 'ioperm', 'from:long num:long on:int', absentBehind(CAP_SYS_RAWIO), 'none', 'EPERM without CAP_SYS_RAWIO, else ENOSYS'),
  call(SYS_create_module, 'create_module', 'name:str size:size', absent, 'none', 'gone from Linux'),
  call(
    SYS_init_module,
    'init_module',
    'image:addr len:size params:str',
    absentBehind(CAP_SYS_MODULE),
    'none',
    'EPERM without CAP_SYS_MODULE, else ENOSYS',
  ),
  call(
    SYS_finit_module,
    'finit_module',
    'fd:fd params:str flags:int',
    absentBehind(CAP_SYS_MODULE),
    'none',
    'EPERM without CAP_SYS_MODULE, else ENOSYS',
  ),
  call(
    SYS_delete_module,
    'delete_module',
    'name:str flags:int',
    absentBehind(CAP_SYS_MODULE),
    'none',
    'EPERM without CAP_SYS_MODULE, else ENOSYS',
  ),
  call(
    SYS_kexec_load,
    'kexec_load',
    'entry:addr count:size segments:addr flags:uint',
    absentBehind(CAP_SYS_BOOT),
    'none',
    'EPERM without CAP_SYS_BOOT, else ENOSYS',
  ),
  call(
    SYS_kexec_file_load,
    'kexec_file_load',
    'kernel:fd initrd:fd len:size cmdline:addr flags:uint',
    absentBehind(CAP_SYS_BOOT),
    'none',
    'EPERM without CAP_SYS_BOOT, else ENOSYS',
  ),
  call(SYS_lookup_dcookie, 'lookup_dcookie', 'cookie:long buf:addr len:size', absentBehind(CAP_SYS_ADMIN), 'none', 'gone from Linux'),
  call(SYS_modify_ldt, 'modify_ldt', 'func:int ptr:addr count:size', modify_ldt, 'partial', 'the table is always empty'),
  call(SYS_bpf, 'bpf', 'cmd:int attr:addr size:uint', bpf, 'none', 'EPERM without CAP_BPF, else ENOSYS'),
  call(
    SYS_perf_event_open,
    'perf_event_open',
    'attr:addr pid:pid cpu:int group:fd flags:uint',
    perf_event_open,
    'none',
    'no counters: EACCES or ENODEV',
  ),
  call(SYS_userfaultfd, 'userfaultfd', 'flags:int', absentBehind(CAP_SYS_PTRACE), 'none', 'EPERM without CAP_SYS_PTRACE, else ENOSYS'),
  call(SYS_io_uring_setup, 'io_uring_setup', 'entries:uint params:addr', absent, 'none', 'ENOSYS, as a kernel without CONFIG_IO_URING'),
  call(SYS_io_uring_enter, 'io_uring_enter', 'fd:fd submit:uint complete:uint flags:uint arg:addr size:size', absent, 'none', 'ENOSYS'),
  call(SYS_io_uring_register, 'io_uring_register', 'fd:fd opcode:uint arg:addr count:uint', absent, 'none', 'ENOSYS'),
  call(
    SYS_fanotify_init,
    'fanotify_init',
    'flags:uint event_flags:uint',
    absentBehind(CAP_SYS_ADMIN),
    'none',
    'EPERM without CAP_SYS_ADMIN, else ENOSYS',
  ),
  call(
    SYS_fanotify_mark,
    'fanotify_mark',
    'fd:fd flags:uint mask:long dirfd:dirfd path:path',
    fanotify_mark,
    'none',
    'there are no groups',
  ),
];

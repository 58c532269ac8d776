// A kernel on the fake platform, and a hand that plays its guests: one call of sys() is one system
// call of one task, through the real entry, handlers, signals and wake-ups.
import { CTX_FAULT_ADDR, CTX_FAULT_CODE, CTX_FAULT_SIGNO } from '../../platform/context-page.ts';
import { EVENT_FAULT, EVENT_KICKED, EVENT_SYSCALL, ORIG_RAX, R8, R9, R10, RAX, RDI, RDX, RIP, RSI, RSP } from '../../platform/platform.ts';
import { TmpfsFilesystem } from '../../sentry/fs/tmpfs.ts';
import { Credentials } from '../../sentry/kernel/credentials.ts';
import { FdTable } from '../../sentry/kernel/fd-table.ts';
import { FsContext } from '../../sentry/kernel/fs-context.ts';
import { FutexTable } from '../../sentry/kernel/futex.ts';
import { Kernel, type SyscallEntry } from '../../sentry/kernel/kernel.ts';
import { PidNamespace } from '../../sentry/kernel/pid-namespace.ts';
import { TASK_BLOCKED, TASK_DEAD, TASK_GUEST, TASK_READY, TASK_STOPPED, type Task } from '../../sentry/kernel/task.ts';
import { createProcess } from '../../sentry/kernel/task-clone.ts';
import { continueTask, handleEvent } from '../../sentry/kernel/task-run.ts';
import { Timekeeper } from '../../sentry/kernel/timekeeper.ts';
import { UserNamespace } from '../../sentry/kernel/user-namespace.ts';
import { UtsNamespace } from '../../sentry/kernel/uts-namespace.ts';
import { MemoryManager } from '../../sentry/mm/memory-manager.ts';
import type { SyscallLine } from '../../sentry/syscalls/syscall-line.ts';
import { Mount, MountNamespace } from '../../sentry/vfs/mount.ts';
import { Vfs } from '../../sentry/vfs/vfs.ts';
import { FakePlatform, MEMORY_SIZE, MEMORY_START } from './fake-platform.ts';

export { TASK_BLOCKED, TASK_DEAD, TASK_GUEST, TASK_STOPPED };

const ARGUMENTS = [RDI, RSI, RDX, R10, R8, R9];
/** Where tests put data, and where each task's stack begins. */
export const DATA = MEMORY_START + 0x1000;
const STACK = MEMORY_START + MEMORY_SIZE - 0x1000;
export const CODE = MEMORY_START + 0x100;

export class FakeGuest {
  readonly platform = new FakePlatform();
  readonly kernel: Kernel;
  readonly init: Task;

  constructor(families: readonly (readonly SyscallLine[])[], isInit = true) {
    const userns = new UserNamespace(null, 0, 0);
    const syscalls: SyscallEntry[] = [];
    for (const family of families) for (const line of family) syscalls[line.nr] = line;
    const pidns = new PidNamespace(null, userns);
    this.kernel = new Kernel({
      platform: this.platform,
      clock: new Timekeeper(),
      vfs: new Vfs(),
      futexes: new FutexTable(null),
      rootPidNamespace: pidns,
      rootUserNamespace: userns,
      rootUtsNamespace: new UtsNamespace(userns, 'fake'),
      options: { strace: false },
      syscalls,
    });
    const mounts = new MountNamespace(
      userns,
      Mount.of(new TmpfsFilesystem({ size: 0, inodes: 0, mode: 0o755, uid: 0, gid: 0 } as never), 0),
    );
    const root = mounts.rootPath();
    if (!isInit) pidns.allocate();
    const context = this.platform.newAddressSpace();
    const made = createProcess(this.kernel, {
      context,
      mm: new MemoryManager(context.space, this.platform.topAddress),
      fds: new FdTable(),
      fs: new FsContext(root, root, mounts),
      creds: Credentials.root(userns),
      container: this.kernel.firstContainer,
      comm: 'init',
    });
    if (typeof made === 'number') throw new Error('no first process');
    this.init = made;
    this.init.state = TASK_GUEST;
    context.setReg(RSP, STACK);
    context.setReg(RIP, CODE);
  }

  /** One call: what is in rax afterwards, or undefined while the task is parked, stopped or dead. */
  sys(t: Task, nr: number, ...args: number[]): number | undefined {
    const c = t.context;
    c.setReg(ORIG_RAX, nr);
    c.setReg(RAX, -38);
    for (let i = 0; i < ARGUMENTS.length; i++) c.setReg(ARGUMENTS[i]!, args[i] ?? 0);
    c.setReg(RIP, c.reg(RIP) + 2);
    handleEvent(t, EVENT_SYSCALL);
    this.settle();
    return t.state === TASK_GUEST ? rax(t) : undefined;
  }

  /** Guest code raises a host signal. The details are put where the platform would. */
  fault(t: Task, signo: number, code: number, addr: number): void {
    const region = (t.context as unknown as { region: { i32: Int32Array; store64(at: number, v: number): void } }).region;
    region.i32[(t.context.base + CTX_FAULT_SIGNO) >> 2] = signo;
    region.i32[(t.context.base + CTX_FAULT_CODE) >> 2] = code;
    region.store64(t.context.base + CTX_FAULT_ADDR, addr);
    handleEvent(t, EVENT_FAULT);
    this.settle();
  }

  /** Runs woken tasks, and lets kicked ones see why, until nothing moves. */
  settle(): void {
    for (;;) {
      const woken = this.kernel.ready.shift();
      if (woken !== null) {
        if (woken.state === TASK_READY) continueTask(woken);
        continue;
      }
      const kicked = this.platform.kicked.shift();
      if (kicked === undefined) return;
      const t = this.kernel.taskOfContext[kicked.index];
      if (t !== undefined && t.state === TASK_GUEST) handleEvent(t, EVENT_KICKED);
    }
  }

  /** Lets time pass for timers that are due by then. */
  expire(nowNs: number): void {
    this.kernel.timers.expire(nowNs);
    this.settle();
  }

  /** The task with this number in the root namespace. */
  task(tid: number | undefined): Task {
    const t = this.kernel.tasks.get(tid!);
    if (t === undefined) throw new Error(`no task ${tid}`);
    return t;
  }
}

/** rax as a signed number. */
export function rax(t: Task): number {
  const value = t.context.reg(RAX);
  return value >= 2 ** 63 ? (t.context.regLo(RAX) >>> 0) - 2 ** 32 : value;
}

/** Stores 64-bit words of guest memory. */
export function put(t: Task, addr: number, ...words: number[]): number {
  for (let i = 0; i < words.length; i++) t.mm.storeU64(addr + i * 8, words[i]!);
  return addr;
}

// The control socket's end in the Sentry: requests of the command line, served between two system calls by the run
// loop itself (kernel.hostWatchers), so that no promise and no event loop of Node is involved.

import { EAGAIN, EBADMSG, EINVAL, ESRCH } from '../abi/errno.ts';
import { O_NONBLOCK, O_RDWR } from '../abi/fcntl.ts';
import { POLLIN } from '../abi/poll.ts';
import { SI_USER, SIG_DFL, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH } from '../abi/signal.ts';
import { SOCK_NONBLOCK } from '../abi/socket.ts';
import { debug, warn } from '../base/log.ts';
import { doubt } from '../fs/gofer/doubt.ts';
import { acceptSocket, fcntlSetFlags, setPdeathsig } from '../host/confine.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';
import { SigInfo } from '../kernel/signal-queue.ts';
import { groupUsage } from '../kernel/task-exit.ts';
import { sendToGroup } from '../kernel/task-signals.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import type { Container } from './container.ts';
import type { ProcessInfo, Request } from './control-protocol.ts';
import { PEER_GONE, PEER_REQUEST, Peer } from './peer.ts';
import { ProcessFiles } from './process-files.ts';
import { reportTasks } from './task-report.ts';
import { watchHost } from './watch.ts';

/** Signals whose default action ends nobody: signal(7). */
const HARMLESS: readonly number[] = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU];

/** Requests that one turn of the loop serves from one connection. */
const TURN = 64;

/** Threads that one message tells of: a unix socket takes some 200 KB at once. */
const MOST_TASKS = 400;

export class ControlServer {
  readonly kernel: Kernel;
  readonly container: Container;
  /** Who started us: hears of "ready" and "exit". */
  readonly parent: Peer;
  private readonly connections: Set<Connection> = new Set();

  constructor(kernel: Kernel, container: Container, parent: Peer) {
    this.kernel = kernel;
    this.container = container;
    this.parent = parent;
    this.addConnection(parent);
  }

  /** Called about once a second while guests make calls. */
  everySecond(): void {
    for (const connection of this.connections) connection.files?.refresh();
  }

  /** Accepts connections at the control socket. */
  listen(fd: number): void {
    fcntlSetFlags(fd, O_RDWR | O_NONBLOCK);
    watchHost(this.kernel, fd, POLLIN, new Listener(this, fd));
  }

  addConnection(peer: Peer): void {
    const connection = new Connection(this, peer);
    this.connections.add(connection);
    connection.token = watchHost(this.kernel, peer.fd, POLLIN, connection);
    // What came before we watched raises no edge.
    connection.hostReady(POLLIN);
  }

  removeConnection(connection: Connection): void {
    if (!this.connections.delete(connection)) return;
    connection.files?.stop();
    if (connection.anchorOf !== 0) this.anchorGone(connection.anchorOf);
    this.kernel.platform.unwatch(connection.peer.fd);
    this.kernel.hostWatchers.delete(connection.token);
    connection.peer.close();
  }

  /** This connection's other end stands for a process from now on. */
  private anchored(connection: Connection, pid: number): void {
    connection.anchorOf = pid;
    if (pid !== 1) return;
    const { kernel, container } = this;
    const files = new ProcessFiles(kernel, connection.peer, () => container.init);
    connection.files = files;
    kernel.processesChanged = () => files.changed();
    files.changed();
  }

  /** Who kills the host process that stands for a program means the program. */
  private anchorGone(pid: number): void {
    const { container } = this;
    if (container.init === null) container.abandon(SIGKILL);
    const group = pid === 1 ? container.init : (this.kernel.rootPidNamespace.group(pid) ?? null);
    if (group !== null && !group.isDead) sendToGroup(group, new SigInfo(SIGKILL, SI_USER), true);
  }

  /** The first program has ended. */
  exited(status: number): void {
    this.parent.send({ event: 'exit', status });
  }

  /** Serves one request; a thrown error would be a bug and ends the sandbox. */
  serve(connection: Connection, request: Request): void {
    const { peer } = connection;
    const reply = (result: unknown): void => peer.send({ id: request.id, result });
    const fail = (error: string, errno?: number): void => peer.send({ id: request.id, error, errno });
    const { container } = this;
    debug(`control: ${request.method}`);
    // Whoever has just changed the container's files from outside expects them to be there.
    doubt();
    switch (request.method) {
      case 'check': {
        const failure = container.check();
        if (failure === undefined) reply(0);
        else fail(failure.error, failure.errno);
        return;
      }
      case 'start': {
        const started = container.start();
        if (!('error' in started)) reply(started.group.tgid);
        else if (container.config.mortalInit || container.init !== null) fail(started.error, started.errno);
        else {
          // `check` let it pass and execve did not: the container is what fails, not its start.
          reply(0);
          container.endUnstarted(started);
        }
        return;
      }
      case 'exec': {
        const fds = peer.fds;
        peer.fds = [];
        const started = container.exec(request.process, fds);
        if ('error' in started) fail(started.error, started.errno);
        else reply(started.group.tgid);
        return;
      }
      case 'wait':
        if (!container.onExitOf(request.pid, reply)) fail(`process ${request.pid}`, ESRCH);
        return;
      case 'anchor':
        if (!container.onExitOf(request.pid, reply)) fail(`process ${request.pid}`, ESRCH);
        else this.anchored(connection, request.pid);
        return;
      case 'signal': {
        const result = this.signal(request);
        if (result < 0) fail(`process ${request.pid}`, -result);
        else reply(0);
        return;
      }
      case 'ps':
        reply(this.processes());
        return;
      case 'state':
        reply({ status: container.status });
        return;
      case 'limits':
        if (request.memoryBytes !== undefined) this.kernel.machine.limitMemory(request.memoryBytes ?? undefined);
        if (request.tasks !== undefined) this.kernel.tasksLimit = request.tasks ?? Number.POSITIVE_INFINITY;
        reply(0);
        return;
      case 'stats':
        reply({
          tasks: this.kernel.tasks.size,
          processes: this.kernel.rootPidNamespace.numbers().length,
          cpuNs: this.cpuNs(),
          platform: { name: this.kernel.platform.name, ...this.kernel.platform.statistics() },
        });
        return;
      case 'stacks':
        reply(reportTasks(this.kernel, MOST_TASKS));
        return;
      case 'detach':
        reply(setPdeathsig(0));
        return;
      case 'resize':
        reply(container.resize(request.pid, request.rows, request.columns));
        return;
      case 'pause':
      case 'resume':
        // The host stops our processes: runsc/commands/pause.ts.
        fail('not served here', EINVAL);
        return;
      default:
        fail('unknown request', EBADMSG);
    }
  }

  private signal(request: Request & { method: 'signal' }): number {
    const { signal, to } = request;
    if (!(signal >= 0 && signal <= 64)) return -EINVAL;
    if (this.container.init === null && (request.pid === 1 || to !== 'process')) {
      // Nothing has run yet: what would end the program ends the sandbox.
      if (signal === 0) return 0;
      this.container.abandon(signal);
      return 0;
    }
    if (to === 'all') {
      for (const group of this.groups()) this.sendTo(group, signal);
      return 0;
    }
    if (to === 'group') {
      let found = false;
      for (const group of this.groups()) {
        if (group.processGroup.pid.numbers[0] !== request.pid) continue;
        found = true;
        this.sendTo(group, signal);
      }
      return found ? 0 : -ESRCH;
    }
    const group = this.kernel.rootPidNamespace.group(request.pid);
    if (group === undefined || group.isDead) return -ESRCH;
    return this.sendTo(group, signal);
  }

  private sendTo(group: ThreadGroup, signal: number): number {
    if (signal === 0) return 0;
    if (this.container.config.mortalInit && group === this.container.init && !HARMLESS.includes(signal)) {
      if (group.handlers.get(signal).handler === SIG_DFL) group.unkillable = false;
    }
    // From outside all pid namespaces, so not even init is immune to SIGKILL and SIGSTOP.
    return sendToGroup(group, new SigInfo(signal, SI_USER), true);
  }

  private groups(): ThreadGroup[] {
    const ns = this.kernel.rootPidNamespace;
    const groups: ThreadGroup[] = [];
    for (const number of ns.numbers()) {
      const group = ns.group(number);
      if (group !== undefined && !group.isDead) groups.push(group);
    }
    return groups;
  }

  private cpuNs(): number {
    let total = 0;
    for (const group of this.groups()) {
      const usage = groupUsage(group);
      total += usage.userNs + usage.systemNs;
    }
    return total;
  }

  private processes(): ProcessInfo[] {
    return this.groups().map((group) => {
      const usage = groupUsage(group);
      return {
        pid: group.tgid,
        ppid: group.parent === null ? 0 : group.parent.tgid,
        uid: group.leader.creds.uid,
        threads: group.tasks.length,
        command: group.leader.comm,
        cpuNs: usage.userNs + usage.systemNs,
        ageNs: this.kernel.clock.monotonicNs() - group.leader.startNs,
      };
    });
  }
}

class Listener implements HostWatcher {
  private readonly server: ControlServer;
  private readonly fd: number;

  constructor(server: ControlServer, fd: number) {
    this.server = server;
    this.fd = fd;
  }

  hostReady(_events: number): void {
    for (;;) {
      const fd = acceptSocket(this.fd, SOCK_NONBLOCK);
      if (fd === -EAGAIN) return;
      if (fd < 0) {
        warn(`accepting at the control socket failed: ${-fd}`);
        return;
      }
      this.server.addConnection(new Peer(fd));
    }
  }
}

class Connection implements HostWatcher {
  readonly server: ControlServer;
  readonly peer: Peer;
  token = 0;
  /** The process that its other end stands for; 0: none. */
  anchorOf = 0;
  /** What it is told of the container's processes. */
  files: ProcessFiles | undefined = undefined;

  constructor(server: ControlServer, peer: Peer) {
    this.server = server;
    this.peer = peer;
  }

  hostReady(_events: number): void {
    for (let turn = 0; turn < TURN; turn++) {
      const what = this.peer.receive();
      if (what === PEER_REQUEST) {
        this.server.serve(this, this.peer.request!);
        continue;
      }
      if (what === PEER_GONE) this.server.removeConnection(this);
      return;
    }
  }
}

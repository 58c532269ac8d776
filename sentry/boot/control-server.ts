// The control socket's end in the Sentry: requests of the command line, served between two system calls by the run
// loop itself (kernel.hostWatchers), so that no promise and no event loop of Node is involved.

import { EAGAIN, EBADMSG, EINVAL, ESRCH } from '../abi/errno.ts';
import { O_NONBLOCK, O_RDWR } from '../abi/fcntl.ts';
import { POLLIN } from '../abi/poll.ts';
import { SI_USER, SIG_DFL, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH } from '../abi/signal.ts';
import { SOCK_NONBLOCK } from '../abi/socket.ts';
import { debug, warn } from '../base/log.ts';
import { doubt } from '../fs/gofer/doubt.ts';
import { acceptSocket, closeFd, fcntlSetFlags, setPdeathsig } from '../host/confine.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';
import { SigInfo } from '../kernel/signal-queue.ts';
import { groupUsage } from '../kernel/task-exit.ts';
import { sendToGroup } from '../kernel/task-signals.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import type { Container } from './container.ts';
import type { MemberCreated, ProcessInfo, Request } from './control-protocol.ts';
import type { Members } from './members.ts';
import { PEER_GONE, PEER_REQUEST, Peer } from './peer.ts';
import { ProcessFiles } from './process-files.ts';
import type { StartFailure } from './start-process.ts';
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
  private readonly members: Members;
  private readonly connections: Set<Connection> = new Set();
  private readonly listeners: Map<Container, Listener> = new Map();
  /** Who is told of processes. */
  private readonly files: Set<ProcessFiles> = new Set();

  /** parent: who started us, which hears of the first container's end. */
  constructor(kernel: Kernel, members: Members, parent: Peer) {
    this.kernel = kernel;
    this.members = members;
    kernel.processesChanged = () => {
      for (const files of this.files) files.changed();
    };
    this.addConnection(parent, members.first, true);
  }

  /** Called about once a second while guests make calls. */
  everySecond(): void {
    for (const files of this.files) files.refresh();
  }

  /** Accepts connections at a container's control socket. */
  listen(fd: number, container: Container): void {
    fcntlSetFlags(fd, O_RDWR | O_NONBLOCK);
    const listener = new Listener(this, fd, container);
    listener.token = watchHost(this.kernel, fd, POLLIN, listener);
    this.listeners.set(container, listener);
  }

  addConnection(peer: Peer, container: Container, isMaker = false): void {
    const connection = new Connection(this, peer, container, isMaker);
    this.connections.add(connection);
    connection.token = watchHost(this.kernel, peer.fd, POLLIN, connection);
    // What came before we watched raises no edge.
    connection.hostReady(POLLIN);
  }

  removeConnection(connection: Connection): void {
    if (!this.connections.delete(connection)) return;
    if (connection.files !== undefined) {
      this.files.delete(connection.files);
      connection.files.stop();
    }
    if (connection.anchorOf !== 0) this.anchorGone(connection.container, connection.anchorOf);
    // Nobody but its maker knows of it yet. The first one dies with its maker by the host's doing.
    if (connection.isMaker && connection.container !== this.members.first) this.members.end(connection.container);
    this.kernel.platform.unwatch(connection.peer.fd);
    this.kernel.hostWatchers.delete(connection.token);
    connection.peer.close();
  }

  /** This connection's other end stands for a process from now on. */
  private anchored(connection: Connection, pid: number): void {
    connection.anchorOf = pid;
    if (pid !== 1) return;
    const { container } = connection;
    const files = new ProcessFiles(this.kernel, connection.peer, () => container.init);
    connection.files = files;
    this.files.add(files);
    files.changed();
  }

  /** Whoever hears that a process has ended does not find it in the host's list any more. */
  private ending(container: Container, pid: number, reply: (status: number) => void): (status: number) => void {
    return (status) => {
      for (const connection of this.connections) if (connection.container === container) connection.files?.ended(pid);
      reply(status);
    };
  }

  /** Who kills the host process that stands for a program means the program. */
  private anchorGone(container: Container, pid: number): void {
    if (container.init === null && container.status !== 'stopped') container.abandon(SIGKILL);
    const group = container.find(pid);
    if (group !== undefined && !group.isDead) sendToGroup(group, new SigInfo(SIGKILL, SI_USER), true);
  }

  /** A container's first program has ended. */
  exited(container: Container, status: number): void {
    for (const connection of this.connections)
      if (connection.isMaker && connection.container === container) connection.peer.send({ event: 'exit', status });
    this.listeners.get(container)?.close();
    this.listeners.delete(container);
  }

  /** A further container is made of what came with the request; the connection is about that one from now on. */
  private create(connection: Connection): MemberCreated | StartFailure {
    const { peer } = connection;
    if (connection.isMaker || connection.anchorOf !== 0) return { error: 'this connection is about another container', errno: EINVAL };
    const fds = peer.fds;
    peer.fds = [];
    const made = this.members.create(fds);
    if ('error' in made) return made;
    const { container, controlFd } = made;
    container.onEnd = (status) => {
      this.exited(container, status);
      this.members.forget(container);
    };
    this.listen(controlFd, container);
    connection.container = container;
    connection.isMaker = true;
    const { nursery } = container.scope;
    return { nursery: nursery === null ? 0 : nursery.space.memoryTid };
  }

  /** Serves one request; a thrown error would be a bug and ends the sandbox. */
  serve(connection: Connection, request: Request): void {
    const { peer } = connection;
    const reply = (result: unknown): void => peer.send({ id: request.id, result });
    const fail = (error: string, errno?: number): void => peer.send({ id: request.id, error, errno });
    const { container } = connection;
    debug(`control: ${request.method} of ${container.config.id}`);
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
        if (!('error' in started)) reply(container.numberOf(started.group));
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
        else reply(container.numberOf(started.group));
        return;
      }
      case 'wait':
        if (!container.onExitOf(request.pid, this.ending(container, request.pid, reply))) fail(`process ${request.pid}`, ESRCH);
        return;
      case 'anchor':
        if (!container.onExitOf(request.pid, this.ending(container, request.pid, reply))) fail(`process ${request.pid}`, ESRCH);
        else this.anchored(connection, request.pid);
        return;
      case 'signal': {
        const result = this.signal(container, request);
        if (result < 0) fail(`process ${request.pid}`, -result);
        else reply(0);
        return;
      }
      case 'ps':
        reply(this.processes(container));
        return;
      case 'state':
        reply({ status: container.status, networkCapabilities: this.members.networkCapabilities });
        return;
      case 'limits':
        if (request.memoryBytes !== undefined) container.scope.memory.limitMemory(request.memoryBytes ?? undefined);
        if (request.tasks !== undefined) container.scope.tasksLimit = request.tasks ?? Number.POSITIVE_INFINITY;
        reply(0);
        return;
      case 'stats':
        reply({
          tasks: container.scope.tasks,
          processes: container.groups().length,
          cpuNs: cpuNs(container),
          platform: { name: this.kernel.platform.name, ...this.kernel.platform.statistics() },
        });
        return;
      case 'stacks':
        reply(reportTasks(this.kernel, container.scope, MOST_TASKS));
        return;
      case 'detach':
        // The first one's sandbox dies with its maker, a further one when its maker's connection ends.
        if (container === this.members.first) reply(setPdeathsig(0));
        else {
          connection.isMaker = false;
          reply(0);
        }
        return;
      case 'create': {
        const made = this.create(connection);
        if ('error' in made) fail(made.error, made.errno);
        else reply(made);
        return;
      }
      case 'memory': {
        const [fd, ...others] = peer.fds;
        peer.fds = others;
        if (fd === undefined) fail('a descriptor is needed', EINVAL);
        else {
          container.scope.memory = this.kernel.machine.shareOf(container.config.memoryBytes, fd);
          reply(0);
        }
        return;
      }
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

  private signal(container: Container, request: Request & { method: 'signal' }): number {
    const { signal, to } = request;
    if (!(signal >= 0 && signal <= 64)) return -EINVAL;
    if (container.init === null && (request.pid === 1 || to !== 'process')) {
      // Nothing has run yet: what would end the program ends the container.
      if (signal !== 0 && container.status !== 'stopped') container.abandon(signal);
      return 0;
    }
    if (to === 'all') {
      for (const group of container.groups()) this.sendTo(container, group, signal);
      return 0;
    }
    if (to === 'group') {
      const { pidns } = container.scope;
      const wanted = request.pid === 1 && container.init !== null ? container.numberOf(container.init) : request.pid;
      let found = false;
      for (const group of container.groups()) {
        if (group.processGroup.pid.numberIn(pidns) !== wanted) continue;
        found = true;
        this.sendTo(container, group, signal);
      }
      return found ? 0 : -ESRCH;
    }
    const group = container.find(request.pid);
    if (group === undefined || group.isDead) return -ESRCH;
    return this.sendTo(container, group, signal);
  }

  private sendTo(container: Container, group: ThreadGroup, signal: number): number {
    if (signal === 0) return 0;
    if (container.config.mortalInit && group === container.init && !HARMLESS.includes(signal)) {
      if (group.handlers.get(signal).handler === SIG_DFL) group.unkillable = false;
    }
    // From outside all pid namespaces, so not even init is immune to SIGKILL and SIGSTOP.
    return sendToGroup(group, new SigInfo(signal, SI_USER), true);
  }

  private processes(container: Container): ProcessInfo[] {
    return container.groups().map((group) => {
      const usage = groupUsage(group);
      return {
        pid: container.numberOf(group),
        ppid: group.parentPidIn(container.scope.pidns),
        uid: group.leader.creds.uid,
        threads: group.tasks.length,
        command: group.leader.comm,
        cpuNs: usage.userNs + usage.systemNs,
        ageNs: this.kernel.clock.monotonicNs() - group.leader.startNs,
      };
    });
  }
}

function cpuNs(container: Container): number {
  let total = 0;
  for (const group of container.groups()) {
    const usage = groupUsage(group);
    total += usage.userNs + usage.systemNs;
  }
  return total;
}

class Listener implements HostWatcher {
  private readonly server: ControlServer;
  private readonly fd: number;
  private readonly container: Container;
  token = 0;

  constructor(server: ControlServer, fd: number, container: Container) {
    this.server = server;
    this.fd = fd;
    this.container = container;
  }

  /** Who connects from now on is refused. */
  close(): void {
    this.server.kernel.platform.unwatch(this.fd);
    this.server.kernel.hostWatchers.delete(this.token);
    closeFd(this.fd);
  }

  hostReady(_events: number): void {
    for (;;) {
      const fd = acceptSocket(this.fd, SOCK_NONBLOCK);
      if (fd === -EAGAIN) return;
      if (fd < 0) {
        warn(`accepting at the control socket failed: ${-fd}`);
        return;
      }
      this.server.addConnection(new Peer(fd), this.container);
    }
  }
}

class Connection implements HostWatcher {
  readonly server: ControlServer;
  readonly peer: Peer;
  /** Whom requests are about. */
  container: Container;
  /** Its other end has made the container, and waits for it or has not put it on record yet. */
  isMaker: boolean;
  token = 0;
  /** The process that its other end stands for; 0: none. */
  anchorOf = 0;
  /** What it is told of the container's processes. */
  files: ProcessFiles | undefined = undefined;

  constructor(server: ControlServer, peer: Peer, container: Container, isMaker: boolean) {
    this.server = server;
    this.peer = peer;
    this.container = container;
    this.isMaker = isMaker;
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

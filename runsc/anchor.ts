// The host process that stands for a program of a sandbox (native/anchor/anchor.c): a container's is what --pid-file
// names. It is no part of the sandbox. It has namespaces of its own, so that whoever joins those of "the container's
// process", as podman's cp and top or a second container do, finds the container's files, network and name there.

import { fstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS } from '../sentry/abi/sched.ts';
import { pair, textFd } from './descriptors.ts';
import { RunscError } from './errors.ts';
import { anchorPath, closeFd, finishProcess, killProcess, startProcess, waitPid } from './host.ts';
import { type IdMap, idMapsOf, idMapText } from './id-maps.ts';
import { openNamespace } from './namespaces.ts';
import type { Spec } from './spec.ts';
import type { HostTmpfs } from './trees.ts';

/** A mount as it is to look from outside. */
export interface ViewMount {
  /** folder: of what is mounted there nothing can be shown. */
  readonly kind: 'bind' | 'tmpfs' | 'folder';
  /** Of a tmpfs: the one that the gofer serves. Without it, it is the sandbox's own, and an empty one stands for it. */
  readonly host?: HostTmpfs;
  /** A path of the host; '' but for binds. */
  readonly source: string;
  /** A bound file is no folder. */
  readonly isFile: boolean;
  readonly target: string;
  readonly readOnly: boolean;
}

export interface AnchorOptions {
  /** Connection to the sandbox, on which request `reply` has been sent. Stays the caller's. */
  readonly connection: number;
  readonly reply: number;
  /** The program and its arguments. */
  readonly args: readonly string[];
  /** Number of the program in the sandbox. */
  readonly pid: number;
  /** The host's terminal that the program's is joined to; none: undefined or negative. */
  readonly terminal?: number;
  /** What it shows; none for a program of exec. */
  readonly view?: AnchorView;
  /** Called before it runs: puts it into the cgroup. */
  readonly joinCgroup?: (pid: number) => void;
}

export interface AnchorView {
  readonly spec: Spec;
  readonly rootfs: string;
  readonly mounts: readonly ViewMount[];
  /** A file that stands for the network namespace of the container; undefined: the caller's network. */
  readonly network: string | undefined;
  /** A namespace file: the user namespace that the container has; undefined: the caller's. */
  readonly userNamespace: string | undefined;
  /** Its maps, as the caller sees them. */
  readonly maps: { readonly uid: readonly IdMap[]; readonly gid: readonly IdMap[] } | undefined;
}

/** Size of what a sandbox may tell of its processes: the pages are charged to the container. */
const PROC_OPTIONS = 'size=16m,nr_inodes=100k,mode=755';

/** Where its descriptors of mounts begin. */
const VIEW_FDS = 6;

/** Starts it; its pid. The caller is its parent, whose subreaper inherits it. */
export function startAnchor(options: AnchorOptions): number {
  const { view } = options;
  const owned: number[] = [];
  try {
    if (view === undefined) return begin(options, [], 0, [], owned);
    const { flags, joined } = namespacesOf(view, owned);
    let userNamespace = -1;
    if (view.userNamespace !== undefined) {
      userNamespace = openNamespace(view.userNamespace, 'user');
      owned.push(userNamespace);
    }
    try {
      const mountFds: number[] = [];
      return begin(options, planOf(view, mountFds), flags, joined, owned, userNamespace, mountFds);
    } catch (error) {
      // Who may not make namespaces has a container without a view: nobody can look for it then, either.
      if (!(error instanceof RunscError) || (process.geteuid!() === 0 && !refusedByHost(error))) throw error;
      return begin(options, [], 0, [], owned);
    }
  } finally {
    for (const fd of owned) closeFd(fd);
  }
}

function refusedByHost(error: RunscError): boolean {
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EPERM';
}

function begin(
  options: AnchorOptions,
  plan: readonly string[],
  cloneFlags: number,
  joined: readonly (readonly [number, string])[],
  owned: number[],
  userNamespace = -1,
  mountFds: readonly number[] = [],
): number {
  const text = plan.map((word) => `${word}\0`).join('');
  const planFd = textFd('anchor-plan', text, owned);
  const { terminal = -1 } = options;
  const hasTerminal = terminal >= 0;
  let child: { pid: number; pidfd: number };
  try {
    child = startProcess({
      exe: anchorPath(),
      // Who lists the processes of the host sees the program's words: `docker top`.
      argv: options.args.map(shown),
      env: [String(options.reply), String(options.pid)],
      fds: [
        [0, options.connection],
        [3, planFd],
        ...(hasTerminal ? [[4, terminal] as const] : []),
        ...(userNamespace >= 0 ? [[5, userNamespace] as const] : []),
        ...mountFds.map((fd, i) => [VIEW_FDS + i, fd] as const),
      ],
      cwd: '/',
      session: true,
      ...(hasTerminal ? { ctty: terminal } : {}),
      cloneFlags,
      join: joined,
      privateMounts: (cloneFlags & CLONE_NEWNS) !== 0,
    });
  } catch (error) {
    throw new RunscError('starting the process that stands for the container', error);
  }
  let finished = false;
  try {
    options.joinCgroup?.(child.pid);
    finished = true;
    finishProcess(child.pid);
  } catch (error) {
    if (!finished) {
      finishProcess(child.pid, true);
      waitPid(child.pid, 0);
      closeFd(child.pidfd);
    }
    throw new RunscError('starting the process that stands for the container', error);
  }
  closeFd(child.pidfd);
  return child.pid;
}

/** Long arguments are cut: the page they take is charged to the container. */
const SHOWN_MAX = 200;

function shown(arg: string): string {
  return arg.length > SHOWN_MAX ? arg.slice(0, SHOWN_MAX) : arg;
}

/** Kills it and takes its end. */
export function endAnchor(pid: number): void {
  killProcess(pid, 9);
  waitPid(pid, 0);
}

/** How long a process may take to enter a namespace. */
const ENTER_MS = 2000;

/** The maps of a user namespace that is known by its file alone: a process enters it for the moment that it takes to ask. */
export function idMapsIn(path: string): { uid: IdMap[]; gid: IdMap[] } {
  const owned: number[] = [];
  try {
    const userNamespace = openNamespace(path, 'user');
    owned.push(userNamespace);
    // Nothing comes on it. Its other end goes with it, and with that the process that watches it.
    const connection = pair(owned)[0]!;
    const wanted = `user:[${fstatSync(userNamespace).ino}]`;
    const pid = begin({ connection, reply: 1, args: ['runsc'], pid: 1 }, ['u', '', ''], 0, [], owned, userNamespace);
    try {
      for (const until = Date.now() + ENTER_MS; readlinkSync(`/proc/${pid}/ns/user`) !== wanted; )
        if (Date.now() > until) throw new RunscError(`entering the user namespace ${path}`, 'the host refuses it');
      return idMapsOf(pid);
    } finally {
      endAnchor(pid);
    }
  } finally {
    for (const fd of owned) closeFd(fd);
  }
}

/** Namespaces of its own where the container has them, and those of others by path. */
function namespacesOf(view: AnchorView, owned: number[]): { flags: number; joined: [number, string][] } {
  let flags = CLONE_NEWNS;
  const joined: [number, string][] = [];
  const enter = (path: string, kind: string, name: string): void => {
    const fd = openNamespace(path, kind);
    owned.push(fd);
    joined.push([fd, name]);
  };
  const own: readonly (readonly [string, string, number])[] = [
    ['uts', 'uts', CLONE_NEWUTS],
    ['ipc', 'ipc', CLONE_NEWIPC],
    ['pid', 'pid_for_children', CLONE_NEWPID],
  ];
  for (const [kind, name, flag] of own) {
    const namespace = view.spec.namespaces.find((n) => n.type === kind);
    if (namespace === undefined) continue;
    if (namespace.path === undefined) flags |= flag;
    else enter(namespace.path, kind, name);
  }
  if (view.network !== undefined) enter(view.network, 'network', 'net');
  return { flags, joined };
}

/** mountFds: gets the mounts that steps `m` number from VIEW_FDS on. */
function planOf(view: AnchorView, mountFds: number[]): string[] {
  const { spec } = view;
  const plan: string[] = [];
  const uts = spec.namespaces.find((n) => n.type === 'uts');
  if (uts !== undefined && uts.path === undefined && spec.hostname !== undefined) plan.push('h', spec.hostname);
  plan.push('r', view.rootfs);
  const empty: string[] = [];
  for (const mount of view.mounts) {
    plan.push(...placesFor(mount, empty));
    if (mount.kind === 'bind') plan.push('b', mount.source, mount.target, mount.readOnly ? 'ro' : 'rw');
    else if (mount.kind === 'tmpfs') {
      if (mount.host === undefined) plan.push('t', mount.target, 'size=0,mode=755');
      else plan.push('m', String(VIEW_FDS + mountFds.push(mount.host.viewFd) - 1), mount.target, mount.readOnly ? 'ro' : 'rw');
      empty.push(mount.target);
    }
  }
  plan.push('p', join('/', 'proc'), PROC_OPTIONS);
  // Once all mounts have their places.
  if (spec.root.readonly) plan.push('o');
  plan.push('v');
  if (view.userNamespace !== undefined) plan.push('u', idMapText(view.maps?.uid ?? []), idMapText(view.maps?.gid ?? []));
  return plan;
}

/** Steps that make the place of a mount and the folders on the way to it, where one of `empty` (tmpfs that are ours) hides what is there. */
function placesFor(mount: ViewMount, empty: readonly string[]): string[] {
  const below = empty.findLast((at) => mount.target.startsWith(`${at}/`));
  if (below === undefined) return [];
  const steps: string[] = [];
  for (let slash = mount.target.indexOf('/', below.length + 1); slash > 0; slash = mount.target.indexOf('/', slash + 1))
    steps.push('d', mount.target.slice(0, slash));
  steps.push(mount.isFile ? 'f' : 'd', mount.target);
  return steps;
}

// Messages of the control socket: SOCK_SEQPACKET, one JSON object a message, descriptors beside it by SCM_RIGHTS.
// Who asks sends a Request and gets one Reply with the same number; Events come unasked to who started the sandbox.
// Types only: runsc/control-client.ts asks, boot/control-server.ts answers.

import type { ProcessConfig } from './boot-config.ts';
import type { Phase } from './phases.ts';

export type Request =
  /** Whether the first program is there and may be executed, as things stand; fails as start would. */
  | { readonly id: number; readonly method: 'check' }
  /** Runs the container's first program. Reply: its pid in the sandbox. */
  | { readonly id: number; readonly method: 'start' }
  /** Replies when the process has ended, with its wait status. pid 1, or what exec answered. */
  | { readonly id: number; readonly method: 'wait'; readonly pid: number }
  /**
   * The same, for the host process that stands for it: when its connection ends before, the process is killed. pid 1
   * may be asked for before it has been started.
   */
  | { readonly id: number; readonly method: 'anchor'; readonly pid: number }
  /** To one process, its process group, or all of the container. */
  | {
      readonly id: number;
      readonly method: 'signal';
      readonly pid: number;
      readonly signal: number;
      readonly to: 'process' | 'group' | 'all';
    }
  /** Starts a program beside the first one; its three stdio descriptors come with the message. Reply: its pid. */
  | { readonly id: number; readonly method: 'exec'; readonly process: ProcessConfig }
  | { readonly id: number; readonly method: 'ps' }
  | { readonly id: number; readonly method: 'state' }
  | { readonly id: number; readonly method: 'pause' }
  | { readonly id: number; readonly method: 'resume' }
  /** The host's terminal behind a process's stdio has a new size. */
  | { readonly id: number; readonly method: 'resize'; readonly pid: number; readonly rows: number; readonly columns: number }
  | { readonly id: number; readonly method: 'stats' }
  /** Reply: TaskInfo[] of as many as one message holds. */
  | { readonly id: number; readonly method: 'stacks' }
  /** Other limits; null is none, what is missing stays. */
  | { readonly id: number; readonly method: 'limits'; readonly memoryBytes?: number | null; readonly tasks?: number | null }
  /** The container is on record: it may outlive whoever started it. Until then it dies with that process. */
  | { readonly id: number; readonly method: 'detach' }
  /**
   * Makes a further container in this sandbox, of the descriptors that come with the message: first a file with its
   * MemberConfig, then what that names. From the reply on the connection is about that container, whose maker its other
   * end is. Reply: Created.
   */
  | { readonly id: number; readonly method: 'create' }
  /** The descriptor that comes along is read for the memory that the container uses. */
  | { readonly id: number; readonly method: 'memory' };

export type Method = Request['method'];

export interface Reply {
  readonly id: number;
  readonly result?: unknown;
  /** What went wrong, for the user, with the errno if there is one. */
  readonly error?: string;
  readonly errno?: number;
}

export type Event =
  /** Locked down: nothing of the host can be reached any more. */
  | { readonly event: 'ready'; readonly phases: readonly Phase[] }
  /** The sandbox could not be made; the process ends after this. */
  | { readonly event: 'failed'; readonly error: string; readonly errno?: number }
  /** The first program has ended: a wait status. The process ends after this. */
  | { readonly event: 'exit'; readonly status: number };

export interface ProcessInfo {
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly threads: number;
  readonly command: string;
  readonly cpuNs: number;
  readonly ageNs: number;
}

/** A guest thread, and if it waits, in which call, until what, and where the Sentry goes on. */
export interface TaskInfo {
  readonly pid: number;
  readonly tid: number;
  readonly command: string;
  /** As ps(1) has it. */
  readonly state: string;
  readonly call?: string;
  readonly until?: string;
  readonly resume?: string;
}

/** A further container is there. */
export interface MemberCreated {
  /** Whom to move to the container's cgroup, by the number in the sandbox's pid namespace on the host; 0: it asked for none. */
  readonly nursery: number;
}

export interface SandboxState {
  readonly status: 'created' | 'running' | 'paused' | 'stopped';
  /** What the network broker may do, as a bit set of capabilities. */
  readonly networkCapabilities: number;
}

export interface SandboxStats {
  readonly processes: number;
  readonly tasks: number;
  readonly cpuNs: number;
}

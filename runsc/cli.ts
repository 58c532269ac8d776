// The command table, once: dispatch, help, and what scripts/docs.ts makes man pages and completions of.

import { basename } from 'node:path';
import { isSea } from 'node:sea';
import { type Config, configFrom, globalFlags } from './config.ts';
import { describe, exitCodeOf, RunscError } from './errors.ts';
import { describeFlags, type Flag, FlagValues, parseFlags } from './flags.ts';
import { configureMessages, debugLine, hasLogFile, logError, phase } from './messages.ts';
import { print } from './output.ts';

/** What a command gets. */
export interface Invocation {
  readonly config: Config;
  readonly flags: FlagValues;
  /** Words after the flags. */
  readonly args: readonly string[];
}

export interface Command {
  readonly name: string;
  /** Words after the flags, for the help. */
  readonly args: string;
  /** How many words it takes: fewest and most. */
  readonly arity: readonly [number, number];
  readonly help: string;
  readonly flags: readonly Flag[];
  /** Answers the exit code. Loaded when it is called, so that a start loads one command. */
  readonly run: (invocation: Invocation) => Promise<number> | number;
  /** Exit code of an error of runsc's own: exec keeps the codes below for the program. */
  readonly errorCode?: number;
}

/** What it was called by, for its help: who wants it in another's place links it there. */
const PROGRAM = isSea() ? basename(process.argv0) : 'runsc';
const MANY = Number.POSITIVE_INFINITY;

const bundleFlags: readonly Flag[] = [
  { name: 'bundle', short: 'b', kind: 'string', value: 'DIR', fallback: '.', help: 'folder with config.json' },
  { name: 'console-socket', kind: 'string', value: 'PATH', help: 'unix socket that gets the terminal' },
  { name: 'pidfd-socket', kind: 'string', value: 'PATH', help: 'unix socket that gets a pidfd of the container' },
  { name: 'pid-file', kind: 'string', value: 'FILE', help: "gets the number of the container's host process" },
  { name: 'user-log', kind: 'string', value: 'FILE', help: "log for the container's owner", ignored: true },
  { name: 'preserve-fds', kind: 'number', help: 'pass so many descriptors, from 3 on' },
  { name: 'no-pivot', kind: 'switch', help: 'no pivot_root', ignored: true },
  { name: 'no-new-keyring', kind: 'switch', help: 'keep the session keyring', ignored: true },
];
const runFlags: readonly Flag[] = [
  { name: 'detach', short: 'd', kind: 'switch', help: 'leave it running in the background' },
  { name: 'keep', kind: 'switch', help: 'keep the state of a container that has ended' },
  { name: 'no-subreaper', kind: 'switch', help: 'let orphans go to the caller', ignored: true },
];
const formatFlag = (choices: readonly string[]): Flag => ({
  name: 'format',
  short: 'f',
  kind: 'string',
  choices,
  fallback: choices[0]!,
  help: 'form of the output',
});

/** Flags of runc's for CRIU, which some front ends pass. */
const criuFlags: readonly Flag[] = [
  ...[
    'image-path',
    'work-path',
    'parent-path',
    'status-fd',
    'page-server',
    'manage-cgroups-mode',
    'empty-ns',
    'lsm-profile',
    'lsm-mount-context',
  ].map((name): Flag => ({ name, kind: 'string', help: "for runc's CRIU", ignored: true })),
  ...[
    'leave-running',
    'tcp-established',
    'ext-unix-sk',
    'shell-job',
    'lazy-pages',
    'file-locks',
    'pre-dump',
    'auto-dedup',
    'tcp-skip-in-flight',
    'link-remap',
  ].map((name): Flag => ({ name, kind: 'switch', help: "for runc's CRIU", ignored: true })),
];

export const commands: readonly Command[] = [
  {
    name: 'do',
    args: '[--] COMMAND [ARG...]',
    arity: [1, MANY],
    help: "run a command in a sandbox that sees the host's files and keeps its writes to itself",
    flags: [
      { name: 'root', kind: 'string', value: 'DIR', fallback: '/', help: 'root of the file system' },
      { name: 'cwd', kind: 'string', value: 'DIR', help: "working directory (default the caller's)" },
      { name: 'env', short: 'e', kind: 'list', value: 'NAME=VALUE', help: 'one more variable' },
      {
        name: 'volume',
        short: 'v',
        kind: 'list',
        value: 'SRC:DST[:OPTIONS]',
        help: 'bind a file or folder of the host that writes go to; options: ro',
      },
      { name: 'hostname', kind: 'string', value: 'NAME', fallback: 'runsc', help: 'name of the machine' },
      { name: 'network', kind: 'string', choices: ['none', 'host', 'sandbox'], help: 'in place of the global flag' },
      { name: 'force-overlay', kind: 'switch', fallback: 'true', help: 'keep writes in memory; =false lets them through' },
      { name: 'uid', kind: 'number', help: 'user of the command', fallback: '0' },
      { name: 'gid', kind: 'number', help: 'its group', fallback: '0' },
      { name: 'quiet', kind: 'switch', help: 'say nothing of its own', ignored: true },
      { name: 'ip', kind: 'string', help: 'address of the sandbox', ignored: true },
      { name: 'uid-map', kind: 'list', value: 'MAP', help: 'ids of the user namespace', ignored: true },
      { name: 'gid-map', kind: 'list', value: 'MAP', help: 'ids of the user namespace', ignored: true },
    ],
    run: async (i) => (await import('./commands/do.ts')).run(i),
  },
  {
    name: 'run',
    args: 'ID',
    arity: [1, 1],
    help: 'create a container, start it and wait for its end',
    flags: [...bundleFlags, ...runFlags],
    run: async (i) => (await import('./commands/run.ts')).run(i),
  },
  {
    name: 'create',
    args: 'ID',
    arity: [1, 1],
    help: 'create a container',
    flags: bundleFlags,
    run: async (i) => (await import('./commands/create.ts')).run(i),
  },
  {
    name: 'start',
    args: 'ID',
    arity: [1, 1],
    help: "start a created container's program",
    flags: [],
    run: async (i) => (await import('./commands/start.ts')).run(i),
  },
  {
    name: 'state',
    args: 'ID',
    arity: [1, 1],
    help: 'print the state of a container as JSON',
    flags: [],
    run: async (i) => (await import('./commands/state.ts')).run(i),
  },
  {
    name: 'kill',
    args: 'ID [SIGNAL]',
    arity: [1, 2],
    help: "send a signal (default SIGTERM) to a container's first process",
    flags: [
      { name: 'all', short: 'a', kind: 'switch', help: 'to all processes of the container' },
      { name: 'pid', kind: 'number', help: 'to this process of the container' },
      { name: 'pgid', kind: 'number', help: 'to this process group of the container' },
    ],
    run: async (i) => (await import('./commands/kill.ts')).run(i),
  },
  {
    name: 'delete',
    args: 'ID...',
    arity: [1, MANY],
    help: 'forget a stopped container',
    flags: [{ name: 'force', short: 'f', kind: 'switch', help: 'kill it first; a container that is not there is no error' }],
    run: async (i) => (await import('./commands/delete.ts')).run(i),
  },
  {
    name: 'exec',
    args: 'ID COMMAND [ARG...]',
    arity: [1, MANY],
    help: 'run a further program in a running container',
    flags: [
      { name: 'cwd', kind: 'string', value: 'DIR', help: 'working directory' },
      { name: 'env', short: 'e', kind: 'list', value: 'NAME=VALUE', help: 'one more variable' },
      { name: 'tty', short: 't', kind: 'switch', help: 'give it a terminal' },
      { name: 'user', short: 'u', kind: 'string', value: 'UID[:GID]', help: 'user and group' },
      { name: 'additional-gids', short: 'g', kind: 'list', value: 'GID', help: 'further groups' },
      { name: 'process', short: 'p', kind: 'string', value: 'FILE', help: 'process.json with all of it' },
      { name: 'detach', short: 'd', kind: 'switch', help: 'do not wait for its end' },
      { name: 'pid-file', kind: 'string', value: 'FILE', help: 'gets the number of the host process that stands for it' },
      { name: 'internal-pid-file', kind: 'string', value: 'FILE', help: 'gets its number in the container' },
      { name: 'console-socket', kind: 'string', value: 'PATH', help: 'unix socket that gets the terminal' },
      { name: 'pidfd-socket', kind: 'string', value: 'PATH', help: 'unix socket that gets a pidfd' },
      { name: 'cap', short: 'c', kind: 'list', value: 'CAPABILITY', help: 'one more capability' },
      { name: 'no-new-privs', kind: 'switch', help: 'execve gives no privileges' },
      { name: 'preserve-fds', kind: 'number', help: 'pass so many descriptors, from 3 on' },
      { name: 'process-label', kind: 'string', value: 'LABEL', help: 'SELinux label', ignored: true },
      { name: 'apparmor', kind: 'string', value: 'PROFILE', help: 'AppArmor profile', ignored: true },
      { name: 'cgroup', kind: 'list', value: 'PATH', help: "cgroup below the container's", ignored: true },
      { name: 'ignore-paused', kind: 'switch', help: 'also in a paused container' },
    ],
    errorCode: 255,
    run: async (i) => (await import('./commands/exec.ts')).run(i),
  },
  {
    name: 'ps',
    args: 'ID [PS-OPTION...]',
    arity: [1, MANY],
    help: "list a container's processes",
    flags: [formatFlag(['table', 'json'])],
    run: async (i) => (await import('./commands/ps.ts')).run(i),
  },
  {
    name: 'list',
    args: '',
    arity: [0, 0],
    help: 'list the containers of --root',
    flags: [formatFlag(['table', 'json', 'text']), { name: 'quiet', short: 'q', kind: 'switch', help: 'only ids' }],
    run: async (i) => (await import('./commands/list.ts')).run(i),
  },
  {
    name: 'spec',
    args: '[-- COMMAND [ARG...]]',
    arity: [0, MANY],
    help: 'write a config.json to begin with',
    flags: [
      { name: 'bundle', short: 'b', kind: 'string', value: 'DIR', fallback: '.', help: 'where it is put' },
      { name: 'rootless', kind: 'switch', help: 'for a container of an ordinary user' },
      { name: 'netns', kind: 'string', value: 'PATH', help: 'network namespace to join' },
    ],
    run: async (i) => (await import('./commands/spec.ts')).run(i),
  },
  {
    name: 'features',
    args: '',
    arity: [0, 0],
    help: 'print what of the OCI runtime specification works, as JSON',
    flags: [],
    run: async (i) => (await import('./commands/features.ts')).run(i),
  },
  {
    name: 'pause',
    args: 'ID',
    arity: [1, 1],
    help: 'stop all processes of a container',
    flags: [],
    run: async (i) => (await import('./commands/pause.ts')).pause(i),
  },
  {
    name: 'resume',
    args: 'ID',
    arity: [1, 1],
    help: 'let them go on',
    flags: [],
    run: async (i) => (await import('./commands/pause.ts')).resume(i),
  },
  {
    name: 'wait',
    args: 'ID',
    arity: [1, 1],
    help: "wait for a process's end and print its status as JSON",
    flags: [
      { name: 'pid', kind: 'number', help: 'number of the process in the container' },
      { name: 'rootpid', kind: 'number', help: 'the same' },
    ],
    run: async (i) => (await import('./commands/wait.ts')).run(i),
  },
  {
    name: 'events',
    args: 'ID',
    arity: [1, 1],
    help: 'print the resources a container uses, as JSON lines',
    flags: [
      { name: 'interval', kind: 'string', value: 'DURATION', fallback: '5s', help: 'time between two lines' },
      { name: 'stats', kind: 'switch', help: 'one line only' },
    ],
    run: async (i) => (await import('./commands/events.ts')).run(i),
  },
  {
    name: 'update',
    args: 'ID',
    arity: [1, 1],
    help: "change the limits of a container's cgroup",
    flags: [
      { name: 'resources', short: 'r', kind: 'string', value: 'FILE', help: "linux.resources as JSON; '-' is stdin" },
      ...[
        'blkio-weight',
        'cpu-period',
        'cpu-quota',
        'cpu-burst',
        'cpu-share',
        'cpu-rt-period',
        'cpu-rt-runtime',
        'memory',
        'memory-reservation',
        'memory-swap',
        'pids-limit',
        'cpu-idle',
      ].map((name): Flag => ({ name, kind: 'string', value: 'N', help: `linux.resources: ${name}` })),
      ...['cpuset-cpus', 'cpuset-mems'].map((name): Flag => ({ name, kind: 'string', value: 'LIST', help: `linux.resources: ${name}` })),
      ...['kernel-memory', 'kernel-memory-tcp', 'l3-cache-schema', 'mem-bw-schema'].map(
        (name): Flag => ({ name, kind: 'string', help: 'not of this runtime', ignored: true }),
      ),
    ],
    run: async (i) => (await import('./commands/update.ts')).run(i),
  },
  {
    name: 'debug',
    args: 'ID',
    arity: [1, 1],
    help: 'look into a running sandbox',
    flags: [
      { name: 'ps', kind: 'switch', help: 'its processes' },
      { name: 'stacks', kind: 'switch', help: 'what each of its threads waits for' },
      { name: 'state', kind: 'switch', help: 'what the Sentry says of itself' },
    ],
    run: async (i) => (await import('./commands/debug.ts')).run(i),
  },
  {
    name: 'checkpoint',
    args: 'ID',
    arity: [1, 1],
    help: 'refused: the state of a sandbox cannot be saved yet',
    flags: criuFlags,
    run: async (i) => (await import('./commands/checkpoint.ts')).checkpoint(i),
  },
  {
    name: 'restore',
    args: 'ID',
    arity: [1, 1],
    help: 'refused: the state of a sandbox cannot be saved yet',
    flags: [...criuFlags, ...bundleFlags, ...runFlags],
    run: async (i) => (await import('./commands/checkpoint.ts')).restore(i),
  },
  {
    name: 'install',
    args: '',
    arity: [0, 0],
    help: 'put this executable, its manual page and completions in place, and print what engines have to be told',
    flags: [{ name: 'prefix', kind: 'string', value: 'DIR', fallback: '/usr/local', help: 'folder with bin/ and share/' }],
    run: async (i) => (await import('./commands/install.ts')).run(i),
  },
  {
    name: 'completion',
    args: 'bash|zsh|fish',
    arity: [1, 1],
    help: "print a script for a shell's completion",
    flags: [],
    run: async (i) => (await import('./commands/print.ts')).printCompletion(i),
  },
  {
    name: 'man',
    args: '',
    arity: [0, 0],
    help: 'print the manual page, runsc(8)',
    flags: [],
    run: async () => (await import('./commands/print.ts')).printManual(),
  },
];

export const helpFlags: readonly Flag[] = [
  { name: 'help', short: 'h', kind: 'switch', help: 'print this' },
  { name: 'version', short: 'v', kind: 'switch', help: 'print the version' },
];

/** The release of the runtime specification that is followed. */
export const OCI_VERSION = '1.2.0';

/** Runs the command line; answers the exit code. Errors are printed here, once. */
export async function main(words: readonly string[]): Promise<number> {
  const values = new FlagValues();
  let command: Command | undefined;
  try {
    const at = parseFlags([...globalFlags, ...helpFlags], words, values, PROGRAM);
    configureMessages(values.string('log'), values.string('log-format'), values.on('debug'));
    if (values.on('version')) return say(`runsc version ${version()}\nspec: ${OCI_VERSION}\n`);
    const name = words[at];
    if (values.on('help') || name === undefined || name === 'help') {
      const topic = name === 'help' ? words[at + 1] : undefined;
      if (name === undefined && !values.on('help')) throw new RunscError(`no command was given (see '${PROGRAM} --help')`);
      return topic === undefined ? say(help()) : say(helpOf(find(topic)));
    }
    command = find(name);
    const flags = new FlagValues();
    const rest = words.slice(at + 1);
    const taken = parseFlags([...command.flags, helpFlags[0]!], rest, flags, `${PROGRAM} ${name}`);
    if (flags.on('help')) return say(helpOf(command));
    const args = intersperse(command, rest.slice(taken), flags);
    const [fewest, most] = command.arity;
    if (args.length < fewest || args.length > most) {
      const wanted = fewest === most ? `exactly ${fewest}` : most === MANY ? `at least ${fewest}` : `between ${fewest} and ${most}`;
      throw new RunscError(
        `"${command.name}" requires ${wanted} argument${wanted.endsWith(' 1') ? '' : 's'} (see '${PROGRAM} ${command.name} --help')`,
      );
    }
    debugLine(`runsc ${version()}: ${words.join(' ')}`);
    phase('command line read');
    const code = await command.run({ config: configFrom(values), flags, args });
    phase('command done');
    return code;
  } catch (error) {
    report(error, values);
    return command?.errorCode ?? exitCodeOf(error);
  }
}

/** Like runc, which takes flags behind the id too where no command follows: `runsc delete ID --force`. */
function intersperse(command: Command, words: readonly string[], flags: FlagValues): string[] {
  if (command.name === 'do' || command.name === 'exec' || command.name === 'spec' || command.name === 'ps') return [...words];
  const args: string[] = [];
  let at = 0;
  while (at < words.length) {
    args.push(words[at++]!);
    at += parseFlags(command.flags, words.slice(at), flags, `${PROGRAM} ${command.name}`);
  }
  return args;
}

function find(name: string): Command {
  const command = commands.find((c) => c.name === name);
  if (command === undefined) throw new RunscError(`unknown command "${name}"`, `No help topic for '${name}' (see '${PROGRAM} --help')`);
  return command;
}

function say(text: string): number {
  print(text);
  return 0;
}

/** On stderr for whoever looks, and as a line of --log for the program that called. */
function report(error: unknown, values: FlagValues): void {
  const message = describe(error);
  process.stderr.write(`runsc: ${message}\n`);
  if (values.on('debug') && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  if (!hasLogFile()) return;
  try {
    logError(message);
  } catch (failure) {
    process.stderr.write(`runsc: writing to ${values.string('log')}: ${describe(failure)}\n`);
  }
}

/** The build puts it in; a checkout knows it from npm. */
export function version(): string {
  return process.env['RUNSC_VERSION'] ?? '0.1.0';
}

export function help(): string {
  const width = Math.max(...commands.map((c) => c.name.length));
  const list = commands.map((c) => `   ${c.name.padEnd(width)}  ${c.help}\n`).join('');
  return `NAME:\n   ${PROGRAM} - ${SUMMARY}\n\nUSAGE:\n   ${PROGRAM} [global flag...] command [flag...] [argument...]\n\nVERSION:\n   ${version()}\n   spec: ${OCI_VERSION}\n\nCOMMANDS:\n${list}\nGLOBAL FLAGS:\n${describeFlags([...globalFlags, ...helpFlags])}\n'${PROGRAM} COMMAND --help' tells of a command's flags.\n`;
}

export const SUMMARY = 'Open Container Initiative runtime whose containers run on a guest kernel of their own';

/** In the layout of runc's help, which scripts read: a name line, then what it does, then how. */
export function helpOf(command: Command): string {
  const flags = command.flags.length === 0 ? '' : `\nFLAGS:\n${describeFlags(command.flags)}`;
  const args = command.args === '' ? '' : ` ${command.args}`;
  return `NAME:\n   ${PROGRAM} ${command.name} - ${command.help}\n\nUSAGE:\n   ${PROGRAM} ${command.name}${command.flags.length === 0 ? '' : ' [flag...]'}${args}\n${flags}`;
}

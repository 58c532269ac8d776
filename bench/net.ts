// Servers and clients over the network: the guest stands in a network namespace of its own, what it talks to in another one beside it,
// joined by a veth pair. The other side is always native, so that a column is what the guest's side costs.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Column } from './support/column.ts';
import { removeTree } from './support/container.ts';
import { type Group, type Row, type Sample, Unavailable } from './support/group.ts';
import { buildGuest } from './support/guest-program.ts';

const HERE = `rb-here-${process.pid}`;
const THERE = `rb-there-${process.pid}`;
const GUEST_ADDRESS = '10.203.7.2';
const OTHER_ADDRESS = '10.203.7.1';
const PORT = 7000;
const SECONDS = 3;
const ROUNDS = 20_000;
const REQUESTS = 60_000;
const START_MS = 15_000;
/** Where containers of all runtimes can write. */
const PID_FILE = `/tmp/runsc-bench-${process.pid}.pid`;

let work = '';
let net = '';
const lacking = new Set<string>();

const programs: Record<string, readonly string[]> = {
  'iperf-out': ['iperf3'],
  'iperf-in': ['iperf3'],
  'redis-get': ['redis-server', 'redis-benchmark'],
  'redis-set': ['redis-server', 'redis-benchmark'],
  nginx: ['nginx', 'wrk'],
  connections: ['nginx', 'wrk'],
};

const table: readonly Row[] = [
  { name: 'tcp-rr', what: 'one byte there and back over TCP', unit: 'ns', native: 2, peer: 1 },
  { name: 'iperf-out', what: 'iperf3, guest to the other side', unit: 'MB/s', isRate: true, native: 2, peer: 1 },
  { name: 'iperf-in', what: 'iperf3, the other side to the guest', unit: 'MB/s', isRate: true, native: 2, peer: 1 },
  { name: 'redis-get', what: 'redis in the guest, GET, 20 clients', unit: '/s', isRate: true, native: 2, peer: 0.5 },
  { name: 'redis-set', what: 'redis in the guest, SET, 20 clients', unit: '/s', isRate: true, native: 2, peer: 0.5 },
  { name: 'nginx', what: 'nginx in the guest, a small file, kept connections', unit: '/s', isRate: true, native: 2.5, peer: 0.67 },
  { name: 'connections', what: 'nginx in the guest, a connection for each file', unit: '/s', isRate: true, native: 2.5, peer: 0.67 },
];

export const network: Group = {
  name: 'net',
  what: 'TCP between two network namespaces: latency, throughput, servers',
  rows: table,
  maxRounds: 3,
  isOptional: true,
  prepare,
  async measure(column, wanted, sample) {
    let failed: unknown;
    for (const [rows, measure] of measures) {
      if (!rows.some((row) => wanted.has(row) && !lacking.has(row))) continue;
      try {
        await measure(column, sample);
      } catch (error) {
        // The other rows still tell something.
        failed ??= error;
      }
    }
    if (failed !== undefined) throw failed;
  },
  dispose() {
    for (const name of [HERE, THERE]) spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
    if (work !== '') removeTree(work);
    rmSync(PID_FILE, { force: true });
  },
};

type Measure = (column: Column, sample: Sample) => Promise<void>;

const measures: readonly (readonly [readonly string[], Measure])[] = [
  [['tcp-rr'], roundTrips],
  [['iperf-out', 'iperf-in'], throughput],
  [['redis-get', 'redis-set'], redis],
  [['nginx', 'connections'], nginx],
];

async function roundTrips(column: Column, sample: Sample): Promise<void> {
  await withServer(column, [net, 'serve', `${PORT}`], () => {
    const output = outside(net, 'ask', GUEST_ADDRESS, `${PORT}`, `${ROUNDS}`);
    sample('tcp-rr', Number(/^tcp-rr (\d+)$/m.exec(output)?.[1]));
  });
}

async function throughput(column: Column, sample: Sample): Promise<void> {
  await withServer(column, ['iperf3', '-s', '-p', `${PORT}`], () => {
    const client = ['iperf3', '-J', '-c', GUEST_ADDRESS, '-p', `${PORT}`, '-t', `${SECONDS}`];
    for (const [row, ...flags] of [['iperf-out', '-R'], ['iperf-in']] as const) {
      const report = JSON.parse(outside(...client, ...flags)) as { end: { sum_received: { bits_per_second: number } } };
      sample(row, report.end.sum_received.bits_per_second / 8e6);
    }
  });
}

async function redis(column: Column, sample: Sample): Promise<void> {
  const server = ['redis-server', '--port', `${PORT}`, '--bind', GUEST_ADDRESS, '--save', '', '--protected-mode', 'no'];
  await withServer(column, server, () => {
    const client = ['redis-benchmark', '-h', GUEST_ADDRESS, '-p', `${PORT}`, '-t', 'get,set', '-c', '20', '-n', `${REQUESTS}`, '--csv'];
    const output = outside(...client);
    for (const [, name, rate] of output.matchAll(/^"(GET|SET)","([\d.]+)"/gm)) sample(`redis-${name!.toLowerCase()}`, Number(rate));
  });
}

async function nginx(column: Column, sample: Sample): Promise<void> {
  await withServer(column, ['nginx', '-c', join(work, 'nginx.conf')], () => {
    const url = `http://${GUEST_ADDRESS}:${PORT}/small.html`;
    const rate = (...flags: string[]): number =>
      Number(/^Requests\/sec:\s+([\d.]+)/m.exec(outside('wrk', '-t1', '-c16', `-d${SECONDS}s`, ...flags, url))?.[1]);
    sample('nginx', rate());
    sample('connections', rate('-H', 'Connection: close'));
  });
}

// ---- the two sides

/** Runs a program on the other side to its end; its output. */
function outside(...program: string[]): string {
  const run = spawnSync('ip', ['netns', 'exec', THERE, ...program], { encoding: 'latin1', timeout: 120_000, killSignal: 'SIGKILL' });
  if (run.status !== 0) throw new Error(`${program.join(' ')}: ended with ${run.status ?? run.signal}: ${run.stderr.trim()}`);
  return run.stdout;
}

/** Has a server run on the guest's side for the time of `work`. */
async function withServer(column: Column, program: readonly string[], work: () => void): Promise<void> {
  const container = column.kind === 'peer' ? new PeerContainer(column, program) : undefined;
  const command = container?.command ?? ['ip', 'netns', 'exec', HERE, ...column.command(...program)];
  const server = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let said = '';
  server.stderr?.on('data', (bytes: Buffer) => {
    said = `${said}${bytes.toString('latin1')}`.slice(-1000);
  });
  const isThere = container === undefined ? isListening : answers;
  try {
    if (!(await listens(server, isThere))) {
      throw new Error(`${command.join(' ')}: does not listen: ${said.trim().split('\n').at(-1) ?? ''}`);
    }
    work();
  } finally {
    container?.end();
    // With all that it has started: a server's workers, a sandbox's command line.
    if (server.pid !== undefined) endGroup(server.pid);
    await new Promise((resolve) => (server.exitCode === null && server.signalCode === null ? server.once('exit', resolve) : resolve(0)));
    // A sandbox's sockets are gone with the last of its processes, a moment later.
    for (const start = Date.now(); isListening() && Date.now() - start < START_MS; ) await pause();
    if (container !== undefined) setAddresses();
  }
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

async function listens(server: ChildProcess, isThere: () => boolean): Promise<boolean> {
  for (const start = Date.now(); Date.now() - start < START_MS; ) {
    if (isThere()) return true;
    if (server.exitCode !== null || server.signalCode !== null) return false;
    await pause();
  }
  return false;
}

/** Whether the namespace's own tables have the server; those of a runtime with a network stack of its own do not. */
function isListening(): boolean {
  const seen = spawnSync('ip', ['netns', 'exec', HERE, 'cat', '/proc/net/tcp', '/proc/net/tcp6'], { encoding: 'latin1' });
  // Local address, remote address, state: TCP_LISTEN.
  return new RegExp(`:${PORT.toString(16).toUpperCase().padStart(4, '0')} 0+:0000 0A`).test(seen.stdout);
}

/** Whether the other side gets a connection. */
function answers(): boolean {
  const script = `exec 3<>/dev/tcp/${GUEST_ADDRESS}/${PORT}`;
  return spawnSync('ip', ['netns', 'exec', THERE, 'bash', '-c', script], { stdio: 'ignore', timeout: 1000 }).status === 0;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50));
}

/**
 * Another runtime's container on the guest's side, with the host's files: what a runtime does with `do` to the network is its own
 * affair, a bundle that names the namespace means the same to all.
 */
class PeerContainer {
  readonly command: readonly string[];
  private readonly runtime: readonly string[];
  private readonly id: string;

  constructor(column: Column, program: readonly string[]) {
    const bundle = join(work, 'bundle');
    mkdirSync(bundle, { recursive: true });
    const path = spawnSync('sh', ['-c', `command -v ${program[0]}`], { encoding: 'latin1' }).stdout.trim();
    const tmpfs = ['/tmp', '/run', '/var/lib/nginx', '/var/log/nginx'].filter((at) => existsSync(at));
    const own = ['pid', 'mount', 'ipc', 'uts'].map((type) => ({ type }));
    const config = {
      ociVersion: '1.0.2',
      process: {
        terminal: false,
        user: { uid: 0, gid: 0 },
        args: [path, ...program.slice(1)],
        env: [`PATH=${process.env.PATH}`],
        cwd: '/',
        capabilities: Object.fromEntries(
          ['bounding', 'effective', 'permitted'].map((set) => [
            set,
            ['CAP_NET_BIND_SERVICE', 'CAP_SETUID', 'CAP_SETGID', 'CAP_DAC_OVERRIDE'],
          ]),
        ),
      },
      root: { path: '/', readonly: true },
      hostname: 'bench',
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
        ...tmpfs.map((at) => ({ destination: at, type: 'tmpfs', source: 'tmpfs' })),
        { destination: work, type: 'bind', source: work, options: ['rbind', 'rw'] },
      ],
      linux: { namespaces: [...own, { type: 'network', path: `/var/run/netns/${HERE}` }] },
    };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
    this.id = `bench-net-${process.pid}-${nextContainer++}`;
    this.runtime = [...column.runtime, '--root', join(work, 'state')];
    this.command = [...this.runtime, 'run', '--bundle', bundle, this.id];
  }

  end(): void {
    for (const words of [
      ['kill', this.id, 'KILL'],
      ['delete', '--force', this.id],
    ]) {
      spawnSync(this.runtime[0]!, [...this.runtime.slice(1), ...words], { stdio: 'ignore', timeout: START_MS });
    }
  }
}
let nextContainer = 1;

// ---- what is needed

function prepare(): void {
  for (const [row, needed] of Object.entries(programs)) {
    const missing = needed.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status !== 0);
    if (missing.length === 0) continue;
    lacking.add(row);
    console.error(`bench: net/${row} is left out: ${missing.join(' and ')} not installed`);
  }
  if (process.geteuid!() !== 0) throw new Unavailable('network namespaces need root');
  work = mkdtempSync('/var/tmp/runsc-bench-');
  net = join(work, 'net');
  copyFileSync(buildGuest('net'), net);
  mkdirSync(join(work, 'html'));
  writeFileSync(join(work, 'html', 'small.html'), 'a small page\n'.repeat(50));
  writeFileSync(
    join(work, 'nginx.conf'),
    `daemon off; master_process off; user root; pid ${PID_FILE}; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000000; server { listen ${PORT}; root ${work}/html; } }
`,
  );
  ip('netns', 'add', HERE);
  ip('netns', 'add', THERE);
  ip('-n', HERE, 'link', 'add', 'bench0', 'type', 'veth', 'peer', 'name', 'bench1', 'netns', THERE);
  setAddresses();
}

/** A runtime with a network stack of its own takes them off the interface. */
function setAddresses(): void {
  for (const [name, device, address] of [
    [HERE, 'bench0', GUEST_ADDRESS],
    [THERE, 'bench1', OTHER_ADDRESS],
  ] as const) {
    ip('-n', name, 'address', 'replace', `${address}/24`, 'dev', device);
    ip('-n', name, 'link', 'set', device, 'up');
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
}

function ip(...words: string[]): void {
  const run = spawnSync('ip', words, { encoding: 'latin1' });
  if (run.error !== undefined) throw new Unavailable(`ip: ${run.error.message}`);
  if (run.status !== 0) throw new Unavailable(`ip ${words.join(' ')}: ${run.stderr.trim()}`);
}

// Node: workers, files, child processes, sockets, timers and what libuv asks of a kernel.
import { execFileSync, fork, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as fsp from 'node:fs/promises';
import { createServer, get } from 'node:http';
import { createConnection, createServer as createTcp } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createGunzip, createGzip } from 'node:zlib';

if (!isMainThread) {
  const view = new Int32Array(workerData.shared);
  for (let i = 0; i < 1000; i++) Atomics.add(view, 0, 1);
  Atomics.notify(view, 1);
  parentPort.postMessage(workerData.n ** 2);
} else if (process.send) {
  process.on('message', (m) => process.send({ echoed: m }, () => process.disconnect()));
} else {
  await main();
}

async function main() {
  fs.mkdirSync(process.env.TMPDIR, { recursive: true });
  process.chdir(fs.mkdtempSync(join(process.env.TMPDIR, 'node-')));

  console.log('== workers');
  const shared = new SharedArrayBuffer(8);
  const workers = [1, 2, 3].map((n) => new Worker(new URL(import.meta.url), { workerData: { n, shared } }));
  console.log(await Promise.all(workers.map(async (w) => (await once(w, 'message'))[0])));
  await Promise.all(workers.map((w) => (w.threadId < 0 ? 0 : once(w, 'exit'))));
  console.log(new Int32Array(shared)[0], Atomics.wait(new Int32Array(shared), 1, 0, 30));

  console.log('== child processes');
  console.log(execFileSync('echo', ['sync']).toString(), spawnSync('sh', ['-c', 'echo err >&2; exit 3']).status);
  console.log(spawnSync('sh', ['-c', 'kill -9 $$']).signal, spawnSync('cat', { input: 'x'.repeat(300000) }).stdout.length);
  const child = spawn('sleep', ['10']);
  child.kill('SIGTERM');
  console.log(await once(child, 'exit'), spawnSync('/nowhere/at/all').error.code);
  const forked = fork(new URL(import.meta.url).pathname);
  forked.send({ hello: 'child' });
  console.log(await once(forked, 'message').then((m) => m[0]), (await once(forked, 'exit'))[0]);
  console.log(spawnSync(process.execPath, ['-e', 'console.log(process.argv.length, process.stdin.isTTY); process.exitCode = 9']).status);
  console.log(spawnSync(process.execPath, ['-e', 'process.abort()'], { stdio: 'ignore' }).signal);

  console.log('== files');
  await fsp.mkdir('d/e/f', { recursive: true });
  await Promise.all(Array.from({ length: 50 }, (_, i) => fsp.writeFile(`d/e/${i}`, 'x'.repeat(i))));
  console.log((await fsp.readdir('d', { recursive: true })).length, (await fsp.stat('d/e/49')).size);
  await fsp.cp('d', 'copy', { recursive: true });
  await fsp.rename('copy', 'moved');
  await fsp.symlink('d', 'link');
  console.log(await fsp.readlink('link'), await fsp.realpath('link').then((p) => p.endsWith('/d')), fs.lstatSync('link').isSymbolicLink());
  const handle = await fsp.open('handle', 'w+');
  await handle.write('positional', 5);
  await handle.truncate(8);
  console.log(await handle.stat().then((s) => s.size), (await handle.read(Buffer.alloc(8), 0, 8, 0)).bytesRead);
  await handle.utimes(1e9, 1e9);
  await handle.close();
  console.log(fs.statSync('handle').mtime.toISOString());
  fs.writeFileSync('source', randomBytes(500000));
  await pipeline(fs.createReadStream('source'), createGzip(), createGunzip(), fs.createWriteStream('target'));
  const hash = (name) => createHash('sha256').update(fs.readFileSync(name)).digest('hex');
  console.log(hash('source') === hash('target'));
  await fsp.rm('moved', { recursive: true });
  for (const bad of ['missing', 'd']) await fsp.readFile(bad).catch((e) => console.log(e.code, e.syscall));
  const watcher = fs.watch('.');
  setTimeout(() => fs.writeFileSync('watched', ''), 50);
  const name = await Promise.race([once(watcher, 'change').then((e) => e[1]), sleep(3000, 'nothing')]);
  watcher.close();
  console.log('watched', name);

  console.log('== network');
  const http = createServer((req, res) => res.end(`you asked for ${req.url}`)).listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address();
  const answers = await Promise.all(['/a', '/b', '/c'].map((path) => new Promise((done) => get({ port, path, agent: false }, (res) => res.setEncoding('utf8').on('data', done)))));
  console.log(answers, await fetch(`http://127.0.0.1:${port}/fetched`).then((r) => r.text()));
  http.close();
  http.closeAllConnections();
  const unix = createTcp((s) => s.end('over a unix socket')).listen('sock');
  await once(unix, 'listening');
  console.log((await once(createConnection('sock'), 'data'))[0].toString());
  unix.close();
  createConnection(1, '127.0.0.1').on('error', (e) => console.log(e.code));
  await sleep(100);

  console.log('== timers, signals, memory');
  const start = performance.now();
  await sleep(50);
  console.log(performance.now() - start >= 49, process.hrtime.bigint() > 0n, process.uptime() > 0);
  process.once('SIGUSR2', (s) => console.log('got', s));
  process.kill(process.pid, 'SIGUSR2');
  await sleep(50);
  const buffers = Array.from({ length: 20 }, () => Buffer.alloc(1 << 20, 1));
  console.log(buffers.reduce((sum, b) => sum + b[77], 0), process.memoryUsage().rss > 1e7, process.cpuUsage().user > 0);
  console.log(WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])), process.platform, process.arch);
  process.exitCode = 12;
}

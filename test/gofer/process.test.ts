import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { close, pread } from 'ptrace-napi';
import { Attributes } from '../../gofer/protocol/attributes.ts';
import { AttachReply } from '../../gofer/protocol/messages.ts';
import { O_RDONLY } from '../../sentry/abi/fcntl.ts';
import { goferProcess } from '../support/gofer.ts';

function tree(t: { teardown(fn: () => void): void }): string {
  const dir = mkdtempSync(join(tmpdir(), 'runsc-gofer-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

test('a gofer process serves under its seccomp filter, idles without CPU and ends with its client', async (t) => {
  const dir = tree(t);
  mkdirSync(join(dir, 'a'));
  writeFileSync(join(dir, 'a/f'), 'contents');
  symlinkSync('a', join(dir, 'l'));
  const gofer = goferProcess([{ hostPath: dir, readOnly: false, shared: false }]);
  const reply = new AttachReply(new Attributes());
  t.is(gofer.client.attach(0, reply), 0, gofer.stderr());
  let f = 0;
  t.is(
    gofer.client.walk(reply.handle, 0, ['a', 'f'], (_i, h) => (f = h)),
    0,
  );
  const fd = gofer.client.open(f, O_RDONLY);
  const bytes = new Uint8Array(8);
  t.is(pread(fd, bytes, 0, 8, 0), 8);
  close(fd);
  t.is(gofer.client.readlink(gofer.client.walkOne(reply.handle, 0, 'l')), 'a');
  t.regex(readFileSync(`/proc/${gofer.pid}/status`, 'utf8'), /Seccomp:\s2/);

  await sleep(300);
  const before = ticks(gofer.pid);
  await sleep(500);
  t.true(ticks(gofer.pid) - before <= 1);

  gofer.hangUp();
  t.is(await gofer.ended, 0);
});

test('a gofer that dies leaves a client that answers EIO', async (t) => {
  const dir = tree(t);
  const gofer = goferProcess([{ hostPath: dir, readOnly: false, shared: false }], { seccomp: false });
  const reply = new AttachReply(new Attributes());
  t.is(gofer.client.attach(0, reply), 0);
  process.kill(gofer.pid, 'SIGKILL');
  await gofer.ended;
  t.is(gofer.client.stat(reply.handle), -5);
  t.is(gofer.client.stat(reply.handle), -5);
});

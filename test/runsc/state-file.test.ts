import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { cgroupPath, slicePath } from '../../runsc/cgroup-hierarchies.ts';
import { sharesToWeight } from '../../runsc/cgroup-limits.ts';
import { describe, RunscError } from '../../runsc/errors.ts';
import { logPath } from '../../runsc/log.ts';
import { type ContainerState, checkId, identify, isAlive, listIds, StateDir } from '../../runsc/state-file.ts';

const root = mkdtempSync(join(tmpdir(), 'runsc-state-'));
test.after.always(() => rmSync(root, { recursive: true }));

for (const id of ['', '.', '..', 'a/b', '../x', 'a b', 'ü', 'a\0b']) {
  test(`refuses the id ${JSON.stringify(id)}`, (t) => {
    t.throws(() => checkId(id), { instanceOf: RunscError });
  });
}

test('accepts the ids that runc accepts', (t) => {
  for (const id of ['a', 'A-1_2.3+4', '...', '0'.repeat(64)]) t.is(checkId(id), id);
});

test('the same id twice is refused', (t) => {
  const dir = new StateDir(root, 'twice');
  dir.create();
  t.throws(() => dir.create(), { message: 'container with id "twice" already exists' });
});

test('a state comes back as it was saved, and saving leaves nothing beside it', (t) => {
  const dir = new StateDir(root, 'saved');
  dir.create();
  const self = identify(process.pid);
  const state = { id: 'saved', started: true, sentry: self, gofer: self, anchor: self } as unknown as ContainerState;
  dir.save(state);
  t.deepEqual(dir.load(), state);
  t.deepEqual(readdirSync(dir.path), ['state.json']);
});

test('a state without the processes of a container is said to be of another version', (t) => {
  const dir = new StateDir(root, 'other');
  dir.create();
  dir.save({ id: 'other', started: true } as unknown as ContainerState);
  t.regex(describe(t.throws(() => dir.load())), /another version of runsc has written it: remove the container with delete --force/);
});

test('a container that is not there is said not to exist', (t) => {
  t.throws(() => new StateDir(root, 'nobody').load(), { message: 'container "nobody" does not exist' });
  t.throws(() => new StateDir(root, 'nobody').lock(), { message: 'container "nobody" does not exist' });
});

test('a state that is cut off is told, not thrown as it is', (t) => {
  const dir = new StateDir(root, 'cut');
  dir.create();
  writeFileSync(join(dir.path, 'state.json'), '{"id":');
  t.regex(describe(t.throws(() => dir.load())), /^reading the state of container "cut": /);
});

test('a root that is not there has no containers', (t) => {
  t.deepEqual(listIds(join(root, 'missing')), []);
});

test('a process is told from a later one of the same number', (t) => {
  const self = identify(process.pid);
  t.true(isAlive(self));
  t.false(isAlive({ pid: process.pid, startTime: self.startTime + 1 }));
});

test('errors read outermost action first and host errno last', (t) => {
  const host = Object.assign(new Error("ENOENT: no such file or directory, open '/x/config.json'"), { errno: -2, code: 'ENOENT' });
  const error = new RunscError('starting container "x"', new RunscError('opening config.json', host));
  t.is(describe(error), 'starting container "x": opening config.json: no such file or directory (ENOENT)');
});

test('an outer error has the exit code of the inner one', (t) => {
  t.is(new RunscError('a', new RunscError('b', 'c', 127)).exitCode, 127);
});

test('cgroup paths follow cgroupfs and systemd', (t) => {
  t.is(cgroupPath(undefined, 'id', false), '/id');
  t.is(cgroupPath('/a/../b', 'id', false), '/b');
  t.is(cgroupPath('machine.slice:libpod:abc', 'id', true), '/machine.slice/libpod-abc.scope');
  t.is(slicePath('user-1000.slice'), 'user.slice/user-1000.slice');
  t.throws(() => cgroupPath('/a', 'id', true), { message: 'config.json: linux.cgroupsPath' });
});

test('cpu shares map to weights as runc maps them', (t) => {
  t.is(sharesToWeight(2), 1);
  t.is(sharesToWeight(1024), 39);
  t.is(sharesToWeight(262144), 10000);
});

test('names of debug logs are filled in', (t) => {
  const now = new Date('2026-01-02T03:04:05.678Z');
  t.is(logPath('/l/%ID%.%COMMAND%', 'run', 'x', now), '/l/x.run');
  t.is(logPath('/l/', 'run', 'x', now), '/l/runsc.log.20260102-030405.678.run.txt');
});

import test from 'ava';
import { template } from '../../runsc/commands/spec.ts';
import { describe, RunscError } from '../../runsc/errors.ts';
import { Field } from '../../runsc/field.ts';
import { parseMountOptions } from '../../runsc/mount-options.ts';
import { checkSpec, type Spec } from '../../runsc/spec.ts';
import { MS_BIND, MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC } from '../../sentry/abi/mount.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests break documents on purpose
type Json = any;

function spec(change: (s: Json) => void): Spec {
  const s: Json = structuredClone(template(['sh'], false, undefined));
  change(s);
  return checkSpec(new Field('config.json', s));
}

function message(change: (s: Json) => void): string {
  try {
    spec(change);
  } catch (error) {
    if (error instanceof RunscError) return describe(error);
    throw error;
  }
  return 'accepted';
}

test('the template of `runsc spec` is valid', (t) => {
  const s = spec(() => {});
  t.deepEqual(s.process.args, ['sh']);
  t.deepEqual(s.process.rlimits, [[7, 1024, 1024]]);
  t.deepEqual(s.process.capabilities.bounding, [(1 << 5) | (1 << 10) | (1 << 29), 0]);
});

const wrong: [string, (s: Json) => void, string][] = [
  ['no process', (s) => delete s.process, 'config.json: process: is missing'],
  ['no arguments', (s) => (s.process.args = []), 'config.json: process.args: must be a non-empty array of strings'],
  ['arguments of another type', (s) => (s.process.args = 'sh'), 'config.json: process.args: must be a non-empty array of strings'],
  ['a number among the arguments', (s) => (s.process.args = ['sh', 1]), 'config.json: process.args: must be a non-empty array of strings'],
  ['a NUL in an argument', (s) => (s.process.args = ['a\0b']), 'config.json: process.args[0]: must not contain a NUL character'],
  ['a relative cwd', (s) => (s.process.cwd = 'x'), 'config.json: process.cwd: must be an absolute path'],
  ['a uid below 0', (s) => (s.process.user.uid = -1), 'config.json: process.user.uid: must be between 0 and 4294967294'],
  ['no root', (s) => delete s.root, 'config.json: root: is missing'],
  ['a root that is a string', (s) => (s.root = 'rootfs'), 'config.json: root: must be an object'],
  ['a root without a path', (s) => delete s.root.path, 'config.json: root.path: is missing'],
  ['no version', (s) => delete s.ociVersion, 'config.json: ociVersion: is missing'],
  ['version 2', (s) => (s.ociVersion = '2.0.0'), 'config.json: ociVersion: version 2.0.0 is not supported'],
  ['mounts that are no array', (s) => (s.mounts = {}), 'config.json: mounts: must be an array'],
  ['a mount without a destination', (s) => (s.mounts[1] = { type: 'tmpfs' }), 'config.json: mounts[1].destination: is missing'],
  [
    'two namespaces of one kind',
    (s) => s.linux.namespaces.push({ type: 'pid' }),
    'config.json: linux.namespaces[5]: is a second one of type "pid"',
  ],
  [
    "a name for the host's UTS namespace",
    (s) => (s.linux.namespaces = [{ type: 'pid' }]),
    'config.json: hostname: cannot be set without a UTS namespace in linux.namespaces',
  ],
  [
    'a propagation that is none',
    (s) => (s.linux.rootfsPropagation = 'far'),
    'config.json: linux.rootfsPropagation: "far" must be one of private, rprivate, shared, rshared, slave, rslave, unbindable, runbindable',
  ],
  [
    'an unknown namespace',
    (s) => (s.linux.namespaces[0].type = 'dns'),
    'config.json: linux.namespaces[0].type: "dns" is not a kind of namespace',
  ],
  [
    'an unknown limit',
    (s) => (s.process.rlimits[0].type = 'RLIMIT_X'),
    'config.json: process.rlimits[0].type: "RLIMIT_X" is not a resource limit',
  ],
  ['soft above hard', (s) => (s.process.rlimits[0].soft = 2048), 'config.json: process.rlimits[0].soft: must not be above hard'],
  ['windows', (s) => (s.windows = {}), 'config.json: windows: this platform is not supported'],
  [
    'a hook with a relative path',
    (s) => (s.hooks = { poststop: [{ path: 'x' }] }),
    'config.json: hooks.poststop[0].path: must be an absolute path',
  ],
];
for (const [title, change, expected] of wrong) {
  test(`refuses ${title}, naming the field`, (t) => t.is(message(change), expected));
}

test('a document that is no JSON says so', (t) => {
  t.throws(() => Field.parse('config.json', '{'), { message: 'config.json: is no JSON' });
});

test('a limit beyond what JSON can say exactly is no limit', (t) => {
  const s = spec((j) => (j.process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 2 ** 64, hard: 2 ** 64 }]));
  t.deepEqual(s.process.rlimits, [[7, -1, -1]]);
});

test('mount options become flags, propagation and data', (t) => {
  t.deepEqual(parseMountOptions(['rbind', 'ro', 'nosuid', 'nodev', 'dev', 'rprivate', 'size=64k', 'mode=755']), {
    flags: MS_BIND | MS_REC | MS_RDONLY | MS_NOSUID,
    propagation: MS_PRIVATE | MS_REC,
    data: 'size=64k,mode=755',
  });
  t.is(parseMountOptions(['rro', 'rnodev']).flags, MS_RDONLY | MS_NODEV);
});

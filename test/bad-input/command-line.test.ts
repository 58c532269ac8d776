// What a user or an engine may get wrong: flags, ids, bundles and config.json. Each is refused with a sentence that names what is
// wrong, with a status other than 0, and leaves nothing behind.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Result } from '../support/processes.ts';
import { describe, platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';
import { type Spec, VICTIM, VictimBundle } from '../support/victim-bundle.ts';

const reason = missing(['static-libc', 'root']);
const serial = unless(reason);
const suffix = reason === undefined ? '' : `: ${reason}`;
const [platform] = platforms;

function refuses(t: ExecutionContext, result: Result, says: RegExp): void {
  const shown = describe('runsc', [], result);
  t.not(result.status, 0, shown);
  t.false(result.timedOut, shown);
  t.regex(result.stderr, says, shown);
  t.notRegex(result.stderr, /^\s+at .*\.(ts|js):/m, shown);
}

/** Runs `body` with a bundle whose program would print, and checks that nothing is left. */
function withBundle(title: string, body: (t: ExecutionContext, bundle: VictimBundle) => Promise<void>): void {
  serial(`${title}${suffix}`, async (t) => {
    t.timeout(60_000);
    const bundle = await VictimBundle.create(platform, ['echo', 'hello']);
    try {
      await body(t, bundle);
      t.deepEqual(await bundle.remains(), []);
    } finally {
      bundle.dispose();
    }
  });
}

withBundle('a well-formed bundle runs', async (t, bundle) => {
  const result = await bundle.run('fine');
  t.is(result.stdout, 'hello\n', describe('runsc run', [], result));
  t.is(result.status, 0);
});

const flags: [string, string[], RegExp][] = [
  ['an unknown command', ['conjure'], /conjure/],
  ['an unknown global flag', ['--bogus', 'list'], /bogus/],
  ['an unknown flag of a command', ['run', '--bogus', 'x'], /bogus/],
  ['a flag without its value', ['run', '--bundle'], /bundle/],
  ['a missing id', ['run'], /ID|argument/i],
  ['one word too many', ['state', 'a', 'b'], /argument|ID/i],
  ['an unknown platform', ['--platform=abacus', 'run', 'x'], /abacus|platform/],
  ['a signal of no such name', ['kill', 'x', 'SIGNONSENSE'], /NONSENSE|x/],
  ['do without a command', ['do'], /do.*argument|command/i],
];
for (const [what, args, says] of flags) {
  withBundle(`${what} is refused with a sentence`, async (t, bundle) => refuses(t, await bundle.runsc(args), says));
}

for (const id of ['', '.', '..', 'a/b', '../../etc', 'with space', 'new\nline', 'ü', 'x'.repeat(2000)]) {
  withBundle(`the id ${JSON.stringify(id.slice(0, 20))} is refused`, async (t, bundle) => {
    refuses(t, await bundle.run(id), /id/i);
    refuses(t, await bundle.runsc(['state', id]), /id/i);
    refuses(t, await bundle.runsc(['delete', id]), /id/i);
  });
}

for (const verb of [['state'], ['start'], ['kill'], ['delete'], ['exec', '--'], ['pause'], ['resume'], ['ps']]) {
  withBundle(`${verb[0]} of a container that is not there is refused`, async (t, bundle) => {
    const args = verb[0] === 'exec' ? ['exec', 'nobody', VICTIM] : [verb[0], 'nobody'];
    refuses(t, await bundle.runsc(args), /nobody/);
  });
}

// What is wrong, how to make it so, and the field that the message has to name.
const spoiled: [string, (spec: Spec) => void, RegExp][] = [
  ['ociVersion missing', (s) => delete s.ociVersion, /ociVersion/],
  ['ociVersion a number', (s) => (s.ociVersion = 1), /ociVersion/],
  ['ociVersion of the future', (s) => (s.ociVersion = '9.0.0'), /ociVersion/],
  ['root missing', (s) => delete s.root, /root/],
  ['root.path missing', (s) => delete s.root.path, /root\.path/],
  ['root.path a list', (s) => (s.root.path = ['rootfs']), /root\.path/],
  ['root.readonly a string', (s) => (s.root.readonly = 'yes'), /root\.readonly/],
  ['process missing', (s) => delete s.process, /process/],
  ['process.args missing', (s) => delete s.process.args, /process\.args/],
  ['process.args empty', (s) => (s.process.args = []), /process\.args/],
  ['process.args a string', (s) => (s.process.args = 'victim'), /process\.args/],
  ['a number in process.args', (s) => s.process.args.push(1), /process\.args/],
  ['process.cwd missing', (s) => delete s.process.cwd, /process\.cwd/],
  ['process.cwd relative', (s) => (s.process.cwd = 'tmp'), /process\.cwd/],
  ['process.env with a number', (s) => (s.process.env = [7]), /process\.env/],
  ['process.user.uid a string', (s) => (s.process.user.uid = 'root'), /process\.user\.uid/],
  ['process.user.uid negative', (s) => (s.process.user.uid = -1), /process\.user\.uid/],
  ['process.rlimits of an unknown type', (s) => (s.process.rlimits = [{ type: 'RLIMIT_LUCK', hard: 1, soft: 1 }]), /rlimits.*|RLIMIT_LUCK/],
  ['mounts an object', (s) => (s.mounts = {}), /mounts/],
  ['a mount without destination', (s) => s.mounts.push({ type: 'tmpfs' }), /mounts\[?.?\d.*destination/],
  ['a mount of an unknown type', (s) => s.mounts.push({ destination: '/dev', type: 'dreamfs', source: 'x' }), /dreamfs|mounts/],
  [
    'a bind mount of nothing',
    (s) => s.mounts.push({ destination: '/dev', type: 'bind', source: '/nowhere/at/all', options: ['bind'] }),
    /nowhere/,
  ],
  ['linux.namespaces of an unknown type', (s) => s.linux.namespaces.push({ type: 'dream' }), /namespaces|dream/],
  ['linux.resources.pids.limit a string', (s) => (s.linux.resources = { pids: { limit: 'few' } }), /resources\.pids\.limit/],
  ['linux.resources.memory.limit a list', (s) => (s.linux.resources = { memory: { limit: [] } }), /resources\.memory\.limit/],
  ['hooks of the wrong shape', (s) => (s.hooks = { prestart: [{ args: ['x'] }] }), /hooks\.prestart/],
  ['hostname a number', (s) => (s.hostname = 5), /hostname/],
];
for (const [what, change, says] of spoiled) {
  withBundle(`config.json with ${what} is refused by the field's name`, async (t, bundle) => {
    bundle.configure([VICTIM], change);
    refuses(t, await bundle.run('spoiled'), says);
  });
}

const texts: [string, string, RegExp][] = [
  ['empty', '', /config\.json/],
  ['no JSON', 'hello', /config\.json/],
  ['cut off', '{"ociVersion": "1.0.2", "root": {', /config\.json/],
  ['a list', '[]', /config\.json/],
  ['null', 'null', /config\.json/],
  ['nested a hundred thousand deep', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, /config\.json/],
];
for (const [what, text, says] of texts) {
  withBundle(`config.json that is ${what} is refused`, async (t, bundle) => {
    bundle.write(text);
    refuses(t, await bundle.run('spoiled'), says);
  });
}

withBundle('a bundle without config.json is refused', async (t, bundle) => {
  rmSync(join(bundle.dir, 'config.json'));
  refuses(t, await bundle.run('x'), /config\.json.*no such file/i);
});

withBundle('a bundle that is not there is refused', async (t, bundle) => {
  refuses(t, await bundle.runsc(['run', '--bundle=/nowhere/at/all', 'x']), /nowhere|config\.json/);
});

withBundle('a bundle without its root is refused', async (t, bundle) => {
  bundle.configure([VICTIM], (spec) => (spec.root.path = 'not-there'));
  refuses(t, await bundle.run('x'), /not-there|root/);
});

withBundle('a program that is missing in the root ends with 127, one that cannot run with 126', async (t, bundle) => {
  bundle.configure(['/bin/nothing']);
  const gone = await bundle.run('gone');
  t.is(gone.status, 127, describe('runsc run', [], gone));
  t.regex(gone.stderr, /nothing/);
  bundle.configure(['/proc']);
  const folder = await bundle.run('folder');
  t.is(folder.status, 126, describe('runsc run', [], folder));
});

withBundle('the same id twice is refused, and the first container lives on', async (t, bundle) => {
  bundle.configure([VICTIM, 'sleep']);
  await bundle.start('twin');
  refuses(
    t,
    await bundle.runsc(['create', `--bundle=${bundle.dir}`, 'twin']),
    /twin.*(exists|in use|already)|(exists|in use|already).*twin/i,
  );
  refuses(t, await bundle.run('twin'), /twin/);
  t.is(await bundle.status('twin'), 'running');
});

withBundle('a running container is not deleted without force', async (t, bundle) => {
  bundle.configure([VICTIM, 'sleep']);
  await bundle.start('alive');
  refuses(t, await bundle.runsc(['delete', 'alive']), /alive.*running|running.*alive|not stopped/i);
  t.is(await bundle.status('alive'), 'running');
  t.is((await bundle.runsc(['delete', '--force', 'alive'])).status, 0);
  t.is(await bundle.status('alive'), 'none');
  // With force, what is not there is no error.
  t.is((await bundle.runsc(['delete', '--force', 'alive'])).status, 0);
});

withBundle('verbs in the wrong order are refused', async (t, bundle) => {
  bundle.configure([VICTIM, 'sleep']);
  await bundle.createContainer('order');
  t.is(await bundle.status('order'), 'created');
  t.is((await bundle.runsc(['start', 'order'])).status, 0);
  refuses(t, await bundle.runsc(['start', 'order']), /order/);
  t.is((await bundle.runsc(['kill', 'order', 'KILL'])).status, 0);
  t.true(await bundle.becomes('order', 'stopped'));
  refuses(t, await bundle.runsc(['kill', 'order', 'TERM']), /order|not running/);
  refuses(t, await bundle.runsc(['exec', 'order', VICTIM]), /order/);
  refuses(t, await bundle.runsc(['start', 'order']), /order/);
  t.is((await bundle.runsc(['delete', 'order'])).status, 0);
});

withBundle('exec answers the program’s status, and its own errors apart', async (t, bundle) => {
  bundle.configure([VICTIM, 'sleep']);
  await bundle.start('host');
  t.is((await bundle.runsc(['exec', 'host', VICTIM, 'exit', '43'])).status, 43);
  const echoed = await bundle.runsc(['exec', 'host', VICTIM, 'echo', 'from exec']);
  t.is(echoed.stdout, 'from exec\n', describe('runsc exec', [], echoed));
  const gone = await bundle.runsc(['exec', 'host', '/bin/nothing']);
  t.true([127, 255].includes(gone.status), describe('runsc exec', [], gone));
  t.regex(gone.stderr, /nothing/);
});

withBundle('a state file that is damaged is told, not trusted', async (t, bundle) => {
  bundle.configure([VICTIM, 'sleep']);
  await bundle.start('damaged');
  const path = join(bundle.dir, 'state', 'damaged', 'state.json');
  const good = readFileSync(path);
  writeFileSync(path, '{"id": ');
  refuses(t, await bundle.runsc(['state', 'damaged']), /damaged/);
  const list = await bundle.runsc(['list']);
  t.false(list.timedOut, describe('runsc list', [], list));
  writeFileSync(path, good);
  t.is(await bundle.status('damaged'), 'running');
});

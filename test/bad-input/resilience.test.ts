// Guests that misbehave, and processes of a sandbox that are killed under it: limits hold, the command line says what happened,
// `state` says stopped, `delete` cleans up, and nothing is left.
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { buildGuest } from '../support/guest.ts';
import { argvOf, descendants, isAlive, killTree, run } from '../support/processes.ts';
import { describe, platforms, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';
import { type Spec, VICTIM, VictimBundle } from '../support/victim-bundle.ts';

const reason = missing(['static-libc', 'root']);
const serial = unless(reason);
const suffix = reason === undefined ? '' : `: ${reason}`;

/** A test with a bundle of its own, after which nothing may be left. */
function withVictim(
  title: string,
  args: string[],
  body: (t: ExecutionContext, bundle: VictimBundle) => Promise<void>,
  change: (spec: Spec) => void = () => {},
): void {
  for (const platform of platforms) {
    serial(`${title} (${platform}${suffix})`, async (t) => {
      t.timeout(60_000);
      const bundle = await VictimBundle.create(platform, args, change);
      try {
        await body(t, bundle);
        t.deepEqual(await bundle.remains(), []);
      } finally {
        bundle.dispose();
      }
    });
  }
}

/** The processes of this test's sandbox by role, which is the last word of their command line: all descend from this process. */
function sandboxProcesses(role: 'sentry' | 'gofer'): number[] {
  return descendants(process.pid).filter((pid) => {
    const argv = argvOf(pid);
    return argv.at(-1) === role && argv.length >= 2;
  });
}

for (const role of ['sentry', 'gofer'] as const) {
  for (const afterMs of [0, 150, 400]) {
    withVictim(
      `a ${role} killed ${afterMs} ms after start ends a detached container, and delete cleans up`,
      ['busy'],
      async (t, bundle) => {
        await bundle.start('doomed');
        await sleep(afterMs);
        const [pid] = sandboxProcesses(role);
        t.not(pid, undefined, `no ${role} found`);
        process.kill(pid, 'SIGKILL');
        t.true(await bundle.becomes('doomed', 'stopped'), `status ${await bundle.status('doomed')}`);
        const killed = await bundle.runsc(['kill', 'doomed', 'TERM']);
        t.not(killed.status, 0, describe('runsc kill', [], killed));
        const deleted = await bundle.runsc(['delete', 'doomed']);
        t.is(deleted.status, 0, describe('runsc delete', [], deleted));
        t.is(await bundle.status('doomed'), 'none');
      },
    );
  }

  withVictim(`a ${role} killed under 'run' is told, with a status other than 0`, ['busy'], async (t, bundle) => {
    const running = bundle.run('doomed');
    let pid: number | undefined;
    for (let i = 0; i < 100 && pid === undefined; i++) {
      await sleep(50);
      [pid] = sandboxProcesses(role);
    }
    await sleep(500);
    t.not(pid, undefined, `no ${role} found`);
    process.kill(pid!, 'SIGKILL');
    const result = await running;
    const shown = describe('runsc run', [], result);
    t.not(result.status, 0, shown);
    t.false(result.timedOut, shown);
    t.regex(result.stderr, new RegExp(role, 'i'), shown);
  });

  withVictim(`a ${role} killed while it starts is told`, ['sleep'], async (t, bundle) => {
    for (const afterMs of [20, 60, 120, 200]) {
      const running = bundle.run('early');
      const deadline = Date.now() + 3000;
      let pid: number | undefined;
      while (pid === undefined && Date.now() < deadline) {
        [pid] = sandboxProcesses(role);
        await sleep(5);
      }
      await sleep(afterMs);
      if (pid !== undefined && isAlive(pid)) process.kill(pid, 'SIGKILL');
      const result = await running;
      const shown = describe('runsc run', [], result);
      t.not(result.status, 0, shown);
      t.false(result.timedOut, shown);
      t.not(result.stderr, '', shown);
      await bundle.runsc(['delete', '--force', 'early']);
    }
  });
}

withVictim('a guest killed from outside dies of SIGKILL, and its container with it', ['sleep'], async (t, bundle) => {
  await bundle.start('wounded');
  const [sentry] = sandboxProcesses('sentry');
  // Whatever runs below the Sentry is a stub: the address spaces of guests, and the one that new ones are forked from.
  const stubs = descendants(sentry).filter(isAlive);
  t.true(stubs.length > 0);
  for (const pid of stubs) killTree(pid);
  t.true(await bundle.becomes('wounded', 'stopped'), `status ${await bundle.status('wounded')}`);
});

withVictim(
  'a guest that forks until it is refused meets its limit',
  ['forks'],
  async (t, bundle) => {
    const result = await bundle.run('forks');
    const shown = describe('runsc run', [], result);
    t.is(result.status, 0, shown);
    const count = Number(/^refused after (\d+): EAGAIN$/m.exec(result.stdout)?.[1]);
    t.true(count >= 20 && count <= 30, shown);
  },
  (spec) => {
    spec.process.user = { uid: 1000, gid: 1000 };
    spec.process.rlimits = [{ type: 'RLIMIT_NPROC', soft: 30, hard: 30 }];
  },
);

withVictim('a fork bomb without a limit of its own ends with its container', ['forks'], async (t, bundle) => {
  // Thousands of processes are made before the sandbox has no room for more: tens of seconds on a busy machine.
  t.timeout(115_000);
  const result = await bundle.run('bomb', { timeoutMs: 100_000 });
  const shown = describe('runsc run', [], result);
  // However far it gets: refused or killed with its container, never the machine.
  t.true(result.status === 0 ? /^refused after \d+: (EAGAIN|ENOMEM)$/m.test(result.stdout) : result.status > 0, shown);
  t.false(result.timedOut, shown);
});

withVictim(
  'a guest that eats memory is refused at RLIMIT_AS',
  ['memory'],
  async (t, bundle) => {
    const result = await bundle.run('eater');
    const shown = describe('runsc run', [], result);
    t.is(result.status, 0, shown);
    const mib = Number(/^refused after (\d+) MiB: ENOMEM$/m.exec(result.stdout)?.[1]);
    t.true(mib >= 40 && mib <= 64, shown);
  },
  (spec) => (spec.process.rlimits = [{ type: 'RLIMIT_AS', soft: 64 << 20, hard: 64 << 20 }]),
);

const memoryGroups = reason === undefined && hasMemoryController();
(memoryGroups ? withVictim : skipped('the host gives no memory cgroup'))(
  'a guest that eats memory is stopped by the memory limit of its cgroup',
  ['memory'],
  async (t, bundle) => {
    const result = await bundle.run('eater');
    const shown = describe('runsc run', [], result);
    t.not(result.status, 0, shown);
    t.not(result.status, 9, shown);
    t.false(result.timedOut, shown);
  },
  (spec) => {
    spec.linux.cgroupsPath = `/runsc-test-${process.pid}`;
    // Enough for the sandbox itself, too little for what the guest wants.
    spec.linux.resources = { memory: { limit: 512 << 20 } };
  },
);

withVictim('a tmpfs that is full refuses more, and has room again after', ['fill', '/tmp/file'], async (t, bundle) => {
  const result = await bundle.run('filler');
  const shown = describe('runsc run', [], result);
  t.is(result.status, 0, shown);
  const size = Number(/^full after (\d+): ENOSPC$/m.exec(result.stdout)?.[1]);
  t.true(size > 900_000 && size <= 1 << 20, shown);
});

withVictim('a guest that writes over memory that is not its own harms itself alone', ['trash'], async (t, bundle) => {
  const result = await bundle.run('trash', { timeoutMs: 50_000 });
  const shown = describe('runsc run', [], result);
  t.is(result.stdout, 'every try ended\nwithout memory it ended\n', shown);
  t.is(result.status, 0, shown);
});

for (const platform of platforms) {
  for (const seed of [1, 2, 3]) {
    serial(`random system calls harm the sandbox in no way, seed ${seed} (${platform}${suffix})`, async (t) => {
      t.timeout(60_000);
      const victim = await buildGuest('helper-victim');
      const result = await run(sandboxed(platform, [victim, 'calls', String(seed)]));
      t.is(result.stdout, 'still here\n', describe('in the sandbox', [victim], result));
      t.is(result.status, 0);
    });
  }
}

withVictim('two containers do not see each other', ['sleep'], async (t, bundle) => {
  await bundle.start('one');
  await bundle.start('two');
  t.is((await bundle.runsc(['kill', 'one', 'KILL'])).status, 0);
  t.true(await bundle.becomes('one', 'stopped'));
  t.is(await bundle.status('two'), 'running');
  const echoed = await bundle.runsc(['exec', 'two', VICTIM, 'echo', 'alive']);
  t.is(echoed.stdout, 'alive\n', describe('runsc exec', [], echoed));
});

withVictim('a container that ends by itself is stopped with its status, and deleted', ['term'], async (t, bundle) => {
  await bundle.start('polite');
  t.is((await bundle.runsc(['kill', 'polite', 'TERM'])).status, 0);
  t.true(await bundle.becomes('polite', 'stopped'));
  t.is((await bundle.runsc(['delete', 'polite'])).status, 0);
});

function hasMemoryController(): boolean {
  try {
    return readdirSync('/sys/fs/cgroup').some((name) => name === 'memory' || name === 'memory.max' || name === 'cgroup.controllers');
  } catch {
    return false;
  }
}

function skipped(why: string): typeof withVictim {
  return (title) => {
    test.skip(`${title} (${why})`, () => {});
  };
}

// podman's own behaviour on this runtime. `npm test` tries a few scripts, `npm run test:integration` all, as root and as an
// ordinary user, and installs what is missing.
import test from 'ava';
import { Podman, podmanMissing, rootlessMissing } from '../support/podman.ts';
import { cases } from './cases.ts';

const full = process.env.RUNSC_TEST_INTEGRATION === '1';
const reason = podmanMissing(full);

function tryAll(who: string, rootless: boolean, skipped: string | undefined): void {
  const chosen = cases.filter((c) => (full || c.quick) && (!rootless || c.rootless));
  if (skipped !== undefined) {
    for (const c of chosen) test.skip(`${who}: ${c.title} (${skipped})`, () => {});
    return;
  }
  let podman: Podman;
  test.serial(`${who}: an image`, async (t) => {
    t.timeout(180_000);
    podman = new Podman(rootless);
    const made = await podman.makeImage();
    t.is(made.status, 0, made.stderr);
  });
  for (const c of chosen) {
    test.serial(`${who}: ${c.title}`, async (t) => {
      t.timeout(180_000);
      const result = await podman.run(c.script);
      t.is(result.stdout.trim(), c.output, result.stderr);
    });
  }
  test.after.always(`${who}: storage is removed`, async (t) => {
    t.timeout(180_000);
    await podman?.remove();
  });
}

tryAll('podman', false, reason);
if (full) tryAll('podman of an ordinary user', true, reason ?? rootlessMissing());

// Images of erofs: what the host's kernel sees in them, and images that somebody has damaged.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { Bundle } from '../support/bundle.ts';
import { ErofsImages } from '../support/erofs-images.ts';
import { buildGuest } from '../support/guest.ts';
import { run } from '../support/processes.ts';
import { launcher, platforms, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const reason = missing(['root', 'mkfs.erofs', 'setfattr', 'static-libc']);
const hostHasIt = /\terofs\n/.test(readFileSync('/proc/filesystems', 'latin1'));
let large: Promise<ErofsImages> | undefined;
let small: Promise<ErofsImages> | undefined;
const declare = unless(reason);

test.after.always(async () => {
  for (const images of [large, small]) if (images !== undefined) rmSync((await images).path, { recursive: true, force: true });
});

for (const platform of platforms) {
  unless(reason ?? (hostHasIt ? undefined : 'needs a host with erofs'))(
    `all kinds of images show what the host's kernel shows (${platform})`,
    async (t) => {
      t.timeout(120_000);
      const { path, images } = await (large ??= new ErofsImages().make(true));
      t.true(images.length >= 6);
      const argv = [await buildGuest('helper-erofs'), join(path, 'mnt'), ...images];
      const host = await run(argv);
      const guest = await run(sandboxed(platform, argv));
      t.false(/DIFFERENT/.test(host.stdout));
      t.deepEqual(guest.stdout.split('\n'), host.stdout.split('\n'));
      t.is(guest.status, 0);
    },
  );

  declare(`damaged images are errors and nothing else (${platform})`, async (t) => {
    t.timeout(120_000);
    const { path, images } = await (small ??= new ErofsImages().make(false));
    const program = await buildGuest('helper-erofs');
    for (const [i, image] of images.entries()) {
      const argv = [program, 'fuzz', image, join(path, `fuzz-${platform}-${i}`), '25', String(i)];
      const { stdout, stderr, status } = await run(sandboxed(platform, argv));
      t.deepEqual([stdout, stderr, status], ['fuzzed enough\n', '', 0], image);
    }
  });
}

declare('a mount of the configuration shows an image of the host, and nothing that is no image', async (t) => {
  const { images } = await (small ??= new ErofsImages().make(false));
  const bundle = new Bundle(
    'cat /image/a; ls /image | head -3; touch /image/x 2>&1; grep -o "erofs.*" /proc/self/mountinfo | cut -d" " -f1,3',
  );
  t.teardown(() => bundle.remove());
  bundle.config.mounts.push({ destination: '/image', type: 'erofs', source: images[0], options: ['ro'] });
  bundle.write();
  const good = await bundle.runsc(['run', 'a']);
  t.is(good.stderr, '');
  t.is(
    good.stdout,
    "hello\na\nb\nfifo\ntouch: cannot touch '/image/x': Read-only file system\nerofs ro,user_xattr,acl,cache_strategy=readaround\n",
  );
  for (const [source, words] of [
    ['/nonexistent', /the erofs mount at \/image: \/nonexistent: .*(no such file|ENOENT)/i],
    ['/', /is no file with an image in it/],
    [launcher, /mounting erofs at \/image: EINVAL/],
  ] as const) {
    bundle.config.mounts.at(-1).source = source;
    bundle.write();
    const bad = await bundle.runsc(['run', 'a']);
    t.regex(bad.stderr, words);
    t.not(bad.status, 0);
    t.is((await bundle.runsc(['list', '--quiet'])).stdout, '');
  }
});

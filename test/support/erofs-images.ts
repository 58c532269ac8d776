// Images for tests of erofs: one tree in all the ways that mkfs.erofs knows to store it.
import { linkSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './processes.ts';

/** A name for each, and mkfs.erofs's words. Versions differ in what they know: what fails is left out. */
const KINDS: readonly (readonly [string, ...string[]])[] = [
  ['plain'],
  ['not-inline', '-Enoinline_data'],
  ['extended', '-Eforce-inode-extended', '-x1'],
  ['lz4', '-zlz4'],
  ['high', '-zlz4hc,12'],
  ['legacy', '-zlz4', '-Elegacy-compress'],
  ['big-clusters', '-zlz4hc', '-C65536'],
  ['tails', '-zlz4hc', '-C16384', '-Eztailpacking'],
  ['fragments', '-zlz4hc', '-C32768', '-Efragments'],
  ['dedupe', '-zlz4hc', '-C16384', '-Ededupe'],
  ['everything', '-zlz4hc', '-C131072', '-Eall-fragments,dedupe,ztailpacking'],
  ['chunks', '--chunksize=4096'],
  ['large-chunks', '--chunksize=16384'],
];

export class ErofsImages {
  readonly path: string = mkdtempSync('/tmp/runsc-erofs-');
  readonly images: string[] = [];

  /** Makes the images; `large` has more than a page or two of everything. */
  async make(large: boolean): Promise<this> {
    const tree = join(this.path, 'tree');
    mkdirSync(join(tree, 'sub', 'empty'), { recursive: true, mode: 0o755 });
    mkdirSync(join(this.path, 'mnt'));
    const words = readFileSync(join(import.meta.dirname, 'erofs-images.ts'), 'latin1');
    writeFileSync(join(tree, 'a'), 'hello\n');
    linkSync(join(tree, 'a'), join(tree, 'b'));
    symlinkSync('sub/../a', join(tree, 'link'));
    writeFileSync(join(tree, 'words'), words.repeat(large ? 60 : 8));
    writeFileSync(join(tree, 'noise'), Buffer.from(Array.from({ length: large ? 200_000 : 9000 }, (_, i) => (i * i * 7919) >> 5)));
    writeFileSync(join(tree, 'nothing'), '');
    writeFileSync(join(tree, 'zeros'), '');
    truncateSync(join(tree, 'zeros'), large ? 3_000_000 : 8191);
    for (let i = 0; i < (large ? 300 : 90); i++) writeFileSync(join(tree, 'sub', `a-file-with-a-longer-name-${i}`), `${i}`);
    const more =
      'cd "$1" && mknod null c 1 3 && mkfifo fifo && chown 1000:70000 words && chmod 4750 words && setfattr -n user.x -v y a b sub';
    await run(['/bin/sh', '-c', more, 'sh', tree]);
    for (const [name, ...words] of KINDS) {
      const image = join(this.path, `${name}.img`);
      if ((await run(['mkfs.erofs', '--quiet', '-T1700000000', ...words, image, tree])).status === 0) this.images.push(image);
    }
    return this;
  }
}

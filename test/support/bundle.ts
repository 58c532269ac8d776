// A bundle whose root file system is empty but for the host's programs, bound read-only.
import { mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { template } from '../../runsc/commands/spec.ts';
import { type Result, type RunOptions, run } from './processes.ts';
import { launcher } from './sandbox.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests change what they like
export type Json = any;

export class Bundle {
  readonly path: string = mkdtempSync('/tmp/runsc-bundle-');
  /** Where the state of containers is. */
  readonly root: string;
  readonly config: Json;

  /** root: that of another bundle, to have containers of both in one place. */
  constructor(script: string, root?: string) {
    this.root = root ?? join(this.path, 'state');
    this.config = template(['/bin/sh', '-c', script], false, undefined);
    this.config.root.readonly = false;
    this.config.process.terminal = false;
    mkdirSync(join(this.path, 'rootfs', 'usr'), { recursive: true });
    this.bind('/usr', '/usr');
    for (const name of ['bin', 'lib', 'lib64']) {
      const link = linkTarget(`/${name}`);
      if (link === undefined) this.bind(`/${name}`, `/${name}`);
      else symlinkSync(link, join(this.path, 'rootfs', name));
    }
  }

  bind(source: string, destination: string, ...options: string[]): void {
    this.config.mounts.push({ destination, type: 'bind', source, options: ['rbind', ...(options.length > 0 ? options : ['ro'])] });
  }

  write(): this {
    writeFileSync(join(this.path, 'config.json'), JSON.stringify(this.config));
    return this;
  }

  /** Runs a command of runsc's with the state in this bundle. */
  runsc(words: string[], options: RunOptions = {}): Promise<Result> {
    return run([launcher, '--root', this.root, ...words], { cwd: this.path, ...options });
  }

  /** Deletes the containers by force, and the bundle. */
  async remove(): Promise<void> {
    const ids = (await this.runsc(['list', '--quiet'])).stdout.split('\n').filter((id) => id !== '');
    if (ids.length > 0) await this.runsc(['delete', '--force', ...ids]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

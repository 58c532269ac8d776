// The option words of a mount in config.json: flags, propagation, and what is left for the file system. The words are
// mount(8)'s, as the runtime specification lists them.

import {
  MS_BIND,
  MS_DIRSYNC,
  MS_LAZYTIME,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from '../sentry/abi/mount.ts';

export interface MountOptions {
  /** MS_* */
  readonly flags: number;
  /** MS_PRIVATE and its kin, with MS_REC; 0 for none. */
  readonly propagation: number;
  readonly data: string;
}

// Word: flag, whether it clears.
const FLAG_WORDS: Readonly<Record<string, readonly [number, boolean]>> = {
  defaults: [0, false],
  ro: [MS_RDONLY, false],
  rw: [MS_RDONLY, true],
  nosuid: [MS_NOSUID, false],
  suid: [MS_NOSUID, true],
  nodev: [MS_NODEV, false],
  dev: [MS_NODEV, true],
  noexec: [MS_NOEXEC, false],
  exec: [MS_NOEXEC, true],
  sync: [MS_SYNCHRONOUS, false],
  async: [MS_SYNCHRONOUS, true],
  dirsync: [MS_DIRSYNC, false],
  noatime: [MS_NOATIME, false],
  atime: [MS_NOATIME, true],
  nodiratime: [MS_NODIRATIME, false],
  diratime: [MS_NODIRATIME, true],
  relatime: [MS_RELATIME, false],
  norelatime: [MS_RELATIME, true],
  strictatime: [MS_STRICTATIME, false],
  nostrictatime: [MS_STRICTATIME, true],
  lazytime: [MS_LAZYTIME, false],
  nolazytime: [MS_LAZYTIME, true],
  nosymfollow: [MS_NOSYMFOLLOW, false],
  symfollow: [MS_NOSYMFOLLOW, true],
  remount: [MS_REMOUNT, false],
  bind: [MS_BIND, false],
  rbind: [MS_BIND | MS_REC, false],
};

const PROPAGATION_WORDS: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE | MS_REC,
  shared: MS_SHARED,
  rshared: MS_SHARED | MS_REC,
  slave: MS_SLAVE,
  rslave: MS_SLAVE | MS_REC,
  unbindable: MS_UNBINDABLE,
  runbindable: MS_UNBINDABLE | MS_REC,
};

/** Words that mean something to runc alone, or that a sandbox has no use for. */
const IGNORED = new Set([
  'tmpcopyup',
  'copyup',
  'nocopyup',
  'loop',
  'noloop',
  'user',
  'nouser',
  'auto',
  'noauto',
  'mand',
  'nomand',
  'silent',
  'loud',
  'iversion',
  'noiversion',
  'acl',
  'noacl',
  'z',
  'Z',
  'U',
]);

export function parseMountOptions(words: readonly string[]): MountOptions {
  let flags = 0;
  let propagation = 0;
  const data: string[] = [];
  for (const word of words) {
    // rro, rnosuid, …: the same for all mounts below, which are one file tree here.
    const plain = FLAG_WORDS[word] ?? (word.startsWith('r') ? FLAG_WORDS[word.slice(1)] : undefined);
    if (plain !== undefined) {
      const [flag, clears] = plain;
      flags = clears ? flags & ~flag : flags | flag;
    } else if (PROPAGATION_WORDS[word] !== undefined) propagation = PROPAGATION_WORDS[word];
    else if (!IGNORED.has(word) && word !== '' && !word.startsWith('idmap') && !word.startsWith('ridmap')) data.push(word);
  }
  return { flags, propagation, data: data.join(',') };
}

/** All words, for `features`. */
export function mountOptionWords(): string[] {
  const recursive = Object.keys(FLAG_WORDS).filter((w) => !['defaults', 'bind', 'rbind', 'remount'].includes(w));
  return [...Object.keys(FLAG_WORDS), ...recursive.map((w) => `r${w}`), ...Object.keys(PROPAGATION_WORDS)].sort();
}

// tmpfs's mount options: mm/shmem.c:shmem_parse_one().

import { totalmem } from 'node:os';
import { EINVAL } from '../abi/errno.ts';
import type { Credentials } from '../kernel/credentials.ts';

const PAGE = 4096;
/** Read before lock-down: "size" defaults to half of the memory. */
export const memoryPages = Math.floor(totalmem() / PAGE);
const DEFAULT_MODE = 0o1777;
const SUFFIXES = 'kmgtpe';
/** Known to Linux, and without meaning here. */
const IGNORED = new Set(['huge', 'mpol', 'inode32', 'inode64', 'noswap', 'seclabel', 'context', 'fscontext', 'defcontext', 'rootcontext']);

export class TmpfsOptions {
  /** Pages of 4 KiB and inodes; 0: no limit. */
  pages = Math.floor(memoryPages / 2);
  inodes = Math.floor(memoryPages / 2);
  sizeGiven = false;
  inodesGiven = false;
  mode = DEFAULT_MODE;
  uid = 0;
  gid = 0;

  /** As mountinfo shows them: shmem_show_options(). */
  text(): string {
    let text = '';
    if (this.sizeGiven) text += `,size=${this.pages * 4}k`;
    if (this.inodesGiven) text += `,nr_inodes=${this.inodes}`;
    if (this.mode !== DEFAULT_MODE) text += `,mode=${this.mode.toString(8).padStart(3, '0')}`;
    if (this.uid !== 0) text += `,uid=${this.uid}`;
    if (this.gid !== 0) text += `,gid=${this.gid}`;
    return `${text},inode64`;
  }
}

/** The options of a new file system, or of a remount of `old`; -EINVAL for what Linux does not know either. */
export function parseTmpfsOptions(text: string, old?: TmpfsOptions, creds?: Credentials): TmpfsOptions | number {
  const o = new TmpfsOptions();
  if (old !== undefined) {
    o.pages = old.pages;
    o.inodes = old.inodes;
    o.sizeGiven = old.sizeGiven;
    o.inodesGiven = old.inodesGiven;
  } else if (creds !== undefined) {
    o.uid = creds.fsuid;
    o.gid = creds.fsgid;
  }
  for (const option of text.split(',')) {
    if (option === '') continue;
    const eq = option.indexOf('=');
    const key = eq < 0 ? option : option.slice(0, eq);
    const value = eq < 0 ? '' : option.slice(eq + 1);
    if (IGNORED.has(key)) continue;
    const n = key === 'mode' ? parseOctal(value) : parseSize(value);
    if (n < 0) return -EINVAL;
    switch (key) {
      case 'size':
        o.pages = value.endsWith('%') ? Math.floor((memoryPages * n) / 100) : Math.ceil(n / PAGE);
        o.sizeGiven = true;
        break;
      case 'nr_blocks':
        o.pages = n;
        o.sizeGiven = true;
        break;
      case 'nr_inodes':
        o.inodes = n;
        o.inodesGiven = true;
        break;
      case 'mode':
        o.mode = n & 0o7777;
        break;
      case 'uid':
        o.uid = creds === undefined ? n : creds.userns.uidToKernel(n);
        if (o.uid < 0) return -EINVAL;
        break;
      case 'gid':
        o.gid = creds === undefined ? n : creds.userns.gidToKernel(n);
        if (o.gid < 0) return -EINVAL;
        break;
      default:
        return -EINVAL;
    }
  }
  return o;
}

function parseOctal(text: string): number {
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : -1;
}

/** memparse(): a number with an optional suffix; "50%" answers 50. */
function parseSize(text: string): number {
  const match = /^(0x[0-9a-f]+|\d+)([kmgtpe%]?)$/i.exec(text);
  if (match === null) return -1;
  const suffix = match[2]!.toLowerCase();
  const n = Number(match[1]);
  return suffix === '' || suffix === '%' ? n : n * 1024 ** (SUFFIXES.indexOf(suffix) + 1);
}

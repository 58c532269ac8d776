// The first page(s) of a new program's stack: argv, envp and the auxiliary vector, laid out as
// fs/binfmt_elf.c:create_elf_tables() does:
//
//   rsp → argc | argv… NULL | envp… NULL | auxv… AT_NULL | padding | platform, random bytes | strings | execfn | 8 zero bytes ← top

import { AT_EXECFN, AT_NULL, AT_PLATFORM, AT_RANDOM } from '../abi/elf.ts';
import { put64 } from '../base/int64.ts';
import { putLatin1 } from '../base/latin1.ts';

export interface StackImage {
  /** Goes to guest memory at `start`. */
  bytes: Uint8Array;
  start: number;
  /** Initial rsp; equals start. */
  argStart: number;
  argEnd: number;
  envStart: number;
  envEnd: number;
  /** The auxiliary vector as /proc/[pid]/auxv shows it. */
  auxv: Uint8Array;
}

const PLATFORM = 'x86_64';
const RANDOM_BYTES = 16;

/** Bytes that strings and pointers of argv and envp take: what ARG_MAX bounds. */
export function argumentBytes(argv: readonly string[], envp: readonly string[]): number {
  let total = 0;
  for (const s of argv) total += s.length + 1 + 8;
  for (const s of envp) total += s.length + 1 + 8;
  return total;
}

/** Builds the image that ends at `top` (16-byte aligned). auxv: pairs without AT_RANDOM, AT_PLATFORM, AT_EXECFN and AT_NULL. */
export function buildStack(
  top: number,
  argv: readonly string[],
  envp: readonly string[],
  execfn: string,
  auxv: readonly [number, number][],
  random: Uint8Array,
): StackImage {
  let strings = 8 + execfn.length + 1;
  for (const s of envp) strings += s.length + 1;
  for (const s of argv) strings += s.length + 1;
  const extra = PLATFORM.length + 1 + RANDOM_BYTES;
  const words = 1 + argv.length + 1 + envp.length + 1 + (auxv.length + 4) * 2;
  const stringsStart = top - strings;
  const extraStart = Math.floor((stringsStart - extra) / 16) * 16;
  const start = Math.floor((extraStart - words * 8) / 16) * 16;

  const bytes = new Uint8Array(top - start);
  const view = new DataView(bytes.buffer);
  let at = stringsStart - start;
  let word = 0;
  const pushWord = (value: number) => {
    put64(view, word, value);
    word += 8;
  };
  const pushString = (s: string) => {
    const addr = start + at;
    at += putLatin1(bytes, at, s) + 1;
    return addr;
  };
  pushWord(argv.length);
  const argStart = start + at;
  for (const s of argv) pushWord(pushString(s));
  pushWord(0);
  const argEnd = start + at;
  for (const s of envp) pushWord(pushString(s));
  pushWord(0);
  const envEnd = start + at;
  const execfnAddr = pushString(execfn);
  at = extraStart - start;
  bytes.set(random.subarray(0, RANDOM_BYTES), at);
  const randomAddr = start + at;
  at += RANDOM_BYTES;
  const platformAddr = pushString(PLATFORM);
  const auxStart = word;
  for (const [type, value] of auxv) {
    pushWord(type);
    pushWord(value);
  }
  pushWord(AT_RANDOM);
  pushWord(randomAddr);
  pushWord(AT_EXECFN);
  pushWord(execfnAddr);
  pushWord(AT_PLATFORM);
  pushWord(platformAddr);
  pushWord(AT_NULL);
  pushWord(0);
  return { bytes, start, argStart, argEnd, envStart: argEnd, envEnd, auxv: bytes.slice(auxStart, word) };
}

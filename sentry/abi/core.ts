// The notes of core files: struct elf_prstatus (include/linux/elfcore.h) and elf_prpsinfo.

import { assert } from '../base/assert.ts';
import { array, i32, layout, u8, u16, u32, u64 } from './layout.ts';

/** struct elf_prstatus: what a thread was about. */
export const PRSTATUS = layout({
  signo: i32,
  code: i32,
  errno: i32,
  cursig: u16,
  sigpend: u64,
  sighold: u64,
  pid: i32,
  ppid: i32,
  pgrp: i32,
  sid: i32,
  utime: array(u64, 2),
  stime: array(u64, 2),
  cutime: array(u64, 2),
  cstime: array(u64, 2),
  reg: array(u64, 27),
  fpvalid: i32,
});
assert(PRSTATUS.size === 336);

/** struct elf_prpsinfo: what ps(1) would tell of the process. */
export const PRPSINFO = layout({
  state: u8,
  sname: u8,
  zomb: u8,
  nice: u8,
  flag: u64,
  uid: u32,
  gid: u32,
  pid: i32,
  ppid: i32,
  pgrp: i32,
  sid: i32,
  fname: array(u8, 16),
  psargs: array(u8, 80),
});
assert(PRPSINFO.size === 136);
/** ELF_PRARGSZ. */
export const PSARGS_SIZE = 80;

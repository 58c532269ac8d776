/* Call sites in the guest's code, which become jumps into the stub.
 *
 * Form 1 is `mov $nr,%eax; syscall`, form 2 `syscall; cmp $-4095,%rax` (or -4096), form 3 a 5-byte load from the stack
 * and `syscall`. They become a jump of 7 bytes through the table at JUMP_TABLE:
 *
 *   form 1, 3:  ff 24 25 lo hi 06 00      a thread that stood before `syscall` (offset 5) finds 06, an invalid opcode
 *   form 2:     ff 24 e5 lo hi 06 00      one that stood behind it (offset 2) finds e5, `in`, which is privileged
 *
 * and put_right() puts both right. The store is one of 8 bytes inside a cache line; a site across two lines is patched only
 * while the process has a single thread. */
#pragma once

#include "base.h"

#define TABLE ((volatile u64 *)JUMP_TABLE)
#define TABLE_NEXT 2
#define TABLE_COUNT 3
#define TABLE_FIRST 4
#define MAX_SITES 8000
#define HITS ((u8 *)(THUNKS_END - 4096))
/* A site is worth its thunk and the copy of its page when it is called again and again. */
#define HITS_NEEDED 3

/* The form of the site whose `syscall` ends at rip, b being what stands from rip-8 on; 0 for none. */
static int site_form(u64 rip, const u8 *b, u64 rax, int is_alone) {
  if (b[6] != 0x0f || b[7] != 0x05) return 0;
  int first = ((rip - 7) & 63) <= 56, second = ((rip - 2) & 63) <= 56;
  int is2 = b[8] == 0x48 && b[9] == 0x3d && (b[10] == 0x00 || b[10] == 0x01) && b[11] == 0xf0 && b[12] == 0xff && b[13] == 0xff;
  int form = b[1] == 0xb8 && *(const u32 *)(b + 2) == rax ? 1 : b[1] == 0x4c && b[2] == 0x8b && b[3] == 0x4c && b[4] == 0x24 ? 3 : 0;
  if (form != 0 && first) return form;
  if (is2 && second) return 2;
  if (!is_alone) return 0;
  return form != 0 ? form : is2 ? 2 : 0;
}

/* Whether the site of this trap could be patched: the Sentry knows the mapping, and decides. */
static int note_site(u8 *c, u64 rip, u64 rax) {
  if (U32(CONF, CONF_PATCH) == 0) return 0;
  u8 *hits = HITS + ((rip ^ (rip >> 12)) & 4095);
  if (*hits < HITS_NEEDED) {
    ++*hits;
    return 0;
  }
  u8 b[16];
  *hits = 0;
  if (TABLE[TABLE_COUNT] >= MAX_SITES) {
    U32(c, CTX_SITES_FULL)++;
    return 0;
  }
  if (copy_some(b, (void *)(rip - 8), 16) != 0 || site_form(rip, b, rax, 1) == 0) {
    U32(c, CTX_SITES_NO_FORM)++;
    return 0;
  }
  U64(c, CTX_PATCH_SITE) = rip;
  return 1;
}

static u8 *put64(u8 *p, u64 value) {
  for (int i = 0; i < 8; i++) p[i] = (u8)(value >> (i * 8));
  return p + 8;
}

static void patch_site(u8 *c) {
  u32 prot = U32(c, CTX_PATCH_PROT) & 7, is_alone = U32(c, CTX_PATCH_PROT) & PATCH_ALONE;
  u64 rip = U64(c, CTX_PATCH_SITE);
  U32(c, CTX_PATCH_PROT) = 0;
  u8 b[16];
  u64 count = TABLE[TABLE_COUNT];
  u8 *t = (u8 *)TABLE[TABLE_NEXT];
  if (count >= MAX_SITES || (u64)t < THUNKS || (u64)t > THUNKS_END - 4096 - 64) {
    U32(c, CTX_SITES_FULL)++;
    return;
  }
  if (copy_some(b, (void *)(rip - 8), 16) != 0) return;
  int form = site_form(rip, b, REG(c, ORIG_RAX), is_alone != 0);
  if (form == 0) {
    U32(c, CTX_SITES_SPLIT)++;
    return;
  }
  u64 entry = JUMP_TABLE + (TABLE_FIRST + count) * 8;
  u8 *p = t;
  if (form != 2) {
    for (int i = 0; i < 5; i++) *p++ = b[1 + i];
    *p++ = 0x48, *p++ = 0xb9; /* movabs $rip, %rcx */
    p = put64(p, rip);
    *p++ = 0xff, *p++ = 0x24, *p++ = 0x25, *p++ = 0, *p++ = 0, *p++ = 6, *p++ = 0; /* jmp *JUMP_TABLE */
    t += 32;
  } else {
    *p++ = 0x48, *p++ = 0xb9; /* movabs $tail, %rcx */
    p = put64(p, (u64)t + 32);
    *p++ = 0xff, *p++ = 0x24, *p++ = 0x25, *p++ = 8, *p++ = 0, *p++ = 6, *p++ = 0; /* jmp *JUMP_TABLE+8 */
    put64(t + 24, rip);
    p = t + 32; /* the tail: the compare, then back behind it */
    for (int i = 0; i < 6; i++) *p++ = b[8 + i];
    *p++ = 0xff, *p++ = 0x25, *p++ = 0, *p++ = 0, *p++ = 0, *p++ = 0;
    put64(p, rip + 6);
    t += 64;
  }
  TABLE[TABLE_FIRST + count] = (u64)t - (form == 2 ? 64 : 32);
  TABLE[TABLE_NEXT] = (u64)t;
  TABLE[TABLE_COUNT] = count + 1;
  u64 site = form == 2 ? rip - 2 : rip - 7, page = site & ~4095UL, length = ((site + 7) & ~4095UL) - page + 4096;
  u8 code[8];
  if (copy_some(code, (void *)site, 8) != 0) return;
  code[0] = 0xff, code[1] = 0x24, code[2] = form == 2 ? 0xe5 : 0x25;
  code[3] = (u8)entry, code[4] = (u8)(entry >> 8), code[5] = 6, code[6] = 0;
  if (SYS3(__NR_mprotect, page, length, 7) != 0) return;
  u64 word;
  memcpy(&word, code, 8);
  __atomic_store_n((u64 *)site, word, __ATOMIC_SEQ_CST);
  U32(c, CTX_SITES_PATCHED)++;
  SYS3(__NR_mprotect, page, length, prot);
}

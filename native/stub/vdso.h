/* Finding functions of the vDSO. */
#pragma once

#include "base.h"

struct elf_header {
  u8 ident[16];
  u16 type, machine;
  u32 version;
  u64 entry, phoff, shoff;
  u32 flags;
  u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct program_header {
  u32 type, flags;
  u64 offset, vaddr, paddr, filesz, memsz, align;
};

struct symbol {
  u32 name;
  u8 info, other;
  u16 shndx;
  u64 value, size;
};

static int is_name(const char *a, const char *b) {
  for (; *a == *b; a++, b++)
    if (*a == 0) return 1;
  return 0;
}

#define PT_LOAD 1
#define PT_DYNAMIC 2
#define DT_STRTAB 5
#define DT_SYMTAB 6

/* The address of a function of the vDSO, or 0. Its symbols lie before their names, which is how their number is known. */
static u64 vdso_function(u64 vdso, const char *name) {
  if (vdso == 0) return 0;
  const struct elf_header *e = (const struct elf_header *)vdso;
  const struct program_header *p = (const struct program_header *)(vdso + e->phoff);
  const u64 *dynamic = 0;
  u64 base = vdso;
  for (u32 i = 0; i < e->phnum; i++) {
    if (p[i].type == PT_LOAD) base = vdso + p[i].offset - p[i].vaddr;
    if (p[i].type == PT_DYNAMIC) dynamic = (const u64 *)(vdso + p[i].offset);
  }
  u64 strings = 0, symbols = 0;
  for (; dynamic != 0 && dynamic[0] != 0; dynamic += 2) {
    if (dynamic[0] == DT_STRTAB) strings = base + dynamic[1];
    if (dynamic[0] == DT_SYMTAB) symbols = base + dynamic[1];
  }
  if (strings == 0 || symbols == 0) return 0;
  for (const struct symbol *s = (const struct symbol *)symbols; (u64)(s + 1) <= strings; s++)
    if (s->shndx != 0 && is_name((const char *)strings + s->name, name)) return base + s->value;
  return 0;
}

/* Where the host has put the vDSO: behind argc, argv and the environment on the first stack. */
static u64 vdso_address(const u64 *sp) {
  const u64 *p = sp + 1 + sp[0] + 1;
  while (*p++ != 0) {
  }
  for (; p[0] != 0; p += 2)
    if (p[0] == 33 /* AT_SYSINFO_EHDR */) return p[1];
  return 0;
}

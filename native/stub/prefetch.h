/* What the call points at, copied before the Sentry asks. The table is written by platform/systrap/prefetch.ts. */
#pragma once

#include "base.h"
#include <asm/fcntl.h>

#define PREFETCH_UNITS 0
#define PREFETCH_STRING 1
#define PREFETCH_BYTES 2
#define PREFETCH_FIXED 3
/* In a size: what the entries of a vector point at is fetched too; the struct is a msghdr, whose vector is. */
#define PREFETCH_FOLLOW 0x80
#define PREFETCH_MSGHDR 0x40
#define PREFETCH_SIZE 0x3f
/* Larger buffers are read by the Sentry right to where they go. */
#define PREFETCH_MAX 8192
/* Of the buffers of a vector; the rest of the data area is for strings and results. */
#define PREFETCH_VECTOR_MAX 16384
#define PATH_MAX 4096
#define IOVEC_SIZE 16
#define MSG_NAME 0
#define MSG_NAMELEN 8
#define MSG_IOV 16
#define MSG_IOVLEN 24
#define MSG_CONTROL 32
#define MSG_CONTROLLEN 40

struct fetched {
  u8 *c;
  u32 used, count;
};

static void add_fetched(struct fetched *f, u64 from, u64 n) {
  u8 *in = f->c + CTX_INS + f->count * IN_SIZE;
  U64(in, 0) = from;
  U32(in, 8) = (u32)n;
  U32(in, 12) = f->used;
  f->used += (u32)((n + 15) & ~15UL);
  f->count++;
}

/* The copy of n bytes, or 0. */
static u8 *fetch(struct fetched *f, u64 from, u64 n) {
  u8 *to = f->c + CTX_DATA + f->used;
  if (from == 0 || n == 0 || n > PREFETCH_MAX || f->count >= MAX_INS || copy_some(to, (const void *)from, n) != 0) return 0;
  add_fetched(f, from, n);
  return to;
}

static void fetch_vector(struct fetched *f, u64 from, u64 entries, int follows) {
  if (entries > PREFETCH_MAX / IOVEC_SIZE) return;
  u8 *vector = fetch(f, from, entries * IOVEC_SIZE);
  if (vector == 0 || !follows) return;
  u32 most = f->used + PREFETCH_VECTOR_MAX;
  for (u64 i = 0; i < entries && f->used < most; i++) fetch(f, U64(vector, i * IOVEC_SIZE), U64(vector, i * IOVEC_SIZE + 8));
}

/* Other commands of fcntl have a number where these have a struct flock. */
static int takes_lock(u32 cmd) {
  return (cmd >= F_GETLK && cmd <= F_SETLKW) || (cmd >= F_OFD_GETLK && cmd <= F_OFD_SETLKW);
}

static void prefetch(u8 *c, u64 nr) {
  static const u8 argument[8] = {RDI, RSI, RDX, R10, R8, R9, R9, R9};
  U32(c, CTX_NOUT) = 0;
  u64 words = nr < 512 ? *(u64 *)(CONF + CONF_PREFETCH + nr * 8) : 0;
  struct fetched f = {c, 0, 0};
  if (nr == __NR_fcntl && !takes_lock((u32)REG(c, RSI))) words = 0;
  for (; words != 0; words >>= 16) {
    u32 word = (u16)words, kind = (word >> 3) & 3, size = (word >> 8) & PREFETCH_SIZE, follows = (word >> 8) & PREFETCH_FOLLOW;
    u64 from = REG(c, argument[word & 7]), counted = REG(c, argument[(word >> 5) & 7]);
    switch (kind) {
      case PREFETCH_STRING: {
        if (from == 0) break;
        long got = copy_string(c + CTX_DATA + f.used, (const u8 *)from, PATH_MAX);
        if (got >= 0) add_fetched(&f, from, (u64)got);
        break;
      }
      case PREFETCH_BYTES:
        fetch(&f, from, counted);
        break;
      case PREFETCH_UNITS:
        if (follows) fetch_vector(&f, from, counted, 1);
        else if (counted <= PREFETCH_MAX) fetch(&f, from, counted * size);
        break;
      case PREFETCH_FIXED: {
        u8 *at = fetch(&f, from, (u64)size * 8);
        if (at == 0 || ((word >> 8) & PREFETCH_MSGHDR) == 0) break;
        if (follows) {
          fetch(&f, U64(at, MSG_NAME), U32(at, MSG_NAMELEN));
          fetch(&f, U64(at, MSG_CONTROL), U64(at, MSG_CONTROLLEN));
        }
        fetch_vector(&f, U64(at, MSG_IOV), U64(at, MSG_IOVLEN), follows != 0);
        break;
      }
    }
  }
  U32(c, CTX_SYSNO) = (u32)nr;
  U32(c, CTX_NIN) = f.count;
  U32(c, CTX_DATA_USED) = f.used;
}

/* Calls that need no Sentry: identities, clocks, yielding, waking where nobody waits. */
#pragma once

#include "base.h"

#define GUEST_TOP 0x7fee00000000UL
#define FUTEX_PRIVATE_FLAG 128
#define FUTEX_WAKE_BITSET 10
#define FUTEX_BUCKETS 1024

/* FUTEX_WAKE with nobody waiting. The Sentry raises the counter of a word's bucket before it looks at the word, and the guest
 * has changed the word before it came here: either we see the waiter, or it sees the new value. A word has the same place in its
 * page wherever it is mapped, so that shared ones need no other key. */
static int no_one_to_wake(u8 *c) {
  u64 addr = REG(c, RDI);
  u32 op = (u32)REG(c, RSI), cmd = op & ~FUTEX_PRIVATE_FLAG;
  if (cmd != FUTEX_WAKE && (cmd != FUTEX_WAKE_BITSET || (u32)REG(c, R9) == 0)) return 0;
  if (addr % 4 != 0 || addr >= GUEST_TOP) return 0;
  u32 word;
  /* One that processes may share has to be there: get_futex_key(). */
  if ((op & FUTEX_PRIVATE_FLAG) == 0 && copy_some(&word, (void *)addr, 4) != 0) return 0;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return __atomic_load_n((u32 *)(CONF + CONF_FUTEX_WAITERS) + addr / 4 % FUTEX_BUCKETS, __ATOMIC_SEQ_CST) == 0;
}

#define CLOCK_REALTIME 0
#define CLOCK_REALTIME_COARSE 5
/* REALTIME, MONOTONIC, MONOTONIC_RAW, both COARSE, BOOTTIME, TAI: what the vDSO knows without asking the kernel. */
#define VDSO_CLOCKS 0x8f3u

struct timespec {
  long sec, nsec;
};

/* The guest's clocks are the host's, and its vDSO too: nobody but the host can change it there. It uses no extended state. */
static int read_clock(u32 clock, struct timespec *now) {
  long (*gettime)(long, struct timespec *) = (long (*)(long, struct timespec *))U64(CONF, CONF_VDSO_CLOCK);
  return gettime != 0 && clock < 32 && (VDSO_CLOCKS >> clock & 1) != 0 && gettime(clock, now) == 0;
}

/* A result that cannot be stored is the Sentry's to answer. */
static int stored(u64 addr, const void *from, u64 n) { return addr < GUEST_TOP && copy_some((void *)addr, from, n) == 0; }

static int answer_clock(u8 *c) {
  struct timespec now;
  return read_clock((u32)REG(c, RDI), &now) && stored(REG(c, RSI), &now, sizeof now);
}

static int answer_timeofday(u8 *c) {
  struct timespec now;
  if (REG(c, RDI) == 0 || REG(c, RSI) != 0 || !read_clock(CLOCK_REALTIME, &now)) return 0;
  now.nsec /= 1000;
  return stored(REG(c, RDI), &now, sizeof now);
}

static int answer_time(u8 *c) {
  struct timespec now;
  if (!read_clock(CLOCK_REALTIME_COARSE, &now) || (REG(c, RDI) != 0 && !stored(REG(c, RDI), &now.sec, 8))) return 0;
  REG(c, RAX) = (u64)now.sec;
  return 1;
}

/* Calls that need no Sentry; their answer in the page says that nobody wants to see them. */
static int answer_here(u8 *c, u64 nr) {
  if (nr >= MAX_ANSWERS) return 0;
  int answer = (int)U32(c, CTX_ANSWERS + nr * 4), done;
  switch (answer) {
    case 0:
      return 0;
    case HERE_YIELD:
      SYS3(__NR_sched_yield, 0, 0, 0);
      done = 1;
      break;
    case HERE_FUTEX:
      done = no_one_to_wake(c);
      break;
    case HERE_CLOCK:
      done = answer_clock(c);
      break;
    case HERE_TIMEOFDAY:
      done = answer_timeofday(c);
      break;
    case HERE_TIME:
      return answer_time(c);
    default:
      if (answer < 0) return 0;
      REG(c, RAX) = (u64)answer - 1;
      return 1;
  }
  if (done) REG(c, RAX) = 0;
  return done;
}

/* Whose turn it is: telling the Sentry of an event, and waiting for what it wants. */
#pragma once

#include "base.h"

static void ring(u8 *c) {
  u32 head = __atomic_fetch_add(&RING[RING_HEAD], 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(&RING[RING_SLOTS + (head & RING_MASK)], U32(c, CTX_INDEX) + 1, __ATOMIC_SEQ_CST);
  if (RING[RING_SENTRY_SLEEPING] != 0 && __atomic_exchange_n(&RING[RING_SENTRY_SLEEPING], 0, __ATOMIC_SEQ_CST) != 0)
    SYS3(__NR_futex, &RING[RING_HEAD], FUTEX_WAKE, 1);
}

static void post(u8 *c, u32 event) {
  U32(c, CTX_EVENT) = event;
  __atomic_store_n(&U32(c, CTX_STATE), 1, __ATOMIC_SEQ_CST);
  /* The Sentry clears this before it looks at the state for the last time: either it sees the event, or we see that. */
  if (__atomic_load_n(&U32(c, CTX_WATCHED), __ATOMIC_SEQ_CST) == 0) ring(c);
}

/* More spinning than this is not the Sentry's wish: all guests can write the ring. */
#define MAX_SPIN 20000
/* After so many waits in a row that were longer than the budget only one in PROBE_EVERY spins: the Sentry has no processor to answer on. */
#define MISSES_ALLOWED 4
#define PROBE_EVERY 32

/* True when the answer has come while it was looked for. */
static int spin_for_answer(u8 *c) {
  u32 spin = RING[RING_SPIN], misses = U32(c, CTX_SPIN_MISSES);
  if (spin > MAX_SPIN) spin = MAX_SPIN;
  if (misses >= MISSES_ALLOWED && misses % PROBE_EVERY != 0) spin = 1;
  for (; spin > 0; spin--) {
    if (__atomic_load_n(&U32(c, CTX_STATE), __ATOMIC_ACQUIRE) != 1) {
      if (misses != 0) U32(c, CTX_SPIN_MISSES) = 0;
      return 1;
    }
    if (U32(c, CTX_PARKED) != 0) return 0;
    __asm__ volatile("pause");
  }
  U32(c, CTX_SPIN_MISSES) = misses + 1;
  return 0;
}

/* The processor of this thread, plus 1: the low bits of what the kernel keeps for getcpu(2). */
static u32 own_cpu(void) {
  u32 cpu;
  __asm__ volatile("rdtscp" : "=c"(cpu)::"eax", "edx");
  return (cpu & 0xfff) + 1;
}

static void wait_answer(u8 *c) {
  if (__atomic_load_n(&U32(c, CTX_STATE), __ATOMIC_ACQUIRE) != 1) return;
  /* Where the Sentry is to answer on this very processor, it can only do so while we sleep. */
  u32 cpu = own_cpu();
  if (cpu == RING[RING_SENTRY_CPU]) U32(c, CTX_SPIN_MISSES) = 0;
  else if (spin_for_answer(c)) return;
  U32(c, CTX_CPU) = cpu;
  __atomic_store_n(&U32(c, CTX_SLEEPING), 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&U32(c, CTX_STATE), __ATOMIC_SEQ_CST) == 1) sys6(__NR_futex, (long)(c + CTX_STATE), FUTEX_WAIT, 1, 0, 0, 0);
  __atomic_store_n(&U32(c, CTX_SLEEPING), 0, __ATOMIC_SEQ_CST);
}

/* The address space is as the Sentry wanted it: whoever waits for that may go on. */
static void acknowledge(u8 *c) {
  __atomic_store_n(&U32(c, CTX_DONE_SEQ), U32(c, CTX_BATCH_SEQ), __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&U32(c, CTX_DONE_WAITER), __ATOMIC_SEQ_CST) != 0) ring(c);
}

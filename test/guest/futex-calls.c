// the futex call itself: wake, requeue, bit sets, operations, priority inheritance, robust lists, waitv
#include "check.h"
#include <linux/futex.h>
#include <stddef.h>

static uint32_t word, other;

static long futex(uint32_t *addr, int op, uint32_t val, void *timeout, uint32_t *addr2, uint32_t val3) {
  return syscall(SYS_futex, addr, op, val, timeout, addr2, val3);
}

struct waiter {
  pthread_t thread;
  uint32_t *addr;
  uint32_t bits;
  int result;
  volatile int tid, done;
};

static void *waits(void *arg) {
  struct waiter *w = arg;
  w->tid = gettid();
  w->result = futex(w->addr, FUTEX_WAIT_BITSET, 0, NULL, NULL, w->bits) == 0 ? 0 : errno;
  w->done = 1;
  return NULL;
}

// Until the thread sleeps: proc_pid_stat(5), the field behind the name.
static void await_sleep(volatile int *tid) {
  char path[64], text[256];
  for (int i = 0; i < 500; i++) {
    sleep_ms(10);
    if (*tid == 0) continue;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", *tid);
    FILE *f = fopen(path, "r");
    char *end = f != NULL && fgets(text, sizeof text, f) != NULL ? strrchr(text, ')') : NULL;
    if (f != NULL) fclose(f);
    if (end != NULL && end[2] == 'S') return;
  }
}

static void start(struct waiter *w, int n, uint32_t *addr) {
  for (int i = 0; i < n; i++) {
    w[i] = (struct waiter){.addr = addr, .bits = 1u << i};
    pthread_create(&w[i].thread, NULL, waits, &w[i]);
    await_sleep(&w[i].tid);
  }
}

static int done(struct waiter *w, int n) {
  sleep_ms(100);
  int sum = 0;
  for (int i = 0; i < n; i++) sum += w[i].done << i;
  return sum;
}

static uint32_t pi_word;
static volatile int order[8], at, lockers[3];
static void *locks_pi(void *arg) {
  lockers[(long)arg] = gettid();
  if (futex(&pi_word, FUTEX_LOCK_PI, 0, NULL, NULL, 0) != 0) printf("lock failed: %s\n", strerrorname_np(errno));
  order[at++] = (int)(long)arg;
  HOLDS((pi_word & FUTEX_TID_MASK) == (uint32_t)gettid());
  futex(&pi_word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
  return NULL;
}

static uint32_t dead_word;
static void *dies_with_pi(void *arg) {
  (void)arg;
  futex(&dead_word, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
  sleep_ms(60);
  return NULL;
}

static uint32_t cond_word;
static void *waits_requeue_pi(void *arg) {
  (void)arg;
  long r = futex(&cond_word, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &pi_word, 0);
  printf("wait_requeue_pi %ld\n", r);
  if (r == 0) {
    HOLDS((pi_word & FUTEX_TID_MASK) == (uint32_t)gettid());
    futex(&pi_word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
  }
  return NULL;
}

struct robust_entry {
  struct robust_list list;
  uint32_t futex;
};
static struct robust_entry held;
static void *dies_robust(void *arg) {
  static struct robust_list_head head;
  (void)arg;
  head.list.next = &held.list;
  head.futex_offset = offsetof(struct robust_entry, futex);
  held.list.next = &head.list;
  held.futex = gettid() | FUTEX_WAITERS;
  syscall(SYS_set_robust_list, &head, sizeof head);
  sleep_ms(50);
  syscall(SYS_exit, 0);
  return NULL;
}

struct waitv {
  uint64_t val, uaddr;
  uint32_t flags, reserved;
};
static void *wakes_other(void *arg) {
  (void)arg;
  sleep_ms(50);
  other = 1;
  futex(&other, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
  return NULL;
}

static volatile int shared_waiter;
static void *waits_shared(void *unused) {
  (void)unused;
  shared_waiter = gettid();
  return (void *)futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

int main(void) {
  struct waiter w[4];
  struct timespec zero = {0, 0}, soon = {0, 20000000}, bad = {0, 2000000000};
  SECTION("errors");
  CALL(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_WAIT, 0, &zero, NULL, 0));
  CALL(futex(&word, FUTEX_WAIT, 0, &soon, NULL, 0));
  CALL(futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0));
  CALL(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 0, &zero, NULL, 0));
  CALL(futex(NULL, FUTEX_WAIT, 0, &zero, NULL, 0));
  CALL(futex(&word, FUTEX_WAIT, 0, (void *)8, NULL, 0));
  CALL(futex(&word, FUTEX_WAIT_BITSET, 0, &zero, NULL, 0));
  CALL(futex(&word, FUTEX_WAIT_BITSET, 0, &zero, NULL, 1));
  CALL(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &zero, NULL, 1));
  CALL(futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
  CALL(futex(&word, 99, 0, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_FD, 0, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 5));
  CALL(futex(&word, FUTEX_REQUEUE, -1, (void *)1, &other, 0));

  SECTION("bit sets and order");
  start(w, 4, &word);
  CALL(futex(&word, FUTEX_WAKE_BITSET, 4, NULL, NULL, 1 << 2));
  printf("woken %x\n", done(w, 4));
  CALL(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
  printf("woken %x\n", done(w, 4));
  CALL(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)5, &other, 0));
  printf("woken %x\n", done(w, 4));
  CALL(futex(&word, FUTEX_WAKE, 9, NULL, NULL, 0));
  CALL(futex(&other, FUTEX_WAKE, 9, NULL, NULL, 0));
  printf("woken %x\n", done(w, 4));
  for (int i = 0; i < 4; i++) pthread_join(w[i].thread, NULL);

  SECTION("wake and operate");
  start(w, 1, &word);
  start(w + 1, 1, &other);
  other = 0;
  CALL(futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_ADD, 7, FUTEX_OP_CMP_EQ, 0)));
  printf("other %u\n", other);
  CALL(futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_OR, 8, FUTEX_OP_CMP_LT, 3)));
  CALL(futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_ANDN, 5, FUTEX_OP_CMP_GE, 15)));
  CALL(futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &other, FUTEX_OP(FUTEX_OP_XOR | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_NE, 15)));
  printf("other %u\n", other);
  CALL(futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &other, FUTEX_OP(6, 4, FUTEX_OP_CMP_NE, 15)));
  for (int i = 0; i < 2; i++) pthread_join(w[i].thread, NULL);
  other = 0;

  SECTION("priority inheritance");
  CALL(futex(&pi_word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
  HOLDS(pi_word == (uint32_t)gettid());
  CALL(futex(&pi_word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  pthread_t threads[3];
  for (long i = 0; i < 3; i++) {
    pthread_create(&threads[i], NULL, locks_pi, (void *)i);
    await_sleep(&lockers[i]);
  }
  HOLDS(pi_word == ((uint32_t)gettid() | FUTEX_WAITERS));
  long unlocked = futex(&pi_word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  printf("unlocked %ld, order %d %d %d\n", unlocked, order[0], order[1], order[2]);
  CALL(futex(&pi_word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  pi_word = 999999;
  CALL(futex(&pi_word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  pi_word = 0;
  pthread_create(&threads[0], NULL, dies_with_pi, NULL);
  sleep_ms(20);
  CALL(futex(&dead_word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
  CALL(futex(&dead_word, FUTEX_LOCK_PI, 0, &soon, NULL, 0));
  CALL(futex(&dead_word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  HOLDS((dead_word & FUTEX_OWNER_DIED) != 0 && (dead_word & FUTEX_TID_MASK) == (uint32_t)gettid());
  CALL(futex(&dead_word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  pthread_join(threads[0], NULL);

  SECTION("requeue to a lock");
  futex(&pi_word, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
  pthread_create(&threads[0], NULL, waits_requeue_pi, NULL);
  sleep_ms(30);
  CALL(futex(&cond_word, FUTEX_CMP_REQUEUE_PI, 2, (void *)1, &pi_word, 0));
  CALL(futex(&cond_word, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &pi_word, 7));
  CALL(futex(&cond_word, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &pi_word, 0));
  unlocked = futex(&pi_word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
  pthread_join(threads[0], NULL);
  printf("unlocked %ld\n", unlocked);

  SECTION("robust list");
  pthread_create(&threads[0], NULL, dies_robust, NULL);
  sleep_ms(20);
  uint32_t seen = held.futex;
  HOLDS((seen & FUTEX_WAITERS) != 0);
  CALL(futex(&held.futex, FUTEX_WAIT, seen, NULL, NULL, 0));
  HOLDS(held.futex == (FUTEX_OWNER_DIED | FUTEX_WAITERS));
  CALL(syscall(SYS_set_robust_list, NULL, 5));
  void *head;
  size_t size = 0;
  CALL(syscall(SYS_get_robust_list, 0, &head, &size));
  printf("size %zu\n", size);
  CALL(syscall(SYS_get_robust_list, 99999, &head, &size));

  SECTION("waitv");
  struct waitv v[2] = {{0, (uintptr_t)&word, 2 | 128, 0}, {0, (uintptr_t)&other, 2 | 128, 0}};
  pthread_create(&threads[1], NULL, wakes_other, NULL);
  CALL(syscall(449, v, 2, 0, NULL, 0));
  pthread_join(threads[1], NULL);
  CALL(syscall(449, v, 2, 0, NULL, 0));
  other = 0;
  CALL(syscall(449, v, 2, 0, &zero, CLOCK_MONOTONIC));
  CALL(syscall(449, v, 2, 1, NULL, 0));
  CALL(syscall(449, v, 0, 0, NULL, 0));
  v[1].flags = 1;
  CALL(syscall(449, v, 2, 0, NULL, 0));

  SECTION("one call for each operation");
  CALL(syscall(454, NULL, ~0UL, 1, 2));
  CALL(syscall(454, NULL, ~0UL, 1, 2 | 128));
  static struct {
    uint32_t futex, node;
  } __attribute__((aligned(8))) numa = {0, ~0U};
  CALL(syscall(454, &numa.futex, 0xffffffffUL, 1, 2 | 4));
  HOLDS(numa.node != ~0U);
  CALL(syscall(454, &numa.node, 0xffffffffUL, 1, 2 | 4));
  numa.node = 4096;
  CALL(syscall(454, &numa.futex, 0xffffffffUL, 1, 2 | 4));
  struct waitv move[2] = {{0, (uintptr_t)&word, 2 | 128, 1}, {0, (uintptr_t)&other, 2 | 128, 0}};
  CALL(syscall(456, move, 0, 1, 1));

  SECTION("private and shared words are not the same");
  word = 0;
  pthread_create(&threads[2], NULL, waits_shared, NULL);
  await_sleep(&shared_waiter);
  CALL(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
  void *woken;
  pthread_join(threads[2], &woken);
  HOLDS(woken == NULL);

  SECTION("clocks and owners that are gone");
  CALL(futex(&word, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 9, NULL, NULL, 0));
  word = 0x3ffffff0;
  CALL(futex(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  return 0;
}

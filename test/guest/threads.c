// threads, futexes, robust and shared mutexes, cancellation and thread-local storage
#include "check.h"
#include <linux/futex.h>
#include <semaphore.h>

#define THREADS 8
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long counter;
static int turn;
static __thread int local = 5;

static void *adds(void *arg) {
  for (int i = 0; i < 10000; i++) {
    pthread_mutex_lock(&mutex);
    counter++;
    pthread_mutex_unlock(&mutex);
  }
  local += (int)(long)arg;
  pthread_barrier_wait(&barrier);
  return (void *)(long)local;
}

static void *takes_turns(void *arg) {
  int me = (int)(long)arg;
  for (int i = 0; i < 50; i++) {
    pthread_mutex_lock(&mutex);
    while (turn % 2 != me) pthread_cond_wait(&cond, &mutex);
    turn++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void *dies_holding(void *arg) {
  pthread_mutex_lock(arg);
  return NULL;
}

static int child_dies_holding(void *arg) {
  pthread_mutex_lock(arg);
  return 0;
}

static int child_posts(void *arg) {
  sleep_ms(30);
  sem_post(arg);
  return 0;
}

static int cleaned;
static void cleanup(void *arg) {
  cleaned = *(int *)arg;
}
static void *waits_for_ever(void *arg) {
  int value = 9;
  pthread_cleanup_push(cleanup, &value);
  for (;;) pause();
  pthread_cleanup_pop(0);
  return arg;
}

static uint32_t word, word2;
static long futex(uint32_t *addr, int op, uint32_t val, const void *timeout, uint32_t *addr2, uint32_t val3) {
  return syscall(SYS_futex, addr, op, val, timeout, addr2, val3);
}
static void *waits_on_word(void *arg) {
  (void)arg;
  return (void *)futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}
static void *waits_with_bits(void *arg) {
  return (void *)futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (uint32_t)(long)arg);
}

static void *short_lived(void *arg) {
  return (void *)((long)arg * 2);
}

static void *storm(void *arg) {
  unsigned *seen = arg;
  for (int i = 0; i < 500; i++) sched_yield();
  __atomic_add_fetch(seen, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static int once_count;
static void once(void) {
  once_count++;
}

int main(void) {
  pthread_t threads[THREADS];
  void *result;

  SECTION("mutex, barrier, thread-local storage");
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, adds, (void *)i);
  long sum = 0;
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], &result);
    sum += (long)result;
  }
  printf("counter %ld, locals %ld, mine %d\n", counter, sum, local);

  SECTION("condition variable");
  for (long i = 0; i < 2; i++) pthread_create(&threads[i], NULL, takes_turns, (void *)i);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  printf("turns %d\n", turn);
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_nsec += 30000000;
  if (deadline.tv_nsec >= 1000000000) deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
  pthread_mutex_lock(&mutex);
  HOLDS(pthread_cond_timedwait(&cond, &mutex, &deadline) == ETIMEDOUT);
  HOLDS(pthread_mutex_trylock(&mutex) == EBUSY);
  pthread_mutex_unlock(&mutex);

  SECTION("robust mutexes");
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutex_t *robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutex_init(robust, &attr);
  pthread_create(&threads[0], NULL, dies_holding, robust);
  pthread_join(threads[0], NULL);
  HOLDS(pthread_mutex_lock(robust) == EOWNERDEAD);
  HOLDS(pthread_mutex_consistent(robust) == 0);
  pthread_mutex_unlock(robust);
  in_child("dies holding the lock", child_dies_holding, robust);
  HOLDS(pthread_mutex_lock(robust) == EOWNERDEAD);
  pthread_mutex_unlock(robust);
  HOLDS(pthread_mutex_lock(robust) == ENOTRECOVERABLE);

  SECTION("shared between processes");
  sem_t *semaphore = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sem_init(semaphore, 1, 0);
  pid_t child = spawn_child(child_posts, semaphore);
  CALL(sem_wait(semaphore));
  waitpid(child, NULL, 0);

  SECTION("priority inheritance");
  pthread_mutexattr_t pi;
  pthread_mutexattr_init(&pi);
  pthread_mutexattr_setprotocol(&pi, PTHREAD_PRIO_INHERIT);
  pthread_mutex_t pi_mutex;
  pthread_mutex_init(&pi_mutex, &pi);
  mutex = pi_mutex;
  counter = 0;
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, adds, (void *)i);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  printf("counter %ld\n", counter);

  SECTION("cancellation, exit of threads, once, keys");
  pthread_create(&threads[0], NULL, waits_for_ever, NULL);
  sleep_ms(20);
  pthread_cancel(threads[0]);
  pthread_join(threads[0], &result);
  HOLDS(result == PTHREAD_CANCELED && cleaned == 9);
  sum = 0;
  for (long i = 0; i < 200; i++) {
    pthread_t one;
    if (pthread_create(&one, NULL, short_lived, (void *)i) != 0) printf("thread %ld failed\n", i);
    pthread_join(one, &result);
    sum += (long)result;
  }
  printf("two hundred threads: %ld\n", sum);
  pthread_once_t control = PTHREAD_ONCE_INIT;
  for (int i = 0; i < 3; i++) pthread_once(&control, once);
  printf("once %d\n", once_count);
  unsigned seen = 0;
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, storm, &seen);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  printf("stormed %u\n", seen);

  SECTION("futex");
  word = 1;
  CALL(futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
  struct timespec ms20 = {0, 20000000}, bad = {0, 2000000000};
  uint64_t before = now_ms();
  CALL(futex(&word, FUTEX_WAIT_PRIVATE, 1, &ms20, NULL, 0));
  HOLDS(now_ms() - before >= 20);
  CALL(futex(&word, FUTEX_WAIT_PRIVATE, 1, &bad, NULL, 0));
  CALL(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
  CALL(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
  CALL(futex((uint32_t *)4096, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, NULL, NULL, 0));
  CALL(futex(&word, 77, 1, NULL, NULL, 0));
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  CALL(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &deadline, NULL, ~0u));
  clock_gettime(CLOCK_REALTIME, &deadline);
  CALL(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &deadline, NULL, ~0u));

  SECTION("wake and requeue");
  word = 0;
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, waits_on_word, NULL);
  sleep_ms(50);
  CALL(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
  CALL(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &word2, 1));
  CALL(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &word2, 0));
  CALL(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
  CALL(futex(&word2, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, waits_with_bits, (void *)(1L << i));
  sleep_ms(50);
  CALL(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 5));
  CALL(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 5));
  CALL(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  word2 = 7;
  CALL(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word2, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 7)));
  printf("word2 %u\n", word2);
  return 0;
}

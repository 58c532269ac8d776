// many at once: threads, children with signals, exec against other threads, vfork, mappings, registers across interrupted calls
#include "check.h"
#include <cpuid.h>
#include <immintrin.h>

// ---- a thousand threads

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static int next_turn, finished;

static void *takes_turns(void *arg) {
  int mine = (int)(long)arg;
  pthread_mutex_lock(&lock);
  while (next_turn != mine) pthread_cond_wait(&turn, &lock);
  next_turn++;
  pthread_cond_broadcast(&turn);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < 20; i++)
    if (syscall(SYS_gettid) <= 0) return NULL;
  __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void thousand_threads(void) {
  SECTION("threads that wait for each other");
  enum { THREADS = 500 };
  static pthread_t ids[THREADS];
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 65536);
  int made = 0;
  for (; made < THREADS; made++)
    if (pthread_create(&ids[made], &attr, takes_turns, (void *)(long)made) != 0) break;
  HOLDS(made == THREADS);
  for (int i = 0; i < made; i++) pthread_join(ids[i], NULL);
  HOLDS(finished == THREADS);
}

// ---- children and signals

static volatile sig_atomic_t counted;
static void count(int signo) { counted++; }

static void fork_storm(void) {
  SECTION("children that signal their parent while it forks");
  struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
  MUST(sigaction(SIGUSR1, &action, NULL));
  pid_t self = getpid();
  int reaped = 0, wrong = 0;
  fflush(stdout);
  for (int i = 0; i < 150; i++) {
    pid_t pid = fork();
    if (pid < 0) {
      wrong++;
      continue;
    }
    if (pid == 0) {
      for (int k = 0; k < 10; k++) kill(self, SIGUSR1);
      _exit(i % 100);
    }
    int status;
    if (i % 3 == 0) continue;
    while (waitpid(-1, &status, WNOHANG) > 0) {
      reaped++;
      wrong += !WIFEXITED(status);
    }
  }
  int status;
  while (wait(&status) > 0) {
    reaped++;
    wrong += !WIFEXITED(status);
  }
  HOLDS(reaped == 150);
  HOLDS(wrong == 0);
  HOLDS(counted > 0);
  signal(SIGUSR1, SIG_DFL);
}

static void killed_at_any_time(void) {
  SECTION("children that are killed at any time");
  int wrong = 0;
  for (int i = 0; i < 80; i++) {
    pid_t pid = fork();
    if (pid == 0)
      for (;;) {
        int fds[2];
        if (pipe(fds) == 0) {
          close(fds[0]);
          close(fds[1]);
        }
        pid_t child = fork();
        if (child == 0) _exit(0);
        waitpid(child, NULL, 0);
      }
    usleep(i * 150);
    kill(pid, SIGKILL);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) wrong++;
  }
  HOLDS(wrong == 0);
}

// ---- exec and vfork

static void *never_rests(void *unused) {
  for (;;) {
    syscall(SYS_getppid);
    void *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(at, 4096);
  }
  return NULL;
}

static void exec_against_threads(void) {
  SECTION("exec while other threads call and map");
  int wrong = 0;
  for (int i = 0; i < 25; i++) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      pthread_t id;
      for (int k = 0; k < 6; k++) pthread_create(&id, NULL, never_rests, NULL);
      usleep(i * 100);
      execl("/proc/self/exe", "crowds", "--exit", NULL);
      _exit(1);
    }
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 7 << 8) wrong++;
  }
  HOLDS(wrong == 0);
}

static void vforks(void) {
  SECTION("vfork, with exec and without");
  int wrong = 0;
  volatile int seen = 0;
  for (int i = 0; i < 60; i++) {
    pid_t pid = vfork();
    if (pid == 0) {
      seen++;
      if (i % 2 == 0) execl("/proc/self/exe", "crowds", "--exit", NULL);
      _exit(7);
    }
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 7 << 8) wrong++;
  }
  HOLDS(wrong == 0);
  HOLDS(seen == 60);
}

// ---- mappings

static void many_mappings(void) {
  SECTION("tens of thousands of mappings");
  enum { PAGES = 60000 };
  char *base = mmap(NULL, PAGES * 4096UL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MUST(base != MAP_FAILED ? 0 : -1);
  int changed = 0;
  for (int i = 0; i < PAGES; i += 2)
    if (mprotect(base + i * 4096UL, 4096, PROT_READ) == 0) changed++;
  HOLDS(changed == PAGES / 2);
  base[4096] = 1;
  HOLDS(base[4096] == 1 && base[0] == 0);
  CALL(munmap(base + 4096 * 100, 4096 * 101));
  CALL(mprotect(base, 4096 * 100, PROT_READ | PROT_WRITE));
  base[0] = 2;
  HOLDS(base[0] == 2);
  CALL(munmap(base, PAGES * 4096UL));
}

static void remaps(void) {
  SECTION("mremap, again and again");
  size_t size = 4096;
  unsigned char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  at[0] = 42;
  int wrong = 0;
  for (int i = 0; i < 12; i++) {
    // Something behind it, so that it has to move now and then.
    if (i % 3 == 0) mmap(at + size, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    unsigned char *moved = mremap(at, size, size * 2, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) {
      wrong++;
      break;
    }
    for (size_t k = 0; k < size; k += 4096) wrong += moved[k] != (k == 0 ? 42 : (unsigned char)(k >> 12));
    size *= 2;
    at = moved;
    for (size_t k = 4096; k < size; k += 4096) at[k] = (unsigned char)(k >> 12);
  }
  HOLDS(wrong == 0);
  CALL(munmap(at, size));
}

// ---- registers across calls that signals interrupt

__attribute__((target("avx512f"), noinline)) static int keeps_zmm(int rounds) {
  int wrong = 0;
  for (int i = 0; i < rounds; i++) {
    long result = SYS_getppid;
    uint64_t out[8], value = 0x0101010101010101UL * (i & 127);
    __asm__ volatile(
        "vpbroadcastq %2, %%zmm20\n\tvpbroadcastq %2, %%zmm3\n\t"
        "mov $110, %%eax\n\tsyscall\n\t"
        "vpaddq %%zmm3, %%zmm20, %%zmm20\n\tvmovdqu64 %%zmm20, %1"
        : "=&a"(result), "=m"(out)
        : "r"(value)
        : "rcx", "r11", "memory", "xmm3", "xmm20");
    for (int k = 0; k < 8; k++) wrong += out[k] != value * 2;
    wrong += result <= 0;
  }
  return wrong;
}

__attribute__((noinline)) static int keeps_registers(int rounds) {
  int wrong = 0;
  for (int i = 0; i < rounds; i++) {
    unsigned long rbx = i, r12 = ~i, r13 = i * 3, r14 = i * 5, r15 = i * 7, rdi = i * 11, rsi = i * 13, rdx = i * 17;
    long result;
    __asm__ volatile("mov %1, %%rbx\n mov %2, %%r12\n mov %3, %%r13\n mov %4, %%rdi\n mov %5, %%rsi\n mov $110, %%eax\n syscall\n"
                     "cmp %1, %%rbx\n jne 1f\n cmp %2, %%r12\n jne 1f\n cmp %3, %%r13\n jne 1f\n cmp %4, %%rdi\n jne 1f\n cmp %5, %%rsi\n je 2f\n"
                     "1: mov $-1, %%rax\n2:"
                     : "=a"(result)
                     : "m"(rbx), "m"(r12), "m"(r13), "m"(rdi), "m"(rsi)
                     : "rbx", "r12", "r13", "rdi", "rsi", "rcx", "r11", "memory", "cc");
    wrong += result <= 0;
  }
  return wrong;
}

static void interrupted_registers(void) {
  SECTION("registers across calls that signals interrupt");
  struct sigaction action = {.sa_handler = count};
  MUST(sigaction(SIGALRM, &action, NULL));
  struct itimerval every = {{0, 500}, {0, 500}};
  counted = 0;
  MUST(setitimer(ITIMER_REAL, &every, NULL));
  int wrong = 0;
  while (counted < 200) wrong += keeps_registers(500);
  HOLDS(wrong == 0);
  unsigned a, b = 0, c, d;
  __cpuid_count(7, 0, a, b, c, d);
  wrong = 0;
  counted = 0;
  if (b & bit_AVX512F)
    while (counted < 200) wrong += keeps_zmm(500);
  HOLDS(wrong == 0);
  every = (struct itimerval){0};
  setitimer(ITIMER_REAL, &every, NULL);
}

int main(int argc, char **argv) {
  if (argc > 1) return 7;
  // A parent that is there for getppid, whoever runs this.
  fflush(stdout);
  pid_t pid = fork();
  if (pid > 0) {
    int status;
    waitpid(pid, &status, 0);
    return status == 0 ? 0 : 1;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  thousand_threads();
  fork_storm();
  killed_at_any_time();
  exec_against_threads();
  vforks();
  many_mappings();
  remaps();
  interrupted_registers();
  return 0;
}

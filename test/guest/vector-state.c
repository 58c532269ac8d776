// all 32 vector and 8 mask registers of AVX-512 across calls of every kind, signals, faults and threads
#include "check.h"
#include <cpuid.h>
#include <immintrin.h>
#include <sys/mman.h>

struct state {
  unsigned long zmm[32][8];
  unsigned long k[8];
} __attribute__((aligned(64)));

#define EACH(x) \
  x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15) \
  x(16) x(17) x(18) x(19) x(20) x(21) x(22) x(23) x(24) x(25) x(26) x(27) x(28) x(29) x(30) x(31)
#define EACH_MASK(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7)
#define LOAD(n) "vmovdqu64 " #n "*64(%[in]), %%zmm" #n "\n\t"
#define STORE(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[out])\n\t"
#define LOAD_MASK(n) "kmovq 2048+" #n "*8(%[in]), %%k" #n "\n\t"
#define STORE_MASK(n) "kmovq %%k" #n ", 2048+" #n "*8(%[out])\n\t"

/* The state is loaded, one instruction or call made, and the state stored: nothing else comes between. */
#define AROUND(what, from, to, result, ...)                                                                                             \
  __asm__ volatile(EACH(LOAD) EACH_MASK(LOAD_MASK) what "\n\t" EACH(STORE) EACH_MASK(STORE_MASK)                                        \
                   : "=a"(result)                                                                                                       \
                   : [in] "r"(from), [out] "r"(to), __VA_ARGS__                                                                         \
                   : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
                     "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void fill(struct state *s, unsigned long seed) {
  for (unsigned long i = 0; i < sizeof *s / 8; i++) ((unsigned long *)s)[i] = seed * 0x9e3779b97f4a7c15 + i * 0xbf58476d1ce4e5b9;
}

static int differ(const struct state *a, const struct state *b) {
  int n = 0;
  for (unsigned long i = 0; i < sizeof *a / 8; i++) n += ((const unsigned long *)a)[i] != ((const unsigned long *)b)[i];
  return n;
}

static long call(struct state *in, struct state *out, long nr, long a, long b, long c) {
  register struct state *from __asm__("r12") = in;
  register struct state *to __asm__("r13") = out;
  register long r10 __asm__("r10") = 0;
  register long r8 __asm__("r8") = -1;
  register long r9 __asm__("r9") = 0;
  long result;
  if (nr == SYS_mmap) r10 = MAP_PRIVATE | MAP_ANONYMOUS;
  AROUND("syscall", from, to, result, "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9));
  return result;
}

static int kept(long nr, long a, long b, long c, int rounds) {
  int wrong = 0;
  for (int i = 0; i < rounds; i++) {
    struct state in, out;
    fill(&in, nr * 1000 + i);
    memset(&out, 0, sizeof out);
    call(&in, &out, nr, a, b, c);
    wrong += differ(&in, &out);
  }
  return wrong;
}

static volatile int handled;

static void scribble(void) {
  struct state other;
  long result;
  fill(&other, 77);
  register struct state *from __asm__("r12") = &other;
  struct state out;
  register struct state *to __asm__("r13") = &out;
  AROUND("", from, to, result, "a"(0L));
}

static void handler(int signo) {
  (void)signo;
  handled++;
  scribble();
}

static void on_fault(int signo, siginfo_t *info, void *context) {
  (void)signo;
  handled++;
  mprotect(info->si_addr, 4096, PROT_READ | PROT_WRITE);
  (void)context;
  scribble();
}

/* CPUID 0xd: where a component lies in the extended area. */
static unsigned offset_of(unsigned component) {
  unsigned a, b, c, d;
  __cpuid_count(0xd, component, a, b, c, d);
  return b;
}

static unsigned zmm_high;

static void changes(int signo, siginfo_t *info, void *context) {
  (void)signo, (void)info;
  ucontext_t *uc = context;
  char *area = (char *)uc->uc_mcontext.fpregs;
  // The upper halves of zmm0 to zmm15 are component 6; the header at 512 says which components are there.
  printf("the frame has the upper halves: %d\n", (int)(*(unsigned long *)(area + 512) >> 6 & 1));
  memset(area + zmm_high, 0x5a, 32);
}

static void *busy(void *arg) {
  long me = (long)arg, wrong = 0;
  for (int i = 0; i < 200; i++) {
    wrong += kept(SYS_getppid, 0, 0, 0, 1) + kept(SYS_sched_yield, 0, 0, 0, 1) + kept(SYS_fcntl, 0, F_GETFD, 0, 1);
    if (i % 20 == me) wrong += kept(SYS_tkill, gettid(), SIGUSR1, 0, 1);
  }
  return (void *)wrong;
}

int main(void) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) {
    printf("this processor has no AVX-512\n");
    return 0;
  }
  zmm_high = offset_of(6);
  struct sigaction sa = {.sa_handler = handler};
  sigaction(SIGUSR1, &sa, NULL);
  sigaction(SIGALRM, &sa, NULL);

  SECTION("calls of every kind");
  int pipes[2];
  char byte = 0;
  pipe(pipes);
  printf("answered at once: %d\n", kept(SYS_getpid, 0, 0, 0, 50));
  printf("served: %d\n", kept(SYS_fcntl, 0, F_GETFD, 0, 50));
  printf("with copies in: %d\n", kept(SYS_write, pipes[1], (long)&byte, 1, 50));
  printf("with copies out: %d\n", kept(SYS_read, pipes[0], (long)&byte, 1, 40));
  printf("with a fault in the copy in: %d\n", kept(SYS_write, pipes[1], 8, 1, 5));
  printf("with a fault in the copy out: %d\n", kept(SYS_read, pipes[0], 8, 1, 5));
  printf("changing memory: %d\n", kept(SYS_mmap, 0, 8192, PROT_READ, 50));
  struct timespec ms = {0, 2000000};
  printf("sleeping: %d\n", kept(SYS_nanosleep, (long)&ms, 0, 0, 5));
  printf("unknown: %d\n", kept(5000, 0, 0, 0, 5));

  SECTION("a handler in between");
  int wrong = kept(SYS_tkill, gettid(), SIGUSR1, 0, 20);
  printf("raised: %d, handled %d\n", wrong, handled);
  handled = 0;
  struct itimerval soon = {{0, 0}, {0, 3000}};
  struct timespec longer = {0, 30000000};
  setitimer(ITIMER_REAL, &soon, NULL);
  wrong = kept(SYS_nanosleep, (long)&longer, 0, 0, 1);
  printf("in a sleep: %d, handled %d\n", wrong, handled);

  SECTION("a fault in between");
  struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &fault, NULL);
  handled = wrong = 0;
  for (int i = 0; i < 10; i++) {
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct state in, out;
    long result;
    fill(&in, 31 + i);
    register struct state *from __asm__("r12") = &in;
    register struct state *to __asm__("r13") = &out;
    AROUND("movb $1, (%%rdi)", from, to, result, "a"(0L), "D"(page));
    wrong += differ(&in, &out);
  }
  printf("wrong %d, faults %d\n", wrong, handled);

  SECTION("while it computes");
  handled = 0, wrong = 0;
  struct itimerval often = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, NULL);
  for (int i = 0; i < 20 || (handled < 5 && i < 20000); i++) {
    struct state in, out;
    long result;
    long spins = 200000;
    fill(&in, i);
    register struct state *from __asm__("r12") = &in;
    register struct state *to __asm__("r13") = &out;
    AROUND("mov %%rdi, %%rcx\n1: dec %%rcx\n\tjnz 1b", from, to, result, "a"(0L), "D"(spins));
    wrong += differ(&in, &out);
  }
  setitimer(ITIMER_REAL, &off, NULL);
  printf("wrong %d, interrupted %d\n", wrong, handled >= 5);

  SECTION("what a handler changes in the saved state comes true");
  struct sigaction change = {.sa_sigaction = changes, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR2, &change, NULL);
  struct state in, out;
  fill(&in, 5);
  call(&in, &out, SYS_tkill, gettid(), SIGUSR2, 0);
  printf("upper half of zmm0 %lx %lx, words that differ %d\n", out.zmm[0][4], out.zmm[0][7], differ(&in, &out));

  SECTION("threads and children");
  pthread_t threads[4];
  long sum = 0;
  for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, busy, (void *)i);
  for (int i = 0; i < 4; i++) {
    void *result;
    pthread_join(threads[i], &result);
    sum += (long)result;
  }
  printf("wrong in four threads: %ld\n", sum);
  fill(&in, 9);
  pid_t parent = getpid();
  long pid = call(&in, &out, SYS_fork, 0, 0, 0);
  if (getpid() != parent) _exit(differ(&in, &out));
  int status;
  waitpid((pid_t)pid, &status, 0);
  printf("in the parent %d, in the child %d\n", differ(&in, &out), WEXITSTATUS(status));
  return 0;
}

// floating point and vector registers across signals, forks, threads, calls and exec
#include "check.h"
#include <fenv.h>
#include <immintrin.h>
#include <ucontext.h>

#define SET(base)                                                                                                                    \
  do {                                                                                                                               \
    float fill[8];                                                                                                                   \
    for (int fi = 0; fi < 8; fi++) fill[fi] = (base) + fi;                                                                           \
    __asm__ volatile("vmovups %0, %%ymm5\n\tvmovups %0, %%ymm12" ::"m"(fill) : "xmm5", "xmm12");                                      \
  } while (0)
#define GET(out) __asm__ volatile("vmovups %%ymm5, %0\n\tvmovups %%ymm12, %1" : "=m"(out[0]), "=m"(out[8])::"memory")

static bool avx;
static volatile int hits;

__attribute__((target("avx"))) static void clobber(float base) {
  if (avx) SET(base);
}

static void handler(int sig) {
  (void)sig;
  hits++;
  clobber(-1000);
  fesetround(FE_UPWARD);
}

__attribute__((target("avx"))) static int survives(const char *what, void (*during)(void)) {
  if (!avx) {
    during();
    printf("%s: kept\n", what);
    return 0;
  }
  float now[16];
  for (int round = 0; round < 20; round++) {
    float base = round * 10;
    float fill[8];
    for (int i = 0; i < 8; i++) fill[i] = base + i;
    // Straight lines of assembly between set and get, so that only the kernel can touch the registers: a system call by hand.
    long pid = getpid(), result;
    if (during == NULL) {
      __asm__ volatile("vmovups %3, %%ymm5\n\tvmovups %3, %%ymm12\n\tsyscall\n\tvmovups %%ymm5, %1\n\tvmovups %%ymm12, %2"
                       : "=a"(result), "=m"(now[0]), "=m"(now[8])
                       : "m"(fill), "a"(SYS_kill), "D"(pid), "S"(SIGUSR1)
                       : "rcx", "r11", "memory", "xmm5", "xmm12");
    } else {
      SET(base);
      during();
      GET(now);
    }
    for (int i = 0; i < 8; i++) {
      if (now[i] != base + i || now[8 + i] != base + i) {
        printf("%s: lost in round %d: %g %g\n", what, round, now[i], now[8 + i]);
        return 1;
      }
    }
  }
  printf("%s: kept\n", what);
  return 0;
}

__attribute__((target("avx"))) static void *spins(void *arg) {
  long me = (long)arg, wrong = 0;
  for (int i = 0; i < 300; i++) {
    float now[16] = {0}, fill[8];
    for (int k = 0; k < 8; k++) fill[k] = me * 100 + k;
    if (!avx) break;
    __asm__ volatile("vmovups %2, %%ymm5\n\tvmovups %2, %%ymm12\n\tsyscall\n\tvmovups %%ymm5, %0\n\tvmovups %%ymm12, %1"
                     : "=m"(now[0]), "=m"(now[8])
                     : "m"(fill), "a"(SYS_sched_yield)
                     : "rcx", "r11", "memory", "xmm5", "xmm12");
    for (int k = 0; k < 8; k++) wrong += now[k] != fill[k] || now[8 + k] != fill[k];
  }
  return (void *)wrong;
}

__attribute__((noipa)) static double harmonic(void) {
  volatile double sum = 0;
  for (int i = 1; i < 2000000; i++) sum += 1.0 / i;
  return sum;
}

static int compare_in_child(void *arg) {
  return harmonic() == *(double *)arg ? 0 : 1;
}

static void on_fpe(int sig, siginfo_t *info, void *context) {
  (void)sig;
  ucontext_t *uc = context;
  printf("SIGFPE code %d\n", info->si_code);
  uc->uc_mcontext.fpregs->mxcsr |= 0x1f80;
}

static unsigned seen;

static void looks(int signo) {
  (void)signo;
  __asm__ volatile("stmxcsr %0" : "=m"(seen));
}

int main(void) {
  avx = __builtin_cpu_supports("avx");
  struct sigaction sa = {.sa_handler = handler};
  sigaction(SIGUSR1, &sa, NULL);
  sigaction(SIGALRM, &sa, NULL);

  SECTION("across a handler");
  survives("vector registers over a signal", NULL);
  HOLDS(hits == 20 || !avx);
  HOLDS(fegetround() == FE_TONEAREST);

  SECTION("two handlers on one return");
  sigset_t both, old;
  sigemptyset(&both);
  sigaddset(&both, SIGUSR1);
  sigaddset(&both, SIGALRM);
  fesetround(FE_DOWNWARD);
  sigprocmask(SIG_BLOCK, &both, &old);
  raise(SIGUSR1);
  raise(SIGALRM);
  sigprocmask(SIG_SETMASK, &old, NULL);
  HOLDS(fegetround() == FE_DOWNWARD);
  fesetround(FE_TONEAREST);

  SECTION("interrupted while it computes");
  double expected = harmonic();
  struct itimerval it = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
  hits = 0;
  setitimer(ITIMER_REAL, &it, NULL);
  int equal = 1;
  for (int i = 0; i < 5 || (hits <= 3 && i < 2000); i++) equal &= harmonic() == expected;
  setitimer(ITIMER_REAL, &off, NULL);
  printf("sums equal: %d, interrupted: %d\n", equal, hits > 3);

  SECTION("threads and children");
  pthread_t threads[4];
  long wrong = 0;
  for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, spins, (void *)(i + 1));
  for (int i = 0; i < 4; i++) {
    void *result;
    pthread_join(threads[i], &result);
    wrong += (long)result;
  }
  printf("wrong values in four threads: %ld\n", wrong);
  in_child("sum in a child", compare_in_child, &expected);
  fesetround(FE_UPWARD);
  pid_t child = fork();
  if (child == 0) _exit(fegetround() == FE_UPWARD ? 5 : 6);
  int status;
  waitpid(child, &status, 0);
  print_status("the rounding mode is inherited", status);
  fesetround(FE_TONEAREST);

  SECTION("a handler starts anew, and what it interrupts goes on");
  signal(SIGUSR2, looks);
  unsigned odd = 0x7f80, kept = 0;
  // Functions may use xmm9: none is called while the number is in it.
  pid_t self = gettid();
  register double held __asm__("xmm9") = 5.5;
  __asm__ volatile("ldmxcsr %1\n  syscall\n  stmxcsr %0\n"
                   : "=m"(kept), "+m"(odd), "+x"(held)
                   : "a"(SYS_tkill), "D"(self), "S"(SIGUSR2)
                   : "rcx", "r11", "memory");
  volatile double held_after = held;
  fesetround(FE_TONEAREST);
  unsigned usual = 0x1f80;
  __asm__ volatile("ldmxcsr %0" ::"m"(usual));
  printf("in the handler %x, after it %x\n", seen, kept);
  HOLDS(held_after == 5.5);

  SECTION("what a handler changes in the saved state comes true");
  struct sigaction fpe = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO};
  sigaction(SIGFPE, &fpe, NULL);
  feenableexcept(FE_DIVBYZERO);
  volatile double zero = 0, quotient = 1 / zero;
  printf("after the fault: %g\n", quotient);

  SECTION("x87");
  volatile long double third = 1.0L / 3;
  raise(SIGUSR1);
  HOLDS(third * 3 == 1.0L);
  return 0;
}

// clocks, sleeps, interval and POSIX timers
#include "check.h"
#include <sys/times.h>

static volatile int ticks;
static siginfo_t last;
static void on_tick(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)context;
  ticks++;
  last = *info;
}

static void on_thread(union sigval value) {
  __atomic_store_n((int *)value.sival_ptr, 1, __ATOMIC_SEQ_CST);
}

// Computes, and looks at the clock now and then: most of it is user time, however long a look takes.
static void burn(int ms) {
  struct timespec ts;
  do {
    for (volatile int n = 0; n < 1000000; n++);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  } while (ts.tv_sec * 1000 + ts.tv_nsec / 1000000 < ms);
}

int main(void) {
  struct timespec a, b;
  SECTION("clocks");
  int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
  for (int i = 0; i < 9; i++) {
    int by_library = clock_gettime(clocks[i], &a), by_call = syscall(SYS_clock_gettime, clocks[i], &b);
    int forward = b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec + 20000000 >= a.tv_nsec);
    printf("clock %d: %d %d, call not before the vDSO: %d, resolution %d\n", clocks[i], by_library, by_call, forward, clock_getres(clocks[i], &a));
  }
  CALL(clock_gettime(77, &a));
  CALL(clock_getres(77, NULL));
  CALL(clock_getres(CLOCK_MONOTONIC, NULL));
  struct timeval tv;
  CALL(gettimeofday(&tv, NULL));
  clock_gettime(CLOCK_REALTIME, &a);
  HOLDS(llabs((long long)a.tv_sec - tv.tv_sec) <= 1);
  HOLDS(llabs((long long)time(NULL) - tv.tv_sec) <= 1);
  HOLDS(a.tv_sec > 1700000000);
  CALL(syscall(SYS_clock_gettime, CLOCK_REALTIME, NULL));
  uint64_t before = now_ms();
  for (int i = 0, worse = 0; i < 10000; i++) {
    uint64_t now = now_ms();
    if (now < before && !worse++) printf("time went back\n");
    before = now;
  }

  SECTION("sleeping");
  before = now_ms();
  struct timespec ms40 = {0, 40000000}, bad = {0, 1000000000}, negative = {-1, 0};
  CALL(nanosleep(&ms40, NULL));
  HOLDS(now_ms() - before >= 40 && now_ms() - before < 2000);
  CALL(nanosleep(&bad, NULL));
  CALL(nanosleep(&negative, NULL));
  CALL(nanosleep(NULL, NULL));
  clock_gettime(CLOCK_MONOTONIC, &a);
  a.tv_sec -= 5;
  CALL(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL));
  before = now_ms();
  clock_gettime(CLOCK_REALTIME, &a);
  a.tv_nsec += 40000000;
  if (a.tv_nsec >= 1000000000) a.tv_sec++, a.tv_nsec -= 1000000000;
  CALL(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &a, NULL));
  HOLDS(now_ms() - before >= 38);
  CALL(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ms40, NULL));

  SECTION("interval timers");
  struct sigaction sa = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGALRM, &sa, NULL);
  sigaction(SIGVTALRM, &sa, NULL);
  sigaction(SIGPROF, &sa, NULL);
  sigaction(SIGUSR1, &sa, NULL);
  struct itimerval it = {{0, 10000}, {0, 10000}}, old, zero = {{0, 0}, {0, 0}}, wrong = {{0, 0}, {0, 1000000}};
  CALL(setitimer(ITIMER_REAL, &it, NULL));
  sleep_ms(100);
  CALL(setitimer(ITIMER_REAL, &zero, &old));
  HOLDS(ticks >= 3 && ticks <= 11);
  HOLDS(old.it_interval.tv_usec == 10000 && last.si_code == SI_KERNEL);
  ticks = 0;
  sleep_ms(30);
  HOLDS(ticks == 0);
  CALL(setitimer(ITIMER_REAL, &wrong, NULL));
  CALL(setitimer(77, &it, NULL));
  it.it_value.tv_usec = 20000;
  it.it_interval.tv_usec = 0;
  CALL(setitimer(ITIMER_VIRTUAL, &it, NULL));
  struct timespec cpu;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  burn(cpu.tv_sec * 1000 + cpu.tv_nsec / 1000000 + 300);
  CALL(getitimer(ITIMER_VIRTUAL, &old));
  HOLDS(ticks == 1 && last.si_signo == SIGVTALRM);
  HOLDS(alarm(50) == 0);
  HOLDS(alarm(0) == 50);

  SECTION("POSIX timers");
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 99};
  CALL(timer_create(CLOCK_MONOTONIC, &event, &timer));
  struct itimerspec spec = {{0, 0}, {0, 20000000}}, now;
  ticks = 0;
  CALL(timer_settime(timer, 0, &spec, NULL));
  CALL(timer_gettime(timer, &now));
  HOLDS(now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 20000000);
  sleep_ms(60);
  HOLDS(ticks == 1 && last.si_code == SI_TIMER && last.si_value.sival_int == 99);
  CALL(timer_gettime(timer, &now));
  HOLDS(now.it_value.tv_nsec == 0);
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, NULL);
  spec.it_interval.tv_nsec = 10000000;
  CALL(timer_settime(timer, 0, &spec, NULL));
  sleep_ms(100);
  ticks = 0;
  sigprocmask(SIG_UNBLOCK, &usr1, NULL);
  HOLDS(last.si_overrun >= 3 && last.si_overrun < 60);
  HOLDS(timer_getoverrun(timer) >= 0);
  CALL(timer_delete(timer));
  CALL(timer_delete(timer));
  CALL(timer_create(77, &event, &timer));
  event.sigev_signo = 99;
  CALL(timer_create(CLOCK_MONOTONIC, &event, &timer));
  int fired = 0;
  struct sigevent threaded = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread, .sigev_value.sival_ptr = &fired};
  CALL(timer_create(CLOCK_REALTIME, &threaded, &timer));
  spec.it_interval.tv_nsec = 0;
  CALL(timer_settime(timer, 0, &spec, NULL));
  for (int i = 0; i < 200 && !__atomic_load_n(&fired, __ATOMIC_SEQ_CST); i++) sleep_ms(10);
  HOLDS(fired);
  CALL(timer_delete(timer));
  struct sigevent none = {.sigev_notify = SIGEV_NONE};
  CALL(timer_create(CLOCK_MONOTONIC, &none, &timer));
  CALL(timer_settime(timer, 0, &spec, NULL));
  sleep_ms(30);
  CALL(timer_gettime(timer, &now));
  HOLDS(now.it_value.tv_nsec == 0);

  SECTION("accounting");
  struct rusage usage;
  CALL(getrusage(RUSAGE_SELF, &usage));
  HOLDS(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec > 200000);
  CALL(getrusage(RUSAGE_THREAD, &usage));
  CALL(getrusage(77, &usage));
  struct tms t;
  HOLDS(times(&t) != -1 && t.tms_utime + t.tms_stime > 10);
  HOLDS(sysconf(_SC_CLK_TCK) == 100);
  return 0;
}

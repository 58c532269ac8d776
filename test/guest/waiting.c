// Waits that signals and stops interrupt: masks, restarts, what is left of a timeout, and epoll in its corners
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/times.h>

static volatile sig_atomic_t handled;
static void handler(int sig) { handled++; }

static void after(int ms) {
  struct itimerval soon = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

static void catch(int flags) {
  struct sigaction act = {.sa_handler = handler, .sa_flags = flags};
  sigaction(SIGALRM, &act, NULL);
}

static int ev;
static int sleeps_through_stop(void *arg) {
  struct timespec t = {0, 300000000};
  uint64_t start = now_ms();
  int r = nanosleep(&t, NULL);
  int took = now_ms() - start;
  return r == 0 && took >= 295 && took < 600 ? 0 : 1;
}
static int polls_through_stop(void *arg) {
  uint64_t start = now_ms();
  int r = poll(NULL, 0, 300);
  int took = now_ms() - start;
  return r == 0 && took >= 295 && took < 600 ? 0 : 1;
}
static int reads_through_stop(void *arg) {
  uint64_t v;
  return read(ev, &v, 8) == 8 ? 0 : 1;
}
static int selects_through_stop(void *arg) {
  struct timeval t = {0, 300000};
  uint64_t start = now_ms();
  int r = select(0, NULL, NULL, NULL, &t);
  int took = now_ms() - start;
  return r == 0 && took >= 295 && took < 900 ? 0 : 1;
}
static int epoll_through_stop(void *arg) {
  struct epoll_event e;
  int ep = epoll_create1(0);
  int r = epoll_wait(ep, &e, 1, 300);
  return r == 0 ? 0 : r == -1 && errno == EINTR ? 4 : 1;
}

static void stopped(const char *what, int (*body)(void *)) {
  pid_t pid = spawn_child(body, NULL);
  sleep_ms(50);
  kill(pid, SIGSTOP);
  int status;
  waitpid(pid, &status, WUNTRACED);
  sleep_ms(50);
  kill(pid, SIGCONT);
  sleep_ms(20);
  uint64_t one = 1;
  if (body == reads_through_stop) write(ev, &one, 8);
  waitpid(pid, &status, 0);
  print_status(what, status);
}

static void *late_write(void *arg) {
  sleep_ms(50);
  uint64_t one = 1;
  write(*(int *)arg, &one, 8);
  return NULL;
}
static void *late_close(void *arg) {
  sleep_ms(50);
  close(*(int *)arg);
  return NULL;
}

int main(void) {
  setlinebuf(stdout);
  struct epoll_event e, es[8];
  uint64_t v, one = 1;
  sigset_t none, alarm_set;
  sigemptyset(&none);
  sigemptyset(&alarm_set);
  sigaddset(&alarm_set, SIGALRM);
  ev = MUST(eventfd(0, 0));
  int ep = MUST(epoll_create1(0));

  SECTION("interrupted, with and without SA_RESTART");
  for (int i = 0; i < 2; i++) {
    catch(i ? SA_RESTART : 0);
    struct timespec t = {5, 0}, left = {0, 0};
    struct pollfd p = {ev, POLLIN};
    after(30);
    CALL(nanosleep(&t, &left));
    HOLDS(left.tv_sec == 4 && left.tv_nsec > 900000000);
    after(30);
    CALL(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left));
    HOLDS(left.tv_sec == 4);
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += 5;
    left.tv_sec = 77;
    after(30);
    CALL(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &left));
    HOLDS(left.tv_sec == 77);
    after(30);
    CALL(poll(&p, 1, 5000));
    t = (struct timespec){5, 0};
    after(30);
    CALL(syscall(SYS_ppoll, &p, 1, &t, NULL, 8));
    HOLDS(t.tv_sec == 4);
    struct timeval tv = {5, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ev, &set);
    after(30);
    CALL(select(ev + 1, &set, NULL, NULL, &tv));
    HOLDS(tv.tv_sec == 4 && FD_ISSET(ev, &set));
    after(30);
    CALL(epoll_wait(ep, &e, 1, 5000));
    after(30);
    CALL(pause());
    after(30);
    CALL(sigsuspend(&none));
    if (i) {
      pthread_t thread;
      pthread_create(&thread, NULL, late_write, &ev);
      after(20);
      CALL(read(ev, &v, 8));
      pthread_join(thread, NULL);
    } else {
      after(30);
      CALL(read(ev, &v, 8));
    }
  }
  HOLDS(handled == 20);

  SECTION("a mask for the wait");
  catch(0);
  sigprocmask(SIG_BLOCK, &alarm_set, NULL);
  handled = 0;
  raise(SIGALRM);
  struct timespec zero = {0, 0}, second = {1, 0};
  CALL(ppoll(NULL, 0, &zero, NULL));
  HOLDS(handled == 0);
  CALL(ppoll(NULL, 0, &second, &none));
  HOLDS(handled == 1);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  HOLDS(sigismember(&now, SIGALRM));
  raise(SIGALRM);
  CALL(pselect(0, NULL, NULL, NULL, &second, &none));
  raise(SIGALRM);
  CALL(epoll_pwait(ep, &e, 1, 1000, &none));
  raise(SIGALRM);
  CALL(epoll_pwait2(ep, &e, 1, &second, &none));
  HOLDS(handled == 4);
  raise(SIGALRM);
  CALL(ppoll(NULL, 0, &zero, &none));
  HOLDS(handled == 4 || handled == 5);
  sigprocmask(SIG_BLOCK, NULL, &now);
  HOLDS(sigismember(&now, SIGALRM));
  sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
  CALL(syscall(SYS_ppoll, NULL, 0, NULL, &none, 4));
  CALL(syscall(SYS_ppoll, NULL, 0, (void *)1, NULL, 8));
  CALL(syscall(SYS_epoll_pwait, ep, &e, 1, 0, &none, 4));
  long pair[2] = {(long)&none, 4};
  CALL(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &zero, pair));
  CALL(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &zero, 1));

  SECTION("stops are not interruptions");
  stopped("nanosleep", sleeps_through_stop);
  stopped("poll", polls_through_stop);
  stopped("select", selects_through_stop);
  stopped("read", reads_through_stop);
  stopped("epoll_wait", epoll_through_stop);

  SECTION("bad arguments");
  struct timespec bad = {0, 1000000000}, negative = {-1, 0};
  CALL(nanosleep(&bad, NULL));
  CALL(nanosleep(&negative, NULL));
  CALL(nanosleep((void *)1, NULL));
  CALL(syscall(SYS_clock_nanosleep, 99, 0, &zero, NULL));
  CALL(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &zero, NULL));
  CALL(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &zero, NULL));
  CALL(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &zero, NULL));
  CALL(syscall(SYS_clock_nanosleep, CLOCK_TAI, 0, &zero, NULL));
  CALL(syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &zero, NULL));
  CALL(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &negative, NULL));
  CALL(ppoll(NULL, 0, &bad, NULL));
  struct timeval badtv = {-1, 0}, bigusec = {0, 2000};
  CALL(select(0, NULL, NULL, NULL, &badtv));
  CALL(select(-1, NULL, NULL, NULL, &bigusec));
  CALL(select(1, (void *)1, NULL, NULL, &bigusec));
  fd_set closed;
  FD_ZERO(&closed);
  FD_SET(60, &closed);
  CALL(select(61, &closed, NULL, NULL, &bigusec));
  CALL(poll((void *)1, 1, 0));
  CALL(poll(NULL, 1 << 20, 0));
  struct pollfd many[3] = {{-1, POLLIN, 99}, {60, POLLIN, 99}, {ev, 0, 99}};
  CALL(poll(many, 3, 0));
  printf("%d %d %d\n", many[0].revents, many[1].revents, many[2].revents);
  CALL(setitimer(9, NULL, NULL));
  CALL(getitimer(9, NULL));
  struct itimerval iv = {{0, 0}, {0, 1000000}};
  CALL(setitimer(ITIMER_REAL, &iv, NULL));
  CALL(getitimer(ITIMER_REAL, (void *)1));
  CALL(syscall(SYS_clock_gettime, 99, &zero));
  CALL(syscall(SYS_clock_gettime, CLOCK_REALTIME, (void *)1));
  CALL(clock_getres(CLOCK_REALTIME, NULL));
  CALL(clock_getres(77, &bad));
  CALL(clock_settime(CLOCK_MONOTONIC, &second));
  clockid_t id;
  CALL(clock_getcpuclockid(0, &id));
  CALL(clock_gettime(id, &bad));
  CALL(clock_gettime(~(999999 << 3) | 2, &bad) == -1);
  CALL(clock_gettime((clockid_t)-1, &bad) == -1);
  HOLDS(alarm(10) == 0 && alarm(0) == 10);

  SECTION("epoll in its corners");
  CALL(epoll_create(0));
  CALL(epoll_create1(1));
  CALL(epoll_wait(ep, es, 0, 0));
  CALL(epoll_wait(ep, es, -1, 0));
  CALL(epoll_wait(ep, es, 1 << 30, 0));
  CALL(epoll_wait(ev, es, 1, 0));
  CALL(epoll_wait(99, es, 1, 0));
  CALL(epoll_wait(ep, (void *)-4096L, 1, 0));
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, ev, (void *)1));
  CALL(epoll_ctl(ep, 7, ev, &e));
  CALL(epoll_ctl(ev, EPOLL_CTL_ADD, ev, &e));
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, 99, &e));
  CALL(epoll_ctl(99, EPOLL_CTL_ADD, ev, &e));
  int sv[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
  e = (struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, {.u64 = 0x123456789abcdef}};
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &e));
  CALL(epoll_wait(ep, es, 8, 0));
  printf("%x %lx\n", es[0].events, (long)es[0].data.u64);
  CALL(epoll_wait(ep, es, 8, 0));
  MUST(write(sv[1], "a", 1));
  CALL(epoll_wait(ep, es, 8, 0));
  printf("%x\n", es[0].events);
  MUST(write(sv[1], "b", 1));
  CALL(epoll_wait(ep, es, 8, 0));
  char c[4];
  MUST(read(sv[0], c, 1));
  CALL(epoll_wait(ep, es, 8, 0));
  MUST(shutdown(sv[1], SHUT_WR));
  CALL(epoll_wait(ep, es, 8, 0));
  printf("%x\n", es[0].events);
  MUST(close(sv[1]));
  CALL(epoll_wait(ep, es, 8, 0));
  printf("%x\n", es[0].events);
  e = (struct epoll_event){0};
  CALL(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], &e));
  CALL(epoll_wait(ep, es, 8, 0));
  printf("%x\n", es[0].events);
  close(sv[0]);
  CALL(epoll_wait(ep, es, 8, 0));
  int p[2];
  MUST(pipe(p));
  e = (struct epoll_event){EPOLLIN | EPOLLET, {.fd = p[0]}};
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
  e = (struct epoll_event){EPOLLOUT | EPOLLET, {.fd = p[1]}};
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
  CALL(epoll_wait(ep, es, 8, 0));
  MUST(write(p[1], "abcd", 4));
  MUST(write(p[1], "abcd", 4));
  CALL(epoll_wait(ep, es, 8, 0));
  MUST(read(p[0], c, 4));
  CALL(epoll_wait(ep, es, 8, 0));
  MUST(write(p[1], "abcd", 4));
  CALL(epoll_wait(ep, es, 8, 0));
  MUST(close(p[1]));
  CALL(epoll_wait(ep, es, 8, 0));
  printf("%x\n", es[0].events);
  int copy = MUST(dup(p[0]));
  MUST(close(p[0]));
  CALL(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
  e = (struct epoll_event){EPOLLIN};
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, copy, &e));
  CALL(epoll_wait(ep, es, 8, 0));
  close(copy);
  CALL(epoll_wait(ep, es, 8, 0));
  int chain[7];
  for (int i = 0; i < 7; i++) chain[i] = MUST(epoll_create1(0));
  for (int i = 1; i < 7; i++) {
    int r = epoll_ctl(chain[i], EPOLL_CTL_ADD, chain[i - 1], &e);
    printf("level %d: %s\n", i, r ? strerrorname_np(errno) : "ok");
  }
  e.events = EPOLLIN | EPOLLEXCLUSIVE;
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
  e.events = EPOLLIN;
  CALL(epoll_ctl(ep, EPOLL_CTL_MOD, ev, &e));
  CALL(epoll_ctl(ep, EPOLL_CTL_DEL, ev, NULL));
  e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
  int evs[5];
  for (int i = 0; i < 5; i++) {
    evs[i] = MUST(eventfd(1, 0));
    e = (struct epoll_event){EPOLLIN, {.u32 = i}};
    MUST(epoll_ctl(ep, EPOLL_CTL_ADD, evs[i], &e));
  }
  for (int round = 0; round < 4; round++) {
    long n = epoll_wait(ep, es, 2, 0);
    printf("%ld: %d %d\n", n, es[0].data.u32, es[1].data.u32);
  }
  pthread_t thread;
  int fresh = MUST(eventfd(0, 0)), ep2 = MUST(epoll_create1(0));
  e = (struct epoll_event){EPOLLIN | EPOLLONESHOT, {.u32 = 5}};
  CALL(epoll_ctl(ep2, EPOLL_CTL_ADD, fresh, &e));
  pthread_create(&thread, NULL, late_write, &fresh);
  CALL(epoll_wait(ep2, es, 8, 2000));
  pthread_join(thread, NULL);
  CALL(epoll_wait(ep2, es, 8, 0));
  struct pollfd pe = {ep2, POLLIN};
  CALL(poll(&pe, 1, 0));
  e.events = EPOLLIN;
  CALL(epoll_ctl(ep2, EPOLL_CTL_MOD, fresh, &e));
  CALL(poll(&pe, 1, 0));
  int victim = MUST(eventfd(0, 0));
  struct pollfd pv = {victim, POLLIN};
  pthread_create(&thread, NULL, late_close, &victim);
  CALL(poll(&pv, 1, 150));
  pthread_join(thread, NULL);

  SECTION("timerfd");
  CALL(timerfd_create(99, 0));
  CALL(timerfd_create(CLOCK_MONOTONIC, 1));
  CALL(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
  int tf = MUST(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  struct itimerspec its = {{0, 0}, {0, 1000000000}}, old;
  CALL(timerfd_settime(tf, 0, &its, NULL));
  CALL(timerfd_settime(ev, 0, (its.it_value.tv_nsec = 1, &its), NULL));
  CALL(timerfd_settime(99, 0, &its, NULL));
  CALL(timerfd_settime(tf, 4, &its, NULL));
  CALL(timerfd_settime(tf, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &its, NULL));
  sleep_ms(5);
  CALL(read(tf, &v, 8));
  CALL(read(tf, &v, 8));
  CALL(read(tf, &v, 7));
  its = (struct itimerspec){{0, 10000000}, {0, 10000000}};
  CALL(timerfd_settime(tf, 0, &its, &old));
  HOLDS(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
  sleep_ms(105);
  CALL(read(tf, &v, 8));
  HOLDS(v >= 10 && v <= 100); // a busy machine sleeps longer
  CALL(timerfd_gettime(tf, &old));
  HOLDS(old.it_interval.tv_nsec == 10000000 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 10000000);
  its = (struct itimerspec){{0, 0}, {0, 0}};
  CALL(timerfd_settime(tf, 0, &its, &old));
  HOLDS(old.it_interval.tv_nsec == 10000000);
  CALL(read(tf, &v, 8));
  CALL(write(tf, &v, 8));

  SECTION("eventfd");
  CALL(eventfd(0, 2));
  int ef = MUST(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
  CALL(read(ef, &v, 8));
  printf("%lu\n", v);
  v = -1;
  CALL(write(ef, &v, 8));
  v = -2;
  CALL(write(ef, &v, 8));
  v = 0xfffffffffffffffc;
  CALL(write(ef, &v, 8));
  CALL(write(ef, &one, 8));
  struct pollfd pf = {ef, POLLIN | POLLOUT};
  CALL(poll(&pf, 1, 0));
  printf("%x\n", pf.revents);
  CALL(write(ef, &one, 7));
  CALL(write(ef, (void *)1, 8));
  CALL(read(ef, c, 4));
  CALL(lseek(ef, 0, SEEK_SET));
  CALL(pread(ef, &v, 8, 0));
  return 0;
}

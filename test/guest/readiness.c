// epoll, poll, select, eventfd and timerfd: edges, levels and the odd cases
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static int ep;
static void show(const char *what, int timeout) {
  struct epoll_event events[8];
  int n = epoll_wait(ep, events, 8, timeout);
  printf("%s: %d", what, n);
  // The order of what is ready is nobody's promise: sorted by data.
  for (int i = 0; i < n; i++)
    for (int j = i + 1; j < n; j++)
      if (events[j].data.u64 < events[i].data.u64) {
        struct epoll_event swap = events[i];
        events[i] = events[j];
        events[j] = swap;
      }
  for (int i = 0; i < n; i++) printf(" {%x %llu}", events[i].events, (unsigned long long)events[i].data.u64);
  printf("\n");
}

static int control(int op, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  return epoll_ctl(ep, op, fd, &event);
}

static void *writes_later(void *arg) {
  sleep_ms(40);
  if (write(*(int *)arg, "x", 1) != 1) printf("write failed\n");
  return NULL;
}

static volatile int alarms;
static void on_alarm(int sig) {
  (void)sig;
  alarms++;
}

int main(void) {
  int a[2], b[2];
  char buffer[16];
  MUST(pipe2(a, O_NONBLOCK));
  MUST(pipe2(b, O_NONBLOCK));
  ep = MUST(epoll_create1(EPOLL_CLOEXEC));

  SECTION("errors");
  CALL(epoll_create(0));
  CALL(epoll_create1(77));
  CALL(control(EPOLL_CTL_ADD, a[0], EPOLLIN, 1));
  CALL(control(EPOLL_CTL_ADD, a[0], EPOLLIN, 1));
  CALL(control(EPOLL_CTL_MOD, b[0], EPOLLIN, 1));
  CALL(control(EPOLL_CTL_DEL, b[0], EPOLLIN, 1));
  CALL(control(EPOLL_CTL_ADD, ep, EPOLLIN, 1));
  CALL(control(EPOLL_CTL_ADD, 999, EPOLLIN, 1));
  CALL(control(77, b[0], EPOLLIN, 1));
  enter_scratch();
  int file = MUST(open("file", O_RDWR | O_CREAT, 0600));
  CALL(control(EPOLL_CTL_ADD, file, EPOLLIN, 1));
  CALL(epoll_ctl(a[0], EPOLL_CTL_ADD, b[0], &(struct epoll_event){0}));
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, b[0], NULL));
  struct epoll_event one;
  CALL(epoll_wait(ep, &one, 0, 0));
  CALL(epoll_wait(ep, (void *)8, 1, 0));
  CALL(epoll_wait(a[0], &one, 1, 0));

  SECTION("level and edge");
  show("nothing yet", 0);
  MUST(write(a[1], "ab", 2));
  show("level", 0);
  show("level again", 0);
  CALL(control(EPOLL_CTL_MOD, a[0], EPOLLIN | EPOLLET, 2));
  show("edge", 0);
  show("edge again", 0);
  MUST(write(a[1], "c", 1));
  show("edge after another write", 0);
  CALL(read(a[0], buffer, 1));
  show("edge after a partial read", 0);
  CALL(control(EPOLL_CTL_MOD, a[0], EPOLLIN | EPOLLONESHOT, 3));
  show("oneshot", 0);
  MUST(write(a[1], "d", 1));
  show("oneshot is off", 0);
  CALL(control(EPOLL_CTL_MOD, a[0], EPOLLIN | EPOLLONESHOT, 4));
  show("oneshot armed again", 0);
  CALL(control(EPOLL_CTL_ADD, a[1], EPOLLOUT | EPOLLET, 5));
  show("writable", 0);
  CALL(control(EPOLL_CTL_DEL, a[1], 0, 0));
  CALL(read(a[0], buffer, sizeof buffer));

  SECTION("waiting");
  CALL(control(EPOLL_CTL_MOD, a[0], EPOLLIN, 6));
  uint64_t before = now_ms();
  show("timeout", 40);
  HOLDS(now_ms() - before >= 40);
  pthread_t thread;
  pthread_create(&thread, NULL, writes_later, &a[1]);
  show("woken by a write", 5000);
  pthread_join(thread, NULL);
  CALL(read(a[0], buffer, sizeof buffer));

  SECTION("ends and duplicates");
  int copy = dup(b[0]);
  CALL(control(EPOLL_CTL_ADD, b[0], EPOLLIN, 7));
  CALL(control(EPOLL_CTL_ADD, copy, EPOLLIN, 8));
  MUST(write(b[1], "x", 1));
  show("two names of one pipe", 0);
  close(b[0]);
  show("one name closed, the description lives", 0);
  close(copy);
  show("all closed", 0);
  close(a[1]);
  show("writer gone", 0);
  close(a[0]);

  SECTION("nested");
  int inner = MUST(epoll_create1(0)), event = MUST(eventfd(0, EFD_NONBLOCK));
  CALL(epoll_ctl(inner, EPOLL_CTL_ADD, event, &(struct epoll_event){.events = EPOLLIN}));
  CALL(control(EPOLL_CTL_ADD, inner, EPOLLIN, 9));
  CALL(epoll_ctl(inner, EPOLL_CTL_ADD, ep, &(struct epoll_event){.events = EPOLLIN}));
  show("inner empty", 0);
  CALL(eventfd_write(event, 1));
  show("inner ready", 0);
  eventfd_t value;
  CALL(eventfd_read(event, &value));
  show("inner empty again", 0);

  SECTION("eventfd");
  CALL(eventfd_write(event, 5));
  CALL(eventfd_write(event, 6));
  CALL(eventfd_read(event, &value));
  printf("value %lu\n", (unsigned long)value);
  CALL(eventfd_read(event, &value));
  CALL(eventfd_write(event, ~0ul - 1));
  CALL(eventfd_write(event, 1));
  CALL(eventfd_write(event, ~0ul));
  CALL(write(event, "short", 5));
  CALL(read(event, buffer, 4));
  int semaphore = MUST(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
  for (int i = 0; i < 4; i++) {
    value = 0;
    CALL(eventfd_read(semaphore, &value));
    printf("value %lu\n", (unsigned long)value);
  }
  CALL(eventfd(0, 77));

  SECTION("timerfd");
  int timer = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  uint64_t ticks = 0;
  CALL(read(timer, &ticks, 8));
  struct itimerspec spec = {{0, 10000000}, {0, 10000000}}, old;
  CALL(timerfd_settime(timer, 0, &spec, NULL));
  struct pollfd pfd = {timer, POLLIN, 0};
  CALL(poll(&pfd, 1, 5000));
  sleep_ms(50);
  CALL(read(timer, &ticks, 8));
  HOLDS(ticks >= 4 && ticks < 100);
  CALL(timerfd_gettime(timer, &old));
  HOLDS(old.it_interval.tv_nsec == 10000000 && old.it_value.tv_nsec <= 10000000);
  struct itimerspec stop = {{0, 0}, {0, 0}};
  CALL(timerfd_settime(timer, 0, &stop, &old));
  CALL(read(timer, &ticks, 4));
  struct itimerspec past = {{0, 0}, {1, 0}};
  CALL(timerfd_settime(timer, TFD_TIMER_ABSTIME, &past, NULL));
  CALL(poll(&pfd, 1, 1000));
  CALL(read(timer, &ticks, 8));
  printf("one shot in the past: %lu\n", (unsigned long)ticks);
  CALL(timerfd_create(77, 0));
  spec.it_value.tv_nsec = 1000000000;
  CALL(timerfd_settime(timer, 0, &spec, NULL));

  SECTION("poll");
  MUST(pipe2(a, O_NONBLOCK));
  struct pollfd many[4] = {{a[0], POLLIN, 77}, {-1, POLLIN, 77}, {999, POLLIN, 0}, {file, POLLIN | POLLOUT, 0}};
  CALL(poll(many, 4, 0));
  printf("%x %x %x %x\n", many[0].revents, many[1].revents, many[2].revents, many[3].revents);
  CALL(poll(NULL, 0, 0));
  CALL(poll((void *)8, 1, 0));
  before = now_ms();
  CALL(poll(many, 1, 30));
  HOLDS(now_ms() - before >= 30);
  struct timespec bad = {0, -1};
  CALL(ppoll(many, 1, &bad, NULL));
  signal(SIGALRM, on_alarm);
  sigset_t block, open_set;
  sigemptyset(&block);
  sigemptyset(&open_set);
  sigaddset(&block, SIGALRM);
  sigprocmask(SIG_BLOCK, &block, NULL);
  raise(SIGALRM);
  CALL(poll(many, 1, 0));
  struct timespec second = {1, 0};
  CALL(ppoll(many, 1, &second, &open_set));
  HOLDS(alarms == 1);
  raise(SIGALRM);
  CALL(epoll_pwait(epoll_create1(0), &one, 1, 1000, &open_set));
  HOLDS(alarms == 2);

  SECTION("select");
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(a[0], &in);
  FD_SET(a[1], &out);
  struct timeval zero = {0, 0}, later = {0, 30000}, negative = {-1, 0};
  CALL(select(a[1] + 1, &in, &out, NULL, &zero));
  printf("in %d out %d\n", !!FD_ISSET(a[0], &in), !!FD_ISSET(a[1], &out));
  FD_SET(a[0], &in);
  CALL(select(a[0] + 1, &in, NULL, NULL, &later));
  printf("in %d, time left %ld\n", !!FD_ISSET(a[0], &in), (long)later.tv_usec);
  FD_SET(a[0], &in);
  CALL(select(a[0] + 1, &in, NULL, NULL, &negative));
  CALL(select(-1, &in, NULL, NULL, &zero));
  FD_ZERO(&in);
  FD_SET(500, &in);
  CALL(select(501, &in, NULL, NULL, &zero));
  CALL(select(0, NULL, NULL, NULL, &zero));

  SECTION("sockets");
  int s[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  CALL(control(EPOLL_CTL_ADD, s[0], EPOLLIN | EPOLLRDHUP | EPOLLOUT, 10));
  show("writable", 0);
  CALL(shutdown(s[1], SHUT_WR));
  show("peer shut its side", 0);
  close(s[1]);
  show("peer gone", 0);
  return 0;
}

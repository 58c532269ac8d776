// POSIX message queues: limits, priorities, waiting, notification and errors
#include "check.h"
#include <mqueue.h>

static const char *NAME = "/guest-queue";

static void take(mqd_t q) {
  char text[64];
  unsigned priority = 99;
  long n = mq_receive(q, text, sizeof text, &priority);
  if (n < 0) printf("nothing: %s\n", strerrorname_np(errno));
  else printf("%.*s (%u)\n", (int)n, text, priority);
}

int main(void) {
  struct mq_attr attr = {0, 3, 64, 0}, seen = {0};
  char text[64];
  mq_unlink(NAME);

  SECTION("opening");
  CALL(mq_open(NAME, O_RDWR));
  CALL(mq_open("no-slash", O_RDWR | O_CREAT, 0600, NULL));
  CALL(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL));
  struct mq_attr none = {0, 0, 64, 0};
  CALL(mq_open(NAME, O_RDWR | O_CREAT, 0600, &none));
  mqd_t q = MUST(mq_open(NAME, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
  CALL(mq_open(NAME, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
  CALL(fcntl(q, F_GETFD));
  CALL(mq_getattr(q, &seen));
  printf("flags %ld max %ld size %ld now %ld\n", seen.mq_flags, seen.mq_maxmsg, seen.mq_msgsize, seen.mq_curmsgs);

  SECTION("messages");
  CALL(mq_send(q, "low", 3, 1));
  CALL(mq_send(q, "high", 4, 7));
  CALL(mq_send(q, "low too", 7, 1));
  CALL(mq_getattr(q, &seen));
  printf("now %ld\n", seen.mq_curmsgs);
  struct timespec past = {1, 0};
  CALL(mq_timedsend(q, "full", 4, 0, &past));
  take(q), take(q), take(q);
  CALL(mq_timedreceive(q, text, sizeof text, NULL, &past));
  CALL(mq_send(q, text, 65, 0));
  CALL(mq_send(q, text, 1, 32768));
  CALL(mq_receive(q, text, 63, NULL));
  CALL(mq_send(q, "", 0, 0));
  CALL(mq_receive(q, text, sizeof text, NULL));

  SECTION("not waiting");
  struct mq_attr nonblock = {O_NONBLOCK};
  CALL(mq_setattr(q, &nonblock, &seen));
  printf("before %ld\n", seen.mq_flags);
  take(q);
  struct mq_attr wrong = {1};
  CALL(mq_setattr(q, &wrong, NULL));
  nonblock.mq_flags = 0;
  CALL(mq_setattr(q, &nonblock, NULL));

  SECTION("waiting");
  pid_t child = MUST(fork());
  if (child == 0) {
    usleep(50000);
    mq_send(q, "from a child", 12, 3);
    _exit(0);
  }
  take(q);
  MUST(waitpid(child, NULL, 0));
  struct pollfd p = {q, POLLIN | POLLOUT, 0};
  CALL(poll(&p, 1, 0));
  printf("revents %x\n", p.revents);
  CALL(mq_send(q, "x", 1, 0));
  CALL(poll(&p, 1, 0));
  printf("revents %x\n", p.revents);
  take(q);

  SECTION("notification");
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  struct sigevent event = {0};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  event.sigev_value.sival_int = 4711;
  CALL(mq_notify(q, &event));
  CALL(mq_notify(q, &event));
  CALL(mq_send(q, "news", 4, 0));
  CALL(mq_send(q, "more", 4, 0));
  siginfo_t info;
  struct timespec soon = {1, 0}, none_left = {0, 0};
  CALL(sigtimedwait(&set, &info, &soon) == SIGUSR1);
  printf("code %d value %d own pid %d\n", info.si_code, info.si_value.sival_int, info.si_pid == getpid());
  CALL(sigtimedwait(&set, &info, &none_left));
  CALL(mq_notify(q, NULL));
  CALL(mq_notify(q, &event));
  CALL(mq_notify(q, NULL));
  take(q), take(q);

  SECTION("errors and ends");
  mqd_t r = MUST(mq_open(NAME, O_RDONLY));
  CALL(mq_send(r, "x", 1, 0));
  CALL(mq_send(0, "x", 1, 0));
  CALL(mq_getattr(99, &seen));
  CALL(mq_unlink(NAME));
  CALL(mq_unlink(NAME));
  CALL(mq_send(q, "still", 5, 2));
  take(r);
  CALL(mq_close(q));
  CALL(mq_close(q));
  CALL(mq_open(NAME, O_RDWR));
  return 0;
}

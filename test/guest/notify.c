// inotify and signalfd: which events come, in which order, with which names
#include "check.h"
#include <dirent.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static int in;

static const char *bits(uint32_t mask) {
  static char text[300];
  static const char *names[] = {"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM", "MOVED_TO",
                                "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF"};
  text[0] = 0;
  for (int i = 0; i < 12; i++)
    if (mask & (1u << i)) strcat(strcat(text, " "), names[i]);
  if (mask & IN_UNMOUNT) strcat(text, " UNMOUNT");
  if (mask & IN_Q_OVERFLOW) strcat(text, " Q_OVERFLOW");
  if (mask & IN_IGNORED) strcat(text, " IGNORED");
  if (mask & IN_ISDIR) strcat(text, " ISDIR");
  return text;
}

static void events(const char *what) {
  static char buffer[65536];
  static uint32_t cookie;
  long n = read(in, buffer, sizeof buffer);
  printf("%s: %s\n", what, n < 0 ? strerrorname_np(errno) : "");
  for (long at = 0; at < n;) {
    struct inotify_event *e = (void *)(buffer + at);
    printf("  %d%s len %u %s", e->wd, bits(e->mask), e->len, e->len ? e->name : "");
    if (e->mask & IN_MOVED_FROM) printf(" cookie %s", (cookie = e->cookie) ? "set" : "0");
    else if (e->mask & IN_MOVED_TO) printf(" cookie %s", e->cookie == cookie ? "same" : "other");
    else if (e->cookie) printf(" cookie?");
    puts("");
    at += sizeof *e + e->len;
  }
}

static int reader(void *arg) {
  struct signalfd_siginfo info;
  int fd = *(int *)arg;
  raise(SIGUSR1);
  printf("child read %ld\n", (long)read(fd, &info, sizeof info));
  return info.ssi_signo;
}

int main(void) {
  setlinebuf(stdout);
  enter_scratch();
  SECTION("errors");
  CALL(inotify_init1(1));
  in = MUST(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  CALL(fcntl(in, F_GETFL));
  CALL(fcntl(in, F_GETFD));
  CALL(inotify_add_watch(in, "none", IN_ACCESS));
  CALL(inotify_add_watch(in, ".", 0));
  CALL(inotify_add_watch(in, ".", 0x80000));
  CALL(inotify_add_watch(0, ".", IN_ACCESS));
  CALL(inotify_add_watch(99, ".", IN_ACCESS));
  CALL(inotify_add_watch(in, (void *)1, IN_ACCESS));
  CALL(inotify_add_watch(in, ".", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN));
  close(MUST(open("plain", O_CREAT | O_RDWR, 0600)));
  CALL(inotify_add_watch(in, "plain", IN_ONLYDIR | IN_OPEN));
  CALL(inotify_rm_watch(in, 1));
  CALL(inotify_rm_watch(0, 1));
  char b[64];
  CALL(read(in, b, sizeof b));
  CALL(write(in, b, 1));
  struct pollfd p = {in, POLLIN | POLLOUT, 0};
  CALL(poll(&p, 1, 0));
  int n = 9;
  CALL(ioctl(in, FIONREAD, &n));
  printf("%d\n", n);

  SECTION("a folder");
  CALL(inotify_add_watch(in, ".", IN_ALL_EVENTS));
  int fd = MUST(open("new", O_CREAT | O_RDWR, 0644));
  events("create");
  MUST(write(fd, "abc", 3));
  MUST(write(fd, "def", 3));
  events("two writes are one event");
  CALL(poll(&p, 1, 0));
  MUST(pread(fd, b, 1, 0));
  MUST(ftruncate(fd, 1));
  MUST(fchmod(fd, 0600));
  MUST(close(fd));
  CALL(poll(&p, 1, 0));
  CALL(ioctl(in, FIONREAD, &n));
  printf("%d\n", n);
  CALL(read(in, b, 16));
  events("read, truncate, chmod, close");
  close(MUST(open("new", O_RDONLY)));
  events("open for reading");
  MUST(rename("new", "newer"));
  events("rename");
  MUST(link("newer", "other"));
  events("link");
  MUST(mkdir("dir", 0700));
  events("mkdir");
  closedir(opendir("dir"));
  events("opendir");
  MUST(symlink("x", "link"));
  MUST(mkfifo("fifo", 0600));
  events("symlink, mkfifo");
  MUST(unlink("other"));
  MUST(unlink("link"));
  MUST(rmdir("dir"));
  events("unlink, rmdir");
  MUST(truncate("newer", 0));
  MUST(chmod("newer", 0644));
  MUST(utimensat(AT_FDCWD, "newer", NULL, 0));
  events("by path");

  SECTION("one file");
  CALL(inotify_add_watch(in, "newer", IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF));
  CALL(inotify_add_watch(in, "newer", IN_ATTRIB | IN_MASK_CREATE));
  CALL(inotify_rm_watch(in, 1));
  events("removed");
  MUST(rename("newer", "newest"));
  events("moved");
  fd = MUST(open("newest", O_RDONLY));
  MUST(unlink("newest"));
  events("unlinked, open");
  MUST(close(fd));
  events("gone");
  CALL(inotify_rm_watch(in, 2));
  mkdir("d", 0700);
  CALL(inotify_add_watch(in, "d", IN_CREATE | IN_ONESHOT));
  close(MUST(open("d/a", O_CREAT | O_RDWR, 0600)));
  close(MUST(open("d/b", O_CREAT | O_RDWR, 0600)));
  events("once");
  CALL(inotify_add_watch(in, "d", IN_DELETE));
  CALL(inotify_add_watch(in, "d", IN_CREATE | IN_MASK_ADD));
  MUST(unlink("d/a"));
  close(MUST(open("d/c", O_CREAT | O_RDWR, 0600)));
  events("added mask");
  CALL(inotify_add_watch(in, "d", IN_CLOSE | IN_EXCL_UNLINK | IN_MODIFY));
  fd = MUST(open("d/c", O_RDWR));
  MUST(write(fd, "x", 1));
  MUST(unlink("d/c"));
  MUST(write(fd, "y", 1));
  MUST(close(fd));
  events("excluded once unlinked");
  CALL(inotify_add_watch(in, "d", IN_DELETE_SELF));
  unlink("d/b");
  MUST(rmdir("d"));
  events("folder gone");
  for (int i = 0; i < 3; i++) {
    MUST(mkdir("again", 0700));
    printf("wd %d\n", inotify_add_watch(in, "again", IN_DELETE_SELF | IN_ONLYDIR));
    MUST(rmdir("again"));
  }
  events("three times");
  CALL(inotify_add_watch(in, ".", IN_OPEN));
  int ep = MUST(epoll_create1(0));
  struct epoll_event ev = {EPOLLIN | EPOLLET};
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, in, &ev));
  CALL(epoll_wait(ep, &ev, 1, 0));
  close(MUST(open("plain", O_RDWR)));
  CALL(epoll_wait(ep, &ev, 1, 0));
  events("epoll");
  fcntl(in, F_SETFL, 0);
  close(in);

  SECTION("by signal");
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 4);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int dir = MUST(open(".", O_RDONLY | O_DIRECTORY)), plain = MUST(open("plain", O_RDWR));
  struct timespec zero = {0, 0};
  siginfo_t got;
  CALL(fcntl(plain, F_NOTIFY, DN_CREATE));
  CALL(fcntl(dir, F_SETSIG, SIGRTMIN + 4));
  CALL(fcntl(dir, F_NOTIFY, DN_CREATE));
  HOLDS(fcntl(dir, F_GETOWN) == getpid());
  close(MUST(open("n1", O_CREAT | O_RDWR, 0600)));
  close(MUST(open("n2", O_CREAT | O_RDWR, 0600)));
  CALL(sigtimedwait(&set, &got, &zero) == SIGRTMIN + 4);
  HOLDS(got.si_fd == dir && got.si_code == POLL_MSG);
  CALL(sigtimedwait(&set, &got, &zero));
  CALL(fcntl(dir, F_NOTIFY, DN_MULTISHOT | DN_DELETE | DN_MODIFY));
  unlink("n1"), unlink("n2");
  MUST(write(plain, "x", 1));
  for (int i = 0; i < 4; i++) CALL(sigtimedwait(&set, &got, &zero) == SIGRTMIN + 4);
  CALL(fcntl(dir, F_NOTIFY, 0));
  MUST(write(plain, "x", 1));
  CALL(sigtimedwait(&set, &got, &zero));
  close(dir);

  SECTION("signalfd");
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN + 1);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGALRM);
  sigaddset(&set, SIGKILL);
  sigprocmask(SIG_BLOCK, &set, NULL);
  CALL(syscall(SYS_signalfd4, -1, &set, 4, 0));
  CALL(syscall(SYS_signalfd4, -1, (void *)1, 8, 0));
  CALL(syscall(SYS_signalfd4, -1, &set, 8, 1));
  CALL(syscall(SYS_signalfd4, 99, &set, 8, 0));
  CALL(syscall(SYS_signalfd4, 0, &set, 8, 0));
  int s = MUST(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  struct signalfd_siginfo info[4];
  CALL(read(s, info, 127));
  CALL(read(s, info, sizeof info));
  CALL(write(s, info, sizeof info));
  p.fd = s;
  CALL(poll(&p, 1, 0));
  CALL(kill(getpid(), SIGUSR1));
  CALL(kill(getpid(), SIGUSR1));
  union sigval value = {.sival_int = 42};
  CALL(sigqueue(getpid(), SIGRTMIN + 1, value));
  CALL(sigqueue(getpid(), SIGRTMIN + 1, value));
  CALL(poll(&p, 1, 0));
  printf("%x\n", p.revents);
  CALL(read(s, info, 200));
  HOLDS(info[0].ssi_signo == SIGUSR1 && info[0].ssi_pid == getpid() && info[0].ssi_uid == getuid() && info[0].ssi_code == SI_USER);
  CALL(read(s, info, sizeof info));
  HOLDS(info[1].ssi_signo == SIGRTMIN + 1 && info[1].ssi_int == 42 && info[1].ssi_ptr == 42 && info[1].ssi_code == SI_QUEUE);
  CALL(read(s, info, sizeof info));
  in_child("its own signals", reader, &s);
  CALL(read(s, info, sizeof info));
  HOLDS(info[0].ssi_signo == SIGCHLD && info[0].ssi_code == CLD_EXITED && info[0].ssi_status == SIGUSR1);
  ep = MUST(epoll_create1(0));
  ev = (struct epoll_event){EPOLLIN};
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev));
  CALL(epoll_wait(ep, &ev, 1, 0));
  raise(SIGUSR1);
  CALL(epoll_wait(ep, &ev, 1, 0));
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  CALL(signalfd(s, &set, 0) == s);
  CALL(epoll_wait(ep, &ev, 1, 0));
  fcntl(s, F_SETFL, 0);
  struct itimerval soon = {{0, 0}, {0, 30000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  CALL(read(s, info, sizeof info));
  printf("%d %d\n", info[0].ssi_signo, info[0].ssi_code);
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_int = 7};
  MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
  struct itimerspec once = {{0, 0}, {0, 20000000}};
  MUST(timer_settime(timer, 0, &once, NULL));
  CALL(read(s, info, sizeof info));
  printf("%d %d %d %d\n", info[0].ssi_code, info[0].ssi_int, info[0].ssi_overrun, info[0].ssi_tid);
  return 0;
}

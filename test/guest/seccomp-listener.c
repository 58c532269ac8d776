// seccomp user notification: receiving, answering, continuing, descriptors handed over, signals, hang-up
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>

#define LOAD_NR BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ON(number, verdict) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, verdict)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static volatile int hits;
static void count(int signo) {
  (void)signo;
  hits++;
}

static int listen_to(int number, unsigned flags) {
  struct sock_filter filter[] = {LOAD_NR, ON(number, SECCOMP_RET_USER_NOTIF), ALLOW};
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int listener;
static pid_t child;

static void start(int (*body)(void *)) {
  hits = 0;
  child = spawn_child(body, NULL);
}
static void end(const char *what) {
  int status;
  MUST(waitpid(child, &status, 0));
  print_status(what, status);
}

static short ready(int timeout) {
  struct pollfd p = {listener, POLLIN | POLLOUT, 0};
  return poll(&p, 1, timeout) == 1 ? p.revents : 0;
}

static struct seccomp_notif request;
static long receive(void) {
  memset(&request, 0, sizeof request);
  return ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request);
}
static long answer(int64_t value, int error, unsigned flags) {
  struct seccomp_notif_resp response = {request.id, value, error, flags};
  return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static int calls(void *arg) {
  (void)arg;
  CALL(syscall(SYS_getpgid, 1, 2, 0x123456789, 4, 5, 6));
  CALL(syscall(SYS_getpgid, 0));
  HOLDS(syscall(SYS_getpgid, 0) == getpgrp());
  HOLDS(syscall(SYS_getpgid, 0) == 0x123456789);
  int fd = (int)syscall(SYS_getpgid, 0);
  CALL(write(fd, "through", 7));
  CALL(write(33, "another", 7));
  return 7;
}

static int interrupted(void *arg) {
  (void)arg;
  struct sigaction action = {.sa_handler = count};
  sigaction(SIGUSR1, &action, NULL);
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, NULL);
  CALL(syscall(SYS_getpgid, 0));
  CALL(syscall(SYS_getpgid, 0));
  return hits;
}

static int unanswered(void *arg) {
  (void)arg;
  close(listener);
  CALL(syscall(SYS_getpgid, 0));
  CALL(syscall(SYS_getpgid, 0));
  return 0;
}

int main(void) {
  SECTION("the last task under the filter");
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  int go[2];
  MUST(pipe(go));
  child = (pid_t)MUST(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    char byte = (char)listen_to(SYS_getpgid, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    if (fork() == 0) _exit(byte == write(go[1], &byte, 1));
    pause();
  }
  char number = 0;
  MUST(read(go[0], &number, 1));
  listener = number;
  HOLDS(ready(0) == 0);
  kill(child, SIGKILL);
  end("the last one");
  HOLDS(ready(2000) == POLLHUP);
  CALL(receive());
  close(listener);

  SECTION("making a listener");
  struct seccomp_notif_sizes sizes;
  CALL(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes));
  printf("%d %d %d\n", sizes.seccomp_notif, sizes.seccomp_notif_resp, sizes.seccomp_data);
  uint32_t action = SECCOMP_RET_USER_NOTIF;
  CALL(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
  CALL(listen_to(SYS_getpgid, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC));
  CALL(listen_to(SYS_getpgid, 1 << 5));
  listener = listen_to(SYS_getpgid, SECCOMP_FILTER_FLAG_NEW_LISTENER);
  HOLDS(listener > 2 && fcntl(listener, F_GETFD) == FD_CLOEXEC);
  CALL(listen_to(SYS_getppid, SECCOMP_FILTER_FLAG_NEW_LISTENER));
  char name[64], path[32];
  sprintf(path, "/proc/self/fd/%d", listener);
  name[readlink(path, name, 63)] = 0;
  puts(name);
  HOLDS(ready(0) == 0);
  CALL(ioctl(listener, 0x1234, 0));
  CALL(read(listener, name, 1));

  SECTION("answers");
  int ends[2];
  MUST(pipe(ends));
  start(calls);
  HOLDS(ready(2000) == POLLIN);
  memset(&request, 1, sizeof request);
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request));
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, 8));
  CALL(receive());
  HOLDS(request.pid == (uint32_t)child && request.data.nr == SYS_getpgid && request.data.arch == 0xc000003e);
  HOLDS(request.data.args[0] == 1 && request.data.args[2] == 0x123456789 && request.data.args[5] == 6 && request.flags == 0);
  HOLDS(ready(0) == POLLOUT);
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &request.id));
  uint64_t other = request.id + 5;
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &other));
  CALL(answer(0, 0, 2));
  CALL(answer(1, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE));
  CALL(answer(42, 0, 0));
  CALL(receive());
  CALL(answer(0, -EXDEV, 0));
  CALL(receive());
  CALL(answer(0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE));
  CALL(receive());
  CALL(answer(0x123456789, 0, 0));
  CALL(receive());
  struct seccomp_notif_addfd add = {request.id, 0, ends[1], 33, 0};
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  add.flags = SECCOMP_ADDFD_FLAG_SETFD;
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  add.flags = 0;
  add.newfd = 0;
  add.newfd_flags = O_NONBLOCK;
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  add.newfd_flags = O_CLOEXEC;
  add.srcfd = 999;
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  add.srcfd = ends[1];
  add.id++;
  CALL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  add.id--;
  add.flags = SECCOMP_ADDFD_FLAG_SEND;
  HOLDS(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) > 2);
  end("calls");
  char text[16] = {0};
  CALL(read(ends[0], text, 15));
  puts(text);
  CALL(answer(0, 0, 0));

  SECTION("signals");
  start(interrupted);
  CALL(receive());
  uint64_t first = request.id;
  kill(child, SIGUSR1);
  // The call was received, yet a signal takes it back.
  while (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &first) == 0) sleep_ms(1);
  CALL(answer(1, 0, 0));
  CALL(receive());
  first = request.id;
  kill(child, SIGUSR2);
  while (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &first) == 0) sleep_ms(1);
  CALL(receive());
  HOLDS(request.id != first);
  CALL(answer(5, 0, 0));
  end("interrupted");

  SECTION("the listener goes");
  start(unanswered);
  CALL(receive());
  int copy = dup(listener);
  close(listener);
  listener = copy;
  HOLDS(ready(0) == POLLOUT);
  close(listener);
  end("unanswered");
  CALL(syscall(SYS_getpgid, 0));
  HOLDS(listen_to(SYS_getpgid, SECCOMP_FILTER_FLAG_NEW_LISTENER) > 2);
  return 0;
}

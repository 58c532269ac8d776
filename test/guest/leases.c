// file leases: who gets one, whom a signal tells of an open, and how long that waits
// needs: root
#include "check.h"

static volatile int told, told_fd, told_band;

static void on_lease(int signo, siginfo_t *info, void *context) {
  told = signo;
  told_fd = info->si_fd;
  told_band = info->si_band;
}

static int opens(const char *name, int flags) {
  int fd = open(name, flags, 0644);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}

// Opens or truncates in a child; prints how it ended and whether it had to wait.
static pid_t elsewhere(const char *what, int flags) {
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child != 0) return child;
  // A lease ends with the last descriptor.
  for (int fd = 3; fd < 20; fd++) close(fd);
  uint64_t start = now_ms();
  int result = flags < 0 ? truncate("file", 1) : opens("file", flags);
  printf("%s: %s, %s\n", what, result == 0 ? "ok" : strerrorname_np(errno), now_ms() - start > 150 ? "waited" : "at once");
  fflush(stdout);
  _exit(0);
}

static void join(pid_t child) { MUST(waitpid(child, NULL, 0)); }

int main(void) {
  enter_scratch();
  MUST(chmod(".", 0777));
  struct sigaction action = {.sa_sigaction = on_lease, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGIO, &action, NULL);
  sigaction(SIGRTMIN, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  int fd = MUST(open("file", O_RDWR | O_CREAT, 0666));

  SECTION("granting");
  CALL(fcntl(fd, F_GETLEASE));
  CALL(fcntl(fd, F_SETLEASE, F_UNLCK));
  CALL(fcntl(fd, F_SETLEASE, F_RDLCK));
  CALL(fcntl(fd, F_SETLEASE, 17));
  CALL(fcntl(fd, F_SETLEASE, F_WRLCK));
  CALL(fcntl(fd, F_GETLEASE));
  CALL(fcntl(fd, F_SETLEASE, F_UNLCK));
  int other = MUST(open("file", O_RDONLY));
  CALL(fcntl(fd, F_SETLEASE, F_WRLCK));
  close(fd);
  CALL(fcntl(other, F_SETLEASE, F_RDLCK));
  CALL(fcntl(other, F_GETLEASE));
  int second = MUST(open("file", O_RDONLY));
  CALL(fcntl(second, F_SETLEASE, F_RDLCK));
  CALL(fcntl(second, F_SETLEASE, F_WRLCK));
  CALL(fcntl(second, F_SETLEASE, F_UNLCK));
  close(second);
  CALL(fcntl(other, F_SETLEASE, F_WRLCK));
  CALL(fcntl(other, F_SETLEASE, F_RDLCK));
  fd = MUST(open(".", O_RDONLY));
  CALL(fcntl(fd, F_SETLEASE, F_RDLCK));
  close(fd);

  SECTION("breaking");
  told = 0;
  join(elsewhere("read", O_RDONLY));
  HOLDS(told == 0);
  join(elsewhere("write without waiting", O_RDWR | O_NONBLOCK));
  HOLDS(told == SIGIO);
  CALL(fcntl(other, F_GETLEASE));
  pid_t child = elsewhere("write", O_WRONLY);
  sleep_ms(300);
  CALL(fcntl(other, F_SETLEASE, F_UNLCK));
  join(child);
  CALL(fcntl(other, F_SETLEASE, F_RDLCK));
  MUST(fcntl(other, F_SETSIG, SIGRTMIN));
  told = 0;
  child = elsewhere("truncate", -1);
  sleep_ms(300);
  HOLDS(told == SIGRTMIN);
  HOLDS(told_fd == other);
  HOLDS(told_band == (POLLIN | POLLRDNORM | POLLMSG));
  close(other);
  join(child);

  SECTION("downgrading");
  fd = MUST(open("file", O_RDWR));
  MUST(fcntl(fd, F_SETLEASE, F_WRLCK));
  child = elsewhere("read", O_RDONLY);
  sleep_ms(300);
  CALL(fcntl(fd, F_GETLEASE));
  CALL(fcntl(fd, F_SETLEASE, F_UNLCK));
  join(child);
  CALL(fcntl(fd, F_GETLEASE));
  close(fd);

  SECTION("signals");
  fd = MUST(open("file", O_RDONLY));
  MUST(fcntl(fd, F_SETLEASE, F_RDLCK));
  child = elsewhere("write through a handler", O_WRONLY);
  sleep_ms(100);
  kill(child, SIGUSR1);
  sleep_ms(200);
  close(fd);
  join(child);
  fd = MUST(open("file", O_RDONLY));
  MUST(fcntl(fd, F_SETLEASE, F_RDLCK));
  child = elsewhere("killed", O_WRONLY);
  sleep_ms(100);
  kill(child, SIGKILL);
  int status;
  MUST(waitpid(child, &status, 0));
  print_status("killed", status);
  close(fd);

  SECTION("as a user");
  child = MUST(fork());
  if (child == 0) {
    MUST(setuid(1000));
    fd = MUST(open("file", O_RDONLY));
    CALL(fcntl(fd, F_SETLEASE, F_RDLCK));
    fflush(stdout);
    _exit(0);
  }
  join(child);
  return 0;
}

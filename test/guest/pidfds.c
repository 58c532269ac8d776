// pidfds, tids and signals by them; waitid's kinds; sessions, groups, job control and orphans
#include "check.h"
#include <sys/uio.h>
#include <linux/sched.h>
#include <sys/pidfd.h>

static int waits_for_end(void *arg) {
  (void)arg;
  for (;;) pause();
}

static volatile int hits;
static siginfo_t last;
static void handler(int signo, siginfo_t *info, void *ctx) {
  (void)ctx;
  (void)signo;
  last = *info;
  hits++;
}

static int in_session(void *arg) {
  (void)arg;
  CALL(setsid() == getpid());
  CALL(getsid(0) == getpid());
  CALL(getpgid(0) == getpid());
  CALL(setsid());
  CALL(setpgid(0, 0));
  CALL(setpgid(0, getppid()));
  CALL(setpgid(99999, 0));
  CALL(setpgid(0, -5));
  CALL(getpgid(99999));
  CALL(getsid(99999));
  return 0;
}

static int stopped_orphan(void *arg) {
  // A stopped member of a group that becomes an orphan is sent SIGHUP and SIGCONT.
  int *out = arg;
  setsid();
  pid_t member = fork();
  if (member == 0) {
    setpgid(0, 0);
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGHUP, &sa, NULL);
    sigaction(SIGCONT, &sa, NULL);
    raise(SIGSTOP);
    sleep_ms(20);
    int n = hits;
    if (write(out[1], &n, sizeof n) != sizeof n) return 1;
    _exit(0);
  }
  int status;
  waitpid(member, &status, WUNTRACED);
  print_status("member", status);
  return 0;
}

static int ignores_tstp(void *arg) {
  (void)arg;
  // Orphaned from birth: the terminal's stop does nothing, SIGSTOP does.
  setsid();
  raise(SIGTSTP);
  raise(SIGTTIN);
  return 6;
}

int main(void) {
  siginfo_t info;
  int status;
  SECTION("pidfd");
  pid_t pid = spawn_child(waits_for_end, NULL);
  int fd = pidfd_open(pid, 0);
  HOLDS(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
  CALL(pidfd_open(pid, 0x40000000));
  CALL(pidfd_open(-1, 0));
  CALL(pidfd_open(99999, 0));
  struct pollfd p = {fd, POLLIN, 0};
  CALL(poll(&p, 1, 0));
  CALL(pidfd_send_signal(fd, 0, NULL, 0));
  CALL(pidfd_send_signal(0, 0, NULL, 0));
  CALL(pidfd_send_signal(fd, 99, NULL, 0));
  CALL(pidfd_send_signal(fd, 0, NULL, 64));
  memset(&info, 0, sizeof info);
  CALL(waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG));
  printf("pid %d\n", info.si_pid);
  CALL(pidfd_send_signal(fd, SIGTERM, NULL, 0));
  CALL(poll(&p, 1, 1000));
  printf("events %x\n", p.revents);
  CALL(waitid(P_PIDFD, fd, &info, WEXITED));
  HOLDS(info.si_pid == pid && info.si_signo == SIGCHLD && info.si_code == CLD_KILLED && info.si_status == SIGTERM);
  CALL(pidfd_send_signal(fd, 0, NULL, 0));
  CALL(waitid(P_PIDFD, fd, &info, WEXITED));
  CALL(waitid(P_PIDFD, 0, &info, WEXITED));
  close(fd);

  SECTION("pidfd by clone3");
  struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD};
  fflush(stdout);
  pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(7);
  p = (struct pollfd){fd, POLLIN, 0};
  CALL(poll(&p, 1, 1000));
  CALL(waitid(P_PIDFD, fd, &info, WEXITED | WNOWAIT));
  CALL(waitid(P_PIDFD, fd, &info, WEXITED));
  printf("status %d\n", info.si_status);
  close(fd);
  args.flags = CLONE_SIGHAND;
  CALL(syscall(SYS_clone3, &args, sizeof args));
  args.flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
  CALL(syscall(SYS_clone3, &args, sizeof args));
  args.flags = 1ull << 40;
  CALL(syscall(SYS_clone3, &args, sizeof args));
  args.flags = 0;
  args.stack = 4096;
  CALL(syscall(SYS_clone3, &args, sizeof args));
  CALL(syscall(SYS_clone3, &args, 8));
  CALL(syscall(SYS_clone3, &args, 8192));

  SECTION("getfd");
  int pipes[2];
  MUST(pipe(pipes));
  pid = spawn_child(waits_for_end, NULL);
  fd = pidfd_open(pid, 0);
  int copy = pidfd_getfd(fd, pipes[1], 0);
  HOLDS(copy >= 0 && fcntl(copy, F_GETFD) == FD_CLOEXEC && write(copy, "x", 1) == 1);
  CALL(pidfd_getfd(fd, 999, 0));
  CALL(pidfd_getfd(fd, 0, 1));
  CALL(pidfd_getfd(0, 0, 0));
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  CALL(pidfd_getfd(fd, 0, 0));

  SECTION("thread signals");
  struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &sa, NULL);
  CALL(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
  HOLDS(hits == 1 && last.si_code == SI_TKILL && last.si_pid == getpid());
  CALL(syscall(SYS_tkill, gettid(), SIGUSR1));
  CALL(syscall(SYS_tgkill, 0, gettid(), SIGUSR1));
  CALL(syscall(SYS_tgkill, getpid(), 99999, SIGUSR1));
  CALL(syscall(SYS_tgkill, getpid(), gettid(), 65));
  siginfo_t mine = {.si_code = SI_QUEUE, .si_value.sival_int = 77};
  CALL(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &mine));
  HOLDS(last.si_code == SI_QUEUE && last.si_value.sival_int == 77);
  mine.si_code = SI_USER;
  CALL(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &mine));
  CALL(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &mine));
  CALL(kill(99999, 0));
  CALL(kill(-99999, 0));
  CALL(kill(getpid(), 65));

  SECTION("memory by pidfd");
  int me = MUST(syscall(SYS_pidfd_open, getpid(), 0));
  char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec range[2] = {{pages, 4096}, {pages + 4096, 100}};
  CALL(syscall(440, me, range, 2, 20 /* MADV_COLD */, 0));
  CALL(syscall(440, me, range, 2, 20, 1));
  CALL(syscall(440, me, range, 2, 9 /* MADV_REMOVE */, 0));
  range[0].iov_base = pages + 1;
  CALL(syscall(440, me, range, 1, 20, 0));
  CALL(syscall(440, 0, range, 1, 20, 0));
  CALL(syscall(448, me, 0));
  CALL(syscall(448, me, 1));
  CALL(syscall(448, 0, 0));

  SECTION("numbers asked for");
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
  } asks = {.exit_signal = SIGCHLD};
  int numbers[40] = {31234};
  asks.set_tid = (uintptr_t)numbers;
  CALL(syscall(SYS_clone3, &asks, sizeof asks));
  asks.set_tid_size = 33;
  CALL(syscall(SYS_clone3, &asks, sizeof asks));
  asks.set_tid_size = 1;
  pid = syscall(SYS_clone3, &asks, sizeof asks);
  if (pid == 0) _exit(getpid() == 31234 ? 4 : 5);
  HOLDS(pid == 31234);
  CALL(syscall(SYS_clone3, &asks, sizeof asks));
  MUST(waitpid(pid, &status, 0));
  print_status("asked for", status);
  numbers[0] = 0;
  CALL(syscall(SYS_clone3, &asks, sizeof asks));
  numbers[0] = getpid();
  CALL(syscall(SYS_clone3, &asks, sizeof asks));
  asks.set_tid = asks.set_tid_size = 0;
  asks.flags = 1ULL << 33;
  asks.cgroup = 999;
  CALL(syscall(SYS_clone3, &asks, sizeof asks));
  asks.cgroup = 1ULL << 32;
  CALL(syscall(SYS_clone3, &asks, sizeof asks));

  SECTION("directories of /proc in place of pidfds");
  int self = MUST(open("/proc/self", O_RDONLY | O_DIRECTORY));
  int task = MUST(open("/proc/thread-self", O_RDONLY | O_DIRECTORY));
  int proc = MUST(open("/proc", O_RDONLY | O_DIRECTORY));
  int path = MUST(open("/proc/self", O_PATH | O_DIRECTORY));
  CALL(syscall(SYS_pidfd_send_signal, self, 0, NULL, 0));
  CALL(syscall(SYS_pidfd_send_signal, task, 0, NULL, 0));
  CALL(syscall(SYS_pidfd_send_signal, proc, 0, NULL, 0));
  CALL(syscall(SYS_pidfd_send_signal, path, 0, NULL, 0));
  CALL(syscall(SYS_pidfd_getfd, self, 0, 0));

  SECTION("sessions");
  in_child("session", in_session, NULL);
  in_child("ignores", ignores_tstp, NULL);

  SECTION("orphans");
  int status2;
  pid = spawn_child(stopped_orphan, pipes);
  // Read away what getfd's test wrote.
  char c;
  MUST(read(pipes[0], &c, 1));
  waitpid(pid, &status2, 0);
  int n = 0;
  MUST(read(pipes[0], &n, sizeof n));
  printf("signals of the orphan: %d\n", n);

  SECTION("wait options");
  CALL(waitpid(-1, &status, 0x100));
  CALL(waitid(P_ALL, 0, &info, 0));
  CALL(waitid(99, 0, &info, WEXITED));
  CALL(waitid(P_PID, 0, &info, WEXITED));
  // The orphan is ours, if we are the first process; a clone3 that fails late has used a number or has not.
  HOLDS((waitpid(-1, &status, 0) > 0) == (getpid() == 1));
  return 0;
}

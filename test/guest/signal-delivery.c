// handlers, siginfo, masks, queues and order of signals
#include "check.h"
#include <sys/signalfd.h>

static volatile int order[64], count;
static siginfo_t last;
static void note(int sig, siginfo_t *info, void *context) {
  (void)context;
  if (count < 64) order[count] = sig;
  count++;
  last = *info;
}

static void handle(int sig, int flags) {
  struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | flags};
  sigemptyset(&sa.sa_mask);
  MUST(sigaction(sig, &sa, NULL));
}

static void print_order(void) {
  printf("delivered:");
  for (int i = 0; i < count && i < 64; i++) {
    if (order[i] >= SIGRTMIN) printf(" RT%d", order[i] - SIGRTMIN);
    else printf(" %s", sigabbrev_np(order[i]));
  }
  printf("\n");
  count = 0;
}

static sigset_t set_of(int a, int b) {
  sigset_t set;
  sigemptyset(&set);
  if (a) sigaddset(&set, a);
  if (b) sigaddset(&set, b);
  return set;
}

static volatile int depth, max_depth, raises;
static void nest(int sig) {
  if (++depth > max_depth) max_depth = depth;
  if (raises++ < 2) raise(sig);
  depth--;
}

static int exit_7(void *arg) {
  (void)arg;
  return 7;
}

static int raise_term(void *arg) {
  (void)arg;
  signal(SIGTERM, SIG_DFL);
  raise(SIGTERM);
  return 0;
}

static int default_action(void *arg) {
  raise(*(int *)arg);
  return 0;
}

static void *thread_waits(void *arg) {
  int sig = 0;
  sigset_t set = set_of(SIGUSR2, 0);
  sigwait(&set, &sig);
  *(int *)arg = sig;
  return NULL;
}

int main(void) {
  no_core();
  SECTION("siginfo");
  handle(SIGUSR1, 0);
  CALL(kill(getpid(), SIGUSR1));
  HOLDS(last.si_signo == SIGUSR1);
  HOLDS(last.si_code == SI_USER);
  HOLDS(last.si_pid == getpid());
  HOLDS(last.si_uid == getuid());
  CALL(raise(SIGUSR1));
  HOLDS(last.si_code == SI_TKILL);
  union sigval value = {.sival_int = 4711};
  CALL(sigqueue(getpid(), SIGUSR1, value));
  HOLDS(last.si_code == SI_QUEUE);
  HOLDS(last.si_value.sival_int == 4711);
  print_order();

  SECTION("masks and pending");
  handle(SIGUSR2, 0);
  sigset_t both = set_of(SIGUSR1, SIGUSR2), old, pending;
  CALL(sigprocmask(SIG_BLOCK, &both, &old));
  raise(SIGUSR2);
  raise(SIGUSR1);
  raise(SIGUSR1);
  CALL(sigpending(&pending));
  HOLDS(sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGUSR2));
  HOLDS(count == 0);
  CALL(sigprocmask(SIG_SETMASK, &old, NULL));
  print_order();
  CALL(sigpending(&pending));
  HOLDS(!sigismember(&pending, SIGUSR1));
  sigset_t kill_stop = set_of(SIGKILL, SIGSTOP), now;
  CALL(sigprocmask(SIG_BLOCK, &kill_stop, NULL));
  sigprocmask(SIG_BLOCK, NULL, &now);
  HOLDS(!sigismember(&now, SIGKILL) && !sigismember(&now, SIGSTOP));
  CALL(sigprocmask(77, &both, NULL));
  CALL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &both, NULL, 4));
  CALL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)8, NULL, 8));

  SECTION("real-time signals queue in order of number");
  sigset_t rt;
  sigemptyset(&rt);
  for (int i = 0; i < 4; i++) {
    handle(SIGRTMIN + i, 0);
    sigaddset(&rt, SIGRTMIN + i);
  }
  sigprocmask(SIG_BLOCK, &rt, NULL);
  int sent[] = {2, 0, 3, 1, 0, 2};
  for (int i = 0; i < 6; i++) {
    union sigval v = {.sival_int = i};
    sigqueue(getpid(), SIGRTMIN + sent[i], v);
  }
  siginfo_t info;
  struct timespec zero = {0, 0};
  int got;
  while ((got = sigtimedwait(&rt, &info, &zero)) > 0) printf("RT%d value %d\n", got - SIGRTMIN, info.si_value.sival_int);
  CALL(sigtimedwait(&rt, &info, &zero));
  struct timespec bad = {0, 1000000000};
  CALL(sigtimedwait(&rt, &info, &bad));
  uint64_t before = now_ms();
  struct timespec fifty = {0, 50000000};
  CALL(sigtimedwait(&rt, &info, &fifty));
  HOLDS(now_ms() - before >= 50);
  for (int i = 0; i < 3; i++) raise(SIGRTMIN + 2 - i);
  sigprocmask(SIG_UNBLOCK, &rt, NULL);
  // The handler of the lowest number runs last to start, but each is entered before any returns.
  print_order();

  SECTION("nesting");
  struct sigaction nodefer = {.sa_handler = nest, .sa_flags = SA_NODEFER};
  sigaction(SIGALRM, &nodefer, NULL);
  raise(SIGALRM);
  HOLDS(max_depth == 3);
  max_depth = raises = 0;
  struct sigaction deferred = {.sa_handler = nest};
  sigaction(SIGALRM, &deferred, NULL);
  raise(SIGALRM);
  printf("depth without SA_NODEFER: %d\n", max_depth);
  handle(SIGHUP, SA_RESETHAND);
  raise(SIGHUP);
  struct sigaction after;
  sigaction(SIGHUP, NULL, &after);
  HOLDS(after.sa_handler == SIG_DFL);
  count = 0;

  SECTION("sigsuspend and sa_mask");
  sigprocmask(SIG_BLOCK, &both, NULL);
  raise(SIGUSR1);
  sigset_t none = set_of(0, 0);
  CALL(sigsuspend(&none));
  sigprocmask(SIG_BLOCK, NULL, &now);
  HOLDS(sigismember(&now, SIGUSR1));
  sigprocmask(SIG_UNBLOCK, &both, NULL);
  print_order();

  SECTION("errors");
  CALL(kill(getpid(), 0));
  CALL(kill(getpid(), 65));
  CALL(kill(getpid(), -1));
  CALL(kill(999999, SIGUSR1));
  CALL(kill(-999999, SIGUSR1));
  CALL(syscall(SYS_tgkill, getpid(), 999999, SIGUSR1));
  CALL(syscall(SYS_tgkill, 0, 1, SIGUSR1));
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  CALL(sigaction(SIGKILL, &ignore, NULL));
  CALL(sigaction(SIGSTOP, &ignore, NULL));
  CALL(sigaction(0, &ignore, NULL));
  CALL(sigaction(65, &ignore, NULL));
  CALL(sigaction(SIGKILL, NULL, &after));

  SECTION("ignored signals are dropped");
  sigaction(SIGUSR1, &ignore, NULL);
  sigprocmask(SIG_BLOCK, &both, NULL);
  raise(SIGUSR1);
  sigpending(&pending);
  printf("ignored and blocked is pending: %d\n", sigismember(&pending, SIGUSR1));
  sigaction(SIGUSR1, &ignore, NULL);
  sigpending(&pending);
  printf("setting it ignored drops it: %d\n", !sigismember(&pending, SIGUSR1));
  sigprocmask(SIG_UNBLOCK, &both, NULL);

  SECTION("SIGCHLD");
  handle(SIGCHLD, 0);
  pid_t child = spawn_child(exit_7, NULL);
  int status;
  waitpid(child, &status, 0);
  HOLDS(last.si_signo == SIGCHLD && last.si_code == CLD_EXITED && last.si_status == 7 && last.si_pid == child);
  child = spawn_child(raise_term, NULL);
  waitpid(child, &status, 0);
  HOLDS(last.si_code == CLD_KILLED && last.si_status == SIGTERM && last.si_pid == child);
  print_order();
  handle(SIGCHLD, SA_NOCLDWAIT);
  child = spawn_child(exit_7, NULL);
  CALL(waitpid(child, &status, 0));
  signal(SIGCHLD, SIG_IGN);
  child = spawn_child(exit_7, NULL);
  CALL(waitpid(child, &status, 0));
  signal(SIGCHLD, SIG_DFL);

  SECTION("default actions");
  int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSYS, SIGXCPU, SIGXFSZ, SIGSTKFLT, SIGTRAP, SIGBUS};
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
    signal(fatal[i], SIG_DFL);
    in_child(sigabbrev_np(fatal[i]), default_action, &fatal[i]);
  }
  int harmless[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) in_child(sigabbrev_np(harmless[i]), default_action, &harmless[i]);
  int real_time = SIGRTMIN + 3;
  signal(real_time, SIG_DFL);
  pid_t rt_child = spawn_child(default_action, &real_time);
  waitpid(rt_child, &status, 0);
  HOLDS(WIFSIGNALED(status) && WTERMSIG(status) == real_time);

  SECTION("signalfd");
  sigset_t usr = set_of(SIGUSR1, SIGUSR2);
  signal(SIGUSR1, SIG_DFL);
  sigprocmask(SIG_BLOCK, &usr, NULL);
  int fd = MUST(signalfd(-1, &usr, SFD_NONBLOCK | SFD_CLOEXEC));
  struct signalfd_siginfo si[4];
  CALL(read(fd, si, sizeof si));
  sigqueue(getpid(), SIGUSR2, value);
  raise(SIGUSR1);
  CALL(read(fd, si, sizeof si));
  printf("signalfd: %u %u, int %d, code %d\n", si[0].ssi_signo, si[1].ssi_signo, si[1].ssi_int, si[1].ssi_code);
  HOLDS(si[0].ssi_pid == (uint32_t)getpid());
  CALL(read(fd, si, 10));
  struct pollfd pfd = {fd, POLLIN, 0};
  CALL(poll(&pfd, 1, 0));
  raise(SIGUSR1);
  CALL(poll(&pfd, 1, 0));
  CALL(read(fd, si, sizeof si));

  SECTION("a signal goes to a thread that does not block it");
  pthread_t thread;
  int waited = 0;
  pthread_create(&thread, NULL, thread_waits, &waited);
  kill(getpid(), SIGUSR2);
  pthread_join(thread, NULL);
  HOLDS(waited == SIGUSR2);
  pid_t pid;
  SECTION("waited for, but ignored and not blocked");
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    signal(SIGUSR1, SIG_IGN);
    struct itimerspec soon = {.it_value = {0, 50000000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    MUST(timer_settime(timer, 0, &soon, NULL));
    struct timespec limit = {0, 300000000};
    CALL(sigtimedwait(&only, NULL, &limit));

    SECTION("a timer's signal beside one that waits already");
    sigprocmask(SIG_BLOCK, &only, NULL);
    signal(SIGUSR1, SIG_DFL);
    raise(SIGUSR1);
    struct itimerspec often = {{0, 20000000}, {0, 20000000}};
    MUST(timer_settime(timer, 0, &often, NULL));
    sleep_ms(150);
    siginfo_t info;
    CALL(sigtimedwait(&only, &info, &limit));
    printf("code %d\n", info.si_code);
    CALL(sigtimedwait(&only, &info, &limit));
    printf("code %d\n", info.si_code);
    HOLDS(info.si_overrun >= 2);
    fflush(stdout);
    _exit(0);
  }
  waitpid(pid, NULL, 0);
  return 0;
}

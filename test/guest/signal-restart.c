// interrupted calls: SA_RESTART, EINTR, alternate stacks, longjmp and changed contexts
#include "check.h"
#include <linux/futex.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <ucontext.h>

static volatile int hits;
static int feed = -1;
static void count_hit(int sig) {
  (void)sig;
  hits++;
  if (feed >= 0 && hits == 2 && write(feed, "x", 1) != 1) _exit(98);
}

static void arm(int ms, int repeat_ms) {
  struct itimerval it = {{0, repeat_ms * 1000}, {0, ms * 1000}};
  hits = 0;
  setitimer(ITIMER_REAL, &it, NULL);
}

static void disarm(void) {
  struct itimerval it = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &it, NULL);
}

static void install(int flags) {
  struct sigaction sa = {.sa_handler = count_hit, .sa_flags = flags};
  sigaction(SIGALRM, &sa, NULL);
}

static int sleeper(void *arg) {
  sleep_ms(*(int *)arg);
  return 5;
}

static sigjmp_buf jump;
static void jumper(int sig) {
  siglongjmp(jump, sig);
}

static stack_t alternate;
static volatile int on_alternate;
static void alternate_handler(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)info;
  char here;
  on_alternate = &here >= (char *)alternate.ss_sp && &here < (char *)alternate.ss_sp + alternate.ss_size;
  stack_t current;
  sigaltstack(NULL, &current);
  printf("inside: on the stack %d\n", !!(current.ss_flags & SS_ONSTACK));
  CALL(sigaltstack(&alternate, NULL));
  HOLDS(((ucontext_t *)context)->uc_stack.ss_sp == alternate.ss_sp);
}

static void change_result(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)info;
  ucontext_t *uc = context;
  uc->uc_mcontext.gregs[REG_RAX] = 4242;
  sigaddset(&uc->uc_sigmask, SIGUSR2);
}

int main(void) {
  int fds[2];
  char buffer[8];
  MUST(pipe(fds));

  SECTION("read");
  install(0);
  arm(30, 400);
  CALL(read(fds[0], buffer, 1));
  HOLDS(hits >= 1);
  install(SA_RESTART);
  feed = fds[1];
  arm(20, 20);
  CALL(read(fds[0], buffer, 1));
  disarm();
  HOLDS(hits >= 2);
  feed = -1;

  SECTION("wait");
  int ms = 700;
  install(0);
  pid_t child = spawn_child(sleeper, &ms);
  int status = 0;
  arm(30, 400);
  CALL(waitpid(child, &status, 0));
  install(SA_RESTART);
  arm(20, 100);
  HOLDS(waitpid(child, &status, 0) == child);
  print_status("child", status);

  SECTION("calls that never restart");
  struct pollfd pfd = {fds[0], POLLIN, 0};
  arm(30, 400);
  CALL(poll(&pfd, 1, 2000));
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fds[0], &set);
  struct timeval two = {2, 0};
  arm(30, 400);
  CALL(select(fds[0] + 1, &set, NULL, NULL, &two));
  int ep = epoll_create1(0);
  struct epoll_event event;
  arm(30, 400);
  CALL(epoll_wait(ep, &event, 1, 2000));
  arm(30, 400);
  struct timespec wanted = {2, 0}, left = {0, 0};
  CALL(nanosleep(&wanted, &left));
  HOLDS(left.tv_sec == 1 && left.tv_nsec > 500000000);
  arm(30, 400);
  HOLDS(clock_nanosleep(CLOCK_MONOTONIC, 0, &wanted, &left) == EINTR && left.tv_sec == 1);
  arm(30, 400);
  CALL(pause());
  arm(30, 400);
  struct timespec futex_time = {2, 0};
  int word = 1;
  install(0);
  CALL(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &futex_time));

  SECTION("sleep is told what is left");
  disarm();
  arm(1, 0);
  sleep_ms(20);
  alarm(100);
  HOLDS(alarm(0) == 100);
  CALL(alarm(0));

  SECTION("siglongjmp out of a handler");
  signal(SIGUSR1, jumper);
  sigset_t mask;
  int jumped = sigsetjmp(jump, 1);
  if (jumped == 0) {
    raise(SIGUSR1);
    printf("not reached\n");
  }
  sigprocmask(SIG_BLOCK, NULL, &mask);
  HOLDS(jumped == SIGUSR1);
  HOLDS(!sigismember(&mask, SIGUSR1));
  for (volatile int i = 0; i < 100; i++)
    if (sigsetjmp(jump, 1) == 0) raise(SIGUSR1);
  printf("jumped often\n");

  SECTION("alternate stack");
  alternate.ss_sp = malloc(65536);
  alternate.ss_size = 65536;
  CALL(sigaltstack(&alternate, NULL));
  struct sigaction sa = {.sa_sigaction = alternate_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGUSR1, &sa, NULL);
  raise(SIGUSR1);
  HOLDS(on_alternate);
  sa.sa_flags = SA_SIGINFO;
  stack_t off = {.ss_flags = SS_DISABLE}, small = {.ss_sp = buffer, .ss_size = 8}, flags = {.ss_sp = alternate.ss_sp, .ss_size = 65536, .ss_flags = 64};
  CALL(sigaltstack(&small, NULL));
  CALL(sigaltstack(&flags, NULL));
  CALL(sigaltstack(&off, NULL));
  stack_t current;
  sigaltstack(NULL, &current);
  HOLDS(current.ss_flags == SS_DISABLE);

  SECTION("what a handler changes in the context comes true");
  struct sigaction change = {.sa_sigaction = change_result, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &change, NULL);
  long result = syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
  printf("tgkill answers %ld\n", result);
  sigprocmask(SIG_BLOCK, NULL, &mask);
  HOLDS(sigismember(&mask, SIGUSR2));

  SECTION("a write that was cut short tells how much");
  int big[2];
  MUST(pipe(big));
  static char block[1 << 20];
  install(0);
  arm(50, 0);
  long wrote = write(big[1], block, sizeof block);
  printf("write of 1 MiB into an unread pipe: %ld\n", wrote);
  arm(50, 0);
  CALL(write(big[1], block, 1));
  return 0;
}

// seccomp filters: verdicts, precedence, inheritance, strict mode and what is refused
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define LOAD_NR BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ON(number, verdict) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, verdict)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static long load(struct sock_filter *filter, int n, int flags) {
  struct sock_fprog program = {n, filter};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
#define LOAD(flags, ...)                                                                                                             \
  ({                                                                                                                                 \
    struct sock_filter filter[] = {__VA_ARGS__};                                                                                     \
    load(filter, sizeof filter / sizeof *filter, flags);                                                                             \
  })

static int refused(void *arg) {
  (void)arg;
  struct sock_fprog none = {0, NULL}, bad = {3, (void *)8};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CALL(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &none));
  CALL(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &bad));
  CALL(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL));
  CALL(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1 << 20, &none));
  CALL(syscall(SYS_seccomp, 99, 0, NULL));
  CALL(LOAD(0, LOAD_NR));
  CALL(LOAD(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), ALLOW));
  CALL(LOAD(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), ALLOW));
  CALL(LOAD(0, BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), ALLOW));
  CALL(LOAD(0, BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), ALLOW));
  CALL(LOAD(0, BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), ALLOW));
  CALL(LOAD(0, BPF_STMT(BPF_ST, 16), ALLOW));
  CALL(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
  uint32_t action = SECCOMP_RET_ERRNO;
  CALL(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
  action = 0x12340000;
  CALL(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
  return 0;
}

static int errnos(void *arg) {
  (void)arg;
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CALL(LOAD(0, LOAD_NR, ON(SYS_getppid, SECCOMP_RET_ERRNO | 77), ON(SYS_getsid, SECCOMP_RET_ERRNO), ON(SYS_chroot, SECCOMP_RET_ERRNO | 0xffff), ALLOW));
  CALL(syscall(SYS_getppid));
  CALL(syscall(SYS_getsid, 0));
  CALL(syscall(SYS_chroot, "/") < -1 || errno == 4095);
  CALL(prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
  // Arithmetic and memory: getpgid(3 * 5 - 8) is refused.
  CALL(LOAD(0, LOAD_NR, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 1, 0), ALLOW, BPF_STMT(BPF_LD | BPF_IMM, 3),
            BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 5), BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 8), BPF_STMT(BPF_ST, 3),
            BPF_STMT(BPF_LDX | BPF_MEM, 3), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EBADE), ALLOW));
  CALL(getpgid(7));
  CALL(getpgid(0) >= 0);
  // The older filter says errno 77, the newer one kills less than that: the lower verdict wins.
  CALL(LOAD(0, LOAD_NR, ON(SYS_getppid, SECCOMP_RET_LOG), ALLOW));
  CALL(syscall(SYS_getppid));
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    CALL(syscall(SYS_getppid));
    fflush(stdout);
    _exit(0);
  }
  waitpid(pid, NULL, 0);
  return 0;
}

static void on_sys(int signo, siginfo_t *info, void *context) {
  (void)signo;
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  printf("SIGSYS code %d errno %d call %d arch %x, rax %lld\n", info->si_code, info->si_errno, info->si_syscall, info->si_arch,
         (long long)regs[REG_RAX]);
  HOLDS(info->si_call_addr == (void *)regs[REG_RIP]);
  regs[REG_RAX] = 4242;
}
static int traps(void *arg) {
  (void)arg;
  struct sigaction sa = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
  sigaction(SIGSYS, &sa, NULL);
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CALL(LOAD(0, LOAD_NR, ON(SYS_getppid, SECCOMP_RET_TRAP | 5), ON(SYS_getsid, SECCOMP_RET_TRACE), ALLOW));
  CALL(syscall(SYS_getppid));
  CALL(syscall(SYS_getsid, 0));
  return 3;
}
static int killed(void *arg) {
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  LOAD(0, LOAD_NR, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1), BPF_STMT(BPF_RET | BPF_K, *(uint32_t *)arg), ALLOW);
  syscall(SYS_getppid);
  return 1;
}
static void *calls(void *arg) {
  (void)arg;
  sleep_ms(50);
  syscall(SYS_getppid);
  return (void *)1;
}
static int thread_killed(void *arg) {
  pthread_t thread;
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  pthread_create(&thread, NULL, calls, NULL);
  struct sock_filter filter[] = {LOAD_NR, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1), BPF_STMT(BPF_RET | BPF_K, *(uint32_t *)arg), ALLOW};
  long r = load(filter, 4, SECCOMP_FILTER_FLAG_TSYNC);
  if (r != 0) return 9;
  void *result = NULL;
  sleep_ms(150);
  return 7;
}
static int strict(void *arg) {
  (void)arg;
  int how = *(int *)arg;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) != 0) _exit(9);
  if (how) syscall(SYS_getppid);
  syscall(SYS_exit, 5);
  return 1;
}
static int unprivileged(void *arg) {
  (void)arg;
  MUST(setresuid(1000, 1000, 1000));
  CALL(LOAD(0, ALLOW));
  return 0;
}

int main(void) {
  uint32_t verdict;
  no_core();
  SECTION("refused");
  in_child("refused", refused, NULL);
  SECTION("errors");
  in_child("errnos", errnos, NULL);
  SECTION("traps");
  in_child("traps", traps, NULL);
  SECTION("kills");
  verdict = SECCOMP_RET_KILL_PROCESS;
  in_child("process", killed, &verdict);
  in_child("process with threads", thread_killed, &verdict);
  verdict = SECCOMP_RET_KILL_THREAD;
  in_child("thread", killed, &verdict);
  in_child("one of two threads", thread_killed, &verdict);
  verdict = 0x12340000;
  in_child("unknown", killed, &verdict);
  SECTION("strict");
  int how = 0;
  in_child("exit", strict, &how);
  how = 1;
  in_child("another call", strict, &how);
  if (getuid() == 0) in_child("unprivileged", unprivileged, NULL);
  return 0;
}

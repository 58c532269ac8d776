// ptrace: stops of every kind, registers, memory, signals, events and who may trace whom
#include "check.h"
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

static volatile int hits;
static volatile long word = 0x1122334455667788;
static void count(int signo) {
  (void)signo;
  hits++;
}

static void show(const char *what, int status) {
  if (WIFSTOPPED(status)) printf("%s: stopped, signal %d%s, event %d\n", what, WSTOPSIG(status) & 0x7f, WSTOPSIG(status) & 0x80 ? " by a call" : "", status >> 16);
  else print_status(what, status);
}
static int wait_for(pid_t pid, const char *what) {
  int status = 0;
  MUST(waitpid(pid, &status, __WALL));
  show(what, status);
  return status;
}

static int basic(void *arg) {
  (void)arg;
  signal(SIGUSR1, count);
  signal(SIGUSR2, SIG_IGN);
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  raise(SIGUSR1);
  raise(SIGUSR1);
  raise(SIGUSR2);
  syscall(SYS_getppid);
  syscall(SYS_close, 12345);
  return 40 + hits;
}

static int execs(void *arg) {
  (void)arg;
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  execl("/bin/true", "true", NULL);
  return 1;
}

static void *in_thread(void *arg) {
  (void)arg;
  return NULL;
}
static int forks(void *arg) {
  (void)arg;
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  pid_t pid = fork();
  if (pid == 0) _exit(3);
  waitpid(pid, NULL, 0);
  pthread_t thread;
  pthread_create(&thread, NULL, in_thread, NULL);
  pthread_join(thread, NULL);
  pid = vfork();
  if (pid == 0) _exit(4);
  waitpid(pid, NULL, 0);
  return 5;
}
static int spins(void *arg) {
  (void)arg;
  for (;;) hits++;
}
static int pauses(void *arg) {
  (void)arg;
  signal(SIGUSR1, count);
  for (;;) pause();
}

int main(void) {
  struct user_regs_struct regs;
  siginfo_t info;
  unsigned long message;
  no_core();
  SECTION("signals and calls");
  pid_t pid = spawn_child(basic, NULL);
  wait_for(pid, "child");
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, 1ul << 31));
  errno = 0;
  long peeked = ptrace(PTRACE_PEEKDATA, pid, &word, 0);
  HOLDS(peeked == 0x1122334455667788 && errno == 0);
  CALL(ptrace(PTRACE_POKEDATA, pid, &word, 77));
  CALL(ptrace(PTRACE_PEEKDATA, pid, &word, 0));
  CALL(ptrace(PTRACE_PEEKDATA, pid, 8, 0));
  CALL(ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
  printf("si_signo %d si_code %d\n", info.si_signo, info.si_code);
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "USR1");
  CALL(ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
  HOLDS(info.si_pid == pid && info.si_code == SI_TKILL);
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "USR1 again");
  CALL(ptrace(PTRACE_CONT, pid, 0, SIGUSR1));
  wait_for(pid, "ignored USR2");
  CALL(ptrace(PTRACE_SYSCALL, pid, 0, 0));
  int seen = 0;
  for (;;) {
    int status;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status)) {
      show("end", status);
      break;
    }
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    struct __ptrace_syscall_info call = {0};
    long size = ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof call, &call);
    if (regs.orig_rax == SYS_getppid || regs.orig_rax == SYS_close) {
      show("call", status);
      printf("number %lld, rax %lld, op %d size %ld\n", regs.orig_rax, (long long)regs.rax == getpid() ? 0 : (long long)regs.rax, call.op, size);
      if (call.op == 1) HOLDS(call.entry.nr == regs.orig_rax && call.entry.args[0] == regs.rdi && call.instruction_pointer == regs.rip);
      if (regs.orig_rax == SYS_close && call.op == 1) {
        // Another number, and another result.
        regs.orig_rax = -1;
        regs.rax = 5;
        ptrace(PTRACE_SETREGS, pid, 0, &regs);
      }
    }
    if (seen++ > 60) break;
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
  }

  SECTION("exec");
  pid = spawn_child(execs, NULL);
  wait_for(pid, "child");
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "exec");
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "end");
  pid = spawn_child(execs, NULL);
  wait_for(pid, "child");
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "exec");
  CALL(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message));
  HOLDS(message == (unsigned long)pid);
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "exit");
  CALL(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message));
  printf("message %lx\n", message);
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "end");

  SECTION("children of a tracee");
  pid = spawn_child(forks, NULL);
  wait_for(pid, "child");
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  int events[8] = {0}, ended = 0, stops = 0;
  for (int n = 0; n < 60; n++) {
    int status;
    pid_t who = waitpid(-1, &status, __WALL);
    if (who < 0) break;
    if (WIFSTOPPED(status)) {
      int event = status >> 16, signo = WSTOPSIG(status);
      if (event > 0 && event < 8) events[event]++;
      else if (signo == SIGSTOP) stops++;
      ptrace(PTRACE_CONT, who, 0, event > 0 || signo == SIGSTOP ? 0 : signo);
    } else {
      if (who == pid) show("end", status);
      else ended++;
    }
  }
  printf("forks %d vforks %d clones %d done %d, first stops %d, ends %d\n", events[PTRACE_EVENT_FORK], events[PTRACE_EVENT_VFORK],
         events[PTRACE_EVENT_CLONE], events[PTRACE_EVENT_VFORK_DONE], stops, ended);

  SECTION("attach and seize");
  pid = spawn_child(spins, NULL);
  sleep_ms(20);
  CALL(ptrace(PTRACE_PEEKDATA, pid, &word, 0));
  CALL(ptrace(PTRACE_ATTACH, pid, 0, 0));
  wait_for(pid, "attached");
  CALL(ptrace(PTRACE_ATTACH, pid, 0, 0));
  CALL(ptrace(PTRACE_GETREGS, pid, 0, &regs));
  unsigned long before = regs.rip;
  CALL(ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
  wait_for(pid, "step");
  CALL(ptrace(PTRACE_GETREGS, pid, 0, &regs));
  HOLDS(regs.rip != before && (regs.eflags & 0x100) == 0);
  struct iovec iov = {&regs, sizeof regs};
  CALL(ptrace(PTRACE_GETREGSET, pid, 1, &iov));
  printf("length %zu\n", iov.iov_len);
  CALL(ptrace(PTRACE_GETREGSET, pid, 999, &iov));
  CALL(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0) == (long)regs.rip);
  CALL(ptrace(PTRACE_PEEKUSER, pid, 3, 0));
  CALL(ptrace(99999, pid, 0, 0));
  CALL(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
  CALL(ptrace(PTRACE_DETACH, pid, 0, 0));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  CALL(kill(pid, SIGTERM));
  wait_for(pid, "end");

  pid = spawn_child(pauses, NULL);
  sleep_ms(20);
  CALL(ptrace(PTRACE_SEIZE, pid, 1, 0));
  CALL(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  CALL(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
  wait_for(pid, "interrupted");
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  kill(pid, SIGUSR1);
  wait_for(pid, "USR1");
  CALL(ptrace(PTRACE_LISTEN, pid, 0, 0));
  CALL(ptrace(PTRACE_CONT, pid, 0, SIGUSR1));
  kill(pid, SIGSTOP);
  wait_for(pid, "STOP");
  CALL(ptrace(PTRACE_CONT, pid, 0, SIGSTOP));
  wait_for(pid, "group stop");
  CALL(ptrace(PTRACE_LISTEN, pid, 0, 0));
  kill(pid, SIGCONT);
  wait_for(pid, "continued");
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "CONT itself");
  CALL(ptrace(PTRACE_DETACH, pid, 0, SIGKILL));
  wait_for(pid, "end");

  SECTION("errors, and memory without tracing");
  CALL(ptrace(PTRACE_ATTACH, getpid(), 0, 0));
  CALL(ptrace(PTRACE_ATTACH, 99999, 0, 0));
  CALL(ptrace(PTRACE_CONT, 1 + getpid(), 0, 0));
  pid = spawn_child(pauses, NULL);
  char buffer[8] = {0}, bytes[4] = "abc";
  struct iovec local[2] = {{buffer, 3}, {buffer + 3, 5}}, remote = {(void *)&word, 8};
  CALL(process_vm_readv(pid, local, 2, &remote, 1, 0));
  HOLDS(memcmp(buffer, (void *)&word, 8) == 0);
  struct iovec from = {bytes, 4}, bad = {(void *)8, 8};
  CALL(process_vm_writev(pid, &from, 1, &remote, 1, 0));
  CALL(process_vm_readv(pid, local, 2, &remote, 1, 0));
  HOLDS(memcmp(buffer, "abc", 4) == 0);
  CALL(process_vm_readv(pid, local, 2, &bad, 1, 0));
  CALL(process_vm_readv(pid, local, 2, &remote, 1, 5));
  CALL(process_vm_readv(99999, local, 2, &remote, 1, 0));
  kill(pid, SIGKILL);
  wait_for(pid, "end");
  return 0;
}

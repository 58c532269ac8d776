// ptrace: floating-point registers, extended state, pending signals, emulated calls, bases
#include "check.h"
#include <asm/prctl.h>
#include <elf.h>
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#ifndef PTRACE_SYSEMU
#define PTRACE_SYSEMU 31
#endif
#ifndef PTRACE_PEEKSIGINFO
#define PTRACE_PEEKSIGINFO 0x4209
#endif
struct peek {
  unsigned long off;
  unsigned flags;
  int nr;
};

static int wait_for(pid_t pid, const char *what) {
  int status = 0;
  MUST(waitpid(pid, &status, __WALL));
  if (WIFSTOPPED(status)) printf("%s: stopped by signal %d\n", what, WSTOPSIG(status) & 0x7f);
  else print_status(what, status);
  return status;
}

// kill(2) with a value in xmm7 over the call: what xmm7 is afterwards. One call site, as compilers make them.
__attribute__((noinline)) static double keep(double in, pid_t pid, int signo) {
  double out = 0;
  __asm__ volatile("movsd %1, %%xmm7\n\t.p2align 4\n\tmov $62, %%eax\n\tsyscall\n\tmovsd %%xmm7, %0"
                   : "=m"(out)
                   : "m"(in), "D"((long)pid), "S"((long)signo)
                   : "rax", "rcx", "r11", "memory", "xmm7");
  return out;
}

static int floats(void *arg) {
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  for (int i = 0; i < *(int *)arg; i++) keep(i, getpid(), 0);
  printf("tracee: xmm7 is %g\n", keep(1.5, getpid(), SIGSTOP));
  fflush(stdout);
  return 0;
}

static void float_registers(int times) {
  pid_t pid = spawn_child(floats, &times);
  wait_for(pid, "floats");
  struct user_fpregs_struct fp;
  CALL(ptrace(PTRACE_GETFPREGS, pid, 0, &fp));
  double value;
  memcpy(&value, (char *)fp.xmm_space + 7 * 16, 8);
  printf("xmm7 %g, control word %#x, mxcsr %#x\n", value, fp.cwd, fp.mxcsr);
  static char state[16384];
  struct iovec iov = {state, sizeof state};
  CALL(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov));
  memcpy(&value, state + 160 + 7 * 16, 8);
  printf("xstate: %d, xmm7 %g, features %d\n", iov.iov_len >= 576, value, (state[464] & 3) == 3);
  CALL(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov));
  iov.iov_len = 512;
  CALL(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov));
  iov.iov_len = sizeof state;
  CALL(ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &iov));
  printf("fpregs: %zu bytes\n", iov.iov_len);
  iov.iov_len = 100;
  CALL(ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &iov));
  CALL(ptrace(PTRACE_GETREGSET, pid, 4711, &iov));
  value = 2.75;
  memcpy((char *)fp.xmm_space + 7 * 16, &value, 8);
  CALL(ptrace(PTRACE_SETFPREGS, pid, 0, &fp));
  fp.mxcsr = 0xffffffff;
  CALL(ptrace(PTRACE_SETFPREGS, pid, 0, &fp));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "floats");
}

static int sleeps(void *arg) {
  (void)arg;
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1});
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 2});
  kill(getpid(), SIGUSR2);
  raise(SIGSTOP);
  return 0;
}

static void pending_signals(void) {
  pid_t pid = spawn_child(sleeps, NULL);
  wait_for(pid, "pending");
  siginfo_t infos[8];
  struct peek args = {0, 0, 8};
  long n = CALL(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos));
  for (long i = 0; i < n; i++) printf("own: signal %d, code %d\n", infos[i].si_signo, infos[i].si_code);
  args.flags = 1;
  n = CALL(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos));
  for (long i = 0; i < n; i++) printf("shared: signal %s%d, value %d\n", infos[i].si_signo >= SIGRTMIN ? "RTMIN+" : "", infos[i].si_signo >= SIGRTMIN ? infos[i].si_signo - SIGRTMIN : infos[i].si_signo, infos[i].si_code == SI_QUEUE ? infos[i].si_value.sival_int : 0);
  args.off = 1;
  args.nr = 1;
  n = CALL(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos));
  printf("second: value %d\n", infos[0].si_value.sival_int);
  args.off = 50;
  CALL(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos));
  args.flags = 2;
  CALL(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos));
  unsigned long base = 0;
  CALL(syscall(SYS_ptrace, 30, pid, &base, ARCH_GET_FS));
  struct user_regs_struct regs;
  CALL(ptrace(PTRACE_GETREGS, pid, 0, &regs));
  printf("bases agree: %d\n", base == regs.fs_base && base != 0);
  // A fatal signal to a tracee waits for the tracer; SIGKILL does not.
  kill(pid, SIGTERM);
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "terminated");
  CALL(ptrace(PTRACE_CONT, pid, 0, SIGTERM));
  wait_for(pid, "terminated");
}

static int emulated(void *arg) {
  (void)arg;
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  kill(getpid(), SIGSTOP);
  long result = syscall(SYS_getppid);
  return (int)(result & 0xff);
}

static void emulation(void) {
  pid_t pid = spawn_child(emulated, NULL);
  wait_for(pid, "emulated");
  CALL(ptrace(PTRACE_SYSEMU, pid, 0, 0));
  wait_for(pid, "emulated");
  struct user_regs_struct regs;
  CALL(ptrace(PTRACE_GETREGS, pid, 0, &regs));
  printf("call %lld, rax %lld\n", (long long)regs.orig_rax, (long long)regs.rax);
  CALL(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), 77));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "emulated");

  // SIGKILL takes a tracee out of an entry stop without a call and without an exit stop.
  pid = spawn_child(emulated, NULL);
  wait_for(pid, "killed");
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXIT));
  CALL(ptrace(PTRACE_SYSCALL, pid, 0, 0));
  wait_for(pid, "killed");
  kill(pid, SIGKILL);
  int status = wait_for(pid, "killed");
  unsigned long message = 0;
  if (WIFSTOPPED(status)) {
    printf("event %d\n", status >> 16);
    CALL(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message));
    printf("message %lu\n", message);
    CALL(ptrace(PTRACE_CONT, pid, 0, 0));
    wait_for(pid, "killed");
  }
}

static volatile int watched;

static int writes(void *arg) {
  (void)arg;
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  watched = 1;
  watched = 2;
  // Mappings are changed by the host's calls: a tracer sees their ends all the same.
  void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(page, 4096, PROT_NONE);
  munmap(page, 4096);
  return 5;
}

static void debug_registers(void) {
  pid_t pid = spawn_child(writes, NULL);
  wait_for(pid, "watched");
  // A write of four bytes at the address of register 0.
  CALL(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), &watched));
  CALL(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 0xd0001));
  CALL(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[4]), 1));
  CALL(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[1]), 0xffff800000000000));
  errno = 0;
  HOLDS(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[0]), 0) == (long)&watched);
  for (int i = 1; i <= 2; i++) {
    CALL(ptrace(PTRACE_CONT, pid, 0, 0));
    wait_for(pid, "watched");
    siginfo_t info;
    CALL(ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
    printf("code %d\n", info.si_code);
    HOLDS((int)ptrace(PTRACE_PEEKDATA, pid, &watched, 0) == i);
    HOLDS((ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[6]), 0) & 15) == 1);
    CALL(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[6]), 0));
  }
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
  for (int i = 0; i < 6; i++) {
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    wait_for(pid, "watched");
    struct user_regs_struct regs;
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    printf("call %lld %s\n", (long long)regs.orig_rax, regs.rax == (unsigned long long)-ENOSYS ? "begins" : "ends");
  }
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "watched");
}

// A signal that comes while the tracee is stopped is delivered when it goes on.
static int hears(void *arg) {
  (void)arg;
  signal(SIGUSR1, SIG_DFL);
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  for (int i = 0; i < 3; i++) syscall(SYS_getppid);
  return 6;
}

static void signals_while_stopped(void) {
  pid_t pid = spawn_child(hears, NULL);
  wait_for(pid, "stopped");
  ptrace(PTRACE_SYSCALL, pid, 0, 0);
  wait_for(pid, "stopped");
  CALL(kill(pid, SIGUSR1));
  for (int i = 0; i < 2; i++) {
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    wait_for(pid, "stopped");
  }
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "stopped");
}

static int filtered(void *arg) {
  (void)arg;
  struct sock_filter first[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_filter second[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog one = {1, first}, two = {4, second};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &one);
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &two);
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  int suspended = syscall(SYS_getppid) > 0;
  raise(SIGSTOP);
  return suspended * 2 + (syscall(SYS_getppid) == -1 && errno == 77);
}

static void filters(void) {
  pid_t pid = spawn_child(filtered, NULL);
  wait_for(pid, "filtered");
  struct sock_filter code[8] = {0};
  CALL(ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL));
  CALL(ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 1, code));
  printf("%x %x %d %d\n", code[1].code, code[1].k, code[1].jt, code[1].jf);
  CALL(ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 2, code));
  struct {
    uint64_t off, flags;
  } meta = {1, 7};
  CALL(ptrace(PTRACE_SECCOMP_GET_METADATA, pid, sizeof meta, &meta));
  printf("%lu %lu\n", (long)meta.off, (long)meta.flags);
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, 0x200000));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "filtered");
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, 0x400000));
  CALL(ptrace(PTRACE_SETOPTIONS, pid, 0, 0));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  wait_for(pid, "filtered");
}

int main(void) {
  filters();
  debug_registers();
  signals_while_stopped();
  float_registers(0);
  float_registers(20);
  pending_signals();
  emulation();
  return 0;
}

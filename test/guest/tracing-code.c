// code as others see it: breakpoints, single steps and plain reads where a system call has been made many times
#include "check.h"
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

// Two call sites of the forms that compilers make: the number loaded right before, and the result compared right behind.
extern unsigned char loaded_site[], loaded_after[], compared_site[], compared_after[];
long loaded_call(void);
long compared_call(long nr);
__asm__(
    ".text\n.p2align 6\n"
    "loaded_call:\n"
    "loaded_site: mov $110, %eax\n  syscall\n"
    "loaded_after: ret\n"
    ".p2align 6\n"
    "compared_call: mov %rdi, %rax\n"
    "compared_site: syscall\n"
    "compared_after: cmp $-4095, %rax\n  ret\n"
    ".p2align 6\n");

static const unsigned char loaded_code[] = {0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xc3};
static const unsigned char compared_code[] = {0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3};

static volatile int *rounds;

static int calls(void *unused) {
  (void)unused;
  for (;;) {
    if (loaded_call() <= 0 || compared_call(SYS_getppid) <= 0) _exit(1);
    ++*rounds;
    if (*rounds > 1000) usleep(100);
  }
}

static pid_t begin(void) {
  *rounds = 0;
  fflush(stdout);
  pid_t pid = MUST(fork());
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    calls(NULL);
  }
  while (*rounds < 1000) usleep(1000);
  return pid;
}

static int stopped_by(pid_t pid) {
  int status = 0;
  MUST(waitpid(pid, &status, __WALL));
  return WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
}

static struct user_regs_struct registers(pid_t pid) {
  struct user_regs_struct r;
  MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
  return r;
}

static long peek(pid_t pid, const void *at) {
  errno = 0;
  return ptrace(PTRACE_PEEKTEXT, pid, at, 0);
}

static int has(pid_t pid, const unsigned char *at, const unsigned char *code, size_t n) {
  struct iovec here, there = {(void *)at, n};
  unsigned char bytes[16] = {0};
  here = (struct iovec){bytes, n};
  return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)n && memcmp(bytes, code, n) == 0;
}

static void end(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, NULL, __WALL);
}

static void reads(void) {
  SECTION("read by a process that does not trace");
  pid_t pid = begin();
  HOLDS(has(pid, loaded_site, loaded_code, sizeof loaded_code));
  HOLDS(has(pid, compared_site, compared_code, sizeof compared_code));
  int seen = *rounds;
  while (*rounds < seen + 100) usleep(1000);
  HOLDS(has(pid, loaded_site, loaded_code, sizeof loaded_code));
  end(pid);

  SECTION("read through /proc/PID/mem");
  pid = begin();
  char path[64];
  unsigned char bytes[9];
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  int fd = MUST(open(path, O_RDONLY));
  HOLDS(pread(fd, bytes, 8, (off_t)loaded_site) == 8 && memcmp(bytes, loaded_code, 8) == 0);
  HOLDS(pread(fd, bytes, 9, (off_t)compared_site) == 9 && memcmp(bytes, compared_code, 9) == 0);
  close(fd);
  end(pid);
}

static void breakpoint(const char *name, unsigned char *at, int back) {
  SECTION(name);
  pid_t pid = begin();
  CALL(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0);
  HOLDS(stopped_by(pid) == SIGSTOP);
  long word = peek(pid, at);
  HOLDS(memcmp(&word, back == 0 ? loaded_code : compared_code, 8) == 0);
  // As a debugger does it: the first byte becomes int3, the program goes on, stops, is put back one byte, and steps on.
  CALL(ptrace(PTRACE_POKETEXT, pid, at, (word & ~0xffL) | 0xcc));
  CALL(ptrace(PTRACE_CONT, pid, 0, 0));
  HOLDS(stopped_by(pid) == SIGTRAP);
  struct user_regs_struct r = registers(pid);
  HOLDS(r.rip == (unsigned long)at + 1);
  CALL(ptrace(PTRACE_POKETEXT, pid, at, word));
  r.rip = (unsigned long)at;
  CALL(ptrace(PTRACE_SETREGS, pid, 0, &r));
  for (int step = 0; step < 3; step++) {
    MUST(ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
    int signo = stopped_by(pid);
    printf("step %d: signal %d, %+ld\n", step, signo, (long)(registers(pid).rip - (unsigned long)at));
  }
  CALL(ptrace(PTRACE_DETACH, pid, 0, 0));
  int seen = *rounds;
  while (*rounds < seen + 100) usleep(1000);
  HOLDS(*rounds > seen);
  end(pid);
}

static void calls_are_seen(void) {
  SECTION("system call stops of a site that was called before");
  pid_t pid = begin();
  CALL(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
  CALL(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
  HOLDS(stopped_by(pid) == SIGTRAP);
  int loaded = 0, compared = 0;
  for (int i = 0; i < 40; i++) {
    MUST(ptrace(PTRACE_SYSCALL, pid, 0, 0));
    if (stopped_by(pid) != (SIGTRAP | 0x80)) continue;
    unsigned long rip = registers(pid).rip;
    loaded += rip == (unsigned long)loaded_after;
    compared += rip == (unsigned long)compared_after;
  }
  HOLDS(loaded > 4 && compared > 4);
  CALL(ptrace(PTRACE_DETACH, pid, 0, 0));
  end(pid);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  rounds = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  reads();
  breakpoint("breakpoint where the number is loaded", loaded_site, 0);
  breakpoint("breakpoint on the system call", compared_site, 2);
  calls_are_seen();
  return 0;
}

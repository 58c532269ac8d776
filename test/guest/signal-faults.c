// faults of the processor: siginfo of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, repair and stack overflow
#include "check.h"
#include <setjmp.h>
#include <sys/utsname.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t seen;
static long trap_number;
static void catch_fault(int sig, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  seen = *info;
  trap_number = uc->uc_mcontext.gregs[REG_TRAPNO];
  siglongjmp(back, sig);
}

static void watch(int sig) {
  struct sigaction sa = {.sa_sigaction = catch_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(sig, &sa, NULL);
}

#define FAULT(what, base, statement)                                                                                                 \
  do {                                                                                                                               \
    if (sigsetjmp(back, 1) == 0) {                                                                                                   \
      statement;                                                                                                                     \
      printf("%s: no fault\n", what);                                                                                                \
    } else {                                                                                                                         \
      printf("%s: %s code %d trap %ld address %+ld\n", what, sigabbrev_np(seen.si_signo), seen.si_code, trap_number,                 \
             (long)((char *)seen.si_addr - (char *)(base)));                                                                         \
    }                                                                                                                                \
  } while (0)

static char *page;
static volatile int repaired;
static void repair(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)context;
  repaired++;
  mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}

static void skip_instruction(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; // ud2
  repaired++;
}

__attribute__((noinline)) static int recurse(int depth) {
  volatile char big[4096];
  big[0] = (char)depth;
  return recurse(depth + 1) + big[0];
}

static int crash_null(void *arg) {
  (void)arg;
  *(volatile int *)0 = 1;
  return 0;
}
static int crash_illegal(void *arg) {
  (void)arg;
  __asm__ volatile("ud2");
  return 0;
}
static int crash_divide(void *arg) {
  volatile int zero = 0;
  return *(int *)arg / zero;
}
static int crash_blocked(void *arg) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  return crash_null(arg);
}
static int crash_ignored(void *arg) {
  signal(SIGSEGV, SIG_IGN);
  return crash_null(arg);
}
static int crash_in_handler_stack(void *arg) {
  // A handler on a stack that is not there: the kernel cannot deliver and kills.
  stack_t gone = {.ss_sp = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = 65536};
  sigaltstack(&gone, NULL);
  watch(SIGSEGV);
  return crash_null(arg);
}
static int crash_abort(void *arg) {
  (void)arg;
  abort();
}

int main(void) {
  no_core();
  int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  for (int i = 0; i < 5; i++) watch(signals[i]);
  page = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  SECTION("addresses and codes");
  FAULT("null read", 0, (void)*(volatile int *)0);
  FAULT("null write", 0, *(volatile int *)16 = 1);
  mprotect(page, 4096, PROT_READ);
  FAULT("write to read-only", page, page[5] = 1);
  mprotect(page, 4096, PROT_NONE);
  FAULT("read of PROT_NONE", page, (void)*(volatile char *)(page + 9));
  munmap(page, 4096);
  FAULT("read of unmapped", page, (void)*(volatile char *)(page + 1));
  // The call pushes on the stack and faults fetching: the address is the target's.
  FAULT("execute data", page + 4096, ((void (*)(void))(page + 4096))());
  FAULT("non-canonical", 0, (void)*(volatile char *)0x8000000000000000ul);
  enter_scratch();
  int fd = MUST(open("short", O_RDWR | O_CREAT, 0600));
  MUST(ftruncate(fd, 100));
  char *file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  FAULT("file's last page, beyond its end", file, file[200] = 1);
  FAULT("page beyond the file's end", file, file[4096 + 7] = 1);
  volatile int zero = 0, one = 1, sink = 0;
  FAULT("division by zero", seen.si_addr, sink = one / zero);
  FAULT("ud2", seen.si_addr, __asm__ volatile("ud2"));
  FAULT("int3", seen.si_addr, __asm__ volatile("int3"));
  FAULT("privileged instruction", seen.si_addr, __asm__ volatile("hlt"));

  SECTION("repair and go on");
  char *pages = mmap(NULL, 16 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction sa = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &sa, NULL);
  for (int i = 0; i < 16; i++) pages[i * 4096] = (char)i;
  printf("repaired %d pages, last holds %d\n", repaired, pages[15 * 4096]);
  sa.sa_sigaction = skip_instruction;
  sigaction(SIGILL, &sa, NULL);
  repaired = 0;
  for (int i = 0; i < 10; i++) __asm__ volatile("ud2");
  printf("skipped %d instructions\n", repaired);

  SECTION("stack overflow on an alternate stack");
  stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536};
  sigaltstack(&alternate, NULL);
  struct rlimit stack = {256 * 1024, 256 * 1024};
  setrlimit(RLIMIT_STACK, &stack);
  watch(SIGSEGV);
  if (sigsetjmp(back, 1) == 0) printf("%d\n", recurse(0));
  else printf("overflow: %s code %d\n", sigabbrev_np(seen.si_signo), seen.si_code);

  SECTION("calls answer EFAULT and do not fault");
  char *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int fds[2];
  CALL(pipe((int *)gone));
  CALL(pipe(fds));
  CALL(write(fds[1], gone, 10));
  CALL(write(fds[1], "hello", 5));
  CALL(read(fds[0], gone, 10));
  CALL(open(gone, O_RDONLY));
  CALL(stat("/", (struct stat *)gone));
  CALL(syscall(SYS_clock_gettime, CLOCK_REALTIME, gone));
  CALL(read(fds[0], (void *)0xffff800000000000ul, 1));
  char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(edge + 4096, 4096);
  CALL(write(fds[1], edge + 4090, 20));
  CALL(uname((void *)(edge + 4000)));

  SECTION("how children die");
  for (int i = 0; i < 5; i++) signal(signals[i], SIG_DFL);
  in_child("null", crash_null, NULL);
  in_child("illegal", crash_illegal, NULL);
  in_child("divide", crash_divide, &(int){7});
  in_child("null, SIGSEGV blocked", crash_blocked, NULL);
  in_child("null, SIGSEGV ignored", crash_ignored, NULL);
  in_child("null, no stack for the handler", crash_in_handler_stack, NULL);
  in_child("abort", crash_abort, NULL);
  return 0;
}

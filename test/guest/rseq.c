// Restartable sequences, barriers, and threads that stay on a processor
#include "check.h"
#include <linux/membarrier.h>
#include <linux/rseq.h>
#include <stddef.h>
#include <ucontext.h>

#define SIGNATURE 0x53053053

struct area {
  uint32_t cpu_id_start, cpu_id;
  uint64_t cs;
  uint32_t flags, node_id, mm_cid, pad;
} __attribute__((aligned(32)));

static struct area area;
static void *abort_at;
static volatile sig_atomic_t hits, at_abort;

static long reg(void *p, unsigned length, int flags, unsigned sig) { return syscall(SYS_rseq, p, length, flags, sig); }

static void on_signal(int signo, siginfo_t *si, void *uc) {
  (void)signo, (void)si;
  hits++;
  if ((void *)((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP] == abort_at) at_abort++;
}

// Goes round in a critical section until something aborts it.
static int spin_in_section(void) {
  static struct {
    uint32_t version, flags;
    uint64_t start, length, abort;
  } __attribute__((aligned(32))) section;
  int aborted = 0;
  __asm__ volatile(
      "  lea 1f(%%rip), %%rax\n  mov %%rax, %[start]\n"
      "  lea 2f(%%rip), %%rcx\n  sub %%rax, %%rcx\n  mov %%rcx, %[length]\n"
      "  lea 4f(%%rip), %%rax\n  mov %%rax, %[abort]\n  mov %%rax, %[label]\n"
      "  lea %[section], %%rax\n  mov %%rax, %[cs]\n"
      "1: pause\n  jmp 1b\n"
      "2: jmp 5f\n"
      "  .byte 0x0f, 0xb9, 0x3d\n  .long 0x53053053\n"
      "4: movl $1, %[aborted]\n"
      "5:\n"
      : [start] "=m"(section.start), [length] "=m"(section.length), [abort] "=m"(section.abort), [cs] "=m"(area.cs),
        [label] "=m"(abort_at), [aborted] "=m"(aborted)
      : [section] "m"(section)
      : "rax", "rcx", "memory");
  return aborted;
}

static int unregister_c_library(void) {
  extern __attribute__((weak)) const ptrdiff_t __rseq_offset;
  extern __attribute__((weak)) const unsigned __rseq_size;
  if (&__rseq_size == NULL || __rseq_size == 0) return 0;
  return reg((char *)__builtin_thread_pointer() + __rseq_offset, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE);
}

static int in_fork(void *arg) {
  (void)arg;
  CALL(reg(&area, 32, 0, SIGNATURE));
  HOLDS(area.cpu_id < 4096);
  return 0;
}

int main(void) {
  SECTION("registration");
  CALL(unregister_c_library());
  CALL(reg(&area, 31, 0, SIGNATURE));
  CALL(reg((char *)&area + 4, 32, 0, SIGNATURE));
  CALL(reg((void *)0xffff800000000000, 32, 0, SIGNATURE));
  CALL(reg(&area, 32, 2, SIGNATURE));
  CALL(reg(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
  area.cpu_id = RSEQ_CPU_ID_UNINITIALIZED;
  CALL(reg(&area, 32, 0, SIGNATURE));
  CALL(reg(&area, 32, 0, SIGNATURE));
  CALL(reg(&area, 32, 0, SIGNATURE + 1));
  CALL(reg(&area + 1, 32, 0, SIGNATURE));
  CALL(reg(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE + 1));
  CALL(reg(&area, 64, RSEQ_FLAG_UNREGISTER, SIGNATURE));
  HOLDS(area.cpu_id < 4096 && area.cpu_id == area.cpu_id_start);
  in_child("a copy has it", in_fork, NULL);

  SECTION("a signal aborts the section");
  struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  sigaction(SIGALRM, &sa, NULL);
  // Preemption may abort one before the signal comes, on a busy machine again and again.
  for (uint64_t end = now_ms() + 10000; at_abort == 0 && now_ms() < end;) {
    struct itimerval soon = {{0, 0}, {0, 500}};
    setitimer(ITIMER_REAL, &soon, NULL);
    if (spin_in_section() != 1) puts("not aborted");
  }
  HOLDS(hits > 0);
  HOLDS(at_abort > 0);
  HOLDS(area.cs == 0);

  SECTION("one processor");
  cpu_set_t all, one;
  MUST(sched_getaffinity(0, sizeof all, &all));
  int cpu = -1;
  while (++cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &all))
    ;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  CALL(sched_setaffinity(0, sizeof one, &one));
  sched_yield();
  HOLDS(sched_getcpu() == cpu);
  HOLDS((int)area.cpu_id == cpu);
  CALL(sched_setaffinity(0, sizeof all, &all));
  CALL(reg(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
  HOLDS(area.cpu_id == RSEQ_CPU_ID_UNINITIALIZED);

  SECTION("barriers");
  long known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  HOLDS((known & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0);
  CALL(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 2, 0));
  CALL(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
  CALL(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
  CALL(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
  CALL(syscall(SYS_membarrier, 3, 0, 0));
  CALL(syscall(SYS_membarrier, 1 << 20, 0, 0));
  CALL(syscall(SYS_membarrier, -1, 0, 0));
  return 0;
}

/* The code in a guest's process that is ours.
 *
 * Under ptrace it is one instruction: the tracer sets the registers of a stopped thread, lets it
 * run the `syscall` at the very start and stops it at the int3.
 *
 * On the systrap platform a guest's system call raises SIGSYS, its faults raise their signals, and
 * a patched call site jumps to patched_entry. All of them put the registers into the thread's
 * context page, mark it pending, add its index to the ring, and wait for the Sentry's answer:
 *
 *   guest ──SIGSYS, SIGSEGV, …──→ handler ─┐
 *   guest ──patched call site──→ patched ──┴→ post, serve ──ACTION_RAX, ACTION_FULL──→ guest
 *                                                 └ ACTION_BATCH, _FORK, _THREAD: done here, then posted
 *
 * A handler gives back all registers, extended state included, by rt_sigreturn. The patched path
 * gives back rax only; what needs more executes an ud2, and goes on as a handler.
 *
 * All threads of the guest see all memory that is used here, so nothing in here protects anything:
 * the host is protected by the filter (platform/systrap/stub-filter.ts) and the Sentry checks what
 * it reads. What is read twice here can only harm the guest that changes it. */
/* All parts are headers of this one file: addresses are relative to rip, without a table that needs relocation. */
#pragma GCC visibility push(hidden)
#include "signals.h"
#include "vdso.h"

__asm__(".section .text.entry,\"ax\"\n"
        ".globl stub_syscall\nstub_syscall:\n"
        "  syscall\n"
        "  int3\n"
        "  lock cmpxchg %edx, (%rdi)\n"
        "  int3\n"
        /* Under ptrace there are no arguments, and the tracer takes over before this runs. */
        ".globl _start\n_start:\n"
        "  cmpq $2, (%rsp)\n"
        "  je 2f\n"
        "1: pause\n"
        "  jmp 1b\n"
        "2: xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call systrap_main\n"
        ".text\n");

/* STUB_DATA: exists so that the page does. */
__attribute__((section(".data"), used)) static unsigned char stub_data[4096] = {1};

__attribute__((used)) u32 patched_call(u8 *c) {
  if (answer_here(c, REG(c, ORIG_RAX))) return ACTION_RAX;
  prefetch(c, REG(c, ORIG_RAX));
  post(c, EVENT_SYSCALL);
  return serve(c, 0);
}

static void set_stack(u64 slot) {
  u64 stack[3] = {STUB_STACKS + slot * STACK_SIZE + STUB_STACK_SIZE, 0, STACK_SIZE - STUB_STACK_SIZE};
  SYS3(__NR_sigaltstack, stack, 0, 0);
}

__attribute__((noreturn)) static void go_full(void) {
  __asm__ volatile("jmp trap_full");
  __builtin_unreachable();
}

/* A new thread's first steps, on its stub stack. */
__attribute__((used)) void thread_main(u64 slot) {
  u8 *c = (u8 *)STUB_WINDOW + slot * CONTEXT_SIZE;
  set_stack(slot);
  SYS3(__NR_arch_prctl, ARCH_SET_GS, c, 0);
  serve(c, 0);
  go_full();
}

/* ---- start: the process that all others are forked from */

struct sigaction {
  void *handler;
  u64 flags;
  void *restorer;
  u64 mask;
};
#define SA_SIGINFO 0x4
#define SA_RESTORER 0x04000000
#define SA_ONSTACK 0x08000000
#define SA_NODEFER 0x40000000

__attribute__((noreturn)) static void fail(int step) {
  for (;;) SYS3(__NR_exit_group, step, 0, 0);
}

#define FIXED_ANONYMOUS 0x4032 /* MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE */
#define FIXED_SHARED 0x11

static void must_map(u64 addr, u64 size, int prot, int flags, int fd, u64 offset, int step) {
  if (sys6(__NR_mmap, (long)addr, (long)size, prot, flags, fd, (long)offset) != (long)addr) fail(step);
}

#define STUB_MEMFD 4
#define STUB_RINGFD 5

__attribute__((used)) void systrap_main(const u64 *sp) {
  must_map(STUB_RING, RING_SIZE, 3, FIXED_SHARED, STUB_RINGFD, 0, 11);
  must_map(STUB_CONF, CONF_SIZE, 1, FIXED_SHARED, STUB_RINGFD, RING_SIZE, 12);
  must_map(STUB_WINDOW, WINDOW_SIZE, 3, FIXED_SHARED, STUB_MEMFD, 0, 13);
  must_map(STUB_STACKS, MAX_SLOTS * STACK_SIZE, 3, FIXED_ANONYMOUS, -1, 0, 14);
  must_map(JUMP_TABLE, THUNKS_END - JUMP_TABLE, 7, FIXED_ANONYMOUS, -1, 0, 15);
  SYS3(__NR_close, STUB_MEMFD, 0, 0);
  SYS3(__NR_close, STUB_RINGFD, 0, 0);
  TABLE[0] = (u64)patched_entry1;
  TABLE[1] = (u64)patched_entry2;
  TABLE[TABLE_NEXT] = THUNKS;

  static const u8 signals[] = {4, 5, 7, 8, 11, 31, STUB_KICK_SIGNAL};
  for (u64 i = 0; i < sizeof signals; i++) {
    struct sigaction action = {handler, SA_SIGINFO | SA_ONSTACK | SA_RESTORER | SA_NODEFER, restorer, 1UL << (STUB_KICK_SIGNAL - 1)};
    if (sys6(__NR_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0) != 0) fail(16);
  }
  set_stack(0);
  u8 *c = (u8 *)STUB_WINDOW;
  if (SYS3(__NR_arch_prctl, ARCH_SET_GS, c, 0) != 0) fail(17);
  __asm__ volatile("call trap_probe" ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");

  u64 vdso = vdso_address(sp);
  U64(c, CTX_DATA + 8) = vdso;
  U64(c, CTX_DATA + 16) = vdso_function(vdso, "__vdso_clock_gettime");
  struct {
    u16 length;
    void *code;
  } program = {(u16)U32(CONF, CONF_FILTER_LENGTH), CONF + CONF_FILTER};
  if (sys6(__NR_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0, 0) != 0) fail(18);
  if (SYS3(__NR_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 0, &program) != 0) fail(19);
  post(c, EVENT_BATCH);
  serve(c, 0);
  go_full();
}

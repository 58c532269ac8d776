/* New processes and threads of the guest. */
#pragma once

#include "hostcalls.h"
#include "turns.h"
#include "xstate.h"

#define CLONE_PARENT 0x8000
#define SIGCHLD 17
#define FORK_FLAGS (CLONE_PARENT | SIGCHLD)
/* VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, CHILD_CLEARTID. */
#define THREAD_FLAGS (0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x200000)

/* A copy of the process, whose context window is that of the received memfd. */
static void make_process(u8 *c) {
  int fds[2] = {-1, -1};
  long pid = receive(fds, 2);
  if (pid == 0) {
    pid = sys6(__NR_clone, FORK_FLAGS, 0, 0, 0, 0, 0);
    if (pid == 0) {
      /* From here on `c` is the child's own page, and its first word says what is to be done. */
      SYS3(__NR_dup2, fds[0], STUB_SOCKET, 0);
      SYS3(__NR_close, fds[0], 0, 0);
      sys6(__NR_mmap, STUB_WINDOW, WINDOW_SIZE, 3, 0x11, fds[1], 0);
      SYS3(__NR_close, fds[1], 0, 0);
      return;
    }
    SYS3(__NR_close, fds[0], 0, 0);
    SYS3(__NR_close, fds[1], 0, 0);
  }
  U32(c, CTX_CLONE_RESULT) = (u32)pid;
  post(c, EVENT_CLONED);
}

long clone_thread(u64 flags, u64 stack, u32 *tid_word, u64 slot);
__asm__(".text\nclone_thread:\n"
        "  push %rbx\n"
        "  mov %rcx, %rbx\n"
        "  mov %rdx, %r10\n"
        "  xor %edx, %edx\n  xor %r8d, %r8d\n"
        "  mov $" S(__NR_clone) ", %eax\n"
        "  syscall\n"
        "  test %rax, %rax\n"
        "  jz 1f\n"
        "  pop %rbx\n  ret\n"
        "1: xor %ebp, %ebp\n"
        "  mov %rbx, %rdi\n"
        "  call thread_main\n"
        "  ud2\n");

static void make_thread(u8 *c, struct ucontext *uc) {
  u32 slot = U32(c, CTX_CLONE_SLOT);
  long tid = -11;
  if (slot < MAX_SLOTS) {
    u8 *child = (u8 *)STUB_WINDOW + (u64)slot * CONTEXT_SIZE;
    /* In a handler the CPU has the initial extended state; a new thread inherits the guest's. */
    if (uc != 0) load_fp(uc);
    tid = clone_thread(THREAD_FLAGS, STUB_STACKS + slot * STACK_SIZE + STUB_STACK_SIZE, (u32 *)(child + CTX_ALIVE), slot);
  }
  U32(c, CTX_CLONE_RESULT) = (u32)tid;
  post(c, EVENT_CLONED);
}

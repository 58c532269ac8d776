// What hostile guests need to make host calls from the code of their own process's stub: native/stub/.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define STUB_TEXT 0x7ff000000000UL
#define STUB_TEXT_SIZE 0x10000UL
#define STUB_DATA 0x7ff000010000UL
#define STUB_RING 0x7ff000100000UL
#define RING_SIZE 0x10000UL
#define STUB_CONF 0x7ff000200000UL
#define CONF_SIZE 0x4000UL
#define STUB_WINDOW 0x7ff010000000UL
#define CONTEXT_SIZE 0x20000UL
#define WINDOW_SIZE (1024 * CONTEXT_SIZE)
#define STUB_STACKS 0x7ff100000000UL
#define STACK_SIZE 0x10000UL
#define JUMP_TABLE 0x60000UL
#define THUNKS_END 0x100000UL
#define FORK_FLAGS 0x8011
#define THREAD_FLAGS 0x250f00

#define RING ((volatile uint32_t *)STUB_RING)
#define RING_WORDS (RING_SIZE / 4)
#define RING_SLOTS 64
#define RING_MASK 8191
#define WINDOW ((volatile uint32_t *)STUB_WINDOW)
#define CONTEXT_WORDS (CONTEXT_SIZE / 4)

/** A `syscall` of the stub's text that a caller survives: behind it are only pops and a return. */
static unsigned char *gadget;
static long gadget_pops;

static void find_gadget(void) {
  unsigned char *text = (unsigned char *)STUB_TEXT;
  for (unsigned long i = 0; i + 16 < STUB_TEXT_SIZE && gadget == NULL; i++) {
    if (text[i] != 0x0f || text[i + 1] != 0x05) continue;
    long pops = 0;
    unsigned char *p = text + i + 2;
    for (;; pops++) {
      if (*p == 0x41) p++;
      if (*p < 0x58 || *p > 0x5f || *p == 0x5c) break;
      p++;
    }
    if (*p != 0xc3) continue;
    gadget = text + i;
    gadget_pops = pops;
    // The text ends where the linker has put it: what follows is not mapped.
    break;
  }
  if (gadget == NULL) {
    fprintf(stderr, "the stub has no call that returns to a caller\n");
    _exit(99);
  }
}

long jump_to(void *target, long pops, long nr, const long *arguments);
__asm__(
    ".text\n"
    "jump_to:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rdi, %r11\n"
    "  lea 2f(%rip), %rax\n  push %rax\n"
    "1: test %rsi, %rsi\n  jz 3f\n  push $0\n  dec %rsi\n  jmp 1b\n"
    "3: mov %rdx, %rax\n  mov %rcx, %rbx\n"
    "  mov (%rbx), %rdi\n  mov 8(%rbx), %rsi\n  mov 16(%rbx), %rdx\n  mov 24(%rbx), %r10\n  mov 32(%rbx), %r8\n  mov 40(%rbx), %r9\n"
    "  jmp *%r11\n"
    "2: pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n  ret\n");

/** One host call from the stub's own text: its result, unless the filter ends the process. */
static inline long host_call(long nr, long a, long b, long c, long d, long e, long f) {
  const long arguments[6] = {a, b, c, d, e, f};
  return jump_to(gadget, gadget_pops, nr, arguments);
}

/* The ground that the stub stands on without a C library: types, calls to the host, copying that survives faults, the context page. */
#pragma once

#include "sysmsg.h"
#include <asm/unistd.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define STRING(x) #x
#define S(x) STRING(x)

static inline long sys6(long n, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}
#define SYS3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)

void *memcpy(void *to, const void *from, u64 n) {
  void *result = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
  return result;
}

void *memset(void *to, int value, u64 n) {
  void *result = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
  return result;
}

/* Bytes that could not be copied. A fault at copy_insn ends the copy: handler() steps over the instruction. */
u64 copy_some(void *to, const void *from, u64 n);
/* Copies up to and including the NUL, at most n bytes: how many, or -1 for a fault. */
long copy_string(u8 *to, const u8 *from, u64 n);
/* The word as it was, or -EFAULT; it is `value` now if it was `expected`. */
long exchange(u32 *word, u32 expected, u32 value);
extern u8 copy_insn[], copy_done[], string_start[], string_end[], string_fault[], exchange_insn[], exchange_fault[];
__asm__(".text\n"
        "exchange:\n  mov %esi, %eax\n"
        "exchange_insn:\n  lock cmpxchg %edx, (%rdi)\n"
        "  mov %eax, %eax\n  ret\n"
        "exchange_fault:\n  mov $-14, %rax\n  ret\n"
        "copy_some:\n  mov %rdx, %rcx\n"
        "copy_insn:\n  rep movsb\n"
        "copy_done:\n  mov %rcx, %rax\n  ret\n"
        "copy_string:\n  xor %eax, %eax\n"
        "string_start:\n"
        "1: cmp %rdx, %rax\n  jae 2f\n"
        "  mov (%rsi,%rax), %cl\n  mov %cl, (%rdi,%rax)\n  inc %rax\n"
        "  test %cl, %cl\n  jnz 1b\n"
        "2: ret\n"
        "string_end:\n"
        "string_fault:\n  mov $-1, %rax\n  ret\n");

#define U32(c, at) (*(volatile u32 *)((c) + (at)))
#define U64(c, at) (*(volatile u64 *)((c) + (at)))
#define REG(c, n) U64(c, CTX_REGS + (n) * 8)
enum { R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8, RAX, RCX, RDX, RSI, RDI, ORIG_RAX, RIP, CS, EFLAGS, RSP, SS, FS_BASE, GS_BASE };

#define RING ((volatile u32 *)STUB_RING)
#define CONF ((u8 *)STUB_CONF)

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define ENOSYS 38
#define EFAULT 14
#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002

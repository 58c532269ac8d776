/* Where patched call sites come in, and how their thread goes on: the guest's registers are saved and loaded here, without a trap. */
#pragma once

#include "base.h"

extern u8 fast1_start[], fast1_done[], fast1_end[], fast2_start[], fast2_done[], fast2_end[];
extern u8 return_start[], return_end[], trap_full[], trap_kicked[], trap_probe[], own_gs_entry1[], own_gs_entry2[];
void patched_entry1(void);
void patched_entry2(void);

#define GS(at) "%gs:" S(at)
#define GSREG(n) "%gs:" S(CTX_REGS) "+8*" #n
#define FAST(n)                                                        \
  "fast" #n "_start:\n"                                                \
  "  cmp $" S(MAX_ANSWERS) "-1, %rax\n  ja 1f\n"                       \
  "  mov %gs:" S(CTX_ANSWERS) "(,%rax,4), %r11d\n"                     \
  "  test %r11d, %r11d\n  jle 1f\n"                                    \
  "  lea -1(%r11), %eax\n"                                             \
  "fast" #n "_done:\n  jmp *%rcx\n"                                    \
  "fast" #n "_end:\n"
__asm__(".text\n"
        /* rax: number; rcx: where to return to. */
        "patched_entry1:\n" FAST(1)
        "1: mov %rcx, " GS(CTX_RETURN) "\n"
        "  mov %rcx, " GSREG(16) "\n"
        "  mov %rcx, " GSREG(11) "\n"
        "  jmp patched\n"
        /* rcx: the thunk's tail, before which the address behind the guest's `syscall` stands. */
        "patched_entry2:\n" FAST(2)
        "1: mov %rcx, " GS(CTX_RETURN) "\n"
        "  mov -8(%rcx), %rcx\n"
        "  mov %rcx, " GSREG(16) "\n"
        "  mov %rcx, " GSREG(11) "\n"
        "patched:\n"
        "  mov %r15, " GSREG(0) "\n  mov %r14, " GSREG(1) "\n  mov %r13, " GSREG(2) "\n  mov %r12, " GSREG(3) "\n"
        "  mov %rbp, " GSREG(4) "\n  mov %rbx, " GSREG(5) "\n  mov %r10, " GSREG(7) "\n  mov %r9, " GSREG(8) "\n"
        "  mov %r8, " GSREG(9) "\n  mov %rdx, " GSREG(12) "\n  mov %rsi, " GSREG(13) "\n  mov %rdi, " GSREG(14) "\n"
        "  mov %rax, " GSREG(15) "\n"
        "  movq $-38, " GSREG(10) "\n"
        "  mov %rsp, " GSREG(19) "\n"
        "  mov " GS(CTX_STUB_STACK) ", %rsp\n"
        "  pushfq\n  pop %r11\n"
        "  mov %r11, " GSREG(6) "\n  mov %r11, " GSREG(18) "\n"
        "  cld\n"
        "  mov " GS(CTX_SELF) ", %rdi\n"
        "  call patched_call\n"
        "  cmp $" S(ACTION_RAX) ", %eax\n"
        "  jne trap_full\n"
        /* A kick in here starts over at return_start: whatever is loaded is still in the page. */
        "return_start:\n"
        "  cmpl $0, " GS(CTX_KICKED) "\n"
        "  jne trap_kicked\n"
        "  mov " GSREG(6) ", %r11\n  mov " GSREG(7) ", %r10\n  mov " GSREG(8) ", %r9\n  mov " GSREG(9) ", %r8\n"
        "  mov " GSREG(10) ", %rax\n  mov " GSREG(11) ", %rcx\n  mov " GSREG(12) ", %rdx\n"
        "  mov " GSREG(13) ", %rsi\n  mov " GSREG(14) ", %rdi\n"
        "  mov " GSREG(19) ", %rsp\n"
        "  jmp *" GS(CTX_RETURN) "\n"
        "return_end:\n"
        "trap_kicked: ud2\n"
        "trap_full: ud2\n"
        "trap_probe: ud2\n"
        "  ret\n"
        /* In the table's place of patched_entry when the guest has a gs base of its own: SIGILL, served as a system call. */
        "own_gs_entry1: ud2\n"
        "own_gs_entry2: ud2\n"
        ".globl restorer\nrestorer:\n  mov $" S(__NR_rt_sigreturn) ", %eax\n  syscall\n");
void restorer(void);

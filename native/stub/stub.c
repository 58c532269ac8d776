/* The code in a guest's process that is ours. Under ptrace it is one instruction: the tracer sets
 * the registers of a stopped thread, lets it run the `syscall` below and stops it at the int3. */
#include "sysmsg.h"

__asm__(".section .text.entry,\"ax\"\n"
        ".globl stub_syscall\nstub_syscall:\n"
        "  syscall\n"
        "  int3\n"
        ".globl _start\n_start:\n"
        "1: pause\n"
        "  jmp 1b\n"
        ".text\n");

/* STUB_DATA: exists so that the page does. */
__attribute__((section(".data"), used)) static unsigned char stub_data[4096] = {1};

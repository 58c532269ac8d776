/* What stub, addon and Sentry agree on. Twin of platform/context-page.ts and platform/systrap/layout.ts: change all. */
#pragma once

#define STUB_BASE 0x7ff000000000UL
/* `syscall; int3` at the very start: where the ptrace platform runs host calls. */
#define STUB_SYSCALL STUB_BASE
/* Behind it `lock cmpxchg %edx, (%rdi); int3`: where the ptrace platform changes a word that other threads change too. */
#define STUB_EXCHANGE (STUB_BASE + 3)
#define STUB_EXCHANGE_END (STUB_BASE + 8)
/* Text and constants lie below this; calls to the host are admitted from here only. */
#define STUB_TEXT_SIZE 0x10000UL
/* A private read-write page: buffers of calls that ptrace injects. */
#define STUB_DATA (STUB_BASE + STUB_TEXT_SIZE)

#define CONTEXT_SIZE 0x20000
#define MAX_CONTEXTS 8192

/* The first 64 bytes, one cache line, are what every call needs of the header. */
#define CTX_STATE 0
#define CTX_SLEEPING 4
#define CTX_INDEX 8
#define CTX_ACTION 12
#define CTX_EVENT 16
#define CTX_SYSNO 20
#define CTX_WATCHED 24
#define CTX_NOUT 28
#define CTX_NIN 32
#define CTX_DATA_USED 36
#define CTX_RESULT 40
#define CTX_PARKED 48
#define CTX_WAKE_SLOT 52
#define CTX_SPIN_MISSES 56
#define CTX_CPU 60
#define CTX_FAULT_SIGNO 192
#define CTX_FAULT_CODE 196
#define CTX_FAULT_TRAPNO 200
#define CTX_FAULT_ERR 204
#define CTX_FAULT_ADDR 208
#define CTX_FP_SAVE_ADDR 216
#define CTX_FP_RESTORE_ADDR 64
/* In place of an address: the state that a program starts with. */
#define FP_INITIAL 1
#define FP_INITIAL_FCW 0x37f
#define FP_INITIAL_MXCSR 0x1f80
#define CTX_WAIT_STATUS 72
#define CTX_TAIL 76
#define CTX_CLONE_RESULT 80
#define CTX_CLONE_SLOT 84
#define CTX_DIRTY 88
#define CTX_KICKED 92
#define CTX_BATCH_SEQ 96
#define CTX_DONE_SEQ 100
#define CTX_DONE_WAITER 104
#define CTX_ALIVE 108
#define CTX_NONCE 112
#define CTX_SELF 120
#define CTX_STUB_STACK 128
#define CTX_RETURN 136
#define CTX_PATCH_SITE 144
#define CTX_PATCH_PROT 152
#define CTX_NCALLS 156
#define CTX_CALLS_DONE 160
/* Counts of call sites: patched; of no form that can be; across two cache lines with other threads about; beyond the table. */
#define CTX_SITES_PATCHED 164
#define CTX_SITES_NO_FORM 168
#define CTX_SITES_SPLIT 172
#define CTX_SITES_FULL 176
/* So that the argument registers, from r10 to rdi, are one cache line. */
#define CTX_REGS 0x108
#define CTX_INS 0x300
#define IN_SIZE 16
#define MAX_INS 16
#define CTX_CALLS 0x400
#define HOSTCALL_SIZE 72
#define MAX_HOST_CALLS 40
#define CTX_OUTS 0x1000
#define OUT_SIZE 16
#define MAX_OUTS 64
#define CTX_ANSWERS 0x1400
#define MAX_ANSWERS 256
/* Answers that are no result but say how the stub finds it, if it can. */
#define HERE_YIELD -1
#define HERE_FUTEX -2
#define HERE_CLOCK -3
#define HERE_TIMEOFDAY -4
#define HERE_TIME -5
#define CTX_DATA 0x10000
#define CTX_DATA_SIZE 0x10000

#define HOSTCALL_RECEIVED_FD 1
#define HOSTCALL_MAY_FAIL 2
/* In place of a call's number: the word at argument 0 becomes argument 2 if it is argument 1. The result is what it was, or -EFAULT. */
#define HOSTCALL_EXCHANGE 0x10000

#define EVENT_SYSCALL 1
#define EVENT_FAULT 2
#define EVENT_BATCH 3
#define EVENT_KICKED 4
#define EVENT_DIED 5
/* Between stub and platform only: a system call whose site could be patched (CTX_PATCH_SITE). */
#define EVENT_SYSCALL_AT_SITE 7
/* Likewise: a clone is made, CTX_CLONE_RESULT has the host's number or -errno. */
#define EVENT_CLONED 6

#define ACTION_RAX 1
#define ACTION_FULL 2
#define ACTION_BATCH 3
#define ACTION_FORK 4
#define ACTION_THREAD 5
#define ACTION_EXIT 6
/* The data area receives the extended state as a signal frame holds it (its first word: bytes without the final magic), or has it. */
#define ACTION_SHOW_FP 7
#define ACTION_TAKE_FP 8

/* CTX_PATCH_PROT, beside PROT_*: no other thread can be at the site. */
#define PATCH_ALONE 8

#define DIRTY_FS 1
#define DIRTY_GS 2

/* The address space of a stub on the systrap platform. */
#define STUB_RING 0x7ff000100000UL
#define RING_SIZE 0x10000UL
/* Read-only for the stub, behind the ring in the same memfd. */
#define STUB_CONF 0x7ff000200000UL
#define CONF_SIZE 0x5000UL
#define STUB_WINDOW 0x7ff010000000UL
#define MAX_SLOTS 1024
#define WINDOW_SIZE ((unsigned long)MAX_SLOTS * CONTEXT_SIZE)
#define STUB_STACKS 0x7ff100000000UL
#define STACK_SIZE 0x10000UL
/* Below: the stack of the patched path and of a thread's first steps; above: the alternate signal stack. */
#define STUB_STACK_SIZE 0x4000UL
#define JUMP_TABLE 0x60000UL
#define THUNKS 0x70000UL
#define THUNKS_END 0x100000UL

#define RING_HEAD 0
#define RING_SENTRY_SLEEPING 1
#define RING_SPIN 2
#define RING_SENTRY_CPU 3
#define RING_SLOTS 64
#define RING_MASK 8191
/* A slot's value when it is not a context that rings but a host descriptor or a dead child. */
#define RING_BELL 0xffffffffu

#define CONF_FILTER_LENGTH 0
#define CONF_PATCH 4
#define CONF_VDSO_CLOCK 8
#define CONF_FILTER 0x1000
#define CONF_PREFETCH 0x2000
#define CONF_FUTEX_WAITERS 0x4000

#define STUB_SOCKET 3
#define STUB_KICK_SIGNAL 10

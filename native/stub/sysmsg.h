/* What stub and addon agree on. Twin of platform/context-page.ts: change both. */
#pragma once

#define STUB_BASE 0x7ff000000000UL
/* `syscall; int3` at the very start: where the ptrace platform runs host calls. */
#define STUB_SYSCALL STUB_BASE
/* A private read-write page: buffers of injected calls. */
#define STUB_DATA (STUB_BASE + 0x1000UL)

#define CONTEXT_SIZE 0x20000
#define MAX_CONTEXTS 8192

#define CTX_EVENT 16
#define CTX_NCALLS 20
#define CTX_CALLS_DONE 24
#define CTX_FAULT_SIGNO 32
#define CTX_FAULT_CODE 36
#define CTX_FAULT_TRAPNO 40
#define CTX_FAULT_ERR 44
#define CTX_FAULT_ADDR 48
#define CTX_FP_SAVE_ADDR 56
#define CTX_FP_RESTORE_ADDR 64
#define CTX_WAIT_STATUS 72
#define CTX_REGS 0x100
#define CTX_CALLS 0x400
#define HOSTCALL_SIZE 72
#define MAX_HOST_CALLS 40

#define HOSTCALL_RECEIVED_FD 1
#define HOSTCALL_MAY_FAIL 2

#define EVENT_SYSCALL 1
#define EVENT_FAULT 2
#define EVENT_BATCH 3
#define EVENT_KICKED 4
#define EVENT_DIED 5

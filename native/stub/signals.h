/* What comes as a signal: calls of sites that are not patched, the guest's faults, kicks, and the stub's own faults while it copies. */
#pragma once

#include "answers.h"
#include "prefetch.h"
#include "serve.h"

static void save_registers(u8 *c, struct ucontext *uc) {
  struct sigcontext *m = &uc->m;
  REG(c, R15) = m->r15, REG(c, R14) = m->r14, REG(c, R13) = m->r13, REG(c, R12) = m->r12;
  REG(c, RBP) = m->bp, REG(c, RBX) = m->bx, REG(c, R11) = m->r11, REG(c, R10) = m->r10;
  REG(c, R9) = m->r9, REG(c, R8) = m->r8, REG(c, RAX) = m->ax, REG(c, RCX) = m->cx;
  REG(c, RDX) = m->dx, REG(c, RSI) = m->si, REG(c, RDI) = m->di, REG(c, ORIG_RAX) = (u64)-1;
  REG(c, RIP) = m->ip, REG(c, CS) = m->cs, REG(c, EFLAGS) = m->flags, REG(c, RSP) = m->sp, REG(c, SS) = m->ss;
}

/* The thread has stopped, and not for a call: nothing is fetched and nothing to be copied. */
static void post_stop(u8 *c, struct ucontext *uc, u32 event) {
  save_registers(c, uc);
  U32(c, CTX_NIN) = 0;
  U32(c, CTX_NOUT) = 0;
  U32(c, CTX_DATA_USED) = 0;
  post(c, event);
}

/* Makes the interrupted state that of the page. */
static void load_registers(u8 *c, struct ucontext *uc) {
  struct sigcontext *m = &uc->m;
  u64 save = U64(c, CTX_FP_SAVE_ADDR), restore = U64(c, CTX_FP_RESTORE_ADDR);
  if (save != 0) {
    U64(c, CTX_FP_SAVE_ADDR) = 0;
    save_fp(uc, save);
  }
  if (restore != 0) {
    U64(c, CTX_FP_RESTORE_ADDR) = 0;
    restore_fp(uc, restore);
  }
  set_bases(c);
  m->r15 = REG(c, R15), m->r14 = REG(c, R14), m->r13 = REG(c, R13), m->r12 = REG(c, R12);
  m->bp = REG(c, RBP), m->bx = REG(c, RBX), m->r11 = REG(c, R11), m->r10 = REG(c, R10);
  m->r9 = REG(c, R9), m->r8 = REG(c, R8), m->ax = REG(c, RAX), m->cx = REG(c, RCX);
  m->dx = REG(c, RDX), m->si = REG(c, RSI), m->di = REG(c, RDI);
  m->ip = REG(c, RIP), m->flags = REG(c, EFLAGS), m->sp = REG(c, RSP);
  /* A thread is born in its parent's handler, with the kick blocked. */
  uc->sigmask = 0;
}

/* Waits for the answer to what has been posted, and lets the guest go on with it. is_stub: what was interrupted is not the guest's code, so that it needs all registers. */
static void finish(u8 *c, struct ucontext *uc, int is_stub) {
  for (;;) {
    u32 action = serve(c, uc);
    if (action == ACTION_RAX && !is_stub) {
      uc->m.ax = REG(c, RAX);
      return;
    }
    if (U32(c, CTX_KICKED) != 0) {
      U32(c, CTX_KICKED) = 0;
      set_bases(c);
      post(c, EVENT_KICKED);
      continue;
    }
    load_registers(c, uc);
    return;
  }
}

static void system_call(u8 *c, struct ucontext *uc, u64 nr) {
  save_registers(c, uc);
  REG(c, ORIG_RAX) = nr;
  REG(c, RAX) = (u64)-ENOSYS;
  int is_site = note_site(c, uc->m.ip, nr);
  if (!is_site && answer_here(c, nr)) {
    uc->m.ax = REG(c, RAX);
    if (U32(c, CTX_KICKED) == 0) return;
    /* The Sentry has not seen the call, so it is to hear that the thread has stopped. */
    U32(c, CTX_KICKED) = 0;
    post_stop(c, uc, EVENT_KICKED);
    finish(c, uc, 0);
    return;
  }
  prefetch(c, nr);
  post(c, is_site ? EVENT_SYSCALL_AT_SITE : EVENT_SYSCALL);
  finish(c, uc, 0);
}

static int in_stub(u64 ip) { return ip >= STUB_BASE && ip < STUB_BASE + STUB_TEXT_SIZE; }

static int within(u64 ip, const u8 *start, const u8 *end) { return ip >= (u64)start && ip < (u64)end; }

/* Threads that were inside a site when it was patched, and jumps into the middle of one. True when that is all there was to it. */
static int put_right(u8 *c, struct ucontext *uc, int signo) {
  u8 b[7];
  u64 back = signo == 4 ? 5 : 2;
  if (signo != 4 && signo != 11) return 0;
  if (copy_some(b, (void *)(uc->m.ip - back), 7) != 0) return 0;
  u32 entry = *(u32 *)(b + 3);
  if (b[0] != 0xff || b[1] != 0x24 || entry % 8 != 0 || entry < JUMP_TABLE + TABLE_FIRST * 8 || entry >= THUNKS) return 0;
  if (signo == 4) {
    if (b[2] != 0x25) return 0;
    uc->m.ip += 2;
    uc->m.cx = uc->m.ip;
    uc->m.r11 = uc->m.flags;
    system_call(c, uc, uc->m.ax);
    return 1;
  }
  if (b[2] != 0xe5) return 0;
  uc->m.ip = *(volatile u64 *)(u64)entry + 32;
  return 1;
}

static void fault(u8 *c, struct ucontext *uc, struct siginfo *si) {
  U32(c, CTX_FAULT_SIGNO) = (u32)si->signo;
  U32(c, CTX_FAULT_CODE) = (u32)si->code;
  U32(c, CTX_FAULT_TRAPNO) = (u32)uc->m.trapno;
  U32(c, CTX_FAULT_ERR) = (u32)uc->m.err;
  U64(c, CTX_FAULT_ADDR) = si->addr;
  post_stop(c, uc, EVENT_FAULT);
  finish(c, uc, 0);
}

static void kicked(u8 *c, struct ucontext *uc, u64 slot) {
  u64 ip = uc->m.ip, sp = uc->m.sp, stack = STUB_STACKS + slot * STACK_SIZE;
  int fast = within(ip, fast1_start, fast1_end) ? 1 : within(ip, fast2_start, fast2_end) ? 2 : 0;
  if (fast != 0) {
    u64 target = uc->m.cx;
    int done = ip == (u64)(fast == 1 ? fast1_done : fast2_done);
    if (fast == 2 && copy_some(&target, (void *)(uc->m.cx - 8), 8) != 0) target = uc->m.cx;
    uc->m.ip = uc->m.cx = target;
    uc->m.r11 = uc->m.flags;
    if (!done) {
      U32(c, CTX_KICKED) = 1;
      system_call(c, uc, uc->m.ax);
      return;
    }
  } else if (in_stub(ip) || (sp >= stack && sp <= stack + STUB_STACK_SIZE)) {
    U32(c, CTX_KICKED) = 1;
    if (within(ip, return_start, return_end)) uc->m.ip = (u64)return_start;
    return;
  }
  post_stop(c, uc, EVENT_KICKED);
  finish(c, uc, 0);
}

static void probe(u8 *c, struct ucontext *uc) {
  u8 *fp = uc->m.fpstate;
  U32(c, CTX_DATA) = fp != 0 && U32(fp, SW_MAGIC1) == FP_MAGIC1 ? U32(fp, SW_EXTENDED_SIZE) : 512;
  uc->m.ip += 2;
}

#define EFLAGS_AC 0x40000UL

static void handler(int signo, struct siginfo *si, struct ucontext *uc) {
  /* The kernel leaves the guest's alignment check on: it gets its flags back with the frame. */
  u64 flags;
  __asm__ volatile("pushfq; pop %0" : "=r"(flags));
  if (flags & EFLAGS_AC) __asm__ volatile("push %0; popfq" ::"r"(flags & ~EFLAGS_AC) : "cc", "memory");
  u64 slot = ((u64)__builtin_frame_address(0) - STUB_STACKS) / STACK_SIZE;
  /* A guest that lets its stack pointer lie in here harms itself, but not with an address of its choice. */
  if (slot >= MAX_SLOTS) SYS3(__NR_exit_group, 1, 0, 0);
  u8 *c = (u8 *)STUB_WINDOW + slot * CONTEXT_SIZE;
  u64 ip = uc->m.ip;
  if (signo == STUB_KICK_SIGNAL) {
    kicked(c, uc, slot);
    return;
  }
  if (in_stub(ip)) {
    /* A debug register has met our copying to the guest: as when the kernel copies, nobody is told. */
    if (signo == 5) return;
    if (signo == 4) {
      if (ip == (u64)trap_full) {
        if (U32(c, CTX_KICKED) == 0) {
          load_registers(c, uc);
          return;
        }
        U32(c, CTX_KICKED) = 0;
        set_bases(c);
        post(c, EVENT_KICKED);
        finish(c, uc, 1);
        return;
      }
      if (ip == (u64)trap_kicked) {
        /* The call is answered, and all that the guest has in registers is in the page. */
        U32(c, CTX_KICKED) = 0;
        REG(c, ORIG_RAX) = (u64)-1;
        post(c, EVENT_KICKED);
        finish(c, uc, 1);
        return;
      }
      if (ip == (u64)trap_probe) {
        probe(c, uc);
        return;
      }
      if (ip == (u64)own_gs_entry1 || ip == (u64)own_gs_entry2) {
        u64 target = uc->m.cx;
        if (ip == (u64)own_gs_entry2 && copy_some(&target, (void *)(uc->m.cx - 8), 8) != 0) target = uc->m.cx;
        uc->m.ip = uc->m.cx = target;
        uc->m.r11 = uc->m.flags;
        system_call(c, uc, uc->m.ax);
        return;
      }
    }
    if (signo == 11 || signo == 7) {
      if (ip == (u64)exchange_insn) {
        uc->m.ip = (u64)exchange_fault;
        return;
      }
      if (ip == (u64)copy_insn) {
        uc->m.ip = (u64)copy_done;
        return;
      }
      if (within(ip, string_start, string_end)) {
        uc->m.ip = (u64)string_fault;
        return;
      }
    }
    /* The guest has jumped in here, or asks the host for what it may not: the status tells what, to who debugs the stub. */
    SYS3(__NR_exit_group, signo == 31 ? 100 + (si->nr & 127) : signo, 0, 0);
  }
  if (signo == 31) {
    if (uc->m.sp >= STUB_STACKS + slot * STACK_SIZE && uc->m.sp < STUB_STACKS + (slot + 1) * STACK_SIZE) {
      /* The vDSO asks the kernel for a clock that it cannot read by itself: the Sentry can. */
      uc->m.ax = (u64)-ENOSYS;
      return;
    }
    /* Calls by int $0x80 have other numbers: none of them is served. */
    system_call(c, uc, si->arch == 0xc000003e ? (u64)(long)si->nr : (u64)-1);
    return;
  }
  if (put_right(c, uc, signo)) return;
  fault(c, uc, si);
}

/* The interrupted thread as the kernel's signal frame has it, and its extended state: x87, SSE, AVX and on. */
#pragma once

#include "base.h"

struct sigcontext {
  u64 r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags;
  u16 cs, gs, fs, ss;
  u64 err, trapno, oldmask, cr2;
  u8 *fpstate;
  u64 reserved[8];
};

struct ucontext {
  u64 flags;
  void *link;
  u64 stack[3];
  struct sigcontext m;
  u64 sigmask;
};

struct siginfo {
  int signo, error, code, pad;
  u64 addr;
  int nr;
  u32 arch;
};

#define FP_MAGIC1 0x46505853u
#define FP_MAGIC2 0x46505845u
/* struct _fpx_sw_bytes in the frame's extended state: magic1, extended size, features, xstate size. */
#define SW_MAGIC1 464
#define SW_EXTENDED_SIZE 468
#define SW_FEATURES 472
#define SW_XSTATE_SIZE 480
#define XSTATE_HEADER 512
#define FX_MXCSR 24

static void load_fp(struct ucontext *uc) {
  u8 *fp = uc->m.fpstate;
  if (fp == 0) return;
  if (U32(fp, SW_MAGIC1) != FP_MAGIC1) {
    __asm__ volatile("fxrstor64 (%0)" ::"r"(fp) : "memory");
    return;
  }
  u64 features = U64(fp, SW_FEATURES);
  __asm__ volatile("xrstor64 (%0)" ::"r"(fp), "a"((u32)features), "d"((u32)(features >> 32)) : "memory");
}

/* The interrupted extended state goes to guest memory as it lies in our frame: the kernel has laid it out. */
static void save_fp(struct ucontext *uc, u64 addr) {
  u8 *fp = uc->m.fpstate;
  if (fp == 0) return;
  u64 n = U32(fp, SW_MAGIC1) == FP_MAGIC1 ? U32(fp, SW_EXTENDED_SIZE) : 512;
  copy_some((void *)addr, fp, n);
}

/* And back: features and sizes stay those of our frame. Without the magic only 512 bytes of fxsave are the guest's. */
static void restore_fp(struct ucontext *uc, u64 addr) {
  u8 *fp = uc->m.fpstate;
  if (fp == 0) return;
  u8 *from = (u8 *)addr;
  u8 sw[48];
  if (addr == FP_INITIAL) {
    memset(fp, 0, SW_MAGIC1);
    *(volatile u16 *)fp = FP_INITIAL_FCW;
    U32(fp, FX_MXCSR) = FP_INITIAL_MXCSR;
    if (U32(fp, SW_MAGIC1) == FP_MAGIC1) memset(fp + XSTATE_HEADER, 0, 64);
    return;
  }
  memcpy(sw, fp + SW_MAGIC1, 48);
  int extended = U32(fp, SW_MAGIC1) == FP_MAGIC1;
  u32 size = extended ? U32(fp, SW_XSTATE_SIZE) : 512;
  u32 magic[2] = {0, 0};
  copy_some(&magic[0], from + SW_MAGIC1, 4);
  if (extended) copy_some(&magic[1], from + size, 4);
  if (extended && magic[0] == FP_MAGIC1 && magic[1] == FP_MAGIC2) {
    copy_some(fp, from, size);
    memcpy(fp + SW_MAGIC1, sw, 48);
    U64(fp, XSTATE_HEADER) &= U64(fp, SW_FEATURES);
    memset(fp + XSTATE_HEADER + 8, 0, 56);
  } else {
    copy_some(fp, from, 512);
    memcpy(fp + SW_MAGIC1, sw, 48);
    if (extended) {
      U64(fp, XSTATE_HEADER) = 3;
      memset(fp + XSTATE_HEADER + 8, 0, 56);
    }
  }
  U32(fp, FX_MXCSR) &= 0xffff;
}

static u64 features(void) {
  u32 lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  /* Tile data has no room in a frame until the process asks for it. */
  return (((u64)hi << 32) | lo) & ~(3UL << 17);
}

/* On the patched path the guest's extended state is the CPU's: nothing in here touches it. */
static void show_fp(u8 *c, struct ucontext *uc) {
  u8 *to = c + CTX_DATA;
  u32 size = U32(c, CTX_DATA);
  if (size < 512 || size > CTX_DATA_SIZE - 64) return;
  memset(to, 0, size + 4);
  if (uc != 0) {
    save_fp(uc, (u64)to);
  } else if (size == 512) {
    __asm__ volatile("fxsave64 (%0)" ::"r"(to) : "memory");
  } else {
    u64 mask = features();
    __asm__ volatile("xsave64 (%0)" ::"r"(to), "a"((u32)mask), "d"((u32)(mask >> 32)) : "memory");
    U64(to, SW_FEATURES) = mask;
  }
}

static void take_fp(u8 *c, struct ucontext *uc) {
  u8 *from = c + CTX_DATA;
  if (uc != 0) {
    restore_fp(uc, (u64)from);
    return;
  }
  U32(from, FX_MXCSR) &= 0xffff;
  if (U32(from, SW_MAGIC1) != FP_MAGIC1) {
    __asm__ volatile("fxrstor64 (%0)" ::"r"(from) : "memory");
    return;
  }
  u64 mask = features();
  U64(from, XSTATE_HEADER) &= mask;
  memset(from + XSTATE_HEADER + 8, 0, 56);
  __asm__ volatile("xrstor64 (%0)" ::"r"(from), "a"((u32)mask), "d"((u32)(mask >> 32)) : "memory");
}

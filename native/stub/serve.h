/* What the Sentry asks for, until the guest is to go on. */
#pragma once

#include "clones.h"
#include "patched-path.h"
#include "sites.h"

static void copy_outs(u8 *c) {
  u32 count = U32(c, CTX_NOUT);
  if (count == 0) return;
  if (count > MAX_OUTS) count = MAX_OUTS;
  U32(c, CTX_NOUT) = 0;
  for (u32 i = 0; i < count; i++) {
    u8 *out = c + CTX_OUTS + i * OUT_SIZE;
    if (copy_some((void *)U64(out, 0), c + CTX_DATA + U32(out, 12), U32(out, 8)) != 0) REG(c, RAX) = (u64)-EFAULT;
  }
}

/* Wakes the thread that the call just answered has let go on: it is likely to follow this one on its processor, and the Sentry's need not be left for it. */
static void wake_other(u8 *c) {
  u32 slot = U32(c, CTX_WAKE_SLOT);
  if (slot == 0) return;
  U32(c, CTX_WAKE_SLOT) = 0;
  if (slot <= MAX_SLOTS) SYS3(__NR_futex, STUB_WINDOW + (u64)(slot - 1) * CONTEXT_SIZE + CTX_STATE, FUTEX_WAKE, 1);
}

static void set_bases(u8 *c) {
  u32 dirty = U32(c, CTX_DIRTY);
  if (dirty == 0) return;
  U32(c, CTX_DIRTY) = 0;
  if (dirty & DIRTY_FS) SYS3(__NR_arch_prctl, ARCH_SET_FS, REG(c, FS_BASE), 0);
  if (dirty & DIRTY_GS) {
    u64 base = REG(c, GS_BASE);
    SYS3(__NR_arch_prctl, ARCH_SET_GS, base != 0 ? base : (u64)c, 0);
    /* Patched sites find the context by gs: in this address space they trap from now on. */
    if (base != 0) {
      TABLE[0] = (u64)own_gs_entry1;
      TABLE[1] = (u64)own_gs_entry2;
    }
  }
}

/* Does what the Sentry says until the guest is to go on: ACTION_RAX or ACTION_FULL. uc is the interrupted state in a handler. */
static u32 serve(u8 *c, struct ucontext *uc) {
  for (;;) {
    wait_answer(c);
    u32 action = U32(c, CTX_ACTION);
    if (action == ACTION_RAX) REG(c, RAX) = U64(c, CTX_RESULT);
    wake_other(c);
    copy_outs(c);
    switch (action) {
      case ACTION_RAX:
        set_bases(c);
        if (U32(c, CTX_PATCH_PROT) != 0) {
          patch_site(c);
          acknowledge(c);
        }
        return ACTION_RAX;
      case ACTION_FULL:
        return ACTION_FULL;
      case ACTION_BATCH: {
        long last;
        int done = run_batch(c, &last);
        if (!done || U32(c, CTX_TAIL) == 0) {
          post(c, EVENT_BATCH);
          break;
        }
        REG(c, RAX) = (u64)last;
        if (U32(c, CTX_PATCH_PROT) != 0) patch_site(c);
        acknowledge(c);
        return ACTION_RAX;
      }
      case ACTION_FORK:
        make_process(c);
        break;
      case ACTION_THREAD:
        make_thread(c, uc);
        break;
      case ACTION_EXIT:
        SYS3(__NR_exit, 0, 0, 0);
        break;
      case ACTION_SHOW_FP: {
        u32 size = U32(c, CTX_DATA);
        copy_outs(c);
        U32(c, CTX_DATA) = size;
        show_fp(c, uc);
        post(c, EVENT_BATCH);
        break;
      }
      case ACTION_TAKE_FP:
        take_fp(c, uc);
        post(c, EVENT_BATCH);
        break;
      default:
        SYS3(__NR_exit_group, 1, 0, 0);
    }
  }
}

/* The code in a guest's process that is ours.
 *
 * Under ptrace it is one instruction: the tracer sets the registers of a stopped thread, lets it
 * run the `syscall` at the very start and stops it at the int3.
 *
 * On the systrap platform a guest's system call raises SIGSYS, its faults raise their signals, and
 * a patched call site jumps to patched_entry. All of them put the registers into the thread's
 * context page, mark it pending, add its index to the ring, and wait for the Sentry's answer:
 *
 *   guest ──SIGSYS, SIGSEGV, …──→ handler ─┐
 *   guest ──patched call site──→ patched ──┴→ post, serve ──ACTION_RAX, ACTION_FULL──→ guest
 *                                                 └ ACTION_BATCH, _FORK, _THREAD: done here, then posted
 *
 * A handler gives back all registers, extended state included, by rt_sigreturn. The patched path
 * gives back rax only; what needs more executes an ud2, and goes on as a handler.
 *
 * All threads of the guest see all memory that is used here, so nothing in here protects anything:
 * the host is protected by the filter (platform/systrap/stub-filter.ts) and the Sentry checks what
 * it reads. What is read twice here can only harm the guest that changes it. */
#pragma GCC visibility push(hidden) // no GOT: every symbol is in this one file
#include "sysmsg.h"
#include <asm/fcntl.h>
#include <asm/unistd.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

/* Everything is in this one file: addresses are relative to rip, without a table that needs relocation. */
#pragma GCC visibility push(hidden)

#define STRING(x) #x
#define S(x) STRING(x)

__asm__(".section .text.entry,\"ax\"\n"
        ".globl stub_syscall\nstub_syscall:\n"
        "  syscall\n"
        "  int3\n"
        "  lock cmpxchg %edx, (%rdi)\n"
        "  int3\n"
        /* Under ptrace there are no arguments, and the tracer takes over before this runs. */
        ".globl _start\n_start:\n"
        "  cmpq $2, (%rsp)\n"
        "  je 2f\n"
        "1: pause\n"
        "  jmp 1b\n"
        "2: xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call systrap_main\n"
        ".text\n");

/* STUB_DATA: exists so that the page does. */
__attribute__((section(".data"), used)) static unsigned char stub_data[4096] = {1};

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

/* Bytes that could not be copied. A fault at copy_insn ends the copy: handle_fault() steps over the instruction. */
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

/* ---- talking to the Sentry */

static void ring(u8 *c) {
  u32 head = __atomic_fetch_add(&RING[RING_HEAD], 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(&RING[RING_SLOTS + (head & RING_MASK)], U32(c, CTX_INDEX) + 1, __ATOMIC_SEQ_CST);
  if (RING[RING_SENTRY_SLEEPING] != 0 && __atomic_exchange_n(&RING[RING_SENTRY_SLEEPING], 0, __ATOMIC_SEQ_CST) != 0)
    SYS3(__NR_futex, &RING[RING_HEAD], FUTEX_WAKE, 1);
}

static void post(u8 *c, u32 event) {
  U32(c, CTX_EVENT) = event;
  __atomic_store_n(&U32(c, CTX_STATE), 1, __ATOMIC_SEQ_CST);
  /* The Sentry clears this before it looks at the state for the last time: either it sees the event, or we see that. */
  if (__atomic_load_n(&U32(c, CTX_WATCHED), __ATOMIC_SEQ_CST) == 0) ring(c);
}

/* More spinning than this is not the Sentry's wish: all guests can write the ring. */
#define MAX_SPIN 20000
/* After so many waits in a row that were longer than the budget only one in PROBE_EVERY spins: the Sentry has no processor to answer on. */
#define MISSES_ALLOWED 4
#define PROBE_EVERY 32

/* True when the answer has come while it was looked for. */
static int spin_for_answer(u8 *c) {
  u32 spin = RING[RING_SPIN], misses = U32(c, CTX_SPIN_MISSES);
  if (spin > MAX_SPIN) spin = MAX_SPIN;
  if (misses >= MISSES_ALLOWED && misses % PROBE_EVERY != 0) spin = 1;
  for (; spin > 0; spin--) {
    if (__atomic_load_n(&U32(c, CTX_STATE), __ATOMIC_ACQUIRE) != 1) {
      if (misses != 0) U32(c, CTX_SPIN_MISSES) = 0;
      return 1;
    }
    if (U32(c, CTX_PARKED) != 0) return 0;
    __asm__ volatile("pause");
  }
  U32(c, CTX_SPIN_MISSES) = misses + 1;
  return 0;
}

/* The processor of this thread, plus 1: the low bits of what the kernel keeps for getcpu(2). */
static u32 own_cpu(void) {
  u32 cpu;
  __asm__ volatile("rdtscp" : "=c"(cpu)::"eax", "edx");
  return (cpu & 0xfff) + 1;
}

static void wait_answer(u8 *c) {
  if (__atomic_load_n(&U32(c, CTX_STATE), __ATOMIC_ACQUIRE) != 1) return;
  /* Where the Sentry is to answer on this very processor, it can only do so while we sleep. */
  u32 cpu = own_cpu();
  if (cpu == RING[RING_SENTRY_CPU]) U32(c, CTX_SPIN_MISSES) = 0;
  else if (spin_for_answer(c)) return;
  U32(c, CTX_CPU) = cpu;
  __atomic_store_n(&U32(c, CTX_SLEEPING), 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&U32(c, CTX_STATE), __ATOMIC_SEQ_CST) == 1) sys6(__NR_futex, (long)(c + CTX_STATE), FUTEX_WAIT, 1, 0, 0, 0);
  __atomic_store_n(&U32(c, CTX_SLEEPING), 0, __ATOMIC_SEQ_CST);
}

struct msghdr {
  void *name;
  u64 namelen;
  void *iov;
  u64 iovlen;
  void *control;
  u64 controllen;
  u64 flags;
};
#define MSG_CMSG_CLOEXEC 0x40000000

/* The next descriptors that the Sentry has sent: 0 or -errno. */
static long receive(int *fds, u64 count) {
  u8 byte;
  struct {
    void *base;
    u64 length;
  } iov = {&byte, 1};
  u64 control[4] = {0, 0, 0, 0};
  struct msghdr m = {0, 0, &iov, 1, control, 16 + count * 4, 0};
  long got = SYS3(__NR_recvmsg, STUB_SOCKET, &m, MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  if (control[0] < 16 + count * 4) return -9;
  int *from = (int *)&control[2];
  for (u64 i = 0; i < count; i++) fds[i] = from[i];
  return 0;
}

/* ---- what the Sentry asks for */

static int is_error(long value) { return value < 0 && value > -4096; }

/* Executes the page's host calls; true when all that had to succeed did. */
static int run_batch(u8 *c, long *last) {
  u32 count = U32(c, CTX_NCALLS);
  if (count > MAX_HOST_CALLS) count = MAX_HOST_CALLS;
  *last = 0;
  for (u32 i = 0; i < count; i++) {
    u8 *call = c + CTX_CALLS + i * HOSTCALL_SIZE;
    u32 flags = U32(call, 4);
    long fd = (long)U64(call, 40);
    long value = 0;
    if (flags & HOSTCALL_RECEIVED_FD) {
      int received = -1;
      value = receive(&received, 1);
      fd = received;
    }
    if (U32(call, 0) == HOSTCALL_EXCHANGE) value = exchange((u32 *)U64(call, 8), U32(call, 16), U32(call, 24));
    else if (value == 0) value = sys6(U32(call, 0), (long)U64(call, 8), (long)U64(call, 16), (long)U64(call, 24), (long)U64(call, 32), fd, (long)U64(call, 48));
    if ((flags & HOSTCALL_RECEIVED_FD) && fd >= 0) SYS3(__NR_close, fd, 0, 0);
    U64(call, 56) = (u64)value;
    *last = value;
    if (is_error(value) && !(flags & HOSTCALL_MAY_FAIL)) {
      U32(c, CTX_CALLS_DONE) = i;
      return 0;
    }
  }
  U32(c, CTX_CALLS_DONE) = count;
  return 1;
}

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

struct ucontext;
static void load_fp(struct ucontext *uc);

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

static void patch_site(u8 *c);
static void set_bases(u8 *c);
static void show_fp(u8 *c, struct ucontext *uc);
static void take_fp(u8 *c, struct ucontext *uc);

/* The address space is as the Sentry wanted it: whoever waits for that may go on. */
static void acknowledge(u8 *c) {
  __atomic_store_n(&U32(c, CTX_DONE_SEQ), U32(c, CTX_BATCH_SEQ), __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&U32(c, CTX_DONE_WAITER), __ATOMIC_SEQ_CST) != 0) ring(c);
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

/* ---- prefetch: what the call points at, copied before the Sentry asks. The table is written by platform/systrap/prefetch.ts. */

#define PREFETCH_UNITS 0
#define PREFETCH_STRING 1
#define PREFETCH_BYTES 2
#define PREFETCH_FIXED 3
/* In a size: what the entries of a vector point at is fetched too; the struct is a msghdr, whose vector is. */
#define PREFETCH_FOLLOW 0x80
#define PREFETCH_MSGHDR 0x40
#define PREFETCH_SIZE 0x3f
/* Larger buffers are read by the Sentry right to where they go. */
#define PREFETCH_MAX 8192
/* Of the buffers of a vector; the rest of the data area is for strings and results. */
#define PREFETCH_VECTOR_MAX 16384
#define PATH_MAX 4096
#define IOVEC_SIZE 16
#define MSG_NAME 0
#define MSG_NAMELEN 8
#define MSG_IOV 16
#define MSG_IOVLEN 24
#define MSG_CONTROL 32
#define MSG_CONTROLLEN 40

struct fetched {
  u8 *c;
  u32 used, count;
};

static void add_fetched(struct fetched *f, u64 from, u64 n) {
  u8 *in = f->c + CTX_INS + f->count * IN_SIZE;
  U64(in, 0) = from;
  U32(in, 8) = (u32)n;
  U32(in, 12) = f->used;
  f->used += (u32)((n + 15) & ~15UL);
  f->count++;
}

/* The copy of n bytes, or 0. */
static u8 *fetch(struct fetched *f, u64 from, u64 n) {
  u8 *to = f->c + CTX_DATA + f->used;
  if (from == 0 || n == 0 || n > PREFETCH_MAX || f->count >= MAX_INS || copy_some(to, (const void *)from, n) != 0) return 0;
  add_fetched(f, from, n);
  return to;
}

static void fetch_vector(struct fetched *f, u64 from, u64 entries, int follows) {
  if (entries > PREFETCH_MAX / IOVEC_SIZE) return;
  u8 *vector = fetch(f, from, entries * IOVEC_SIZE);
  if (vector == 0 || !follows) return;
  u32 most = f->used + PREFETCH_VECTOR_MAX;
  for (u64 i = 0; i < entries && f->used < most; i++) fetch(f, U64(vector, i * IOVEC_SIZE), U64(vector, i * IOVEC_SIZE + 8));
}

/* Other commands of fcntl have a number where these have a struct flock. */
static int takes_lock(u32 cmd) {
  return (cmd >= F_GETLK && cmd <= F_SETLKW) || (cmd >= F_OFD_GETLK && cmd <= F_OFD_SETLKW);
}

static void prefetch(u8 *c, u64 nr) {
  static const u8 argument[8] = {RDI, RSI, RDX, R10, R8, R9, R9, R9};
  U32(c, CTX_NOUT) = 0;
  u64 words = nr < 512 ? *(u64 *)(CONF + CONF_PREFETCH + nr * 8) : 0;
  struct fetched f = {c, 0, 0};
  if (nr == __NR_fcntl && !takes_lock((u32)REG(c, RSI))) words = 0;
  for (; words != 0; words >>= 16) {
    u32 word = (u16)words, kind = (word >> 3) & 3, size = (word >> 8) & PREFETCH_SIZE, follows = (word >> 8) & PREFETCH_FOLLOW;
    u64 from = REG(c, argument[word & 7]), counted = REG(c, argument[(word >> 5) & 7]);
    switch (kind) {
      case PREFETCH_STRING: {
        if (from == 0) break;
        long got = copy_string(c + CTX_DATA + f.used, (const u8 *)from, PATH_MAX);
        if (got >= 0) add_fetched(&f, from, (u64)got);
        break;
      }
      case PREFETCH_BYTES:
        fetch(&f, from, counted);
        break;
      case PREFETCH_UNITS:
        if (follows) fetch_vector(&f, from, counted, 1);
        else if (counted <= PREFETCH_MAX) fetch(&f, from, counted * size);
        break;
      case PREFETCH_FIXED: {
        u8 *at = fetch(&f, from, (u64)size * 8);
        if (at == 0 || ((word >> 8) & PREFETCH_MSGHDR) == 0) break;
        if (follows) {
          fetch(&f, U64(at, MSG_NAME), U32(at, MSG_NAMELEN));
          fetch(&f, U64(at, MSG_CONTROL), U64(at, MSG_CONTROLLEN));
        }
        fetch_vector(&f, U64(at, MSG_IOV), U64(at, MSG_IOVLEN), follows != 0);
        break;
      }
    }
  }
  U32(c, CTX_SYSNO) = (u32)nr;
  U32(c, CTX_NIN) = f.count;
  U32(c, CTX_DATA_USED) = f.used;
}

/* ---- call sites
 *
 * Form 1 is `mov $nr,%eax; syscall`, form 2 `syscall; cmp $-4095,%rax` (or -4096), form 3 a 5-byte load from the stack
 * and `syscall`. They become a jump of 7 bytes through the table at JUMP_TABLE:
 *
 *   form 1, 3:  ff 24 25 lo hi 06 00      a thread that stood before `syscall` (offset 5) finds 06, an invalid opcode
 *   form 2:     ff 24 e5 lo hi 06 00      one that stood behind it (offset 2) finds e5, `in`, which is privileged
 *
 * and put_right() puts both right. The store is one of 8 bytes inside a cache line; a site across two lines is patched only
 * while the process has a single thread. */

#define TABLE ((volatile u64 *)JUMP_TABLE)
#define TABLE_NEXT 2
#define TABLE_COUNT 3
#define TABLE_FIRST 4
#define MAX_SITES 8000
#define HITS ((u8 *)(THUNKS_END - 4096))
/* A site is worth its thunk and the copy of its page when it is called again and again. */
#define HITS_NEEDED 3

/* The form of the site whose `syscall` ends at rip, b being what stands from rip-8 on; 0 for none. */
static int site_form(u64 rip, const u8 *b, u64 rax, int is_alone) {
  if (b[6] != 0x0f || b[7] != 0x05) return 0;
  int first = ((rip - 7) & 63) <= 56, second = ((rip - 2) & 63) <= 56;
  int is2 = b[8] == 0x48 && b[9] == 0x3d && (b[10] == 0x00 || b[10] == 0x01) && b[11] == 0xf0 && b[12] == 0xff && b[13] == 0xff;
  int form = b[1] == 0xb8 && *(const u32 *)(b + 2) == rax ? 1 : b[1] == 0x4c && b[2] == 0x8b && b[3] == 0x4c && b[4] == 0x24 ? 3 : 0;
  if (form != 0 && first) return form;
  if (is2 && second) return 2;
  if (!is_alone) return 0;
  return form != 0 ? form : is2 ? 2 : 0;
}

/* Whether the site of this trap could be patched: the Sentry knows the mapping, and decides. */
static int note_site(u8 *c, u64 rip, u64 rax) {
  if (U32(CONF, CONF_PATCH) == 0) return 0;
  u8 *hits = HITS + ((rip ^ (rip >> 12)) & 4095);
  if (*hits < HITS_NEEDED) {
    ++*hits;
    return 0;
  }
  u8 b[16];
  *hits = 0;
  if (TABLE[TABLE_COUNT] >= MAX_SITES) {
    U32(c, CTX_SITES_FULL)++;
    return 0;
  }
  if (copy_some(b, (void *)(rip - 8), 16) != 0 || site_form(rip, b, rax, 1) == 0) {
    U32(c, CTX_SITES_NO_FORM)++;
    return 0;
  }
  U64(c, CTX_PATCH_SITE) = rip;
  return 1;
}

static u8 *put64(u8 *p, u64 value) {
  for (int i = 0; i < 8; i++) p[i] = (u8)(value >> (i * 8));
  return p + 8;
}

static void patch_site(u8 *c) {
  u32 prot = U32(c, CTX_PATCH_PROT) & 7, is_alone = U32(c, CTX_PATCH_PROT) & PATCH_ALONE;
  u64 rip = U64(c, CTX_PATCH_SITE);
  U32(c, CTX_PATCH_PROT) = 0;
  u8 b[16];
  u64 count = TABLE[TABLE_COUNT];
  u8 *t = (u8 *)TABLE[TABLE_NEXT];
  if (count >= MAX_SITES || (u64)t < THUNKS || (u64)t > THUNKS_END - 4096 - 64) {
    U32(c, CTX_SITES_FULL)++;
    return;
  }
  if (copy_some(b, (void *)(rip - 8), 16) != 0) return;
  int form = site_form(rip, b, REG(c, ORIG_RAX), is_alone != 0);
  if (form == 0) {
    U32(c, CTX_SITES_SPLIT)++;
    return;
  }
  u64 entry = JUMP_TABLE + (TABLE_FIRST + count) * 8;
  u8 *p = t;
  if (form != 2) {
    for (int i = 0; i < 5; i++) *p++ = b[1 + i];
    *p++ = 0x48, *p++ = 0xb9; /* movabs $rip, %rcx */
    p = put64(p, rip);
    *p++ = 0xff, *p++ = 0x24, *p++ = 0x25, *p++ = 0, *p++ = 0, *p++ = 6, *p++ = 0; /* jmp *JUMP_TABLE */
    t += 32;
  } else {
    *p++ = 0x48, *p++ = 0xb9; /* movabs $tail, %rcx */
    p = put64(p, (u64)t + 32);
    *p++ = 0xff, *p++ = 0x24, *p++ = 0x25, *p++ = 8, *p++ = 0, *p++ = 6, *p++ = 0; /* jmp *JUMP_TABLE+8 */
    put64(t + 24, rip);
    p = t + 32; /* the tail: the compare, then back behind it */
    for (int i = 0; i < 6; i++) *p++ = b[8 + i];
    *p++ = 0xff, *p++ = 0x25, *p++ = 0, *p++ = 0, *p++ = 0, *p++ = 0;
    put64(p, rip + 6);
    t += 64;
  }
  TABLE[TABLE_FIRST + count] = (u64)t - (form == 2 ? 64 : 32);
  TABLE[TABLE_NEXT] = (u64)t;
  TABLE[TABLE_COUNT] = count + 1;
  u64 site = form == 2 ? rip - 2 : rip - 7, page = site & ~4095UL, length = ((site + 7) & ~4095UL) - page + 4096;
  u8 code[8];
  if (copy_some(code, (void *)site, 8) != 0) return;
  code[0] = 0xff, code[1] = 0x24, code[2] = form == 2 ? 0xe5 : 0x25;
  code[3] = (u8)entry, code[4] = (u8)(entry >> 8), code[5] = 6, code[6] = 0;
  if (SYS3(__NR_mprotect, page, length, 7) != 0) return;
  u64 word;
  memcpy(&word, code, 8);
  __atomic_store_n((u64 *)site, word, __ATOMIC_SEQ_CST);
  U32(c, CTX_SITES_PATCHED)++;
  SYS3(__NR_mprotect, page, length, prot);
}

/* ---- the patched path */

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

#define GUEST_TOP 0x7fee00000000UL
#define FUTEX_PRIVATE_FLAG 128
#define FUTEX_WAKE_BITSET 10
#define FUTEX_BUCKETS 1024

/* FUTEX_WAKE with nobody waiting. The Sentry raises the counter of a word's bucket before it looks at the word, and the guest
 * has changed the word before it came here: either we see the waiter, or it sees the new value. A word has the same place in its
 * page wherever it is mapped, so that shared ones need no other key. */
static int no_one_to_wake(u8 *c) {
  u64 addr = REG(c, RDI);
  u32 op = (u32)REG(c, RSI), cmd = op & ~FUTEX_PRIVATE_FLAG;
  if (cmd != FUTEX_WAKE && (cmd != FUTEX_WAKE_BITSET || (u32)REG(c, R9) == 0)) return 0;
  if (addr % 4 != 0 || addr >= GUEST_TOP) return 0;
  u32 word;
  /* One that processes may share has to be there: get_futex_key(). */
  if ((op & FUTEX_PRIVATE_FLAG) == 0 && copy_some(&word, (void *)addr, 4) != 0) return 0;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return __atomic_load_n((u32 *)(CONF + CONF_FUTEX_WAITERS) + addr / 4 % FUTEX_BUCKETS, __ATOMIC_SEQ_CST) == 0;
}

#define CLOCK_REALTIME 0
#define CLOCK_REALTIME_COARSE 5
/* REALTIME, MONOTONIC, MONOTONIC_RAW, both COARSE, BOOTTIME, TAI: what the vDSO knows without asking the kernel. */
#define VDSO_CLOCKS 0x8f3u

struct timespec {
  long sec, nsec;
};

/* The guest's clocks are the host's, and its vDSO too: nobody but the host can change it there. It uses no extended state. */
static int read_clock(u32 clock, struct timespec *now) {
  long (*gettime)(long, struct timespec *) = (long (*)(long, struct timespec *))U64(CONF, CONF_VDSO_CLOCK);
  return gettime != 0 && clock < 32 && (VDSO_CLOCKS >> clock & 1) != 0 && gettime(clock, now) == 0;
}

/* A result that cannot be stored is the Sentry's to answer. */
static int stored(u64 addr, const void *from, u64 n) { return addr < GUEST_TOP && copy_some((void *)addr, from, n) == 0; }

static int answer_clock(u8 *c) {
  struct timespec now;
  return read_clock((u32)REG(c, RDI), &now) && stored(REG(c, RSI), &now, sizeof now);
}

static int answer_timeofday(u8 *c) {
  struct timespec now;
  if (REG(c, RDI) == 0 || REG(c, RSI) != 0 || !read_clock(CLOCK_REALTIME, &now)) return 0;
  now.nsec /= 1000;
  return stored(REG(c, RDI), &now, sizeof now);
}

static int answer_time(u8 *c) {
  struct timespec now;
  if (!read_clock(CLOCK_REALTIME_COARSE, &now) || (REG(c, RDI) != 0 && !stored(REG(c, RDI), &now.sec, 8))) return 0;
  REG(c, RAX) = (u64)now.sec;
  return 1;
}

/* Calls that need no Sentry; their answer in the page says that nobody wants to see them. */
static int answer_here(u8 *c, u64 nr) {
  if (nr >= MAX_ANSWERS) return 0;
  int answer = (int)U32(c, CTX_ANSWERS + nr * 4), done;
  switch (answer) {
    case 0:
      return 0;
    case HERE_YIELD:
      SYS3(__NR_sched_yield, 0, 0, 0);
      done = 1;
      break;
    case HERE_FUTEX:
      done = no_one_to_wake(c);
      break;
    case HERE_CLOCK:
      done = answer_clock(c);
      break;
    case HERE_TIMEOFDAY:
      done = answer_timeofday(c);
      break;
    case HERE_TIME:
      return answer_time(c);
    default:
      if (answer < 0) return 0;
      REG(c, RAX) = (u64)answer - 1;
      return 1;
  }
  if (done) REG(c, RAX) = 0;
  return done;
}

__attribute__((used)) u32 patched_call(u8 *c) {
  if (answer_here(c, REG(c, ORIG_RAX))) return ACTION_RAX;
  prefetch(c, REG(c, ORIG_RAX));
  post(c, EVENT_SYSCALL);
  return serve(c, 0);
}

static void set_stack(u64 slot) {
  u64 stack[3] = {STUB_STACKS + slot * STACK_SIZE + STUB_STACK_SIZE, 0, STACK_SIZE - STUB_STACK_SIZE};
  SYS3(__NR_sigaltstack, stack, 0, 0);
}

__attribute__((noreturn)) static void go_full(void) {
  __asm__ volatile("jmp trap_full");
  __builtin_unreachable();
}

/* A new thread's first steps, on its stub stack. */
__attribute__((used)) void thread_main(u64 slot) {
  u8 *c = (u8 *)STUB_WINDOW + slot * CONTEXT_SIZE;
  set_stack(slot);
  SYS3(__NR_arch_prctl, ARCH_SET_GS, c, 0);
  serve(c, 0);
  go_full();
}

/* ---- signals */

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

static void save_registers(u8 *c, struct ucontext *uc) {
  struct sigcontext *m = &uc->m;
  REG(c, R15) = m->r15, REG(c, R14) = m->r14, REG(c, R13) = m->r13, REG(c, R12) = m->r12;
  REG(c, RBP) = m->bp, REG(c, RBX) = m->bx, REG(c, R11) = m->r11, REG(c, R10) = m->r10;
  REG(c, R9) = m->r9, REG(c, R8) = m->r8, REG(c, RAX) = m->ax, REG(c, RCX) = m->cx;
  REG(c, RDX) = m->dx, REG(c, RSI) = m->si, REG(c, RDI) = m->di, REG(c, ORIG_RAX) = (u64)-1;
  REG(c, RIP) = m->ip, REG(c, CS) = m->cs, REG(c, EFLAGS) = m->flags, REG(c, RSP) = m->sp, REG(c, SS) = m->ss;
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
    save_registers(c, uc);
    U32(c, CTX_NIN) = 0;
    U32(c, CTX_NOUT) = 0;
    U32(c, CTX_DATA_USED) = 0;
    post(c, EVENT_KICKED);
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
  save_registers(c, uc);
  U32(c, CTX_FAULT_SIGNO) = (u32)si->signo;
  U32(c, CTX_FAULT_CODE) = (u32)si->code;
  U32(c, CTX_FAULT_TRAPNO) = (u32)uc->m.trapno;
  U32(c, CTX_FAULT_ERR) = (u32)uc->m.err;
  U64(c, CTX_FAULT_ADDR) = si->addr;
  U32(c, CTX_NIN) = 0;
  U32(c, CTX_NOUT) = 0;
  U32(c, CTX_DATA_USED) = 0;
  post(c, EVENT_FAULT);
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
  save_registers(c, uc);
  U32(c, CTX_NIN) = 0;
  U32(c, CTX_NOUT) = 0;
  U32(c, CTX_DATA_USED) = 0;
  post(c, EVENT_KICKED);
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

/* ---- start: the process that all others are forked from */

struct sigaction {
  void *handler;
  u64 flags;
  void *restorer;
  u64 mask;
};
#define SA_SIGINFO 0x4
#define SA_RESTORER 0x04000000
#define SA_ONSTACK 0x08000000
#define SA_NODEFER 0x40000000

__attribute__((noreturn)) static void fail(int step) {
  for (;;) SYS3(__NR_exit_group, step, 0, 0);
}

#define FIXED_ANONYMOUS 0x4032 /* MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE */
#define FIXED_SHARED 0x11

static void must_map(u64 addr, u64 size, int prot, int flags, int fd, u64 offset, int step) {
  if (sys6(__NR_mmap, (long)addr, (long)size, prot, flags, fd, (long)offset) != (long)addr) fail(step);
}

#define STUB_MEMFD 4
#define STUB_RINGFD 5

struct elf_header {
  u8 ident[16];
  u16 type, machine;
  u32 version;
  u64 entry, phoff, shoff;
  u32 flags;
  u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct program_header {
  u32 type, flags;
  u64 offset, vaddr, paddr, filesz, memsz, align;
};

struct symbol {
  u32 name;
  u8 info, other;
  u16 shndx;
  u64 value, size;
};

static int is_name(const char *a, const char *b) {
  for (; *a == *b; a++, b++)
    if (*a == 0) return 1;
  return 0;
}

#define PT_LOAD 1
#define PT_DYNAMIC 2
#define DT_STRTAB 5
#define DT_SYMTAB 6

/* The address of a function of the vDSO, or 0. Its symbols lie before their names, which is how their number is known. */
static u64 vdso_function(u64 vdso, const char *name) {
  if (vdso == 0) return 0;
  const struct elf_header *e = (const struct elf_header *)vdso;
  const struct program_header *p = (const struct program_header *)(vdso + e->phoff);
  const u64 *dynamic = 0;
  u64 base = vdso;
  for (u32 i = 0; i < e->phnum; i++) {
    if (p[i].type == PT_LOAD) base = vdso + p[i].offset - p[i].vaddr;
    if (p[i].type == PT_DYNAMIC) dynamic = (const u64 *)(vdso + p[i].offset);
  }
  u64 strings = 0, symbols = 0;
  for (; dynamic != 0 && dynamic[0] != 0; dynamic += 2) {
    if (dynamic[0] == DT_STRTAB) strings = base + dynamic[1];
    if (dynamic[0] == DT_SYMTAB) symbols = base + dynamic[1];
  }
  if (strings == 0 || symbols == 0) return 0;
  for (const struct symbol *s = (const struct symbol *)symbols; (u64)(s + 1) <= strings; s++)
    if (s->shndx != 0 && is_name((const char *)strings + s->name, name)) return base + s->value;
  return 0;
}

/* Where the host has put the vDSO: behind argc, argv and the environment on the first stack. */
static u64 vdso_address(const u64 *sp) {
  const u64 *p = sp + 1 + sp[0] + 1;
  while (*p++ != 0) {
  }
  for (; p[0] != 0; p += 2)
    if (p[0] == 33 /* AT_SYSINFO_EHDR */) return p[1];
  return 0;
}

__attribute__((used)) void systrap_main(const u64 *sp) {
  must_map(STUB_RING, RING_SIZE, 3, FIXED_SHARED, STUB_RINGFD, 0, 11);
  must_map(STUB_CONF, CONF_SIZE, 1, FIXED_SHARED, STUB_RINGFD, RING_SIZE, 12);
  must_map(STUB_WINDOW, WINDOW_SIZE, 3, FIXED_SHARED, STUB_MEMFD, 0, 13);
  must_map(STUB_STACKS, MAX_SLOTS * STACK_SIZE, 3, FIXED_ANONYMOUS, -1, 0, 14);
  must_map(JUMP_TABLE, THUNKS_END - JUMP_TABLE, 7, FIXED_ANONYMOUS, -1, 0, 15);
  SYS3(__NR_close, STUB_MEMFD, 0, 0);
  SYS3(__NR_close, STUB_RINGFD, 0, 0);
  TABLE[0] = (u64)patched_entry1;
  TABLE[1] = (u64)patched_entry2;
  TABLE[TABLE_NEXT] = THUNKS;

  static const u8 signals[] = {4, 5, 7, 8, 11, 31, STUB_KICK_SIGNAL};
  for (u64 i = 0; i < sizeof signals; i++) {
    struct sigaction action = {handler, SA_SIGINFO | SA_ONSTACK | SA_RESTORER | SA_NODEFER, restorer, 1UL << (STUB_KICK_SIGNAL - 1)};
    if (sys6(__NR_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0) != 0) fail(16);
  }
  set_stack(0);
  u8 *c = (u8 *)STUB_WINDOW;
  if (SYS3(__NR_arch_prctl, ARCH_SET_GS, c, 0) != 0) fail(17);
  __asm__ volatile("call trap_probe" ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");

  u64 vdso = vdso_address(sp);
  U64(c, CTX_DATA + 8) = vdso;
  U64(c, CTX_DATA + 16) = vdso_function(vdso, "__vdso_clock_gettime");
  struct {
    u16 length;
    void *code;
  } program = {(u16)U32(CONF, CONF_FILTER_LENGTH), CONF + CONF_FILTER};
  if (sys6(__NR_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0, 0) != 0) fail(18);
  if (SYS3(__NR_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 0, &program) != 0) fail(19);
  post(c, EVENT_BATCH);
  serve(c, 0);
  go_full();
}

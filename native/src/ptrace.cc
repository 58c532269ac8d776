// The ptrace platform: guest threads are tracees of the Sentry's main thread, resumed with
// PTRACE_SYSEMU so that none of their system calls reaches the host. Host calls on their behalf
// are injected: registers set, one `syscall` of the stub run, an int3 stops the thread again. A
// guest thread that shares the memory can therefore not change what is asked of the host.
//
// Threads are named by their context index; their registers live in the region at that index.
#include <napi.h>
#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstring>
#include <algorithm>
#include <deque>
#include <unordered_map>
#include <vector>
#include "../stub/sysmsg.h"
#include "args.h"
#include "memory.h"
#include "wait.h"


namespace {

enum State : uint8_t { kNone, kStopped, kRunning, kDead };

struct Thread {
  pid_t tid = 0;
  pid_t pid = 0;
  State state = kNone;
  /** Stopped by the host for a kick that arrived while a call was injected. */
  bool kicked = false;
  std::vector<int> fds;
  /** CPU time known to be this thread's, in ns. */
  uint64_t cpu = 0;
};

uint8_t* region = nullptr;
std::vector<Thread> threads(MAX_CONTEXTS);
std::unordered_map<pid_t, uint32_t> byTid;
/** Of a host process's CPU time, the ns that its threads have been given. */
std::unordered_map<pid_t, uint64_t> cpuGiven;
/** Contexts whose event is ready without a host stop: deaths and kicks seen elsewhere. */
std::deque<uint32_t> pending;
int socketOurs = -1;
size_t xstateSize = 0;

constexpr int kStubSocket = 3;
constexpr long kOptions =
    PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;

uint8_t* Page(uint32_t index) { return region + static_cast<size_t>(index) * CONTEXT_SIZE; }
template <typename T>
T& Field(uint32_t index, size_t at) {
  return *reinterpret_cast<T*>(Page(index) + at);
}
user_regs_struct& Regs(uint32_t index) { return Field<user_regs_struct>(index, CTX_REGS); }

void Post(uint32_t index, int event) {
  Field<int32_t>(index, CTX_EVENT) = event;
  pending.push_back(index);
}

void Died(uint32_t index, int status) {
  Thread& t = threads[index];
  if (t.state == kDead || t.state == kNone) return;
  t.state = kDead;
  byTid.erase(t.tid);
  Field<int32_t>(index, CTX_WAIT_STATUS) = status;
  Post(index, EVENT_DIED);
}

/** Waits for this very thread to stop; false when it is gone. */
bool WaitStop(uint32_t index, int* status) {
  Thread& t = threads[index];
  for (;;) {
    pid_t got = waitpid(t.tid, status, __WALL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      Died(index, SIGKILL);
      return false;
    }
    if (WIFSTOPPED(*status)) return true;
    Died(index, *status);
    return false;
  }
}

/** Runs one host call in a stopped thread. The result, -errno included; -ESRCH when the thread died. newTid receives the child of a clone. */
int64_t Inject(uint32_t index, long nr, const uint64_t* args, pid_t* newTid = nullptr) {
  Thread& t = threads[index];
  if (t.state != kStopped) return -ESRCH;
  user_regs_struct r = Regs(index);
  r.orig_rax = ~0ULL;
  r.rax = static_cast<uint64_t>(nr);
  r.rdi = args[0];
  r.rsi = args[1];
  r.rdx = args[2];
  r.r10 = args[3];
  r.r8 = args[4];
  r.r9 = args[5];
  r.rip = STUB_SYSCALL;
  r.eflags &= ~0x100ULL;
  if (ptrace(PTRACE_SETREGS, t.tid, nullptr, &r) < 0 || ptrace(PTRACE_CONT, t.tid, nullptr, nullptr) < 0) {
    Died(index, SIGKILL);
    return -ESRCH;
  }
  for (;;) {
    int status;
    if (!WaitStop(index, &status)) return -ESRCH;
    int event = status >> 16;
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_VFORK) {
      unsigned long message = 0;
      ptrace(PTRACE_GETEVENTMSG, t.tid, nullptr, &message);
      if (newTid != nullptr) *newTid = static_cast<pid_t>(message);
    } else if (event == PTRACE_EVENT_STOP) {
      t.kicked = true;
    } else if (WSTOPSIG(status) == SIGTRAP) {
      user_regs_struct now;
      if (ptrace(PTRACE_GETREGS, t.tid, nullptr, &now) < 0) {
        Died(index, SIGKILL);
        return -ESRCH;
      }
      if (now.rip == STUB_SYSCALL + 3) return static_cast<int64_t>(now.rax);
    }
    // Any other signal came from outside and is not the guest's business.
    if (ptrace(PTRACE_CONT, t.tid, nullptr, nullptr) < 0) {
      Died(index, SIGKILL);
      return -ESRCH;
    }
  }
}

/** `lock cmpxchg` in a stopped thread: the word as it was, -EFAULT, or -ESRCH when the thread cannot. */
int64_t Exchange(uint32_t index, uint64_t addr, uint32_t expected, uint32_t value) {
  Thread& t = threads[index];
  if (t.state != kStopped) return -ESRCH;
  user_regs_struct r = Regs(index);
  r.orig_rax = ~0ULL;
  r.rax = expected;
  r.rdi = addr;
  r.rdx = value;
  r.rip = STUB_EXCHANGE;
  r.eflags &= ~0x100ULL;
  if (ptrace(PTRACE_SETREGS, t.tid, nullptr, &r) < 0) return -ESRCH;
  for (;;) {
    int status;
    user_regs_struct now;
    if (ptrace(PTRACE_CONT, t.tid, nullptr, nullptr) < 0) {
      Died(index, SIGKILL);
      return -ESRCH;
    }
    if (!WaitStop(index, &status)) return -ESRCH;
    if (status >> 16 == PTRACE_EVENT_STOP) {
      t.kicked = true;
    } else if (ptrace(PTRACE_GETREGS, t.tid, nullptr, &now) == 0) {
      if (now.rip == STUB_EXCHANGE_END) return static_cast<uint32_t>(now.rax);
      if (now.rip == STUB_EXCHANGE && (WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGBUS)) return -EFAULT;
    }
  }
}

/** Hands the oldest queued descriptor to the stub; its number there, or -errno. */
int64_t PassDescriptor(uint32_t index) {
  Thread& t = threads[index];
  if (t.fds.empty()) return -EBADF;
  int fd = t.fds.front();
  t.fds.erase(t.fds.begin());
  char byte = 0;
  ssize_t sent = SendDescriptors(socketOurs, &byte, 1, &fd, 1);
  int error = errno;
  close(fd);
  if (sent < 0) return -error;
  struct {
    msghdr header;
    iovec iov;
    alignas(8) char control[CMSG_SPACE(sizeof(int))];
    char byte;
  } m{};
  const uint64_t base = STUB_DATA;
  m.header.msg_iov = reinterpret_cast<iovec*>(base + offsetof(decltype(m), iov));
  m.header.msg_iovlen = 1;
  m.header.msg_control = reinterpret_cast<void*>(base + offsetof(decltype(m), control));
  m.header.msg_controllen = sizeof m.control;
  m.iov.iov_base = reinterpret_cast<void*>(base + offsetof(decltype(m), byte));
  m.iov.iov_len = 1;
  if (GuestWrite(t.tid, base, &m, sizeof m) != sizeof m) return -EFAULT;
  const uint64_t args[6] = {kStubSocket, base, MSG_CMSG_CLOEXEC, 0, 0, 0};
  int64_t got = Inject(index, SYS_recvmsg, args);
  if (got < 0) return got;
  if (GuestRead(t.tid, base, &m, sizeof m) != sizeof m) return -EFAULT;
  int stubFd;
  memcpy(&stubFd, m.control + CMSG_LEN(0), sizeof stubFd);
  return stubFd;
}

void DropDescriptors(Thread& t) {
  for (int fd : t.fds) close(fd);
  t.fds.clear();
}

/** Runs the context's batch; true when every call that had to succeed did. */
bool RunBatch(uint32_t index, int64_t* last) {
  uint32_t count = Field<uint32_t>(index, CTX_NCALLS);
  if (count > MAX_HOST_CALLS) count = MAX_HOST_CALLS;
  *last = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint8_t* call = Page(index) + CTX_CALLS + i * HOSTCALL_SIZE;
    uint32_t nr, flags;
    uint64_t args[6];
    memcpy(&nr, call, 4);
    memcpy(&flags, call + 4, 4);
    memcpy(args, call + 8, sizeof args);
    int64_t value;
    if (flags & HOSTCALL_RECEIVED_FD) {
      int64_t fd = PassDescriptor(index);
      if (fd < 0) {
        value = fd;
      } else {
        args[4] = static_cast<uint64_t>(fd);
        value = Inject(index, static_cast<long>(nr), args);
        const uint64_t closeArgs[6] = {static_cast<uint64_t>(fd), 0, 0, 0, 0, 0};
        Inject(index, SYS_close, closeArgs);
      }
    } else {
      value = Inject(index, static_cast<long>(nr), args);
    }
    memcpy(call + 56, &value, 8);
    *last = value;
    if (value < 0 && value > -4096 && !(flags & HOSTCALL_MAY_FAIL)) {
      Field<uint32_t>(index, CTX_CALLS_DONE) = i;
      DropDescriptors(threads[index]);
      return false;
    }
  }
  Field<uint32_t>(index, CTX_CALLS_DONE) = count;
  return true;
}

// ---- extended state

constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;
constexpr size_t kSwReserved = 464;
// 8 bytes stay free for the magic behind it: the regset is read in whole u64s only, kernel/ptrace.c:ptrace_regset().
alignas(64) uint8_t xstate[16384];

/** Writes the thread's extended state to guest memory as the kernel lays it into signal frames: arch/x86/kernel/fpu/signal.c. */
void SaveFp(uint32_t index, uint64_t addr) {
  iovec iov{xstate, sizeof xstate - 8};
  if (ptrace(PTRACE_GETREGSET, threads[index].tid, reinterpret_cast<void*>(NT_X86_XSTATE), &iov) < 0) return;
  // The kernel's regset keeps xcr0 in the software bytes; a frame keeps sizes and magic there.
  uint64_t features;
  memcpy(&features, xstate + kSwReserved, 8);
  uint32_t size = static_cast<uint32_t>(iov.iov_len);
  uint8_t sw[48] = {};
  uint32_t extended = size + 4;
  memcpy(sw, &kMagic1, 4);
  memcpy(sw + 4, &extended, 4);
  memcpy(sw + 8, &features, 8);
  memcpy(sw + 16, &size, 4);
  memcpy(xstate + kSwReserved, sw, sizeof sw);
  memcpy(xstate + size, &kMagic2, 4);
  GuestWrite(threads[index].tid, addr, xstate, size + 4);
}

/** Loads it back. A frame without the magic holds just the 512 bytes of fxsave. */
void RestoreFp(uint32_t index, uint64_t addr) {
  Thread& t = threads[index];
  iovec iov{xstate, sizeof xstate - 8};
  if (ptrace(PTRACE_GETREGSET, t.tid, reinterpret_cast<void*>(NT_X86_XSTATE), &iov) < 0) return;
  uint64_t xcr0;
  memcpy(&xcr0, xstate + kSwReserved, 8);
  size_t size = iov.iov_len;
  if (addr == FP_INITIAL) {
    const uint16_t fcw = FP_INITIAL_FCW;
    const uint32_t initial = FP_INITIAL_MXCSR;
    memset(xstate, 0, size);
    memcpy(xstate, &fcw, 2);
    memcpy(xstate + 24, &initial, 4);
    memcpy(xstate + kSwReserved, &xcr0, 8);
    ptrace(PTRACE_SETREGSET, t.tid, reinterpret_cast<void*>(NT_X86_XSTATE), &iov);
    return;
  }
  static uint8_t frame[16384];
  size_t got = GuestRead(t.tid, addr, frame, size + 4);
  if (got < 512) return;
  uint32_t magic1 = 0, magic2 = 0;
  memcpy(&magic1, frame + kSwReserved, 4);
  if (got == size + 4) memcpy(&magic2, frame + size, 4);
  uint64_t bits = 3;
  if (magic1 == kMagic1 && magic2 == kMagic2) {
    memcpy(xstate, frame, size);
    memcpy(&bits, xstate + 512, 8);
    bits &= xcr0;
  } else {
    memcpy(xstate, frame, 512);
    memset(xstate + 512, 0, size - 512);
  }
  uint32_t mxcsr;
  memcpy(&mxcsr, xstate + 24, 4);
  mxcsr &= 0xffff;
  memcpy(xstate + 24, &mxcsr, 4);
  memcpy(xstate + kSwReserved, &xcr0, 8);
  memset(xstate + 512, 0, 64);
  memcpy(xstate + 512, &bits, 8);
  iov.iov_len = size;
  ptrace(PTRACE_SETREGSET, t.tid, reinterpret_cast<void*>(NT_X86_XSTATE), &iov);
}

void Resume(uint32_t index) {
  Thread& t = threads[index];
  if (t.state != kStopped) return;
  uint64_t& save = Field<uint64_t>(index, CTX_FP_SAVE_ADDR);
  if (save != 0) {
    SaveFp(index, save);
    save = 0;
  }
  uint64_t& restore = Field<uint64_t>(index, CTX_FP_RESTORE_ADDR);
  if (restore != 0) {
    RestoreFp(index, restore);
    restore = 0;
  }
  if (t.kicked) {
    t.kicked = false;
    Post(index, EVENT_KICKED);
    return;
  }
  user_regs_struct r = Regs(index);
  r.orig_rax = ~0ULL;
  if (ptrace(PTRACE_SETREGS, t.tid, nullptr, &r) < 0 || ptrace(PTRACE_SYSEMU, t.tid, nullptr, nullptr) < 0) {
    Died(index, SIGKILL);
    return;
  }
  t.state = kRunning;
}

/** Turns a stop into an event of the context; false when there is nothing to tell. */
bool Stopped(uint32_t index, int status) {
  Thread& t = threads[index];
  t.state = kStopped;
  int signal = WSTOPSIG(status), event = status >> 16;
  if (ptrace(PTRACE_GETREGS, t.tid, nullptr, &Regs(index)) < 0) {
    // A SIGKILL has overtaken the stop; the death is reported next.
    t.state = kRunning;
    return false;
  }
  if (signal == (SIGTRAP | 0x80)) {
    Field<int32_t>(index, CTX_EVENT) = EVENT_SYSCALL;
    return true;
  }
  if (event == PTRACE_EVENT_STOP) {
    Field<int32_t>(index, CTX_EVENT) = EVENT_KICKED;
    return true;
  }
  siginfo_t si;
  if (ptrace(PTRACE_GETSIGINFO, t.tid, nullptr, &si) < 0) memset(&si, 0, sizeof si);
  bool fault = (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGTRAP) && si.si_code > 0;
  if (!fault) {
    // From outside the sandbox: not for the guest.
    ptrace(PTRACE_SYSEMU, t.tid, nullptr, nullptr);
    t.state = kRunning;
    return false;
  }
  Field<int32_t>(index, CTX_EVENT) = EVENT_FAULT;
  Field<int32_t>(index, CTX_FAULT_SIGNO) = signal;
  Field<int32_t>(index, CTX_FAULT_CODE) = si.si_code;
  Field<uint64_t>(index, CTX_FAULT_ADDR) = reinterpret_cast<uint64_t>(si.si_addr);
  // ptrace does not tell trap number and error code: the usual ones of the signal.
  int trap = 0;
  switch (signal) {
    case SIGSEGV: trap = si.si_code == SI_KERNEL ? 13 : 14; break;
    case SIGBUS: trap = si.si_code == BUS_ADRALN ? 17 : 14; break;
    case SIGFPE: trap = si.si_code == FPE_INTDIV ? 0 : 19; break;
    case SIGILL: trap = 6; break;
    case SIGTRAP: trap = si.si_code == SI_KERNEL ? 3 : 1; break;
  }
  Field<int32_t>(index, CTX_FAULT_TRAPNO) = trap;
  Field<int32_t>(index, CTX_FAULT_ERR) = trap == 14 ? 4 | (si.si_code == SEGV_ACCERR ? 1 : 0) : 0;
  return true;
}

void OnChild(int) {
  int saved = errno;
  BellRing();
  errno = saved;
}

uint64_t VdsoOf(pid_t pid, uint64_t rsp) {
  // argc, argv, NULL, envp, NULL, auxv: what execve has put on the stack.
  uint64_t words[512];
  size_t n = GuestRead(pid, rsp, words, sizeof words) / 8;
  size_t i = 1;
  for (int nulls = 0; nulls < 2 && i < n; i++)
    if (words[i] == 0) nulls++;
  for (; i + 1 < n && words[i] != AT_NULL; i += 2)
    if (words[i] == AT_SYSINFO_EHDR) return words[i + 1];
  return 0;
}

// ptraceStart(region, stubFd, out: Float64Array): starts the stub that all others are forked from, as
// context 0. out: [pid, vdso address, size of the extended state]. 0 or -errno.
napi_value Start(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  size_t size, outSize;
  region = a.bytes(0, &size);
  double* out = reinterpret_cast<double*>(a.bytes(2, &outSize));
  if (size < static_cast<size_t>(MAX_CONTEXTS) * CONTEXT_SIZE || outSize < 24) return integer(env, -EINVAL);
  int stubFd = a.i32(1);
  int sockets[2], gate[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) return integer(env, -errno);
  if (pipe2(gate, O_CLOEXEC) < 0) return integer(env, -errno);
  struct sigaction action {};
  action.sa_handler = OnChild;
  action.sa_flags = SA_RESTART;
  sigaction(SIGCHLD, &action, nullptr);

  pid_t pid = fork();
  if (pid < 0) return integer(env, -errno);
  if (pid == 0) {
    char byte;
    if (read(gate[0], &byte, 1) != 1) _exit(1);
    int stub = fcntl(stubFd, F_DUPFD_CLOEXEC, 10);
    if (dup2(sockets[1], kStubSocket) < 0) _exit(1);
    close(0);
    close(1);
    close(2);
    syscall(SYS_close_range, 4, stub - 1, 0);
    syscall(SYS_close_range, stub + 1, ~0U, 0);
    // Signals: nothing blocked, nothing ignored.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int s = 1; s < 65; s++) signal(s, SIG_DFL);
    char name[] = "stub";
    char* argv[] = {name, nullptr};
    char* envp[] = {nullptr};
    syscall(SYS_execveat, stub, "", argv, envp, AT_EMPTY_PATH);
    _exit(1);
  }
  close(sockets[1]);
  close(gate[0]);
  socketOurs = sockets[0];
  int status = 0;
  int error = 0;
  if (ptrace(PTRACE_SEIZE, pid, nullptr, kOptions) < 0) error = errno;
  else if (write(gate[1], "", 1) != 1) error = errno;
  close(gate[1]);
  if (error != 0) {
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return integer(env, -error);
  }
  threads[0] = Thread{};
  threads[0].tid = threads[0].pid = pid;
  threads[0].state = kStopped;
  for (;;) {
    if (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) || WIFSIGNALED(status)) return integer(env, -ENOEXEC);
    if (status >> 16 == PTRACE_EVENT_EXEC) {
      // Still inside execveat, whose return would overwrite rax: on to the end of the call.
      ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr);
    } else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
      break;
    } else {
      ptrace(PTRACE_CONT, pid, nullptr, nullptr);
    }
  }
  byTid[pid] = 0;
  ptrace(PTRACE_GETREGS, pid, nullptr, &Regs(0));
  iovec iov{xstate, sizeof xstate - 8};
  if (ptrace(PTRACE_GETREGSET, pid, reinterpret_cast<void*>(NT_X86_XSTATE), &iov) == 0) xstateSize = iov.iov_len;
  out[0] = pid;
  out[1] = static_cast<double>(VdsoOf(pid, Regs(0).rsp));
  out[2] = static_cast<double>(xstateSize + 4);
  return integer(env, 0);
}

// ptraceClone(parent, child, isThread): the new host thread id or -errno. Both are stopped afterwards.
napi_value Clone(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  uint32_t parent = a.u32(0), child = a.u32(1);
  bool thread = a.i32(2) != 0;
  if (parent >= MAX_CONTEXTS || child >= MAX_CONTEXTS) return integer(env, -EINVAL);
  uint64_t flags = thread ? CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM : CLONE_PARENT | SIGCHLD;
  const uint64_t args[6] = {flags, 0, 0, 0, 0, 0};
  pid_t tid = 0;
  int64_t value = Inject(parent, SYS_clone, args, &tid);
  if (value < 0) return integer(env, static_cast<int32_t>(value));
  if (tid == 0) return integer(env, -ESRCH);
  Thread& t = threads[child];
  t = Thread{};
  t.tid = tid;
  t.pid = thread ? threads[parent].pid : tid;
  if (!thread) cpuGiven[tid] = 0; // host pids come back
  t.state = kStopped;
  byTid[tid] = child;
  int status;
  if (!WaitStop(child, &status)) return integer(env, -ESRCH);
  return integer(env, tid);
}

// ptraceRun(index): loads the registers of the page and lets the guest go on.
napi_value Run(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  uint32_t index = a.u32(0);
  if (index < MAX_CONTEXTS) Resume(index);
  return nullptr;
}

// ptraceBatch(index, tail): runs the batch; tail and success: rax is the last result and the guest goes on, else EVENT_BATCH is queued.
napi_value Batch(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  uint32_t index = a.u32(0);
  if (index >= MAX_CONTEXTS) return nullptr;
  int64_t last;
  bool done = RunBatch(index, &last);
  if (threads[index].state != kStopped) return nullptr;
  if (done && a.i32(1) != 0) {
    Regs(index).rax = static_cast<uint64_t>(last);
    Resume(index);
  } else {
    Post(index, EVENT_BATCH);
  }
  return nullptr;
}

// ptraceSendFd(index, fd): queues a duplicate for the next batch. 0 or -errno.
napi_value SendFd(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  uint32_t index = a.u32(0);
  if (index >= MAX_CONTEXTS) return integer(env, -EINVAL);
  int fd = fcntl(a.i32(1), F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return integer(env, -errno);
  threads[index].fds.push_back(fd);
  return integer(env, 0);
}

napi_value Kick(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  uint32_t index = a.u32(0);
  if (index < MAX_CONTEXTS && threads[index].state == kRunning) ptrace(PTRACE_INTERRUPT, threads[index].tid, nullptr, nullptr);
  return nullptr;
}

// ptraceRelease(index, process): ends the thread, or the whole process at once. Its death is not reported.
napi_value Release(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  uint32_t index = a.u32(0);
  if (index >= MAX_CONTEXTS) return nullptr;
  Thread& t = threads[index];
  DropDescriptors(t);
  if (t.state == kNone) return nullptr;
  if (t.state != kDead) {
    if (a.i32(1) != 0) {
      kill(t.pid, SIGKILL);
    } else {
      if (t.state == kRunning) {
        int status;
        ptrace(PTRACE_INTERRUPT, t.tid, nullptr, nullptr);
        if (WaitStop(index, &status)) t.state = kStopped;
      }
      if (t.state == kStopped) {
        user_regs_struct r = Regs(index);
        r.orig_rax = ~0ULL;
        r.rax = SYS_exit;
        r.rdi = 0;
        r.rip = STUB_SYSCALL;
        ptrace(PTRACE_SETREGS, t.tid, nullptr, &r);
        ptrace(PTRACE_CONT, t.tid, nullptr, nullptr);
      }
    }
    byTid.erase(t.tid);
  }
  t = Thread{};
  for (auto it = pending.begin(); it != pending.end();) it = *it == index ? pending.erase(it) : it + 1;
  return nullptr;
}

/** The bell when no tracee had anything to tell: each stop since has sent a SIGCHLD, which rings. */
uint32_t quietSince = 0;
bool isQuiet = false;
/** How often the bell is looked at before a sleep. */
constexpr int kLooks = 400;

// ptraceNext(deadlineNs): a context index, -1 at the deadline, -2 for a host descriptor.
napi_value Next(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  double deadline = a.num(0);
  for (int looks = 0;;) {
    uint32_t seen = BellRead();
    if (!pending.empty()) {
      uint32_t index = pending.front();
      pending.pop_front();
      return integer(env, static_cast<int32_t>(index));
    }
    int status;
    // The host walks over all tracees to find out, of which there may be thousands.
    pid_t tid = isQuiet && seen == quietSince ? 0 : waitpid(-1, &status, WNOHANG | __WALL);
    isQuiet = tid <= 0;
    quietSince = seen;
    if (tid > 0) {
      auto found = byTid.find(tid);
      if (found == byTid.end()) {
        // One that we have let go and that a late kick has stopped on its way out.
        if (WIFSTOPPED(status)) ptrace(PTRACE_CONT, tid, nullptr, nullptr);
        continue;
      }
      uint32_t index = found->second;
      if (!WIFSTOPPED(status)) {
        Died(index, status);
        continue;
      }
      if (Stopped(index, status)) return integer(env, static_cast<int32_t>(index));
      continue;
    }
    if (HostEventPending()) return integer(env, -2);
    if (MonotonicNs() >= deadline) return integer(env, -1);
    // A guest that has just been resumed often calls again at once; a sleep costs two switches.
    while (looks < kLooks && BellRead() == seen) {
      looks++;
      __builtin_ia32_pause();
    }
    if (BellRead() != seen) continue;
    BellSleep(seen, deadline);
    looks = 0;
  }
}

// ptraceCpuTime(index): ns of user and system time of the host thread, or its share of its process's: a thread's clock can
// only be read from inside its own process (kernel/time/posix-cpu-timers.c:pid_for_clock()), so what has passed since
// anybody asked goes to who asks now. Sums over a process are exact, and no thread's time goes back.
napi_value CpuTime(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  uint32_t index = a.u32(0);
  if (index >= MAX_CONTEXTS || threads[index].tid == 0) return number(env, 0);
  Thread& t = threads[index];
  // CPUCLOCK_SCHED of a process: include/linux/posix-timers.h, make_process_cpuclock().
  clockid_t clock = static_cast<clockid_t>((~static_cast<unsigned>(t.pid) << 3) | 2);
  timespec ts;
  if (clock_gettime(clock, &ts) == 0) {
    uint64_t now = static_cast<uint64_t>(ts.tv_sec) * 1000000000 + static_cast<uint64_t>(ts.tv_nsec);
    uint64_t& given = cpuGiven[t.pid];
    if (now > given) {
      t.cpu += now - given;
      given = now;
    }
  }
  return number(env, static_cast<double>(t.cpu));
}

// ptraceForced(index, addr, buffer, at, n, write): memory past page protections, as PTRACE_POKEDATA reaches it. Bytes moved.
napi_value Forced(napi_env env, napi_callback_info info) {
  Args<6> a(env, info);
  uint32_t index = a.u32(0);
  uint64_t addr = a.u64(1), n = a.u64(4);
  uint8_t* p = a.span(2, a.u64(3), n);
  if (index >= MAX_CONTEXTS || p == nullptr) return integer(env, 0);
  return number(env, static_cast<double>(MoveForced(threads[index].tid, addr, p, n, a.i32(5) != 0)));
}

// ptraceExchange(index, addr, expected, value): the word at addr becomes value if it is expected. What it was, -EFAULT or -ESRCH.
napi_value CompareExchange(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  uint32_t index = a.u32(0);
  if (index >= MAX_CONTEXTS) return integer(env, -EINVAL);
  return number(env, static_cast<double>(Exchange(index, a.u64(1), static_cast<uint32_t>(a.u64(2)), static_cast<uint32_t>(a.u64(3)))));
}

// ptraceDebug(index, n, value, write): debug register n of a stopped thread. Its value, or 0 for a write, or -errno.
napi_value Debug(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  uint32_t index = a.u32(0), n = a.u32(1);
  if (index >= MAX_CONTEXTS || n > 7) return integer(env, -EIO);
  void* at = reinterpret_cast<void*>(offsetof(struct user, u_debugreg) + n * 8);
  pid_t tid = threads[index].tid;
  errno = 0;
  long value = a.i32(3) != 0 ? ptrace(PTRACE_POKEUSER, tid, at, reinterpret_cast<void*>(a.u64(2))) : ptrace(PTRACE_PEEKUSER, tid, at, nullptr);
  return number(env, errno != 0 ? -errno : static_cast<double>(static_cast<unsigned long>(value)));
}

// ptraceRegset(index, type, buffer, n, write): moves up to n bytes of the stopped thread's register set (NT_*), as
// PTRACE_GETREGSET and PTRACE_SETREGSET do. Bytes of the set that were moved, or -errno.
napi_value Regset(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  uint32_t index = a.u32(0);
  uint64_t n = a.u64(3);
  uint8_t* p = a.span(2, 0, n);
  if (index >= MAX_CONTEXTS || p == nullptr) return integer(env, -EINVAL);
  iovec iov{p, n};
  const auto request = a.i32(4) != 0 ? PTRACE_SETREGSET : PTRACE_GETREGSET;
  if (ptrace(request, threads[index].tid, reinterpret_cast<void*>(static_cast<uintptr_t>(a.u32(1))), &iov) < 0) return integer(env, -errno);
  return integer(env, static_cast<int32_t>(iov.iov_len));
}

}  // namespace

void InitPtrace(Napi::Env env, Napi::Object exports) {
  define(env, exports, "ptraceStart", Start);
  define(env, exports, "ptraceClone", Clone);
  define(env, exports, "ptraceRun", Run);
  define(env, exports, "ptraceBatch", Batch);
  define(env, exports, "ptraceSendFd", SendFd);
  define(env, exports, "ptraceKick", Kick);
  define(env, exports, "ptraceRelease", Release);
  define(env, exports, "ptraceNext", Next);
  define(env, exports, "ptraceCpuTime", CpuTime);
  define(env, exports, "ptraceForced", Forced);
  define(env, exports, "ptraceDebug", Debug);
  define(env, exports, "ptraceExchange", CompareExchange);
  define(env, exports, "ptraceRegset", Regset);
}

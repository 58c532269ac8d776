// The systrap platform's host calls: starting the first stub, mapping context memory, waking and
// reaping. What happens at every guest call is in TypeScript (platform/systrap) and in the stub.
#include <napi.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstring>
#include "../stub/sysmsg.h"
#include "args.h"
#include "memory.h"
#include "wait.h"

namespace {

void OnChild(int) {
  int saved = errno;
  BellRing();
  errno = saved;
}

// systrapStart(stubFd, socket, memfd, ringFd): the first stub's pid, or -errno. It rings when it is ready.
napi_value Start(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  const int given[4] = {a.i32(0), a.i32(1), a.i32(2), a.i32(3)};
  struct sigaction action {};
  action.sa_handler = OnChild;
  action.sa_flags = SA_RESTART;
  sigaction(SIGCHLD, &action, nullptr);
  // Our page tables are large by now, and the child needs none of them: it only makes system calls on its own stack frame.
  pid_t pid = vfork();
  if (pid < 0) return integer(env, -errno);
  if (pid > 0) return integer(env, pid);
  int fds[4];
  // Out of the way of the numbers that they are to get.
  for (int i = 0; i < 4; i++) fds[i] = fcntl(given[i], F_DUPFD_CLOEXEC, 100);
  if (fds[0] < 0 || dup2(fds[1], STUB_SOCKET) < 0 || dup2(fds[2], 4) < 0 || dup2(fds[3], 5) < 0) _exit(1);
  close(0);
  close(1);
  close(2);
  syscall(SYS_close_range, 6, fds[0] - 1, 0);
  syscall(SYS_close_range, fds[0] + 1, ~0U, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int s = 1; s < 65; s++) signal(s, SIG_DFL);
  char name[] = "stub", mode[] = "systrap";
  char* argv[] = {name, mode, nullptr};
  char* envp[] = {nullptr};
  syscall(SYS_execveat, fds[0], "", argv, envp, AT_EMPTY_PATH);
  _exit(1);
}

napi_value Attach(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  size_t size;
  uint8_t* ring = a.bytes(0, &size);
  if (size >= RING_SIZE) BellAttach(ring);
  return nullptr;
}

napi_value Space(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  size_t size;
  int32_t* out = reinterpret_cast<int32_t*>(a.bytes(0, &size));
  if (size < 12) return integer(env, -EINVAL);
  int fd = memfd_create("contexts", MFD_CLOEXEC);
  if (fd < 0) return integer(env, -errno);
  int sockets[2];
  if (ftruncate(fd, WINDOW_SIZE) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
    int error = errno;
    close(fd);
    return integer(env, -error);
  }
  out[0] = fd;
  out[1] = sockets[0];
  out[2] = sockets[1];
  return integer(env, 0);
}

napi_value Map(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  size_t size;
  uint8_t* region = a.bytes(0, &size);
  size_t at = static_cast<size_t>(a.u32(1)) * CONTEXT_SIZE;
  if (at + CONTEXT_SIZE > size || a.u32(3) >= MAX_SLOTS) return integer(env, -EINVAL);
  off_t offset = static_cast<off_t>(a.u32(3)) * CONTEXT_SIZE;
  void* p = mmap(region + at, CONTEXT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, a.i32(2), offset);
  return integer(env, p == MAP_FAILED ? -errno : 0);
}

napi_value Unmap(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  size_t size;
  uint8_t* region = a.bytes(0, &size);
  size_t at = static_cast<size_t>(a.u32(1)) * CONTEXT_SIZE;
  if (at + CONTEXT_SIZE > size) return nullptr;
  mmap(region + at, CONTEXT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return nullptr;
}

napi_value Send(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  char byte = 0;
  int fds[2] = {a.i32(1), a.i32(2)};
  ssize_t sent = SendDescriptors(a.i32(0), &byte, 1, fds, fds[1] < 0 ? 1 : 2);
  return integer(env, sent < 0 ? -errno : 0);
}

napi_value Wake(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  size_t size;
  uint8_t* region = a.bytes(0, &size);
  uint64_t at = a.u64(1);
  if (at + 4 <= size) syscall(SYS_futex, region + at, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  return nullptr;
}

napi_value Sleep(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  double deadline = a.num(1), now = MonotonicNs();
  if (now >= deadline) return integer(env, 1);
  uint32_t seen = static_cast<uint32_t>(a.i32(0));
  bool noGuestRuns = false;
  napi_get_value_bool(env, a.v[3], &noGuestRuns);
  if (noGuestRuns && HostSleep(seen, deadline - now)) return integer(env, 0);
  BellSleep(seen, std::min(deadline, now + a.num(2)));
  return integer(env, BellRead() == static_cast<uint32_t>(a.i32(0)) && MonotonicNs() >= deadline ? 1 : 0);
}

napi_value Reap(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  size_t size;
  int32_t* out = reinterpret_cast<int32_t*>(a.bytes(0, &size));
  int status = 0;
  pid_t pid = waitpid(-1, &status, WNOHANG);
  if (size >= 4) out[0] = status;
  return integer(env, pid < 0 ? 0 : pid);
}

napi_value HostPending(napi_env env, napi_callback_info) {
  napi_value value;
  napi_get_boolean(env, HostEventPending(), &value);
  return value;
}

napi_value Kill(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  // 0 and below would be process groups.
  return a.i32(0) <= 0 ? integer(env, -ESRCH) : result(env, kill(a.i32(0), a.i32(1)));
}

napi_value Kick(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  return a.i32(0) <= 0 || a.i32(1) <= 0 ? integer(env, -ESRCH) : result(env, syscall(SYS_tgkill, a.i32(0), a.i32(1), STUB_KICK_SIGNAL));
}

// systrapIsThread(pid, tid): whether the thread is alive and of that process.
napi_value IsThread(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  napi_value value;
  napi_get_boolean(env, a.i32(0) > 0 && a.i32(1) > 0 && syscall(SYS_tgkill, a.i32(0), a.i32(1), 0) == 0, &value);
  return value;
}

napi_value CpuTime(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  // CPUCLOCK_SCHED of a process: include/linux/posix-timers.h, make_process_cpuclock().
  clockid_t clock = static_cast<clockid_t>((~static_cast<unsigned>(a.i32(0)) << 3) | 2);
  timespec ts;
  if (a.i32(0) <= 0 || clock_gettime(clock, &ts) < 0) return number(env, 0);
  return number(env, static_cast<double>(ts.tv_sec) * 1e9 + static_cast<double>(ts.tv_nsec));
}

napi_value Forced(napi_env env, napi_callback_info info) {
  Args<6> a(env, info);
  pid_t tid = a.i32(0);
  uint64_t addr = a.u64(1), n = a.u64(4);
  uint8_t* p = a.span(2, a.u64(3), n);
  int status;
  if (p == nullptr || tid <= 0 || ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) < 0) return integer(env, 0);
  ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) return integer(env, 0);
  size_t done = MoveForced(tid, addr, p, n, a.i32(5) != 0);
  // A signal that the interruption has met is given back to its thread.
  ptrace(PTRACE_DETACH, tid, nullptr, reinterpret_cast<void*>(static_cast<long>(status >> 16 == 0 ? WSTOPSIG(status) : 0)));
  return number(env, static_cast<double>(done));
}

// systrapDebug(tid, n, value, write): debug register n of a thread of ours. Its value, or 0 for a write, or -errno. What is set
// stays set when nobody traces the thread any more.
napi_value Debug(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  pid_t tid = a.i32(0);
  uint32_t n = a.u32(1);
  int status;
  if (n > 7 || tid <= 0) return integer(env, -EIO);
  if (ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) < 0) return integer(env, -errno);
  ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) return integer(env, -ESRCH);
  void* at = reinterpret_cast<void*>(offsetof(struct user, u_debugreg) + n * 8);
  errno = 0;
  long value = a.i32(3) != 0 ? ptrace(PTRACE_POKEUSER, tid, at, reinterpret_cast<void*>(a.u64(2))) : ptrace(PTRACE_PEEKUSER, tid, at, nullptr);
  int error = errno;
  ptrace(PTRACE_DETACH, tid, nullptr, reinterpret_cast<void*>(static_cast<long>(status >> 16 == 0 ? WSTOPSIG(status) : 0)));
  return number(env, error != 0 ? -error : static_cast<double>(static_cast<unsigned long>(value)));
}

/** Between two looks at the host's descriptors, which cost as much as ten of these. */
constexpr int kLooksPerHost = 64;

// systrapSpin(seen, looks): looks at the ring's head until it is not `seen`: 1 when it has changed, 2 when a watched host
// descriptor has something to tell, 0 for neither.
napi_value Spin(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  uint32_t seen = static_cast<uint32_t>(a.i32(0));
  int news = 0;
  size_t size;
  uint8_t* region = a.bytes(2, &size);
  uint64_t at = a.u64(3);
  if (at + 4 > size) return integer(env, 0);
  auto* state = reinterpret_cast<std::atomic<uint32_t>*>(region + at);
  for (int looks = 0, most = a.i32(1); looks <= most && news == 0; looks++) {
    if (BellRead() != seen || (at != 0 && state->load(std::memory_order_acquire) == 1)) news = 1;
    // What a guest has just sent may have reached another one.
    else if (looks % kLooksPerHost == 0 && HostEventPending()) news = 2;
    else __builtin_ia32_pause();
  }
  BellTellCpu();
  return integer(env, news);
}

// systrapYield(): who waits for this processor goes first.
napi_value Yield(napi_env, napi_callback_info) {
  sched_yield();
  return nullptr;
}

// systrapLeaveCpu(): goes on on another processor, if there is one that may be used. The scheduler is free again right after.
napi_value LeaveCpu(napi_env, napi_callback_info) {
  cpu_set_t all, others;
  int cpu = sched_getcpu();
  if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof all, &all) < 0) return nullptr;
  others = all;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof all, &all);
  BellTellCpu();
  return nullptr;
}

// systrapLookNs(): what one look of a spinning side costs, ns: between 25 and 60 by the processor.
napi_value LookNs(napi_env env, napi_callback_info) {
  constexpr int kLooks = 200;
  double best = 1e9;
  for (int i = 0; i < 5; i++) {
    double start = MonotonicNs();
    for (int looks = 0; looks < kLooks; looks++) {
      __builtin_ia32_pause();
      BellRead();
    }
    best = std::min(best, (MonotonicNs() - start) / kLooks);
  }
  return number(env, std::max(best, 1.0));
}

napi_value Pause(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  timespec ts{0, static_cast<long>(a.num(0))};
  nanosleep(&ts, nullptr);
  return nullptr;
}

}  // namespace

void InitSystrap(Napi::Env env, Napi::Object exports) {
  define(env, exports, "systrapStart", Start);
  define(env, exports, "systrapAttach", Attach);
  define(env, exports, "systrapSpace", Space);
  define(env, exports, "systrapMap", Map);
  define(env, exports, "systrapUnmap", Unmap);
  define(env, exports, "systrapSend", Send);
  define(env, exports, "systrapWake", Wake);
  define(env, exports, "systrapSleep", Sleep);
  define(env, exports, "systrapReap", Reap);
  define(env, exports, "systrapHostPending", HostPending);
  define(env, exports, "systrapKill", Kill);
  define(env, exports, "systrapKick", Kick);
  define(env, exports, "systrapIsThread", IsThread);
  define(env, exports, "systrapCpuTime", CpuTime);
  define(env, exports, "systrapDebug", Debug);
  define(env, exports, "systrapForced", Forced);
  define(env, exports, "systrapPause", Pause);
  define(env, exports, "systrapSpin", Spin);
  define(env, exports, "systrapLeaveCpu", LeaveCpu);
  define(env, exports, "systrapYield", Yield);
  define(env, exports, "systrapLookNs", LookNs);
}

// How much memory is resident, of others and ours. Of others: the Sentry has no /proc of the host, but
// move_pages(2) without target nodes tells of each page whether it is there.
#include <algorithm>
#include <malloc.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <napi.h>
#include "args.h"

namespace {

constexpr size_t kChunk = 4096;
constexpr uint64_t kPage = 4096;

// residentPages(tid, addr, pages, stride): of the pages addr, addr + stride pages, … the number that are resident, or -errno.
napi_value ResidentPages(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  const pid_t tid = a.i32(0);
  const uint64_t addr = a.u64(1);
  const uint64_t pages = a.u64(2);
  const uint64_t stride = std::max<uint64_t>(1, a.u64(3));
  static void* at[kChunk];
  static int status[kChunk];
  double resident = 0;
  for (uint64_t page = 0; page < pages;) {
    size_t n = 0;
    for (; n < kChunk && page < pages; n++, page += stride) at[n] = reinterpret_cast<void*>(addr + page * kPage);
    if (syscall(SYS_move_pages, tid, n, at, nullptr, status, 0) < 0) return number(env, -errno);
    // A shared zero page is -EFAULT, a page that is not there -ENOENT.
    for (size_t i = 0; i < n; i++) resident += status[i] >= 0;
  }
  return number(env, resident);
}

// residentSample(tid, pages: Float64Array, n): how many of the first n page addresses are resident, or -errno.
napi_value ResidentSample(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  size_t size;
  const double* pages = reinterpret_cast<double*>(a.bytes(1, &size));
  const size_t n = a.u32(2);
  if (n > kChunk || size < n * sizeof(double)) return number(env, -EINVAL);
  static void* at[kChunk];
  static int status[kChunk];
  for (size_t i = 0; i < n; i++) at[i] = reinterpret_cast<void*>(static_cast<uint64_t>(pages[i]));
  if (syscall(SYS_move_pages, a.i32(0), n, at, nullptr, status, 0) < 0) return number(env, -errno);
  double resident = 0;
  for (size_t i = 0; i < n; i++) resident += status[i] >= 0;
  return number(env, resident);
}

// userShare(pid): how much of a process's CPU time, as the kernel's ticks have met it, was spent in user mode: 0 to 1, or -1 when no
// tick has.
napi_value UserShare(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  const unsigned pid = a.u32(0);
  // CPUCLOCK_PROF and CPUCLOCK_VIRT of a process: include/linux/posix-timers.h, make_process_cpuclock().
  const clockid_t both = static_cast<clockid_t>(~pid << 3), user = static_cast<clockid_t>(~pid << 3 | 1);
  timespec b, u;
  if (pid == 0 || clock_gettime(both, &b) < 0 || clock_gettime(user, &u) < 0) return number(env, -1);
  const double all = static_cast<double>(b.tv_sec) * 1e9 + static_cast<double>(b.tv_nsec);
  const double part = static_cast<double>(u.tv_sec) * 1e9 + static_cast<double>(u.tv_nsec);
  return number(env, all > 0 ? std::min(1.0, part / all) : -1);
}

// trimHeap(): the C library keeps what was freed; this gives whole free pages back to the host.
napi_value TrimHeap(napi_env, napi_callback_info) {
  malloc_trim(0);
  return nullptr;
}

}  // namespace

void InitResidency(Napi::Env env, Napi::Object exports) {
  napi_value function;
  napi_create_function(env, "residentPages", NAPI_AUTO_LENGTH, ResidentPages, nullptr, &function);
  napi_set_named_property(env, exports, "residentPages", function);
  napi_create_function(env, "residentSample", NAPI_AUTO_LENGTH, ResidentSample, nullptr, &function);
  napi_set_named_property(env, exports, "residentSample", function);
  napi_create_function(env, "userShare", NAPI_AUTO_LENGTH, UserShare, nullptr, &function);
  napi_set_named_property(env, exports, "userShare", function);
  napi_create_function(env, "trimHeap", NAPI_AUTO_LENGTH, TrimHeap, nullptr, &function);
  napi_set_named_property(env, exports, "trimHeap", function);
}

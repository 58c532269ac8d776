// How much memory is resident, of others and ours. Of others: the Sentry has no /proc of the host, but
// move_pages(2) without target nodes tells of each page whether it is there.
#include <algorithm>
#include <malloc.h>
#include <sys/syscall.h>
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
  napi_create_function(env, "trimHeap", NAPI_AUTO_LENGTH, TrimHeap, nullptr, &function);
  napi_set_named_property(env, exports, "trimHeap", function);
}

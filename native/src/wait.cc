// Sleeping, waking, and the epoll thread that watches host descriptors for the Sentry's loop.
//
// The loop reads the bell, looks for work, and sleeps only while the bell has not changed since:
// whoever makes work stores it first and rings then, so no wake-up can fall between.
#include <napi.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cmath>
#include "../stub/sysmsg.h"
#include "args.h"
#include "wait.h"

namespace {

std::atomic<uint32_t> ownBell{0};
std::atomic<uint32_t> ownSleeping{0};
// With systrap both lie in the ring that stubs ring too, and every ring needs a slot of its own.
std::atomic<uint32_t>* bell = &ownBell;
std::atomic<uint32_t>* sleeping = &ownSleeping;
std::atomic<uint32_t>* slots = nullptr;
std::atomic<uint32_t>* ownCpu = nullptr;
int futexFlags = FUTEX_PRIVATE_FLAG;

int epollFd = -1;

// One producer (the epoll thread), one consumer (the loop).
constexpr uint32_t kQueue = 4096;
struct {
  std::atomic<uint32_t> head{0}, tail{0};
  struct {
    int32_t token;
    uint32_t events;
  } slots[kQueue];
} queue;

void* EpollThread(void*) {
  epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epollFd, events, 256, -1);
    if (n < 0) {
      if (errno == EINTR) continue;
      return nullptr;
    }
    for (int i = 0; i < n; i++) {
      uint32_t tail = queue.tail.load(std::memory_order_relaxed);
      // The loop is busy with thousands of events: it will get to this one.
      while (tail - queue.head.load(std::memory_order_acquire) == kQueue) usleep(500);
      queue.slots[tail % kQueue] = {static_cast<int32_t>(events[i].data.u32), events[i].events};
      queue.tail.store(tail + 1, std::memory_order_release);
    }
    BellRing();
  }
}

// startNotifier(): creates the epoll descriptor and its thread. 0 or -errno.
napi_value StartNotifier(napi_env env, napi_callback_info) {
  if (epollFd >= 0) return integer(env, 0);
  epollFd = epoll_create1(EPOLL_CLOEXEC);
  if (epollFd < 0) return integer(env, -errno);
  // Signals are the main thread's: a SIGCHLD must find the loop, not this thread.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 65536);
  int error = pthread_create(&thread, &attr, EpollThread, nullptr);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attr);
  if (error != 0) return integer(env, -error);
  pthread_detach(thread);
  return integer(env, 0);
}

// watch(fd, events, token): edge-triggered. 0 or -errno.
napi_value Watch(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  epoll_event event{};
  event.events = a.u32(1) | EPOLLET;
  event.data.u32 = a.u32(2);
  int fd = a.i32(0);
  if (epoll_ctl(epollFd, EPOLL_CTL_ADD, fd, &event) == 0) return integer(env, 0);
  if (errno == EEXIST && epoll_ctl(epollFd, EPOLL_CTL_MOD, fd, &event) == 0) return integer(env, 0);
  return integer(env, -errno);
}

napi_value Unwatch(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  return result(env, epoll_ctl(epollFd, EPOLL_CTL_DEL, a.i32(0), nullptr));
}

// What the loop has taken from the epoll descriptor itself.
struct {
  int count = 0, next = 0;
  epoll_event events[64];
} taken;

// nextHostEvent(out: Int32Array): the token, with the events in out[0]; -1 when there is none. Once the thread's queue
// is empty the descriptor is asked too, so that what has happened by now is told now, not when the thread gets to run.
napi_value NextHostEvent(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  size_t size;
  int32_t* out = reinterpret_cast<int32_t*>(a.bytes(0, &size));
  uint32_t head = queue.head.load(std::memory_order_relaxed);
  if (size < 4) return integer(env, -1);
  if (head == queue.tail.load(std::memory_order_acquire)) {
    if (taken.next == taken.count) {
      taken.next = 0;
      taken.count = epollFd < 0 ? 0 : std::max(0, epoll_wait(epollFd, taken.events, 64, 0));
      if (taken.count == 0) return integer(env, -1);
    }
    const epoll_event& event = taken.events[taken.next++];
    out[0] = static_cast<int32_t>(event.events);
    return integer(env, static_cast<int32_t>(event.data.u32));
  }
  auto slot = queue.slots[head % kQueue];
  queue.head.store(head + 1, std::memory_order_release);
  out[0] = static_cast<int32_t>(slot.events);
  return integer(env, slot.token);
}

}  // namespace

uint32_t BellRead() { return bell->load(std::memory_order_seq_cst); }

void BellAttach(void* ring) {
  auto* words = static_cast<std::atomic<uint32_t>*>(ring);
  slots = words + RING_SLOTS;
  sleeping = words + RING_SENTRY_SLEEPING;
  ownCpu = words + RING_SENTRY_CPU;
  BellTellCpu();
  futexFlags = 0;
  bell = words + RING_HEAD;
}

void BellTellCpu() {
  if (ownCpu == nullptr) return;
  uint32_t cpu = (static_cast<uint32_t>(sched_getcpu()) & 0xfff) + 1;
  // All stubs read this cache line at every call: written only when it changes.
  if (ownCpu->load(std::memory_order_relaxed) != cpu) ownCpu->store(cpu, std::memory_order_relaxed);
}

void BellRing() {
  uint32_t head = bell->fetch_add(1, std::memory_order_seq_cst);
  if (slots != nullptr) slots[head & RING_MASK].store(RING_BELL, std::memory_order_seq_cst);
  if (sleeping->load(std::memory_order_seq_cst) != 0 && sleeping->exchange(0, std::memory_order_seq_cst) != 0)
    syscall(SYS_futex, bell, FUTEX_WAKE | futexFlags, 1, nullptr, nullptr, 0);
}

void BellSleep(uint32_t seen, double deadlineNs) {
  timespec ts, *until = nullptr;
  if (std::isfinite(deadlineNs)) {
    double sec = std::floor(deadlineNs / 1e9);
    ts.tv_sec = static_cast<time_t>(sec);
    ts.tv_nsec = static_cast<long>(deadlineNs - sec * 1e9);
    until = &ts;
  }
  sleeping->store(1, std::memory_order_seq_cst);
  if (bell->load(std::memory_order_seq_cst) == seen)
    syscall(SYS_futex, bell, FUTEX_WAIT_BITSET | futexFlags, seen, until, nullptr, FUTEX_BITSET_MATCH_ANY);
  sleeping->store(0, std::memory_order_seq_cst);
  BellTellCpu();
}

bool HostEventPending() { return queue.head.load(std::memory_order_relaxed) != queue.tail.load(std::memory_order_acquire); }

double MonotonicNs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<double>(ts.tv_sec) * 1e9 + static_cast<double>(ts.tv_nsec);
}

void InitWait(Napi::Env env, Napi::Object exports) {
  define(env, exports, "startNotifier", StartNotifier);
  define(env, exports, "watchFd", Watch);
  define(env, exports, "unwatchFd", Unwatch);
  define(env, exports, "nextHostEvent", NextHostEvent);
}

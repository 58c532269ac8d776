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
#include <sys/eventfd.h>
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

// Two epolls. The inner one has the descriptors, and the loop itself takes from it what has happened. The outer one has
// the inner one alone, once for each time that it is armed, and a thread waits for it to ring the bell. Armed it is only
// while the loop sleeps: a loop that is awake asks by itself, and no second thread is woken for what it would find anyway.
//
// While no guest runs nobody but the host and our own signal handlers can have news. Then the loop sleeps in the inner
// epoll itself, which saves the way over the thread; whoever rings writes to an eventfd there.
int epollFd = -1;
int outerFd = -1;
std::atomic<bool> armed{false};
int kickFd = -1;
std::atomic<bool> inEpoll{false};
constexpr uint32_t kKick = 0xffffffff;
/** Shorter sleeps need a finer clock than epoll_wait(2) has. */
constexpr double kShortestEpollNs = 20e6;

// What the loop has taken from the inner epoll and not yet handed out.
struct {
  int count = 0, next = 0;
  epoll_event events[256];
} taken;

void* EpollThread(void*) {
  epoll_event event;
  for (;;) {
    int n = epoll_wait(outerFd, &event, 1, -1);
    if (n < 0 && errno != EINTR) return nullptr;
    if (n <= 0) continue;
    armed.store(false, std::memory_order_seq_cst);
    BellRing();
  }
}

/** Before the loop sleeps. What is there already makes the thread ring at once. */
void Arm() {
  if (epollFd < 0 || armed.exchange(true, std::memory_order_seq_cst)) return;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  epoll_ctl(outerFd, EPOLL_CTL_MOD, epollFd, &event);
}

// startNotifier(): creates the epoll descriptor and its thread. 0 or -errno.
napi_value StartNotifier(napi_env env, napi_callback_info) {
  if (epollFd >= 0) return integer(env, 0);
  int inner = epoll_create1(EPOLL_CLOEXEC);
  outerFd = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  if (inner < 0 || outerFd < 0 || epoll_ctl(outerFd, EPOLL_CTL_ADD, inner, &event) < 0) return integer(env, -errno);
  kickFd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  event.events = EPOLLIN | EPOLLET;
  event.data.u32 = kKick;
  if (kickFd < 0 || epoll_ctl(inner, EPOLL_CTL_ADD, kickFd, &event) < 0) return integer(env, -errno);
  epollFd = inner;
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

// nextHostEvent(out: Int32Array): the token, with the events in out[0]; -1 when there is none.
napi_value NextHostEvent(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  size_t size;
  int32_t* out = reinterpret_cast<int32_t*>(a.bytes(0, &size));
  if (size < 4) return integer(env, -1);
  while (HostEventPending() && taken.events[taken.next].data.u32 == kKick) taken.next++;
  if (!HostEventPending()) return integer(env, -1);
  const epoll_event& event = taken.events[taken.next++];
  out[0] = static_cast<int32_t>(event.events);
  return integer(env, static_cast<int32_t>(event.data.u32));
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
  if (inEpoll.load(std::memory_order_seq_cst)) {
    int saved = errno;
    uint64_t one = 1;
    if (write(kickFd, &one, sizeof one) < 0) {
      // It is full, which is as good.
    }
    errno = saved;
  }
}

bool HostSleep(uint32_t seen, double leftNs) {
  if (epollFd < 0 || leftNs < kShortestEpollNs) return false;
  inEpoll.store(true, std::memory_order_seq_cst);
  if (bell->load(std::memory_order_seq_cst) == seen && taken.next >= taken.count) {
    // Up to a millisecond early: what is left is slept on the futex.
    int ms = std::isfinite(leftNs) ? static_cast<int>(std::min(leftNs / 1e6 - 1, 1e9)) : -1;
    taken.next = 0;
    taken.count = std::max(0, epoll_wait(epollFd, taken.events, 256, ms));
  }
  inEpoll.store(false, std::memory_order_seq_cst);
  return true;
}

void BellSleep(uint32_t seen, double deadlineNs) {
  timespec ts, *until = nullptr;
  if (std::isfinite(deadlineNs)) {
    double sec = std::floor(deadlineNs / 1e9);
    ts.tv_sec = static_cast<time_t>(sec);
    ts.tv_nsec = static_cast<long>(deadlineNs - sec * 1e9);
    until = &ts;
  }
  Arm();
  sleeping->store(1, std::memory_order_seq_cst);
  if (bell->load(std::memory_order_seq_cst) == seen)
    syscall(SYS_futex, bell, FUTEX_WAIT_BITSET | futexFlags, seen, until, nullptr, FUTEX_BITSET_MATCH_ANY);
  sleeping->store(0, std::memory_order_seq_cst);
  BellTellCpu();
}

bool HostEventPending() {
  if (taken.next < taken.count) return true;
  taken.next = taken.count = 0;
  if (epollFd >= 0) taken.count = std::max(0, epoll_wait(epollFd, taken.events, 256, 0));
  return taken.count > 0;
}

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

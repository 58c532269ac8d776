// Regions shared with stubs, memory of guest processes, and the descriptors behind both.
#include <napi.h>
#include <v8.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <cstring>
#include <memory>
#include "args.h"
#include "memory.h"

namespace {

void Unmap(napi_env, void* data, void* hint) { munmap(data, reinterpret_cast<size_t>(hint)); }

napi_value External(napi_env env, void* data, size_t size) {
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, data, size, Unmap, reinterpret_cast<void*>(size), &buffer) != napi_ok) {
    munmap(data, size);
    return integer(env, -ENOMEM);
  }
  return buffer;
}

// createRegion(size): anonymous memory, private to this process, given only as it is touched, there for as long as the process is.
// V8 counts the bytes of an ArrayBuffer among those that a collection could free, and starts one when they are many: in each
// start of a sandbox, since most of this region is never touched. What has no deleter is not counted, and napi cannot make that.
napi_value CreateRegion(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  size_t size = a.u64(0);
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return integer(env, -errno);
  std::shared_ptr<v8::BackingStore> store = v8::ArrayBuffer::NewBackingStore(p, size, v8::BackingStore::EmptyDeleter, nullptr);
  v8::Local<v8::ArrayBuffer> buffer = v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), store);
  // Node's own conversion: js_native_api_v8.h, JsValueFromV8LocalValue().
  return reinterpret_cast<napi_value>(*buffer);
}

// mapShared(fd, size): a shared mapping of a memfd.
napi_value MapShared(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  size_t size = a.u64(1);
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, a.i32(0), 0);
  if (p == MAP_FAILED) return integer(env, -errno);
  return External(env, p, size);
}

/** /proc/self/fd, or a clone of it once that is out of reach: -1 until it is needed. */
int own_descriptors = -1;

// setOwnDescriptors(fd): the directory that reopenReadOnly() finds descriptors in from now on.
napi_value SetOwnDescriptors(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  own_descriptors = a.i32(0);
  return nullptr;
}

// reopenReadOnly(fd): a descriptor of the same file that cannot write, or -errno. The Sentry's filter knows these flags.
napi_value ReopenReadOnly(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  if (own_descriptors < 0) own_descriptors = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
  char name[16];
  snprintf(name, sizeof name, "%d", a.i32(0));
  return result(env, syscall(SYS_openat, own_descriptors, name, O_RDONLY | O_CLOEXEC, 0));
}

// sealWrites(fd): nobody can write the memfd or map it writable any more. 0 or -errno.
napi_value SealWrites(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  return result(env, fcntl(a.i32(0), F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
}

napi_value MemfdCreate(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  char name[64];
  a.string(0, name, sizeof name);
  return result(env, memfd_create(name, MFD_CLOEXEC | (a.count > 1 ? a.u32(1) : 0)));
}

napi_value Ftruncate(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  return result(env, ftruncate(a.i32(0), a.i64(1)));
}

napi_value CloseFd(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  return result(env, close(a.i32(0)));
}

napi_value DupFd(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  return result(env, fcntl(a.i32(0), F_DUPFD_CLOEXEC, 3));
}

// pread(fd, buffer, at, n, offset); offset -1 reads at the descriptor's own position.
napi_value Pread(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  size_t n = a.u64(3);
  uint8_t* p = a.span(1, a.u64(2), n);
  if (p == nullptr) return integer(env, -EINVAL);
  int64_t offset = a.i64(4);
  return result(env, offset < 0 ? read(a.i32(0), p, n) : pread(a.i32(0), p, n, offset));
}

napi_value Pwrite(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  size_t n = a.u64(3);
  uint8_t* p = a.span(1, a.u64(2), n);
  if (p == nullptr) return integer(env, -EINVAL);
  int64_t offset = a.i64(4);
  return result(env, offset < 0 ? write(a.i32(0), p, n) : pwrite(a.i32(0), p, n, offset));
}

// vmRead(pid, addr, buffer, at, n): bytes moved up to the first unreadable page; 0 for a fault at once.
napi_value VmRead(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  size_t n = a.u64(4);
  uint8_t* p = a.span(2, a.u64(3), n);
  if (p == nullptr) return integer(env, -EINVAL);
  return number(env, static_cast<double>(GuestRead(a.i32(0), a.u64(1), p, n)));
}

napi_value VmWrite(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  size_t n = a.u64(4);
  uint8_t* p = a.span(2, a.u64(3), n);
  if (p == nullptr) return integer(env, -EINVAL);
  return number(env, static_cast<double>(GuestWrite(a.i32(0), a.u64(1), p, n)));
}

constexpr size_t kBounce = 256 * 1024;
uint8_t bounce[kBounce];

// readToGuest(pid, addr, n, fd, offset, flags): a host file's bytes into guest memory. Bytes, -errno of the
// first read, or -EFAULT when nothing could be stored.
napi_value ReadToGuest(napi_env env, napi_callback_info info) {
  Args<6> a(env, info);
  pid_t pid = a.i32(0);
  uint64_t addr = a.u64(1), left = a.u64(2), done = 0;
  int fd = a.i32(3);
  int64_t offset = a.i64(4);
  int flags = a.i32(5);
  while (left > 0) {
    size_t want = std::min<uint64_t>(left, kBounce);
    struct iovec iov = {bounce, want};
    ssize_t got = flags != 0  ? preadv2(fd, &iov, 1, offset < 0 ? -1 : offset + static_cast<int64_t>(done), flags)
                  : offset < 0 ? read(fd, bounce, want)
                               : pread(fd, bounce, want, offset + static_cast<int64_t>(done));
    if (got < 0 && done == 0) return integer(env, -errno);
    if (got <= 0) break;
    size_t put = GuestWrite(pid, addr + done, bounce, static_cast<size_t>(got));
    done += put;
    left -= put;
    if (put < static_cast<size_t>(got)) return done == 0 ? integer(env, -EFAULT) : number(env, static_cast<double>(done));
    if (static_cast<size_t>(got) < want || offset < 0) break;
  }
  return number(env, static_cast<double>(done));
}

// writeFromGuest(pid, addr, n, fd, offset): the twin.
napi_value WriteFromGuest(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  pid_t pid = a.i32(0);
  uint64_t addr = a.u64(1), left = a.u64(2), done = 0;
  int fd = a.i32(3);
  int64_t offset = a.i64(4);
  while (left > 0) {
    size_t want = std::min<uint64_t>(left, kBounce);
    size_t have = GuestRead(pid, addr + done, bounce, want);
    // A stream socket copies up to 32 KiB as a whole or not at all, a pipe a page: skb_copy_to_page_nocache(), pipe_write().
    if (have < want && offset < 0) {
      int type;
      socklen_t size = sizeof type;
      have -= have % (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 ? 32768 : 4096);
    }
    if (have == 0) return done == 0 ? integer(env, -EFAULT) : number(env, static_cast<double>(done));
    ssize_t put = offset < 0 ? write(fd, bounce, have) : pwrite(fd, bounce, have, offset + static_cast<int64_t>(done));
    if (put < 0) return done == 0 ? integer(env, -errno) : number(env, static_cast<double>(done));
    done += static_cast<uint64_t>(put);
    left -= static_cast<uint64_t>(put);
    if (static_cast<size_t>(put) < want) break;
  }
  return number(env, static_cast<double>(done));
}

// sendFds(sock, bytes, n, fds): one message with descriptors. Bytes sent or -errno.
napi_value SendFds(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  size_t n = a.u64(2);
  uint8_t* p = a.span(1, 0, n);
  uint32_t count = 0;
  napi_get_array_length(env, a.v[3], &count);
  if (p == nullptr || count > 64) return integer(env, -EINVAL);
  int fds[64];
  for (uint32_t i = 0; i < count; i++) {
    napi_value e;
    napi_get_element(env, a.v[3], i, &e);
    napi_get_value_int32(env, e, &fds[i]);
  }
  return result(env, SendDescriptors(a.i32(0), p, n, fds, count));
}

// recvFds(sock, bytes, n, fdsOut: Int32Array, flags): bytes received; fdsOut[0] is the count, the descriptors follow.
napi_value RecvFds(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  size_t n = a.u64(2);
  uint8_t* p = a.span(1, 0, n);
  size_t outSize;
  int32_t* out = reinterpret_cast<int32_t*>(a.bytes(3, &outSize));
  if (p == nullptr || outSize < 8) return integer(env, -EINVAL);
  size_t room = std::min<size_t>(outSize / 4 - 1, 64);
  alignas(cmsghdr) char control[CMSG_SPACE(64 * sizeof(int))];
  iovec iov{p, n};
  msghdr m{};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = CMSG_SPACE(room * sizeof(int));
  ssize_t got = recvmsg(a.i32(0), &m, MSG_CMSG_CLOEXEC | (a.count > 4 ? a.i32(4) : 0));
  out[0] = 0;
  if (got < 0) return integer(env, -errno);
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const int* fds = reinterpret_cast<const int*>(CMSG_DATA(c));
    for (size_t i = 0; i < count; i++) {
      if (static_cast<size_t>(out[0]) < room) out[1 + out[0]++] = fds[i];
      else close(fds[i]);
    }
  }
  return number(env, static_cast<double>(got));
}

napi_value SocketPair(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  size_t size;
  int32_t* out = reinterpret_cast<int32_t*>(a.bytes(1, &size));
  if (size < 8) return integer(env, -EINVAL);
  return result(env, socketpair(AF_UNIX, a.i32(0) | SOCK_CLOEXEC, 0, out));
}

napi_value ClockNs(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  timespec ts;
  clock_gettime(a.i32(0), &ts);
  return number(env, static_cast<double>(ts.tv_sec) * 1e9 + static_cast<double>(ts.tv_nsec));
}

// clockParts(clock, out: Float64Array): seconds and nanoseconds apart, since wall time in ns does not fit a double.
napi_value ClockParts(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  size_t size;
  double* out = reinterpret_cast<double*>(a.bytes(1, &size));
  if (size < 16) return integer(env, -EINVAL);
  timespec ts;
  if (clock_gettime(a.i32(0), &ts) < 0) return integer(env, -errno);
  out[0] = static_cast<double>(ts.tv_sec);
  out[1] = static_cast<double>(ts.tv_nsec);
  return integer(env, 0);
}

// setAffinity(tid, mask): the processors that a thread of ours may run on. 0 or -errno.
napi_value SetAffinity(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  size_t n;
  uint8_t* mask = a.bytes(1, &n);
  if (a.i32(0) <= 0 || n == 0) return integer(env, -EINVAL);
  return integer(env, syscall(SYS_sched_setaffinity, a.i32(0), n, mask) < 0 ? -errno : 0);
}

// setNice(tid, nice): the nice value of a thread of ours; a host lets us raise it, and mostly not lower it again. 0 or -errno.
napi_value SetNice(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  if (a.i32(0) <= 0) return integer(env, -EINVAL);
  return integer(env, syscall(SYS_setpriority, PRIO_PROCESS, a.i32(0), a.i32(1)) < 0 ? -errno : 0);
}

}  // namespace

size_t GuestRead(pid_t pid, uint64_t addr, void* to, size_t n) {
  size_t done = 0;
  while (done < n) {
    iovec local{static_cast<uint8_t*>(to) + done, n - done};
    iovec remote{reinterpret_cast<void*>(addr + done), n - done};
    ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

size_t GuestWrite(pid_t pid, uint64_t addr, const void* from, size_t n) {
  size_t done = 0;
  while (done < n) {
    iovec local{const_cast<uint8_t*>(static_cast<const uint8_t*>(from)) + done, n - done};
    iovec remote{reinterpret_cast<void*>(addr + done), n - done};
    ssize_t put = process_vm_writev(pid, &local, 1, &remote, 1, 0);
    if (put <= 0) break;
    done += static_cast<size_t>(put);
  }
  return done;
}

size_t MoveForced(pid_t tracee, uint64_t addr, uint8_t* p, size_t n, bool store) {
  size_t done = 0;
  while (done < n) {
    uint64_t word = (addr + done) & ~7ULL;
    size_t skip = (addr + done) - word, len = std::min<uint64_t>(8 - skip, n - done);
    errno = 0;
    long value = ptrace(PTRACE_PEEKDATA, tracee, reinterpret_cast<void*>(word), nullptr);
    if (errno != 0) break;
    if (store) {
      memcpy(reinterpret_cast<uint8_t*>(&value) + skip, p + done, len);
      if (ptrace(PTRACE_POKEDATA, tracee, reinterpret_cast<void*>(word), value) < 0) break;
    } else {
      memcpy(p + done, reinterpret_cast<uint8_t*>(&value) + skip, len);
    }
    done += len;
  }
  return done;
}

ssize_t SendDescriptors(int sock, const void* bytes, size_t n, const int* fds, size_t count) {
  alignas(cmsghdr) char control[CMSG_SPACE(64 * sizeof(int))];
  iovec iov{const_cast<void*>(bytes), n};
  msghdr m{};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  if (count > 0) {
    m.msg_control = control;
    m.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
  }
  return sendmsg(sock, &m, MSG_NOSIGNAL);
}

void InitMemory(Napi::Env env, Napi::Object exports) {
  define(env, exports, "setAffinity", SetAffinity);
  define(env, exports, "setNice", SetNice);
  define(env, exports, "createRegion", CreateRegion);
  define(env, exports, "mapShared", MapShared);
  define(env, exports, "memfdCreate", MemfdCreate);
  define(env, exports, "setOwnDescriptors", SetOwnDescriptors);
  define(env, exports, "reopenReadOnly", ReopenReadOnly);
  define(env, exports, "sealWrites", SealWrites);
  define(env, exports, "ftruncate", Ftruncate);
  define(env, exports, "closeFd", CloseFd);
  define(env, exports, "dupFd", DupFd);
  define(env, exports, "pread", Pread);
  define(env, exports, "pwrite", Pwrite);
  define(env, exports, "vmRead", VmRead);
  define(env, exports, "vmWrite", VmWrite);
  define(env, exports, "readToGuest", ReadToGuest);
  define(env, exports, "writeFromGuest", WriteFromGuest);
  define(env, exports, "sendFds", SendFds);
  define(env, exports, "recvFds", RecvFds);
  define(env, exports, "socketPair", SocketPair);
  define(env, exports, "clockNs", ClockNs);
  define(env, exports, "clockParts", ClockParts);
}

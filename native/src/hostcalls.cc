// The file calls of the gofer and of the Sentry on host descriptors: one function a system call, numbers in, a number
// out, -errno for a failure. No policy lives here. What a caller hands in as a buffer is checked against its length
// (-EFAULT), since a wrong number from TypeScript must not become a wild pointer; nothing else is.
//
// Names and paths are latin1 strings: one char is one byte of the name.
#include <napi.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <deque>
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace {

constexpr size_t kMaxArgs = 10;

/** The arguments of one call, decoded on demand. A wrong type reads as 0 or as an empty string: TypeScript has checked types already. */
class Args {
 public:
  Args(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kMaxArgs;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  }

  int32_t Int(size_t i) const {
    int32_t value = 0;
    napi_get_value_int32(env_, values_[i], &value);
    return value;
  }

  uint32_t Uint(size_t i) const { return static_cast<uint32_t>(Int(i)); }

  /** A number below 2^53 in size: offsets and lengths. */
  int64_t Long(size_t i) const {
    int64_t value = 0;
    napi_get_value_int64(env_, values_[i], &value);
    return value;
  }

 private:
  friend class Text;
  friend class Bytes;
  napi_env env_;
  napi_value values_[kMaxArgs];
};

/** A latin1 string argument as a C string of at most PATH_MAX bytes with its NUL. */
class Text {
 public:
  Text(const Args& args, size_t i) {
    size_t length = 0;
    text_[0] = 0;
    if (napi_get_value_string_latin1(args.env_, args.values_[i], nullptr, 0, &length) != napi_ok) return;
    if (length >= sizeof(text_)) {
      error_ = ENAMETOOLONG;
      return;
    }
    napi_get_value_string_latin1(args.env_, args.values_[i], text_, sizeof(text_), &length);
    // A NUL inside would silently name another file.
    if (memchr(text_, 0, length) != nullptr) error_ = EINVAL;
  }

  int error() const { return error_; }
  const char* c_str() const { return text_; }

 private:
  int error_ = 0;
  char text_[PATH_MAX];
};

/** A typed array or DataView argument: its bytes as they lie, valid during the call. */
class Bytes {
 public:
  Bytes(const Args& args, size_t i) {
    napi_value v = args.values_[i];
    bool is_typed = false;
    void* data = nullptr;
    size_t length = 0;
    if (napi_is_typedarray(args.env_, v, &is_typed) == napi_ok && is_typed) {
      napi_typedarray_type type;
      napi_get_typedarray_info(args.env_, v, &type, &length, &data, nullptr, nullptr);
      size_ = length * ElementSize(type);
    } else if (napi_get_dataview_info(args.env_, v, &length, &data, nullptr, nullptr) == napi_ok) {
      size_ = length;
    }
    data_ = static_cast<uint8_t*>(data);
  }

  size_t size() const { return size_; }

  /** n bytes from `at`, or nullptr when they are not all inside. */
  uint8_t* Range(int64_t at, int64_t n) const {
    if (data_ == nullptr || at < 0 || n < 0 || static_cast<uint64_t>(at) > size_ || static_cast<uint64_t>(n) > size_ - at) return nullptr;
    return data_ + at;
  }

 private:
  static size_t ElementSize(napi_typedarray_type type) {
    switch (type) {
      case napi_int8_array:
      case napi_uint8_array:
      case napi_uint8_clamped_array:
        return 1;
      case napi_int16_array:
      case napi_uint16_array:
        return 2;
      case napi_int32_array:
      case napi_uint32_array:
      case napi_float32_array:
        return 4;
      default:
        return 8;
    }
  }

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

napi_value Number(napi_env env, int64_t value) {
  napi_value result;
  if (value >= INT32_MIN && value <= INT32_MAX) {
    napi_create_int32(env, static_cast<int32_t>(value), &result);
  } else {
    napi_create_double(env, static_cast<double>(value), &result);
  }
  return result;
}

int64_t OrErrno(int64_t result) { return result < 0 ? -errno : result; }

using Call = int64_t (*)(const Args&);

template <Call call>
napi_value Wrap(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return Number(env, call(args));
}

// ---- opening and closing

int64_t Openat2(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  struct open_how how = {};
  how.flags = a.Uint(2);
  how.mode = a.Uint(3);
  how.resolve = a.Uint(4);
  return OrErrno(syscall(SYS_openat2, a.Int(0), path.c_str(), &how, sizeof(how)));
}

int64_t Close(const Args& a) { return OrErrno(close(a.Int(0))); }

int64_t Dup(const Args& a) { return OrErrno(fcntl(a.Int(0), F_DUPFD_CLOEXEC, 3)); }

int64_t FcntlGetFlags(const Args& a) { return OrErrno(fcntl(a.Int(0), F_GETFL)); }

int64_t FcntlSetFlags(const Args& a) { return OrErrno(fcntl(a.Int(0), F_SETFL, a.Int(1))); }

int64_t FcntlSetCloexec(const Args& a) { return OrErrno(fcntl(a.Int(0), F_SETFD, a.Int(1) ? FD_CLOEXEC : 0)); }

int64_t Pipe2(const Args& a) {
  const Bytes out(a, 0);
  int* fds = reinterpret_cast<int*>(out.Range(0, 2 * sizeof(int)));
  if (fds == nullptr) return -EFAULT;
  return OrErrno(pipe2(fds, a.Int(1)));
}

int64_t Eventfd(const Args& a) { return OrErrno(eventfd(a.Uint(0), a.Int(1))); }

// ---- attributes

int64_t Statx(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  const Bytes out(a, 4);
  auto* stx = out.Range(a.Long(5), sizeof(struct statx));
  if (stx == nullptr) return -EFAULT;
  return OrErrno(statx(a.Int(0), path.c_str(), a.Int(2), a.Uint(3), reinterpret_cast<struct statx*>(stx)));
}

int64_t Fstatfs(const Args& a) {
  const Bytes out(a, 1);
  auto* buf = out.Range(a.Long(2), sizeof(struct statfs));
  if (buf == nullptr) return -EFAULT;
  return OrErrno(fstatfs(a.Int(0), reinterpret_cast<struct statfs*>(buf)));
}

int64_t Fchmod(const Args& a) { return OrErrno(fchmod(a.Int(0), a.Uint(1))); }

int64_t Fchmodat(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  return OrErrno(syscall(SYS_fchmodat, a.Int(0), path.c_str(), a.Uint(2)));
}

int64_t Fchmodat2(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  return OrErrno(syscall(SYS_fchmodat2, a.Int(0), path.c_str(), a.Uint(2), a.Int(3)));
}

int64_t Fchownat(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  return OrErrno(fchownat(a.Int(0), path.c_str(), a.Uint(2), a.Uint(3), a.Int(4)));
}

int64_t Utimensat(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  const struct timespec times[2] = {{a.Long(2), a.Int(3)}, {a.Long(4), a.Int(5)}};
  // The system call itself: the library's wrapper refuses an empty path before the kernel can look at AT_EMPTY_PATH.
  return OrErrno(syscall(SYS_utimensat, a.Int(0), path.c_str(), times, a.Int(6)));
}

int64_t Fallocate(const Args& a) { return OrErrno(fallocate(a.Int(0), a.Int(1), a.Long(2), a.Long(3))); }

int64_t Fsync(const Args& a) { return OrErrno(fsync(a.Int(0))); }

int64_t Fdatasync(const Args& a) { return OrErrno(fdatasync(a.Int(0))); }

int64_t Syncfs(const Args& a) { return OrErrno(syncfs(a.Int(0))); }

int64_t Umask(const Args& a) { return umask(a.Uint(0)); }

int64_t GetRandom(const Args& a) {
  const Bytes out(a, 0);
  const int64_t n = a.Long(2);
  auto* to = out.Range(a.Long(1), n);
  if (to == nullptr) return -EFAULT;
  return OrErrno(getrandom(to, n, 0));
}

// ---- names

int64_t Readlinkat(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  const Bytes out(a, 2);
  const int64_t max = a.Long(4);
  auto* buf = out.Range(a.Long(3), max);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(readlinkat(a.Int(0), path.c_str(), reinterpret_cast<char*>(buf), max));
}

int64_t Getdents64(const Args& a) {
  const Bytes out(a, 1);
  const int64_t max = a.Long(3);
  auto* buf = out.Range(a.Long(2), max);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(syscall(SYS_getdents64, a.Int(0), buf, max));
}

// Entries of a directory as the gofer's READDIR answers them (the twin is entry() of sentry/fs/gofer/listing.ts):
//   u32 inode number low · u32 high · u8 DT_* · u8 attributes follow? · u8 name length · name · 144 bytes of struct statx
constexpr int kListAttributes = 1;
constexpr int kListDirectories = 2;
constexpr int kListSingleId = 4;
constexpr size_t kAttributeBytes = 144;
constexpr size_t kEntryMax = 11 + 255 + kAttributeBytes;
constexpr uint32_t kOverflowId = 65534;

struct Dirent64 {
  uint64_t ino;
  uint64_t off;
  uint16_t length;
  uint8_t type;
  char name[];
};

void PutAttributes(struct statx* stx, bool single_id, uint8_t* to) {
  if (single_id && stx->stx_uid == kOverflowId) stx->stx_uid = 0;
  if (single_id && stx->stx_gid == kOverflowId) stx->stx_gid = 0;
  memcpy(to, stx, kAttributeBytes);
}

/** Reads attributes of an entry to `to`: whether there were any. */
bool EntryAttributes(int fd, const char* name, bool single_id, uint8_t* to, uint8_t* type) {
  struct statx stx;
  if (statx(fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0xfff, &stx) < 0) return false;
  PutAttributes(&stx, single_id, to);
  *type = (stx.stx_mode & S_IFMT) >> 12;
  return true;
}

constexpr int kSmallSingleId = 1;

// Opens what an O_PATH descriptor stands for, by the directory of our own descriptors: no path is walked a second time.
int ReopenToRead(int own_fd, int path_fd) {
  char name[16];
  snprintf(name, sizeof(name), "%d", path_fd);
  struct open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOATIME;
  const long fd = syscall(SYS_openat2, own_fd, name, &how, sizeof(how));
  if (fd >= 0 || errno != EPERM) return OrErrno(fd);
  // "O_NOATIME was specified, but the effective user ID of the caller did not match the owner of the file" - open(2)
  how.flags &= ~static_cast<uint64_t>(O_NOATIME);
  return OrErrno(syscall(SYS_openat2, own_fd, name, &how, sizeof(how)));
}

// What there is at a name that has been opened with O_PATH: bytes put to `to`, or -errno. The attributes are taken first, so that
// whatever changes the file from then on gives it another ctime.
int64_t PutSmall(int own_fd, int path_fd, uint8_t* to, int64_t room, int64_t most, bool single_id) {
  struct statx stx;
  if (statx(path_fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0xfff, &stx) < 0) return -errno;
  if (!S_ISREG(stx.stx_mode)) return -EINVAL;
  const int64_t size = stx.stx_size;
  if (size > most || size + static_cast<int64_t>(kAttributeBytes + sizeof(uint32_t)) > room) return -EFBIG;
  PutAttributes(&stx, single_id, to);
  const int fd = ReopenToRead(own_fd, path_fd);
  if (fd < 0) return fd;
  const struct iovec iov = {to + kAttributeBytes + sizeof(uint32_t), static_cast<size_t>(size)};
  const int64_t n = OrErrno(preadv2(fd, &iov, 1, 0, RWF_NOWAIT));
  if (n == -EAGAIN || (n >= 0 && n < size)) posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
  close(fd);
  if (n < 0) return n;
  if (n < size) return -EAGAIN;
  const uint32_t length = static_cast<uint32_t>(size);
  memcpy(to + kAttributeBytes, &length, sizeof(length));
  return static_cast<int64_t>(kAttributeBytes + sizeof(length)) + size;
}

// (directory fd, name, own fd, out, at, end, most, flags)
int64_t ReadSmall(const Args& a) {
  const Text name(a, 1);
  if (name.error()) return -name.error();
  const Bytes out(a, 3);
  const int64_t room = a.Long(5) - a.Long(4);
  uint8_t* const to = room < 0 ? nullptr : out.Range(a.Long(4), room);
  if (to == nullptr) return -EFAULT;
  struct open_how how = {};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const int path_fd = OrErrno(syscall(SYS_openat2, a.Int(0), name.c_str(), &how, sizeof(how)));
  if (path_fd < 0) return path_fd;
  const int64_t n = PutSmall(a.Int(2), path_fd, to, room, a.Long(6), (a.Int(7) & kSmallSingleId) != 0);
  close(path_fd);
  return n;
}

// (fd, out, at, end, flags, words): bytes put to out[at, end); words: entries, where to go on (low, high), at the end?
int64_t ListEntries(const Args& a) {
  const int fd = a.Int(0);
  const Bytes out(a, 1);
  const int64_t room = a.Long(3) - a.Long(2);
  uint8_t* const start = out.Range(a.Long(2), room);
  const int flags = a.Int(4);
  const Bytes answer(a, 5);
  auto* words = reinterpret_cast<uint32_t*>(answer.Range(0, 4 * sizeof(uint32_t)));
  if (start == nullptr || words == nullptr) return -EFAULT;
  uint8_t* to = start;
  uint8_t* const end = start + room;
  words[0] = 0;
  words[3] = 0;
  alignas(8) char buffer[32 * 1024];
  for (;;) {
    const int64_t n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer));
    if (n < 0) return -errno;
    if (n == 0) {
      words[3] = 1;
      return to - start;
    }
    for (int64_t i = 0; i < n;) {
      if (end - to < static_cast<int64_t>(kEntryMax)) return to - start;
      const auto* entry = reinterpret_cast<const Dirent64*>(buffer + i);
      i += entry->length;
      words[1] = static_cast<uint32_t>(entry->off);
      words[2] = static_cast<uint32_t>(entry->off >> 32);
      const size_t length = strlen(entry->name);
      if (length == 0 || length > 255) continue;
      if (entry->name[0] == '.' && (length == 1 || (length == 2 && entry->name[1] == '.'))) continue;
      uint8_t type = entry->type;
      bool has = false;
      uint8_t* const attributes = to + 11 + length;
      if ((flags & kListAttributes) != 0 || ((flags & kListDirectories) != 0 && (type == DT_DIR || type == DT_UNKNOWN))) {
        has = EntryAttributes(fd, entry->name, (flags & kListSingleId) != 0, attributes, &type);
      }
      memcpy(to, &entry->ino, 8);
      to[8] = type;
      to[9] = has ? 1 : 0;
      to[10] = static_cast<uint8_t>(length);
      memcpy(to + 11, entry->name, length);
      to = attributes + (has ? kAttributeBytes : 0);
      words[0]++;
    }
  }
}

int64_t Mkdirat(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  return OrErrno(mkdirat(a.Int(0), path.c_str(), a.Uint(2)));
}

int64_t Mknodat(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  return OrErrno(mknodat(a.Int(0), path.c_str(), a.Uint(2), makedev(a.Uint(3), a.Uint(4))));
}

int64_t Symlinkat(const Args& a) {
  const Text target(a, 0);
  if (target.error()) return -target.error();
  const Text path(a, 2);
  if (path.error()) return -path.error();
  return OrErrno(symlinkat(target.c_str(), a.Int(1), path.c_str()));
}

int64_t Linkat(const Args& a) {
  const Text from(a, 1);
  if (from.error()) return -from.error();
  const Text to(a, 3);
  if (to.error()) return -to.error();
  return OrErrno(linkat(a.Int(0), from.c_str(), a.Int(2), to.c_str(), a.Int(4)));
}

int64_t Unlinkat(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  return OrErrno(unlinkat(a.Int(0), path.c_str(), a.Int(2)));
}

int64_t Renameat2(const Args& a) {
  const Text from(a, 1);
  if (from.error()) return -from.error();
  const Text to(a, 3);
  if (to.error()) return -to.error();
  return OrErrno(syscall(SYS_renameat2, a.Int(0), from.c_str(), a.Int(2), to.c_str(), a.Uint(4)));
}

// ---- extended attributes, by descriptor and, for what was opened with O_PATH, by its /proc/self/fd name

int64_t Fgetxattr(const Args& a) {
  const Text name(a, 1);
  if (name.error()) return -name.error();
  const Bytes out(a, 2);
  const int64_t max = a.Long(4);
  auto* buf = out.Range(a.Long(3), max);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(fgetxattr(a.Int(0), name.c_str(), buf, max));
}

int64_t Fsetxattr(const Args& a) {
  const Text name(a, 1);
  if (name.error()) return -name.error();
  const Bytes in(a, 2);
  const int64_t n = a.Long(4);
  auto* buf = in.Range(a.Long(3), n);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(fsetxattr(a.Int(0), name.c_str(), buf, n, a.Int(5)));
}

int64_t Flistxattr(const Args& a) {
  const Bytes out(a, 1);
  const int64_t max = a.Long(3);
  auto* buf = out.Range(a.Long(2), max);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(flistxattr(a.Int(0), reinterpret_cast<char*>(buf), max));
}

int64_t Fremovexattr(const Args& a) {
  const Text name(a, 1);
  if (name.error()) return -name.error();
  return OrErrno(fremovexattr(a.Int(0), name.c_str()));
}

int64_t Getxattr(const Args& a) {
  const Text path(a, 0);
  if (path.error()) return -path.error();
  const Text name(a, 1);
  if (name.error()) return -name.error();
  const Bytes out(a, 2);
  const int64_t max = a.Long(4);
  auto* buf = out.Range(a.Long(3), max);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(getxattr(path.c_str(), name.c_str(), buf, max));
}

int64_t Setxattr(const Args& a) {
  const Text path(a, 0);
  if (path.error()) return -path.error();
  const Text name(a, 1);
  if (name.error()) return -name.error();
  const Bytes in(a, 2);
  const int64_t n = a.Long(4);
  auto* buf = in.Range(a.Long(3), n);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(setxattr(path.c_str(), name.c_str(), buf, n, a.Int(5)));
}

int64_t Listxattr(const Args& a) {
  const Text path(a, 0);
  if (path.error()) return -path.error();
  const Bytes out(a, 1);
  const int64_t max = a.Long(3);
  auto* buf = out.Range(a.Long(2), max);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(listxattr(path.c_str(), reinterpret_cast<char*>(buf), max));
}

int64_t Removexattr(const Args& a) {
  const Text path(a, 0);
  if (path.error()) return -path.error();
  const Text name(a, 1);
  if (name.error()) return -name.error();
  return OrErrno(removexattr(path.c_str(), name.c_str()));
}

// ---- data

int64_t Preadv2(const Args& a) {
  const Bytes out(a, 1);
  const int64_t n = a.Long(3);
  auto* buf = out.Range(a.Long(2), n);
  if (buf == nullptr) return -EFAULT;
  const struct iovec iov = {buf, static_cast<size_t>(n)};
  return OrErrno(preadv2(a.Int(0), &iov, 1, a.Long(4), a.Int(5)));
}

int64_t Pwritev2(const Args& a) {
  const Bytes in(a, 1);
  const int64_t n = a.Long(3);
  auto* buf = in.Range(a.Long(2), n);
  if (buf == nullptr) return -EFAULT;
  const struct iovec iov = {buf, static_cast<size_t>(n)};
  return OrErrno(pwritev2(a.Int(0), &iov, 1, a.Long(4), a.Int(5)));
}

int64_t Read(const Args& a) {
  const Bytes out(a, 1);
  const int64_t n = a.Long(3);
  auto* buf = out.Range(a.Long(2), n);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(read(a.Int(0), buf, n));
}

int64_t Write(const Args& a) {
  const Bytes in(a, 1);
  const int64_t n = a.Long(3);
  auto* buf = in.Range(a.Long(2), n);
  if (buf == nullptr) return -EFAULT;
  return OrErrno(write(a.Int(0), buf, n));
}

int64_t Lseek(const Args& a) { return OrErrno(lseek(a.Int(0), a.Long(1), a.Int(2))); }

// A directory's d_off is an opaque 64-bit value (ext4 hashes names into 63 bits), so it comes as two words.
int64_t SeekDir(const Args& a) {
  const uint64_t cookie = static_cast<uint64_t>(a.Uint(1)) | static_cast<uint64_t>(a.Uint(2)) << 32;
  return lseek(a.Int(0), static_cast<off_t>(cookie), SEEK_SET) == static_cast<off_t>(-1) ? -errno : 0;
}

int64_t PollFd(const Args& a) {
  struct pollfd p = {a.Int(0), static_cast<short>(a.Int(1)), 0};
  int n;
  // A pending signal interrupts even a call that would not have waited: fs/select.c:do_poll().
  do n = poll(&p, 1, a.Int(2));
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : p.revents;
}

int64_t Ioctl(const Args& a) {
  const Bytes buf(a, 2);
  // The size is what the request number says (_IOC_SIZE); terminal requests carry none: struct termios is the largest.
  const uint32_t cmd = a.Uint(1);
  const int64_t coded = (cmd >> 16) & 0x3fff;
  auto* data = buf.Range(0, coded > 0 ? coded : 64);
  if (data == nullptr) return -EFAULT;
  return OrErrno(ioctl(a.Int(0), cmd, data));
}

int64_t IoctlValue(const Args& a) { return OrErrno(ioctl(a.Int(0), a.Uint(1), static_cast<long>(a.Int(2)))); }

// ---- waiting on shared words

int64_t FutexWait(const Args& a) {
  const Bytes words(a, 0);
  auto* word = words.Range(a.Long(1) * 4, 4);
  if (word == nullptr) return -EFAULT;
  const int64_t micros = a.Long(3);
  const struct timespec timeout = {micros / 1000000, (micros % 1000000) * 1000};
  return OrErrno(syscall(SYS_futex, word, FUTEX_WAIT, a.Int(2), micros < 0 ? nullptr : &timeout, nullptr, 0));
}

int64_t FutexWake(const Args& a) {
  const Bytes words(a, 0);
  auto* word = words.Range(a.Long(1) * 4, 4);
  if (word == nullptr) return -EFAULT;
  return OrErrno(syscall(SYS_futex, word, FUTEX_WAKE, a.Int(2), nullptr, nullptr, 0));
}

// ---- watching

int64_t InotifyInit(const Args& a) { return OrErrno(inotify_init1(a.Int(0))); }

int64_t InotifyAddWatch(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  return OrErrno(inotify_add_watch(a.Int(0), path.c_str(), a.Uint(2)));
}

int64_t InotifyRmWatch(const Args& a) { return OrErrno(inotify_rm_watch(a.Int(0), a.Int(1))); }

// ---- unix sockets

int64_t UnixSocketPair(const Args& a) {
  const Bytes out(a, 1);
  int* fds = reinterpret_cast<int*>(out.Range(0, 2 * sizeof(int)));
  if (fds == nullptr) return -EFAULT;
  return OrErrno(socketpair(AF_UNIX, a.Int(0) | SOCK_CLOEXEC, 0, fds));
}

int64_t UnixSocket(const Args& a) { return OrErrno(socket(AF_UNIX, a.Int(0) | SOCK_CLOEXEC, 0)); }

bool UnixAddress(const char* path, struct sockaddr_un* out) {
  memset(out, 0, sizeof(*out));
  out->sun_family = AF_UNIX;
  const size_t length = strlen(path);
  if (length >= sizeof(out->sun_path)) return false;
  memcpy(out->sun_path, path, length);
  return true;
}

int64_t BindUnix(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  struct sockaddr_un address;
  if (!UnixAddress(path.c_str(), &address)) return -ENAMETOOLONG;
  return OrErrno(bind(a.Int(0), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)));
}

int64_t ConnectUnix(const Args& a) {
  const Text path(a, 1);
  if (path.error()) return -path.error();
  struct sockaddr_un address;
  if (!UnixAddress(path.c_str(), &address)) return -ENAMETOOLONG;
  return OrErrno(connect(a.Int(0), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)));
}

// One descriptor with a 32-bit tag, so that the receiver can tell which request it answers.
int64_t SendTaggedFd(const Args& a) {
  uint32_t tag = a.Uint(1);
  const int fd = a.Int(2);
  struct iovec iov = {&tag, sizeof(tag)};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  return OrErrno(sendmsg(a.Int(0), &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

// The descriptor (close-on-exec); -EBADMSG for a message of another tag or without exactly one descriptor, -EPIPE at the end.
int64_t RecvTaggedFd(const Args& a) {
  uint32_t tag = 0;
  struct iovec iov = {&tag, sizeof(tag)};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t n = recvmsg(a.Int(0), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) return -errno;
  if (n == 0) return -EPIPE;
  int fd = -1;
  for (struct cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int))) {
      memcpy(&fd, CMSG_DATA(h), sizeof(fd));
    }
  }
  // The kernel has thrown a descriptor away that we have no room for: net/core/scm.c:scm_detach_fds().
  if (fd < 0 && n == sizeof(tag) && tag == a.Uint(1) && (message.msg_flags & MSG_CTRUNC) != 0) return -EMFILE;
  if (fd < 0) return -EBADMSG;
  if (n != sizeof(tag) || tag != a.Uint(1) || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) {
    close(fd);
    return -EBADMSG;
  }
  return fd;
}

// A process that sleeps on a futex does not see its peer die. This thread does, at no cost while it waits.
void* HangupThread(void* arg) {
  struct pollfd p = {static_cast<int>(reinterpret_cast<intptr_t>(arg)), 0, 0};
  for (;;) {
    const int n = poll(&p, 1, -1);
    if (n > 0 || (n < 0 && errno != EINTR)) _exit(0);
  }
}

int64_t ExitOnHangup(const Args& a) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, HangupThread, reinterpret_cast<void*>(static_cast<intptr_t>(a.Int(0))));
  pthread_attr_destroy(&attributes);
  return -error;
}

// ---- calls that take their time

// fsync(2), and a read of what is not in the page cache, wait for a disk. A few threads do it, so that the one that serves
// guests does not wait: a call is put into a numbered slot, the event descriptor becomes readable when it is done, and its result is taken from the slot.
constexpr int kSlowSlots = 256;
constexpr int kSlowThreads = 4;
constexpr int kSlowRunning = 1;

struct SlowCalls {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
  std::deque<int> queue;
  int fds[kSlowSlots];
  int kinds[kSlowSlots];
  int64_t offsets[kSlowSlots];
  int64_t lengths[kSlowSlots];
  int results[kSlowSlots];
  int threads = 0;
  int idle = 0;
  int event_fd = -1;
};

// Never destroyed: its threads live until the process ends.
SlowCalls& slow = *new SlowCalls;

constexpr int kSlowFdatasync = 1;
constexpr int kSlowFetch = 2;

/** Reads a range for the page cache's sake alone. */
int Fetch(int fd, int64_t offset, int64_t length) {
  char buffer[16 * 1024];
  while (length > 0) {
    const ssize_t n = pread(fd, buffer, std::min<int64_t>(length, sizeof(buffer)), offset);
    if (n < 0) return -errno;
    if (n == 0) break;
    offset += n;
    length -= n;
  }
  return 0;
}

int SlowCall(int fd, int kind, int64_t offset, int64_t length) {
  if (kind == kSlowFetch) return Fetch(fd, offset, length);
  return (kind == kSlowFdatasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

void* SlowThread(void*) {
  pthread_mutex_lock(&slow.mutex);
  for (;;) {
    slow.idle++;
    while (slow.queue.empty()) pthread_cond_wait(&slow.wanted, &slow.mutex);
    slow.idle--;
    const int slot = slow.queue.front();
    slow.queue.pop_front();
    pthread_mutex_unlock(&slow.mutex);
    const int result = SlowCall(slow.fds[slot], slow.kinds[slot], slow.offsets[slot], slow.lengths[slot]);
    pthread_mutex_lock(&slow.mutex);
    slow.results[slot] = result;
    const uint64_t one = 1;
    // A full counter is readable already.
    if (write(slow.event_fd, &one, sizeof(one)) < 0) continue;
  }
  return nullptr;
}

int64_t SlowCallEvents(const Args&) {
  if (slow.event_fd < 0) slow.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return OrErrno(slow.event_fd);
}

int64_t SlowCallStart(const Args& a) {
  const int slot = a.Int(0);
  if (slot < 0 || slot >= kSlowSlots || slow.event_fd < 0) return -EINVAL;
  pthread_mutex_lock(&slow.mutex);
  slow.fds[slot] = a.Int(1);
  slow.kinds[slot] = a.Int(2);
  slow.offsets[slot] = a.Long(3);
  slow.lengths[slot] = a.Long(4);
  slow.results[slot] = kSlowRunning;
  int error = 0;
  if (slow.idle == 0 && slow.threads < kSlowThreads) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    error = pthread_create(&thread, &attributes, SlowThread, nullptr);
    pthread_attr_destroy(&attributes);
    if (error == 0) slow.threads++;
  }
  // Without a thread of its own the call waits for those that are there.
  if (slow.threads > 0) {
    slow.queue.push_back(slot);
    pthread_cond_signal(&slow.wanted);
    error = 0;
  }
  pthread_mutex_unlock(&slow.mutex);
  return -error;
}

int64_t SlowCallResult(const Args& a) {
  const int slot = a.Int(0);
  if (slot < 0 || slot >= kSlowSlots) return -EINVAL;
  pthread_mutex_lock(&slow.mutex);
  const int result = slow.results[slot];
  pthread_mutex_unlock(&slow.mutex);
  return result;
}

// ---- the end of asking

// A program of struct sock_filter for all threads at once, which takes no_new_privs on all of them too.
int64_t LoadSeccompProgram(const Args& a) {
  const Bytes program(a, 0);
  const size_t length = program.size();
  if (length == 0 || length % sizeof(struct sock_filter) != 0 || length / sizeof(struct sock_filter) > BPF_MAXINSNS) return -EINVAL;
  const struct sock_fprog filter = {static_cast<unsigned short>(length / sizeof(struct sock_filter)),
                                    reinterpret_cast<struct sock_filter*>(program.Range(0, static_cast<int64_t>(length)))};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  const long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
  // A positive result is the thread that could not be brought in line.
  return result > 0 ? -EBUSY : OrErrno(result);
}

struct Export {
  const char* name;
  napi_callback callback;
};

const Export kExports[] = {
    {"openat2", Wrap<Openat2>},
    {"close", Wrap<Close>},
    {"dup", Wrap<Dup>},
    {"fcntlGetFlags", Wrap<FcntlGetFlags>},
    {"fcntlSetFlags", Wrap<FcntlSetFlags>},
    {"fcntlSetCloexec", Wrap<FcntlSetCloexec>},
    {"pipe2", Wrap<Pipe2>},
    {"eventfd", Wrap<Eventfd>},
    {"statx", Wrap<Statx>},
    {"fstatfs", Wrap<Fstatfs>},
    {"fchmod", Wrap<Fchmod>},
    {"fchmodat", Wrap<Fchmodat>},
    {"fchmodat2", Wrap<Fchmodat2>},
    {"fchownat", Wrap<Fchownat>},
    {"utimensat", Wrap<Utimensat>},
    {"fallocate", Wrap<Fallocate>},
    {"fsync", Wrap<Fsync>},
    {"fdatasync", Wrap<Fdatasync>},
    {"syncfs", Wrap<Syncfs>},
    {"umask", Wrap<Umask>},
    {"getRandom", Wrap<GetRandom>},
    {"readlinkat", Wrap<Readlinkat>},
    {"getdents64", Wrap<Getdents64>},
    {"listEntries", Wrap<ListEntries>},
    {"readSmall", Wrap<ReadSmall>},
    {"mkdirat", Wrap<Mkdirat>},
    {"mknodat", Wrap<Mknodat>},
    {"symlinkat", Wrap<Symlinkat>},
    {"linkat", Wrap<Linkat>},
    {"unlinkat", Wrap<Unlinkat>},
    {"renameat2", Wrap<Renameat2>},
    {"fgetxattr", Wrap<Fgetxattr>},
    {"fsetxattr", Wrap<Fsetxattr>},
    {"flistxattr", Wrap<Flistxattr>},
    {"fremovexattr", Wrap<Fremovexattr>},
    {"getxattr", Wrap<Getxattr>},
    {"setxattr", Wrap<Setxattr>},
    {"listxattr", Wrap<Listxattr>},
    {"removexattr", Wrap<Removexattr>},
    {"preadv2", Wrap<Preadv2>},
    {"pwritev2", Wrap<Pwritev2>},
    {"read", Wrap<Read>},
    {"write", Wrap<Write>},
    {"lseek", Wrap<Lseek>},
    {"seekDir", Wrap<SeekDir>},
    {"pollFd", Wrap<PollFd>},
    {"ioctl", Wrap<Ioctl>},
    {"ioctlValue", Wrap<IoctlValue>},
    {"futexWait", Wrap<FutexWait>},
    {"futexWake", Wrap<FutexWake>},
    {"inotifyInit", Wrap<InotifyInit>},
    {"inotifyAddWatch", Wrap<InotifyAddWatch>},
    {"inotifyRmWatch", Wrap<InotifyRmWatch>},
    {"unixSocketPair", Wrap<UnixSocketPair>},
    {"unixSocket", Wrap<UnixSocket>},
    {"bindUnix", Wrap<BindUnix>},
    {"connectUnix", Wrap<ConnectUnix>},
    {"sendTaggedFd", Wrap<SendTaggedFd>},
    {"recvTaggedFd", Wrap<RecvTaggedFd>},
    {"exitOnHangup", Wrap<ExitOnHangup>},
    {"slowCallEvents", Wrap<SlowCallEvents>},
    {"slowCallStart", Wrap<SlowCallStart>},
    {"slowCallResult", Wrap<SlowCallResult>},
    {"loadSeccompProgram", Wrap<LoadSeccompProgram>},
};

}  // namespace

void InitHostCalls(Napi::Env env, Napi::Object exports) {
  for (const Export& e : kExports) exports.Set(e.name, Napi::Value(env, [&] {
    napi_value function;
    napi_create_function(env, e.name, NAPI_AUTO_LENGTH, e.callback, nullptr, &function);
    return function;
  }()));
}

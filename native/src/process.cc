// Starting processes and confining them: namespaces, mounts, credentials, terminals, unix sockets.
// Policy is TypeScript's: each function is one host call, which answers a number or -errno, except the two halves
// of a process start.
//
// How a process starts (startProcess, finishProcess):
//
//   parent                                   child (shares our memory, like vfork, but does not stop us)
//   clone                              ->    waits for one byte of `go`
//   TypeScript writes uid_map, gid_map
//   releaseProcess: a byte to `go`     ->    session, ids, mounts, limits, descriptors, execve
//   finishProcess: reads `status`      <-    {stage, errno}, or end of file: the close-on-exec end went with execve
//
// The child shares our address space, so copying page tables costs nothing, and for that reason makes raw system
// calls only: errno and malloc belong to the parent, who runs on meanwhile.
#include <napi.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <net/if.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "raw-syscall.h"

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using Napi::CallbackInfo;
using Napi::Env;
using Napi::Value;

Value Num(const CallbackInfo& info, double n) { return Napi::Number::New(info.Env(), n); }
/// The result of a libc call: itself, or -errno.
Value Result(const CallbackInfo& info, long n) { return Num(info, n < 0 ? -errno : static_cast<double>(n)); }

int Int(const CallbackInfo& info, size_t n) { return info[n].As<Napi::Number>().Int32Value(); }
double Double(const CallbackInfo& info, size_t n) { return info[n].As<Napi::Number>().DoubleValue(); }
bool Has(const CallbackInfo& info, size_t n) { return info.Length() > n && !info[n].IsUndefined() && !info[n].IsNull(); }

/// Paths are strings of one char per byte.
std::string Bytes(const Value& value) {
  std::u16string wide = value.As<Napi::String>().Utf16Value();
  std::string narrow(wide.size(), '\0');
  for (size_t i = 0; i < wide.size(); i++) narrow[i] = static_cast<char>(wide[i]);
  return narrow;
}

Napi::String FromBytes(Env env, const char* bytes, size_t n) {
  std::u16string wide(n, u'\0');
  for (size_t i = 0; i < n; i++) wide[i] = static_cast<unsigned char>(bytes[i]);
  return Napi::String::New(env, wide);
}

// ---------------------------------------------------------------- starting a process

constexpr size_t kStackSize = 64 * 1024;
constexpr int kMaxSignal = 64;
/// Where descriptors wait while their places are made free: above every number a child is given.
constexpr int kParkFd = 512;

// Twin of STAGES in types/process.d.ts' documentation: finishProcess names the stage in its error.
enum Stage { kGo, kSession, kIds, kMounts, kLimits, kFds, kCwd, kExec, kPrivs };
const char* const kStages[] = {"wait", "setsid", "setresuid", "mount", "setrlimit", "dup", "chdir", "execve", "prctl"};

struct Limit {
  int resource;
  struct rlimit64 value;
};

struct Start {
  int go[2] = {-1, -1};
  int status[2] = {-1, -1};
  pid_t pid = -1;
  int pidfd = -1;
  void* stack = nullptr;
  std::string exe, cwd;
  std::vector<std::string> args, vars;
  std::vector<char*> argv, envp;
  std::vector<int> childFds, parentFds;
  std::vector<Limit> limits;
  bool released = false, session = false, privateMounts = false, noNewPrivs = false, setIds = false, dropGroups = false;
  int ctty = -1, pdeathsig = 0, umask = -1;
  unsigned uid = 0, gid = 0;
  pid_t parent = 0;
  // The child's copies of the numbers above: the parent closes its ends, and notes that, while the child still reads.
  int childGo = -1, childGoWriter = -1, childStatus = -1;
  // Pipe ends of children started before: while we hold them, their end of file does not come.
  std::vector<int> foreign;

  ~Start() {
    for (int fd : {go[0], go[1], status[0], status[1]})
      if (fd >= 0) close(fd);
    if (stack != nullptr) munmap(stack, kStackSize);
  }
};

struct KernelSigaction {
  unsigned long handler, flags, restorer, mask;
};

[[noreturn]] void Fail(int statusFd, Stage stage, long error) {
  int32_t message[2] = {stage, static_cast<int32_t>(-error)};
  Raw(SYS_write, statusFd, Ptr(message), sizeof message);
  Raw(SYS_exit_group, 127);
  __builtin_unreachable();
}

/// Runs in the child, on its own stack. The descriptor table is a copy, memory is not.
int ChildMain(void* arg) {
  Start& s = *static_cast<Start*>(arg);
  // Handlers are the parent's functions: none may run here.
  KernelSigaction none = {0, 0, 0, 0};
  for (int sig = 1; sig <= kMaxSignal; sig++)
    if (sig != SIGKILL && sig != SIGSTOP) Raw(SYS_rt_sigaction, sig, Ptr(&none), 0, 8);

  long statusFd = Raw(SYS_fcntl, s.childStatus, F_DUPFD_CLOEXEC, kParkFd);
  if (statusFd < 0) Raw(SYS_exit_group, 127);
  // Ours of the parent's ends, so that the parent's death is an end of file here.
  Raw(SYS_close, s.childGoWriter);
  for (int fd : s.foreign) Raw(SYS_close, fd);
  char byte;
  if (Raw(SYS_read, s.childGo, Ptr(&byte), 1) != 1) Raw(SYS_exit_group, 127);

  long r;
  if (s.session && (r = Raw(SYS_setsid)) < 0) Fail(statusFd, kSession, r);
  if (s.ctty >= 0 && (r = Raw(SYS_ioctl, s.ctty, TIOCSCTTY, 0)) < 0) Fail(statusFd, kSession, r);
  if (s.setIds) {
    if (s.dropGroups && (r = Raw(SYS_setgroups, 0, 0)) < 0) Fail(statusFd, kIds, r);
    if ((r = Raw(SYS_setresgid, s.gid, s.gid, s.gid)) < 0) Fail(statusFd, kIds, r);
    if ((r = Raw(SYS_setresuid, s.uid, s.uid, s.uid)) < 0) Fail(statusFd, kIds, r);
  }
  if (s.privateMounts && (r = Raw(SYS_mount, 0, Ptr("/"), 0, MS_REC | MS_PRIVATE, 0)) < 0) Fail(statusFd, kMounts, r);
  for (Limit& limit : s.limits)
    if ((r = Raw(SYS_prlimit64, 0, limit.resource, Ptr(&limit.value), 0)) < 0) Fail(statusFd, kLimits, r);
  if (s.umask >= 0) Raw(SYS_umask, s.umask);

  // All wait above kParkFd first, so that no target overwrites a source that is still to come.
  size_t count = s.childFds.size();
  for (size_t i = 0; i < count; i++) {
    if ((r = Raw(SYS_fcntl, s.parentFds[i], F_DUPFD_CLOEXEC, kParkFd)) < 0) Fail(statusFd, kFds, r);
    s.parentFds[i] = static_cast<int>(r);
  }
  if ((r = Raw(SYS_close_range, 0, ~0U, CLOSE_RANGE_CLOEXEC)) < 0) Fail(statusFd, kFds, r);
  for (size_t i = 0; i < count; i++)
    if ((r = Raw(SYS_dup2, s.parentFds[i], s.childFds[i])) < 0) Fail(statusFd, kFds, r);

  if (!s.cwd.empty() && (r = Raw(SYS_chdir, Ptr(s.cwd.c_str()))) < 0) Fail(statusFd, kCwd, r);
  // After the change of ids, which resets it: prctl(2).
  if (s.pdeathsig != 0) {
    if ((r = Raw(SYS_prctl, PR_SET_PDEATHSIG, s.pdeathsig, 0, 0, 0)) < 0) Fail(statusFd, kPrivs, r);
    // The parent may have gone before; in a pid namespace of our own it has no number.
    long now = Raw(SYS_getppid);
    if (now != s.parent && now != 0) Raw(SYS_exit_group, 127);
  }
  if (s.noNewPrivs && (r = Raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) < 0) Fail(statusFd, kPrivs, r);
  unsigned long empty = 0;
  Raw(SYS_rt_sigprocmask, SIG_SETMASK, Ptr(&empty), 0, 8);
  r = Raw(SYS_execve, Ptr(s.exe.c_str()), Ptr(s.argv.data()), Ptr(s.envp.data()));
  Fail(statusFd, kExec, r);
}

std::unordered_map<int, std::unique_ptr<Start>> starting;

[[noreturn]] void Throw(Env env, const char* call, int error) {
  Napi::Error failure = Napi::Error::New(env, std::string(call) + ": " + strerror(error));
  failure.Set("syscall", Napi::String::New(env, call));
  failure.Set("errno", Napi::Number::New(env, -error));
  failure.Set("code", Napi::String::New(env, strerrorname_np(error) ? strerrorname_np(error) : "EUNKNOWN"));
  throw failure;
}

std::vector<std::string> Strings(const Value& value) {
  std::vector<std::string> strings;
  if (value.IsUndefined()) return strings;
  Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) strings.push_back(Bytes(array.Get(i)));
  return strings;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

int IntOr(const Napi::Object& o, const char* name, int otherwise) {
  Value v = o.Get(name);
  return v.IsNumber() ? v.As<Napi::Number>().Int32Value() : otherwise;
}

bool Flag(const Napi::Object& o, const char* name) { return o.Get(name).ToBoolean(); }

/// Enters namespaces for the time of a clone: a thread's own affair, so nobody else sees it.
class Visit {
 public:
  ~Visit() {
    for (auto it = back_.rbegin(); it != back_.rend(); ++it) {
      setns(*it, 0);
      close(*it);
    }
  }
  bool Enter(int nsFd, const char* ownPath) {
    int own = open(ownPath, O_RDONLY | O_CLOEXEC);
    if (own < 0) return false;
    if (setns(nsFd, 0) < 0) {
      int error = errno;
      close(own);
      errno = error;
      return false;
    }
    back_.push_back(own);
    return true;
  }

 private:
  std::vector<int> back_;
};

Value StartProcess(const CallbackInfo& info) {
  Env env = info.Env();
  Napi::Object o = info[0].As<Napi::Object>();
  auto s = std::make_unique<Start>();
  s->exe = Bytes(o.Get("exe"));
  s->args = Strings(o.Get("argv"));
  s->vars = Strings(o.Get("env"));
  s->argv = Pointers(s->args);
  s->envp = Pointers(s->vars);
  if (o.Get("cwd").IsString()) s->cwd = Bytes(o.Get("cwd"));
  if (o.Get("fds").IsArray()) {
    Napi::Array pairs = o.Get("fds").As<Napi::Array>();
    for (uint32_t i = 0; i < pairs.Length(); i++) {
      Napi::Array pair = pairs.Get(i).As<Napi::Array>();
      s->childFds.push_back(pair.Get(0u).As<Napi::Number>().Int32Value());
      s->parentFds.push_back(pair.Get(1u).As<Napi::Number>().Int32Value());
    }
  }
  if (o.Get("limits").IsArray()) {
    Napi::Array limits = o.Get("limits").As<Napi::Array>();
    for (uint32_t i = 0; i < limits.Length(); i++) {
      Napi::Array limit = limits.Get(i).As<Napi::Array>();
      double soft = limit.Get(1u).As<Napi::Number>().DoubleValue(), hard = limit.Get(2u).As<Napi::Number>().DoubleValue();
      auto bound = [](double v) { return v < 0 || v >= 18446744073709551615.0 ? RLIM64_INFINITY : static_cast<rlim64_t>(v); };
      s->limits.push_back({limit.Get(0u).As<Napi::Number>().Int32Value(), {bound(soft), bound(hard)}});
    }
  }
  s->session = Flag(o, "session");
  s->privateMounts = Flag(o, "privateMounts");
  s->noNewPrivs = Flag(o, "noNewPrivs");
  s->dropGroups = Flag(o, "dropGroups");
  s->ctty = IntOr(o, "ctty", -1);
  s->pdeathsig = IntOr(o, "pdeathsig", 0);
  s->umask = IntOr(o, "umask", -1);
  s->setIds = o.Get("uid").IsNumber();
  if (s->setIds) {
    s->uid = o.Get("uid").As<Napi::Number>().Uint32Value();
    s->gid = o.Get("gid").As<Napi::Number>().Uint32Value();
  }
  s->parent = getpid();

  if (pipe2(s->go, O_CLOEXEC) < 0 || pipe2(s->status, O_CLOEXEC) < 0) Throw(env, "pipe2", errno);
  s->childGo = s->go[0];
  s->childGoWriter = s->go[1];
  s->childStatus = s->status[1];
  for (const auto& [pid, other] : starting) {
    s->foreign.push_back(other->status[1]);
    s->foreign.push_back(other->go[1]);
  }
  s->stack = mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (s->stack == MAP_FAILED) {
    s->stack = nullptr;
    Throw(env, "mmap", ENOMEM);
  }

  Visit visit;
  if (o.Get("join").IsArray()) {
    Napi::Array joins = o.Get("join").As<Napi::Array>();
    for (uint32_t i = 0; i < joins.Length(); i++) {
      Napi::Array join = joins.Get(i).As<Napi::Array>();
      std::string own = "/proc/thread-self/ns/" + Bytes(join.Get(1u));
      if (!visit.Enter(join.Get(0u).As<Napi::Number>().Int32Value(), own.c_str())) Throw(env, "setns", errno);
    }
  }

  // No signal may find our handlers in the child: they come back when it has reset them.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int flags = IntOr(o, "cloneFlags", 0) | CLONE_VM | CLONE_PIDFD | SIGCHLD;
  int pid = clone(ChildMain, static_cast<char*>(s->stack) + kStackSize, flags, s.get(), &s->pidfd);
  int error = errno;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (pid < 0) Throw(env, "clone", error);
  s->pid = pid;
  Napi::Object result = Napi::Object::New(env);
  result.Set("pid", pid);
  result.Set("pidfd", s->pidfd);
  starting[pid] = std::move(s);
  return result;
}

/// A child that is gone already is finishProcess()'s to tell of.
void Release(Env env, Start& s) {
  char byte = 1;
  if (!s.released && write(s.go[1], &byte, 1) != 1 && errno != EPIPE) Throw(env, "write", errno);
  s.released = true;
}

Value ReleaseProcess(const CallbackInfo& info) {
  Env env = info.Env();
  auto at = starting.find(Int(info, 0));
  if (at == starting.end()) Throw(env, "releaseProcess", ESRCH);
  Release(env, *at->second);
  return env.Undefined();
}

Value FinishProcess(const CallbackInfo& info) {
  Env env = info.Env();
  auto at = starting.find(Int(info, 0));
  if (at == starting.end()) Throw(env, "finishProcess", ESRCH);
  std::unique_ptr<Start> s = std::move(at->second);
  starting.erase(at);
  close(s->status[1]);
  s->status[1] = -1;
  close(s->go[0]);
  s->go[0] = -1;
  bool abandon = Has(info, 1) && info[1].ToBoolean();
  if (abandon) kill(s->pid, SIGKILL);
  else Release(env, *s);
  int32_t message[2];
  ssize_t n;
  do n = read(s->status[0], message, sizeof message);
  while (n < 0 && errno == EINTR);
  if (abandon || n == 0) return env.Undefined();
  waitpid(s->pid, nullptr, 0);
  close(s->pidfd);
  Throw(env, kStages[message[0]], message[1]);
}

/// [pid or 0 or -errno, status word as wait4(2) reports it]
Value WaitPid(const CallbackInfo& info) {
  int status = 0;
  int pid;
  do pid = waitpid(Int(info, 0), &status, Int(info, 1));
  while (pid < 0 && errno == EINTR && (Int(info, 1) & WNOHANG) == 0);
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, Result(info, pid));
  result.Set(1u, status);
  return result;
}

class WaitWorker : public Napi::AsyncWorker {
 public:
  WaitWorker(Napi::Env env, int pid) : AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), pid_(pid) {}
  void Execute() override {
    int r;
    do r = waitpid(pid_, &status_, __WALL);
    while (r < 0 && errno == EINTR);
    if (r < 0) status_ = -errno;
  }
  void OnOK() override { deferred_.Resolve(Napi::Number::New(Env(), status_)); }
  Napi::Promise Promise() { return deferred_.Promise(); }

 private:
  Napi::Promise::Deferred deferred_;
  int pid_;
  int status_ = 0;
};

Value WaitPidAsync(const CallbackInfo& info) {
  auto* worker = new WaitWorker(info.Env(), Int(info, 0));
  worker->Queue();
  return worker->Promise();
}

Value Kill(const CallbackInfo& info) { return Result(info, kill(Int(info, 0), Int(info, 1))); }
Value PidfdOpen(const CallbackInfo& info) { return Result(info, syscall(SYS_pidfd_open, Int(info, 0), 0)); }
Value PidfdSendSignal(const CallbackInfo& info) { return Result(info, syscall(SYS_pidfd_send_signal, Int(info, 0), Int(info, 1), nullptr, 0)); }

// ---------------------------------------------------------------- namespaces and mounts

Value Unshare(const CallbackInfo& info) { return Result(info, unshare(Int(info, 0))); }
Value Setns(const CallbackInfo& info) { return Result(info, setns(Int(info, 0), Int(info, 1))); }
Value Sethostname(const CallbackInfo& info) {
  std::string name = Bytes(info[0]);
  return Result(info, sethostname(name.data(), name.size()));
}

/// mount(source | null, target, type | null, flags, data | null)
Value Mount(const CallbackInfo& info) {
  std::string source, type, data, target = Bytes(info[1]);
  const char* words[3] = {nullptr, nullptr, nullptr};
  if (Has(info, 0)) words[0] = (source = Bytes(info[0])).c_str();
  if (Has(info, 2)) words[1] = (type = Bytes(info[2])).c_str();
  if (Has(info, 4)) words[2] = (data = Bytes(info[4])).c_str();
  return Result(info, mount(words[0], target.c_str(), words[1], static_cast<unsigned long>(static_cast<uint32_t>(Int(info, 3))), words[2]));
}

Value Umount2(const CallbackInfo& info) { return Result(info, umount2(Bytes(info[0]).c_str(), Int(info, 1))); }
Value PivotRoot(const CallbackInfo& info) { return Result(info, syscall(SYS_pivot_root, Bytes(info[0]).c_str(), Bytes(info[1]).c_str())); }
Value Chroot(const CallbackInfo& info) { return Result(info, chroot(Bytes(info[0]).c_str())); }
Value Fchdir(const CallbackInfo& info) { return Result(info, fchdir(Int(info, 0))); }

/// mountSetattr(dirfd, path, flags, set, clear, propagation, userNamespace?)
Value MountSetattr(const CallbackInfo& info) {
  struct mount_attr attr = {};
  attr.attr_set = static_cast<uint64_t>(Double(info, 3));
  attr.attr_clr = static_cast<uint64_t>(Double(info, 4));
  attr.propagation = static_cast<uint64_t>(Double(info, 5));
  if (Has(info, 6)) attr.userns_fd = static_cast<uint64_t>(Double(info, 6));
  return Result(info, syscall(SYS_mount_setattr, Int(info, 0), Bytes(info[1]).c_str(), Int(info, 2), &attr, sizeof attr));
}

Value OpenTree(const CallbackInfo& info) { return Result(info, syscall(SYS_open_tree, Int(info, 0), Bytes(info[1]).c_str(), Int(info, 2))); }

struct TmpfsJob {
  const char* options;
  int fds[2];
  int error;
};

/// In a mount namespace of its own, on the caller's memory and descriptors.
int MakeTmpfs(void* argument) {
  auto* job = static_cast<TmpfsJob*>(argument);
  bool made = mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, job->options) == 0;
  if (!made) job->error = errno;
  for (int i = 0; made && i < 2; i++) {
    job->fds[i] = syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | O_CLOEXEC);
    if (job->fds[i] < 0) job->error = errno;
  }
  syscall(SYS_exit, 0);
  return 0;
}

/// tmpfs(options): one new tmpfs as two mounts that are nowhere yet: [fd, fd], or -errno. A mount that is nowhere cannot be
/// cloned (fs/namespace.c:check_mnt()), so a process makes both where it was for a moment.
Value Tmpfs(const CallbackInfo& info) {
  std::string options = Bytes(info[0]);
  TmpfsJob job = {options.c_str(), {-1, -1}, 0};
  void* stack = mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return Napi::Number::New(info.Env(), -ENOMEM);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int pid = clone(MakeTmpfs, static_cast<char*>(stack) + kStackSize, CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS | SIGCHLD, &job);
  if (pid < 0) job.error = errno;
  else
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  munmap(stack, kStackSize);
  if (job.error != 0) {
    for (int fd : job.fds)
      if (fd >= 0) close(fd);
    return Napi::Number::New(info.Env(), -job.error);
  }
  Napi::Array fds = Napi::Array::New(info.Env(), 2);
  for (uint32_t i = 0; i < 2; i++) fds.Set(i, job.fds[i]);
  return fds;
}

/// moveMount(fromFd, fromPath, toFd, toPath, flags)
Value MoveMount(const CallbackInfo& info) {
  return Result(info, syscall(SYS_move_mount, Int(info, 0), Bytes(info[1]).c_str(), Int(info, 2), Bytes(info[3]).c_str(), Int(info, 4)));
}

/// Raises lo in the thread's network namespace.
Value BringUpLoopback(const CallbackInfo& info) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Result(info, -1);
  struct ifreq request = {};
  strcpy(request.ifr_name, "lo");
  int r = ioctl(fd, SIOCGIFFLAGS, &request);
  if (r == 0) {
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    r = ioctl(fd, SIOCSIFFLAGS, &request);
  }
  int error = errno;
  close(fd);
  errno = error;
  return Result(info, r);
}

// ---------------------------------------------------------------- credentials and process attributes

/// capset of effective, permitted, inheritable: each two words, low and high.
Value SetCapabilities(const CallbackInfo& info) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (int i = 0; i < 2; i++) {
    data[i].effective = static_cast<uint32_t>(Int(info, i));
    data[i].permitted = static_cast<uint32_t>(Int(info, 2 + i));
    data[i].inheritable = static_cast<uint32_t>(Int(info, 4 + i));
  }
  return Result(info, syscall(SYS_capset, &header, data));
}

// Linux keeps capabilities per thread, and Node has threads before any script runs. Each is interrupted by the signal
// that glibc uses to make setuid(2) hold for all threads: one that its sigfillset() leaves out, so nobody blocks it.
constexpr int kSetxidSignal = 33;
volatile int dropped, dropFailed;
/// The capabilities that stay, low word first.
uint32_t keptCapabilities[2];

void DropHere(int) {
  struct {
    uint32_t version;
    int pid;
  } header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const uint32_t* keep = keptCapabilities;
  uint32_t sets[6] = {keep[0], keep[0], 0, keep[1], keep[1], 0};
  Raw(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int cap = 0; Raw(SYS_prctl, PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) Raw(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
  if (Raw(SYS_capset, Ptr(&header), Ptr(sets)) < 0) __atomic_store_n(&dropFailed, 1, __ATOMIC_SEQ_CST);
  Raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  __atomic_add_fetch(&dropped, 1, __ATOMIC_SEQ_CST);
}

asm(".text\n.type setxid_restorer,@function\nsetxid_restorer:\n mov $15,%eax\n syscall\n.size setxid_restorer,.-setxid_restorer\n");
extern "C" void setxid_restorer();

// Thread numbers that a process which is PID 1 of a fresh namespace can have.
constexpr int kFreshThreads = 4096;

/// Takes capabilities (all but those of the two words given, low first), the bounding set and the hope of new privileges
/// from every thread of the process.
Value DropAllCapabilities(const CallbackInfo& info) {
  keptCapabilities[0] = info.Length() > 0 ? static_cast<uint32_t>(Int(info, 0)) : 0;
  keptCapabilities[1] = info.Length() > 1 ? static_cast<uint32_t>(Int(info, 1)) : 0;
  constexpr unsigned long kSaRestorer = 0x04000000;
  KernelSigaction action = {reinterpret_cast<unsigned long>(DropHere), SA_RESTART | SA_ONSTACK | kSaRestorer,
                            reinterpret_cast<unsigned long>(setxid_restorer), 0};
  KernelSigaction old;
  long r = Raw(SYS_rt_sigaction, kSetxidSignal, Ptr(&action), Ptr(&old), 8);
  if (r < 0) return Num(info, static_cast<double>(r));
  dropFailed = 0;
  int self = static_cast<int>(Raw(SYS_gettid)), pid = getpid();
  auto drop = [&](int tid) {
    int before = __atomic_load_n(&dropped, __ATOMIC_SEQ_CST);
    if (Raw(SYS_tgkill, pid, tid, kSetxidSignal) < 0) return;
    for (int turn = 0; __atomic_load_n(&dropped, __ATOMIC_SEQ_CST) == before; turn++) {
      // It has ended instead: nobody to wait for.
      if (turn % 256 == 255 && Raw(SYS_tgkill, pid, tid, 0) < 0) break;
      sched_yield();
    }
  };
  if (pid == 1) {
    // /proc, if there is any, is of another pid namespace and numbers our threads differently. Ours is new: its
    // numbers so far are few.
    for (int tid = 1; tid < kFreshThreads; tid++) {
      if (tid != self) drop(tid);
    }
  } else {
    std::vector<int> done;
    // Threads that start meanwhile inherit from one that is done, or are seen in the next round.
    for (bool more = true; more;) {
      more = false;
      DIR* dir = opendir("/proc/self/task");
      if (dir == nullptr) return Result(info, -1);
      while (struct dirent* entry = readdir(dir)) {
        int tid = atoi(entry->d_name);
        if (tid <= 0 || tid == self || std::find(done.begin(), done.end(), tid) != done.end()) continue;
        done.push_back(tid);
        more = true;
        drop(tid);
      }
      closedir(dir);
    }
  }
  DropHere(0);
  Raw(SYS_rt_sigaction, kSetxidSignal, Ptr(&old), 0, 8);
  return Num(info, dropFailed ? -EPERM : 0);
}

/// [effective lo, hi, permitted lo, hi, inheritable lo, hi]
Value GetCapabilities(const CallbackInfo& info) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  syscall(SYS_capget, &header, data);
  Napi::Array words = Napi::Array::New(info.Env(), 6);
  for (uint32_t i = 0; i < 2; i++) {
    words.Set(i, static_cast<int32_t>(data[i].effective));
    words.Set(2 + i, static_cast<int32_t>(data[i].permitted));
    words.Set(4 + i, static_cast<int32_t>(data[i].inheritable));
  }
  return words;
}

Value DropBounding(const CallbackInfo& info) { return Result(info, prctl(PR_CAPBSET_DROP, Int(info, 0), 0, 0, 0)); }
Value ClearAmbient(const CallbackInfo& info) { return Result(info, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)); }
Value RaiseAmbient(const CallbackInfo& info) { return Result(info, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, Int(info, 0), 0, 0)); }
Value SetKeepCaps(const CallbackInfo& info) { return Result(info, prctl(PR_SET_KEEPCAPS, Int(info, 0), 0, 0, 0)); }
Value SetNoNewPrivs(const CallbackInfo& info) { return Result(info, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }
Value SetPdeathsig(const CallbackInfo& info) { return Result(info, prctl(PR_SET_PDEATHSIG, Int(info, 0), 0, 0, 0)); }
Value SetDumpable(const CallbackInfo& info) { return Result(info, prctl(PR_SET_DUMPABLE, Int(info, 0), 0, 0, 0)); }
Value SetChildSubreaper(const CallbackInfo& info) { return Result(info, prctl(PR_SET_CHILD_SUBREAPER, Int(info, 0), 0, 0, 0)); }
Value SetProcessName(const CallbackInfo& info) { return Result(info, prctl(PR_SET_NAME, Bytes(info[0]).c_str(), 0, 0, 0)); }
Value IgnoreDebuggerSignal(const CallbackInfo& info) {
  signal(SIGUSR1, SIG_IGN);
  return info.Env().Undefined();
}

// These three act on all threads: libc carries them to each.
Value SetResUid(const CallbackInfo& info) { return Result(info, setresuid(Int(info, 0), Int(info, 1), Int(info, 2))); }
Value SetResGid(const CallbackInfo& info) { return Result(info, setresgid(Int(info, 0), Int(info, 1), Int(info, 2))); }
Value SetGroups(const CallbackInfo& info) {
  Napi::Array list = info[0].As<Napi::Array>();
  std::vector<gid_t> groups;
  for (uint32_t i = 0; i < list.Length(); i++) groups.push_back(list.Get(i).As<Napi::Number>().Uint32Value());
  return Result(info, setgroups(groups.size(), groups.data()));
}

/// [soft, hard], -1 for RLIM_INFINITY, or -errno
Value GetRlimit(const CallbackInfo& info) {
  struct rlimit64 limit;
  if (prlimit64(Int(info, 0), static_cast<__rlimit_resource>(Int(info, 1)), nullptr, &limit) < 0) return Result(info, -1);
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0u, limit.rlim_cur == RLIM64_INFINITY ? -1.0 : static_cast<double>(limit.rlim_cur));
  pair.Set(1u, limit.rlim_max == RLIM64_INFINITY ? -1.0 : static_cast<double>(limit.rlim_max));
  return pair;
}

Value SetRlimit(const CallbackInfo& info) {
  struct rlimit64 limit;
  limit.rlim_cur = Double(info, 2) < 0 ? RLIM64_INFINITY : static_cast<rlim64_t>(Double(info, 2));
  limit.rlim_max = Double(info, 3) < 0 ? RLIM64_INFINITY : static_cast<rlim64_t>(Double(info, 3));
  return Result(info, prlimit64(Int(info, 0), static_cast<__rlimit_resource>(Int(info, 1)), &limit, nullptr));
}

Value Setsid(const CallbackInfo& info) { return Result(info, setsid()); }
Value CloseRange(const CallbackInfo& info) { return Result(info, syscall(SYS_close_range, Int(info, 0), static_cast<unsigned>(Double(info, 1)), Int(info, 2))); }
Value Dup2(const CallbackInfo& info) { return Result(info, dup2(Int(info, 0), Int(info, 1))); }
Value Flock(const CallbackInfo& info) {
  int r;
  do r = flock(Int(info, 0), Int(info, 1));
  while (r < 0 && errno == EINTR);
  return Result(info, r);
}

/// A memfd with these bytes, its position at the start.
Value MemfdWith(const CallbackInfo& info) {
  int fd = memfd_create(Bytes(info[0]).c_str(), MFD_CLOEXEC);
  if (fd < 0) return Result(info, -1);
  Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  for (size_t at = 0; at < bytes.ByteLength();) {
    ssize_t n = pwrite(fd, bytes.Data() + at, bytes.ByteLength() - at, static_cast<off_t>(at));
    if (n < 0) {
      int error = errno;
      close(fd);
      return Num(info, -error);
    }
    at += static_cast<size_t>(n);
  }
  return Num(info, fd);
}

/// Kills this process by a signal whose default action does that, without a core file.
Value DieBySignal(const CallbackInfo& info) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  int sig = Int(info, 0);
  signal(sig, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, sig);
  pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  kill(getpid(), sig);
  // PID 1 of a namespace ignores what it has no handler for: pid_namespaces(7).
  _exit(128 + sig);
}

/// Ends at once, without Node's exit handlers and without joining its threads.
Value ExitNow(const CallbackInfo& info) { _exit(Int(info, 0)); }

// ---------------------------------------------------------------- terminals

Value OpenPty(const CallbackInfo& info) {
  int master, slave;
  if (openpty(&master, &slave, nullptr, nullptr, nullptr) < 0) return Result(info, -1);
  fcntl(master, F_SETFD, FD_CLOEXEC);
  fcntl(slave, F_SETFD, FD_CLOEXEC);
  char name[128] = "";
  ttyname_r(slave, name, sizeof name);
  Napi::Array result = Napi::Array::New(info.Env(), 3);
  result.Set(0u, master);
  result.Set(1u, slave);
  result.Set(2u, FromBytes(info.Env(), name, strlen(name)));
  return result;
}

/// The terminal's struct termios as bytes, or -errno.
Value GetTermios(const CallbackInfo& info) {
  struct termios t;
  if (tcgetattr(Int(info, 0), &t) < 0) return Result(info, -1);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), sizeof t);
  memcpy(bytes.Data(), &t, sizeof t);
  return bytes;
}

Value SetTermios(const CallbackInfo& info) {
  Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  struct termios t;
  if (bytes.ByteLength() != sizeof t) return Num(info, -EINVAL);
  memcpy(&t, bytes.Data(), sizeof t);
  return Result(info, tcsetattr(Int(info, 0), TCSADRAIN, &t));
}

/// Raw mode with output processing left on for the master of a pty pair that keeps its own discipline.
Value MakeRaw(const CallbackInfo& info) {
  struct termios t;
  if (tcgetattr(Int(info, 0), &t) < 0) return Result(info, -1);
  cfmakeraw(&t);
  return Result(info, tcsetattr(Int(info, 0), TCSADRAIN, &t));
}

/// [rows, columns] or -errno
Value GetWindowSize(const CallbackInfo& info) {
  struct winsize size;
  if (ioctl(Int(info, 0), TIOCGWINSZ, &size) < 0) return Result(info, -1);
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0u, size.ws_row);
  pair.Set(1u, size.ws_col);
  return pair;
}

Value SetWindowSize(const CallbackInfo& info) {
  struct winsize size = {};
  size.ws_row = static_cast<unsigned short>(Int(info, 1));
  size.ws_col = static_cast<unsigned short>(Int(info, 2));
  return Result(info, ioctl(Int(info, 0), TIOCSWINSZ, &size));
}

Value SetControllingTty(const CallbackInfo& info) { return Result(info, ioctl(Int(info, 0), TIOCSCTTY, 0)); }

// ---------------------------------------------------------------- unix sockets, poll, signals

/// [pid, uid, gid] of the peer when it connected, or -errno.
Value PeerCredentials(const CallbackInfo& info) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(Int(info, 0), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return Result(info, -1);
  Napi::Array result = Napi::Array::New(info.Env(), 3);
  result.Set(0u, peer.pid);
  result.Set(1u, static_cast<double>(peer.uid));
  result.Set(2u, static_cast<double>(peer.gid));
  return result;
}

/// A unix socket of `type` at `path`: bound and listening, or connected. A path that is too long for sun_path is
/// reached through /proc/self/fd of its folder.
Value UnixSocket(const CallbackInfo& info, bool listening) {
  std::string path = Bytes(info[0]);
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  int dir = -1;
  if (path.size() >= sizeof address.sun_path) {
    size_t slash = path.rfind('/');
    if (slash == std::string::npos) return Num(info, -ENAMETOOLONG);
    dir = open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return Result(info, -1);
    path = "/proc/self/fd/" + std::to_string(dir) + path.substr(slash);
    if (path.size() >= sizeof address.sun_path) {
      close(dir);
      return Num(info, -ENAMETOOLONG);
    }
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  int fd = socket(AF_UNIX, Int(info, 1) | SOCK_CLOEXEC, 0);
  int r = fd;
  if (fd >= 0) {
    auto* to = reinterpret_cast<struct sockaddr*>(&address);
    r = listening ? bind(fd, to, sizeof address) : connect(fd, to, sizeof address);
    if (r == 0 && listening) r = listen(fd, 128);
  }
  int error = errno;
  if (dir >= 0) close(dir);
  if (r < 0) {
    if (fd >= 0) close(fd);
    return Num(info, -error);
  }
  return Num(info, fd);
}

Value UnixListen(const CallbackInfo& info) { return UnixSocket(info, true); }
Value UnixConnect(const CallbackInfo& info) { return UnixSocket(info, false); }
Value AcceptSocket(const CallbackInfo& info) { return Result(info, accept4(Int(info, 0), nullptr, nullptr, SOCK_CLOEXEC | (Has(info, 1) ? Int(info, 1) : 0))); }

/// poll(2) over [fd, events, revents] triples of an Int32Array; timeout in ms, -1 for none. How many are ready, or -errno.
Value PollFds(const CallbackInfo& info) {
  Napi::Int32Array triples = info[0].As<Napi::Int32Array>();
  size_t count = triples.ElementLength() / 3;
  std::vector<struct pollfd> fds(count);
  for (size_t i = 0; i < count; i++) fds[i] = {triples[i * 3], static_cast<short>(triples[i * 3 + 1]), 0};
  int n = poll(fds.data(), count, Int(info, 1));
  if (n < 0) return Result(info, n);
  for (size_t i = 0; i < count; i++) triples[i * 3 + 2] = fds[i].revents;
  return Num(info, n);
}

int signalPipeWriter = -1;

void OnSignal(int sig) {
  int error = errno;
  unsigned char byte = static_cast<unsigned char>(sig);
  // A full pipe loses a signal that has many like it before it.
  if (write(signalPipeWriter, &byte, 1) < 0) errno = error;
  errno = error;
}

/// A pipe from which each of these signals can be read as a byte, whichever thread it hits: the read end, or -errno.
Value SignalPipe(const CallbackInfo& info) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) return Result(info, -1);
  signalPipeWriter = fds[1];
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  Napi::Array signals = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < signals.Length(); i++) sigaction(signals.Get(i).As<Napi::Number>().Int32Value(), &action, nullptr);
  return Num(info, fds[0]);
}

Value IgnoreSignal(const CallbackInfo& info) {
  signal(Int(info, 0), SIG_IGN);
  return Num(info, 0);
}

/// "ENOENT" for 2.
Value ErrnoName(const CallbackInfo& info) {
  const char* name = strerrorname_np(Int(info, 0));
  return Napi::String::New(info.Env(), name ? name : "EUNKNOWN");
}

/// "No such file or directory" for 2.
Value ErrnoText(const CallbackInfo& info) {
  const char* text = strerrordesc_np(Int(info, 0));
  return Napi::String::New(info.Env(), text ? text : "unknown error");
}

}  // namespace

void InitProcess(Napi::Env env, Napi::Object exports) {
  struct {
    const char* name;
    Napi::Value (*function)(const CallbackInfo&);
  } const functions[] = {
      {"startProcess", StartProcess},
      {"releaseProcess", ReleaseProcess},
      {"finishProcess", FinishProcess},
      {"waitPid", WaitPid},
      {"waitPidAsync", WaitPidAsync},
      {"killProcess", Kill},
      {"pidfdOpen", PidfdOpen},
      {"pidfdSendSignal", PidfdSendSignal},
      {"unshare", Unshare},
      {"setns", Setns},
      {"setHostname", Sethostname},
      {"mount", Mount},
      {"umount2", Umount2},
      {"pivotRoot", PivotRoot},
      {"chroot", Chroot},
      {"fchdir", Fchdir},
      {"mountSetattr", MountSetattr},
      {"openTree", OpenTree},
      {"tmpfs", Tmpfs},
      {"moveMount", MoveMount},
      {"bringUpLoopback", BringUpLoopback},
      {"setCapabilities", SetCapabilities},
      {"dropAllCapabilities", DropAllCapabilities},
      {"getCapabilities", GetCapabilities},
      {"dropBounding", DropBounding},
      {"clearAmbient", ClearAmbient},
      {"raiseAmbient", RaiseAmbient},
      {"setKeepCaps", SetKeepCaps},
      {"setNoNewPrivs", SetNoNewPrivs},
      {"setPdeathsig", SetPdeathsig},
      {"setDumpable", SetDumpable},
      {"setChildSubreaper", SetChildSubreaper},
      {"setProcessName", SetProcessName},
      {"ignoreDebuggerSignal", IgnoreDebuggerSignal},
      {"setResUid", SetResUid},
      {"setResGid", SetResGid},
      {"setGroups", SetGroups},
      {"getRlimit", GetRlimit},
      {"setRlimit", SetRlimit},
      {"setsid", Setsid},
      {"closeRange", CloseRange},
      {"dup2", Dup2},
      {"flock", Flock},
      {"memfdWith", MemfdWith},
      {"dieBySignal", DieBySignal},
      {"exitNow", ExitNow},
      {"openPty", OpenPty},
      {"getTermios", GetTermios},
      {"setTermios", SetTermios},
      {"makeRaw", MakeRaw},
      {"getWindowSize", GetWindowSize},
      {"setWindowSize", SetWindowSize},
      {"setControllingTty", SetControllingTty},
      {"peerCredentials", PeerCredentials},
      {"unixListen", UnixListen},
      {"unixConnect", UnixConnect},
      {"acceptSocket", AcceptSocket},
      {"pollFds", PollFds},
      {"signalPipe", SignalPipe},
      {"ignoreSignal", IgnoreSignal},
      {"errnoName", ErrnoName},
      {"errnoText", ErrnoText},
  };
  for (const auto& f : functions) exports.Set(f.name, Napi::Function::New(env, f.function, f.name));
}

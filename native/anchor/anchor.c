// The host process that stands for a program of a sandbox: it is what --pid-file names, lives as long as the program
// and ends with its status. Free-standing, since an idle container should not pay for more than its few pages.
//
//   argv  the program's own, for who lists the processes of the host: `docker top`
//   env   REPLY and PID, bare
//   fd 0  a connection to the sandbox (SOCK_SEQPACKET), on which request REPLY has been sent: its answer
//         {"id":REPLY,"result":STATUS} is the program's wait status
//   fd 3  a plan of what this process is to look like from outside, if it has namespaces of its own
//   fd 4  our controlling terminal, where the program's is joined to one of the host: the host tells changes of its
//         size to the terminal's foreground group, which is us, and we pass them on
//   fd 5  the container's user namespace, if it has one
//
// A plan is a sequence of records of NUL-ended words, the first of one letter:
//
//   h NAME          set the host name
//   r DIR           the container's root on the host: bound onto itself, so that it can become ours
//   b SRC DST ro|rw bind SRC (a path of the host) at DST in the root
//   t DST OPTIONS   mount an empty tmpfs there
//   d DST, f DST    make a folder or an empty file, which a plan asks for in such a tmpfs alone
//   p DST OPTIONS   the same, and keep the process files in it
//   v               make the root ours
//   u UIDS GIDS     enter the user namespace of fd 5, and show its id maps as those of the processes
//
// A step that fails is left out: what is at stake is a view, which nobody inside the sandbox has. Who joins our mount
// namespace (podman cp, podman top, nsenter) finds the container's files, and in /proc what the sandbox tells of its
// processes: messages that begin with 'P', see Files below. Everything else that arrives and is no answer is ignored.
//
// Signals sent to this process are passed on to the program. When the connection ends without an answer, the sandbox
// has died: so do we, with SIGKILL's code.
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/signalfd.h>
#include <stddef.h>
#include <asm/stat.h>
#include <asm/unistd.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define CONNECTION 0
#define PLAN 3
#define TERMINAL 4
#define USER_NAMESPACE 5
#define EINTR 4
#define ECONNRESET 104
#define POLLIN 1
#define SIGKILL 9
#define SIGHUP 1
#define SIGCHLD 17
#define SIGWINCH 28
#define GET_WINDOW_SIZE 0x5413 // TIOCGWINSZ
#define UMOUNT_DETACH 2
// include/uapi/linux/fs.h, whose name linux/mount.h has taken.
#define BIND 4096
#define REC 16384
#define REMOUNT 32
#define READ_ONLY 1
#define NO_SUID 2
#define NO_DEV 4
#define NO_EXEC 8
#define REGULAR 0100000 // S_IFREG
#define NEW_USER 0x10000000 // CLONE_NEWUSER

static long call(long nr, long a, long b, long c, long d, long e) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
}

// The compiler makes calls to these of loops and of structs that are set to nothing.
void *memset(void *to, int value, size_t n) {
  for (size_t i = 0; i < n; i++) ((volatile u8 *)to)[i] = (u8)value;
  return to;
}

static size_t length(const char *s) {
  size_t n = 0;
  while (s[n] != 0) n++;
  return n;
}

__attribute__((noreturn)) static void end(int code) {
  for (;;) call(__NR_exit_group, code, 0, 0, 0, 0);
}

/// Decimal digits at `to`, ended by NUL; how many.
static size_t decimal(char *to, u32 value) {
  char digits[10];
  size_t n = 0;
  do digits[n++] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  for (size_t i = 0; i < n; i++) to[i] = digits[n - 1 - i];
  to[n] = 0;
  return n;
}

static size_t append(char *to, size_t at, const char *text) {
  for (; *text != 0; text++) to[at++] = *text;
  return at;
}

static u32 number(const char *text) {
  u32 value = 0;
  for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (u32)(*text - '0');
  return value;
}

/// The number after `key` in one of the sandbox's flat messages; -1 without one.
static long numberAfter(const char *text, const char *key) {
  size_t n = length(key);
  for (; *text != 0; text++) {
    size_t i = 0;
    while (i < n && text[i] == key[i]) i++;
    if (i == n) return text[n] >= '0' && text[n] <= '9' ? (long)number(text + n) : -1;
  }
  return -1;
}

// ---------------------------------------------------------------- the plan

static char plan[1 << 20];
static int root = -1;
static int files = -1;
static char fdPath[32] = "/proc/self/fd/";

static const char *pathOf(int fd) {
  decimal(fdPath + 14, (u32)fd);
  return fdPath;
}

/// A place in the container's root, whatever links lie on the way; a descriptor or -errno.
static int inRoot(const char *path) {
  struct open_how how = {O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)call(__NR_openat2, root, (long)path, (long)&how, sizeof how, 0);
}

static void setRoot(const char *path) {
  if (call(__NR_mount, (long)path, (long)path, 0, BIND | REC, 0) < 0) return;
  root = (int)call(__NR_openat, AT_FDCWD, (long)path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0);
}

static void bindAt(const char *source, const char *target, int readOnly) {
  int at = inRoot(target);
  if (at < 0) return;
  long made = call(__NR_mount, (long)source, (long)pathOf(at), 0, BIND | REC, 0);
  call(__NR_close, at, 0, 0, 0, 0);
  if (made < 0 || !readOnly || (at = inRoot(target)) < 0) return;
  // With the flags that the host may have locked: mount_namespaces(7).
  long flags = REMOUNT | BIND | READ_ONLY;
  if (call(__NR_mount, 0, (long)pathOf(at), 0, flags, 0) < 0) call(__NR_mount, 0, (long)pathOf(at), 0, flags | NO_SUID | NO_DEV, 0);
  call(__NR_close, at, 0, 0, 0, 0);
}

/// A mount that is nowhere yet, at a directory of the root.
static void attachAt(int mount, const char *target, int readOnly) {
  int at = inRoot(target);
  if (at < 0) return;
  long moved = call(__NR_move_mount, mount, (long)"", at, (long)"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  call(__NR_close, at, 0, 0, 0, 0);
  if (moved < 0 || !readOnly || (at = inRoot(target)) < 0) return;
  call(__NR_mount, 0, (long)pathOf(at), 0, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEV, 0);
  call(__NR_close, at, 0, 0, 0, 0);
}

/// An empty tmpfs at a directory of the root; its descriptor or -errno.
static int tmpfsAt(const char *target, const char *options) {
  int at = inRoot(target);
  if (at < 0) return at;
  long made = call(__NR_mount, (long)"tmpfs", (long)pathOf(at), (long)"tmpfs", NO_SUID | NO_DEV | NO_EXEC, (long)options);
  call(__NR_close, at, 0, 0, 0, 0);
  return made < 0 ? (int)made : inRoot(target);
}

/// The last name of `path` is made in what is before it.
static void makeAt(const char *path, int folder) {
  size_t slash = 0;
  for (size_t i = 0; path[i] != 0; i++)
    if (path[i] == '/') slash = i;
  static char parent[4096];
  if (slash + 2 > sizeof parent) return;
  for (size_t i = 0; i <= slash; i++) parent[i] = path[i];
  parent[slash + 1] = 0;
  int at = inRoot(parent);
  if (at < 0) return;
  const char *name = path + slash + 1;
  if (folder) call(__NR_mkdirat, at, (long)name, 0755, 0, 0);
  else call(__NR_mknodat, at, (long)name, REGULAR | 0644, 0, 0);
  call(__NR_close, at, 0, 0, 0, 0);
}

static void enterRoot(void) {
  if (root < 0 || call(__NR_fchdir, root, 0, 0, 0, 0) < 0) return;
  // pivot_root(2), "new_root and put_old may be the same directory".
  if (call(__NR_pivot_root, (long)".", (long)".", 0, 0, 0) < 0) return;
  call(__NR_umount2, (long)".", UMOUNT_DETACH, 0, 0, 0);
  call(__NR_chdir, (long)"/", 0, 0, 0, 0);
}

static void enterUserNamespace(const char *uids, const char *gids);

static const char *word(size_t *at, size_t size) {
  const char *start = plan + *at;
  while (*at < size && plan[*at] != 0) (*at)++;
  (*at)++;
  return start;
}

static void carryOut(size_t size) {
  for (size_t at = 0; at < size;) {
    char step = *word(&at, size);
    if (step == 'h') {
      const char *name = word(&at, size);
      call(__NR_sethostname, (long)name, (long)length(name), 0, 0, 0);
    } else if (step == 'r') {
      setRoot(word(&at, size));
    } else if (step == 'b') {
      const char *source = word(&at, size), *target = word(&at, size);
      int readOnly = word(&at, size)[1] == 'o';
      if (root >= 0) bindAt(source, target, readOnly);
    } else if (step == 'm') {
      int mount = (int)number(word(&at, size));
      const char *target = word(&at, size);
      int readOnly = word(&at, size)[1] == 'o';
      if (root >= 0) attachAt(mount, target, readOnly);
      call(__NR_close, mount, 0, 0, 0, 0);
    } else if (step == 't' || step == 'p') {
      const char *target = word(&at, size), *options = word(&at, size);
      int made = root < 0 ? -1 : tmpfsAt(target, options);
      if (step == 'p' && made >= 0) files = (int)call(__NR_openat, made, (long)".", O_DIRECTORY | O_CLOEXEC, 0, 0);
      if (made >= 0) call(__NR_close, made, 0, 0, 0, 0);
    } else if (step == 'd' || step == 'f') {
      const char *path = word(&at, size);
      if (root >= 0) makeAt(path, step == 'd');
    } else if (step == 'o') {
      if (root >= 0) call(__NR_mount, 0, (long)pathOf(root), 0, REMOUNT | BIND | READ_ONLY, 0);
    } else if (step == 'v') {
      enterRoot();
    } else if (step == 'u') {
      const char *uids = word(&at, size), *gids = word(&at, size);
      enterUserNamespace(uids, gids);
    }
  }
}

// ---------------------------------------------------------------- confinement

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/// What the sandbox sends is not to be trusted: no capability, and no call but those that follow.
static void confine(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
  call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  call(__NR_capset, (long)&header, (long)none, 0, 0, 0);
  static struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      ALLOW(__NR_read), ALLOW(__NR_write), ALLOW(__NR_poll), ALLOW(__NR_close),
      // The kernel's own way to go on with poll(2) after a stop.
      ALLOW(__NR_restart_syscall), ALLOW(__NR_exit_group),
      // Process files, below a descriptor that is ours.
      ALLOW(__NR_openat), ALLOW(__NR_mkdirat), ALLOW(__NR_renameat), ALLOW(__NR_unlinkat),
      ALLOW(__NR_symlinkat),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GET_WINDOW_SIZE, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  call(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program, 0, 0);
}

// ---------------------------------------------------------------- process files

/// 'P', then in host order: the process's number, and the sizes of its three files, which follow. All empty: it has
/// ended. Number 0 is the machine, whose files are others.
struct __attribute__((packed)) Files {
  u8 kind, pad[3];
  u32 pid;
  u16 sizes[3];
};

/// Links that each process has, to the namespaces of this one: podman's ps leaves out a process without them.
/// The last two are for a user namespace of its own: podman's top leaves out a process there without maps.
#define LINKS 4
#define NAMESPACE_LINKS 2
static const char *const linkNames[LINKS] = {"ns/pid", "ns/user", "uid_map", "gid_map"};
static char linkTexts[LINKS][64];
static int userLinkKept;

static void readLinks(void) {
  static const char *const own[NAMESPACE_LINKS] = {"/proc/self/ns/pid", "/proc/self/ns/user"};
  for (int i = 0; i < NAMESPACE_LINKS; i++) {
    long n = call(__NR_readlink, (long)own[i], (long)linkTexts[i], sizeof linkTexts[i] - 1, 0, 0);
    linkTexts[i][n < 0 ? 0 : n] = 0;
  }
}

static void replace(int dir, const char *name, const char *bytes, size_t size);

/// One file for all processes, which have link number `link` to it.
static void keepMap(int link, const char *name, const char *text) {
  size_t size = 0;
  while (text[size] != 0) size++;
  replace(files, name, text, size);
  size_t n = append(linkTexts[link], 0, "../");
  linkTexts[link][append(linkTexts[link], n, name)] = 0;
}

/// As the last step: all before are the host's to allow. The link is written anew, since /proc may be ours by now.
///
/// It is kept in the folder of process files, too, for podman's top, which enters it there: a process's ns/user.
static void enterUserNamespace(const char *uids, const char *gids) {
  struct stat about;
  if (files >= 0) {
    keepMap(2, ".uid_map", uids);
    keepMap(3, ".gid_map", gids);
    int at = (int)call(__NR_openat, files, (long)".user", O_WRONLY | O_CREAT | O_EXCL, 0444, 0);
    int tree = (int)call(__NR_open_tree, USER_NAMESPACE, (long)"", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH, 0, 0);
    long moved = -1;
    if (at >= 0 && tree >= 0) moved = call(__NR_move_mount, tree, (long)"", files, (long)".user", MOVE_MOUNT_F_EMPTY_PATH);
    if (at >= 0) call(__NR_close, at, 0, 0, 0, 0);
    if (tree >= 0) call(__NR_close, tree, 0, 0, 0, 0);
    userLinkKept = moved >= 0;
  }
  if (call(__NR_fstat, USER_NAMESPACE, (long)&about, 0, 0, 0) == 0 && call(__NR_setns, USER_NAMESPACE, NEW_USER, 0, 0, 0) == 0) {
    char *text = linkTexts[1];
    size_t n = 0;
    if (userLinkKept) {
      n = append(text, n, "../../.user");
    } else {
      n = append(text, n, "user:[");
      n += decimal(text + n, (u32)about.st_ino);
      text[n++] = ']';
    }
    text[n] = 0;
  }
  call(__NR_close, USER_NAMESPACE, 0, 0, 0, 0);
}

static const char *const processFiles[3] = {"stat", "status", "cmdline"};
static const char *const machineFiles[3] = {"stat", "uptime", "version"};

/// Replaced as a whole: a reader sees the old one or the new one.
static void replace(int dir, const char *name, const char *bytes, size_t size) {
  int fd = (int)call(__NR_openat, dir, (long)".new", O_WRONLY | O_CREAT | O_TRUNC, 0444, 0);
  if (fd < 0) return;
  call(__NR_write, fd, (long)bytes, (long)size, 0, 0);
  call(__NR_close, fd, 0, 0, 0, 0);
  call(__NR_renameat, dir, (long)".new", dir, (long)name, 0);
}

static void keepFiles(const char *message, size_t size) {
  struct Files head;
  if (files < 0 || size < sizeof head) return;
  for (size_t i = 0; i < sizeof head; i++) ((u8 *)&head)[i] = (u8)message[i];
  size_t total = (size_t)head.sizes[0] + head.sizes[1] + head.sizes[2];
  if (total > size - sizeof head) return;
  int dir = files;
  char name[16];
  const char *const *names = machineFiles;
  if (head.pid != 0) {
    names = processFiles;
    decimal(name, head.pid);
    long made = total == 0 ? -1 : call(__NR_mkdirat, files, (long)name, 0755, 0, 0);
    dir = (int)call(__NR_openat, files, (long)name, O_DIRECTORY | O_NOFOLLOW | O_PATH, 0, 0);
    if (dir < 0) return;
    if (made == 0) {
      // A tmpfs lists first what came last; whoever lists processes looks for the first one there.
      call(__NR_renameat, files, (long)"1", files, (long)".1", 0);
      call(__NR_renameat, files, (long)".1", files, (long)"1", 0);
      call(__NR_mkdirat, dir, (long)"ns", 0755, 0, 0);
      for (int i = 0; i < LINKS; i++)
        if (linkTexts[i][0] != 0) call(__NR_symlinkat, (long)linkTexts[i], dir, (long)linkNames[i], 0, 0);
    }
  }
  const char *bytes = message + sizeof head;
  for (int i = 0; i < 3; i++) {
    if (total == 0) call(__NR_unlinkat, dir, (long)names[i], 0, 0, 0);
    else replace(dir, names[i], bytes, head.sizes[i]);
    bytes += head.sizes[i];
  }
  if (head.pid == 0) return;
  if (total == 0) {
    for (int i = 0; i < LINKS; i++) call(__NR_unlinkat, dir, (long)linkNames[i], 0, 0, 0);
    call(__NR_unlinkat, dir, (long)"ns", AT_REMOVEDIR, 0, 0);
  }
  call(__NR_close, dir, 0, 0, 0, 0);
  if (total == 0) call(__NR_unlinkat, files, (long)name, AT_REMOVEDIR, 0, 0);
}

static void readPlan(void) {
  readLinks();
  size_t size = 0;
  long n;
  while (size < sizeof plan - 1 && (n = call(__NR_read, PLAN, (long)(plan + size), (long)(sizeof plan - 1 - size), 0, 0)) > 0) size += (size_t)n;
  call(__NR_close, PLAN, 0, 0, 0, 0);
  carryOut(size);
  if (root >= 0) call(__NR_close, root, 0, 0, 0, 0);
}

// ---------------------------------------------------------------- the loop

static int hasTerminal;

/// The size of the terminal as a request; whether there is a terminal.
static int passOnSize(u32 pid) {
  u16 size[4];
  if (call(__NR_ioctl, TERMINAL, GET_WINDOW_SIZE, (long)size, 0, 0) < 0) return 0;
  char text[128];
  size_t n = append(text, 0, "{\"id\":0,\"method\":\"resize\",\"pid\":");
  n += decimal(text + n, pid);
  n = append(text, n, ",\"rows\":");
  n += decimal(text + n, size[0]);
  n = append(text, n, ",\"columns\":");
  n += decimal(text + n, size[1]);
  text[n++] = '}';
  call(__NR_write, CONNECTION, (long)text, (long)n, 0, 0);
  return 1;
}

/// The request that a signal for us becomes. Number 0 is no request's that we wait for.
static void passOn(u32 signal, u32 pid) {
  // The terminal's own signals: the guest's terminal makes its own of what they are about.
  if ((signal == SIGWINCH && passOnSize(pid)) || (signal == SIGHUP && hasTerminal)) return;
  char text[128];
  size_t n = append(text, 0, "{\"id\":0,\"method\":\"signal\",\"to\":\"process\",\"pid\":");
  n += decimal(text + n, pid);
  n = append(text, n, ",\"signal\":");
  n += decimal(text + n, signal);
  text[n++] = '}';
  call(__NR_write, CONNECTION, (long)text, (long)n, 0, 0);
}

static char message[64 * 1024];

/// One message of the sandbox.
static void take(u32 reply) {
  long n = call(__NR_read, CONNECTION, (long)message, sizeof message - 1, 0, 0);
  // A reset comes before what has been said: the other end went without having read all that we sent it.
  if (n == -EINTR || n == -ECONNRESET) return;
  if (n <= 0) end(128 + SIGKILL);
  message[n] = 0;
  if (message[0] == 'P') {
    keepFiles(message, (size_t)n);
    return;
  }
  if (numberAfter(message, "\"id\":") != (long)reply) return;
  long status = numberAfter(message, "\"result\":");
  if (status < 0) end(255);
  end((status & 0x7f) == 0 ? (int)(status >> 8 & 0xff) : 128 + (int)(status & 0x7f));
}

struct Poll {
  int fd;
  short events, revents;
};

__attribute__((used, noreturn)) void begin(long *stack) {
  long count = stack[0];
  char **words = (char **)(stack + 1);
  char **environment = words + count + 1;
  u32 reply = environment[0] != 0 ? number(environment[0]) : 0;
  u32 pid = environment[0] != 0 && environment[1] != 0 ? number(environment[1]) : 1;
  call(__NR_prctl, PR_SET_NAME, (long)"runsc-anchor", 0, 0, 0);
  readPlan();
  u16 size[4];
  hasTerminal = call(__NR_ioctl, TERMINAL, GET_WINDOW_SIZE, (long)size, 0, 0) == 0;
  // Blocked ones wait for us even where process 1 would never see them: kernel/signal.c:sig_ignored().
  u64 all = ~0UL & ~(1UL << (SIGCHLD - 1));
  call(__NR_rt_sigprocmask, 0, (long)&all, 0, 8, 0);
  struct Poll ready[2] = {{CONNECTION, POLLIN, 0}, {(int)call(__NR_signalfd4, -1, (long)&all, 8, O_CLOEXEC, 0), POLLIN, 0}};
  confine();
  for (;;) {
    ready[0].revents = ready[1].revents = 0;
    call(__NR_poll, (long)ready, 2, -1, 0, 0);
    if (ready[1].revents != 0) {
      struct signalfd_siginfo info;
      if (call(__NR_read, ready[1].fd, (long)&info, sizeof info, 0, 0) == sizeof info) passOn(info.ssi_signo, pid);
    }
    if (ready[0].revents != 0) take(reply);
  }
}

__asm__(".globl _start\n_start:\n  xor %ebp,%ebp\n  mov %rsp,%rdi\n  and $-16,%rsp\n  call begin\n");

// landlock: rulesets, rules, layers, renames between directories, truncation, devices, ports, scopes
// needs: root
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum { EXECUTE = 1, WRITE_FILE = 2, READ_FILE = 4, READ_DIR = 8, REMOVE_DIR = 16, REMOVE_FILE = 32, MAKE_DIR = 128, MAKE_REG = 256,
       MAKE_SOCK = 512, MAKE_FIFO = 1024, MAKE_SYM = 4096, REFER = 8192, TRUNCATE = 16384, IOCTL_DEV = 32768 };

struct ruleset {
  uint64_t fs, net, scoped;
};
struct beneath {
  uint64_t access;
  int32_t parent;
} __attribute__((packed));
struct port {
  uint64_t access, port;
};

static int create(uint64_t fs, uint64_t net, uint64_t scoped) {
  struct ruleset attr = {fs, net, scoped};
  return syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
}

static int allow(int ruleset, uint64_t access, const char *path) {
  struct beneath rule = {access, open(path, O_PATH)};
  int result = syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0);
  int error = errno;
  close(rule.parent);
  errno = error;
  return result;
}

static int allow_port(int ruleset, uint64_t access, uint64_t port) {
  struct port rule = {access, port};
  return syscall(SYS_landlock_add_rule, ruleset, 2, &rule, 0);
}

static int restrict_self(int ruleset) { return syscall(SYS_landlock_restrict_self, ruleset, 0); }

static int touch(const char *name) {
  int fd = open(name, O_RDWR | O_CREAT, 0644);
  if (fd < 0) return -1;
  write(fd, "text", 4);
  close(fd);
  return 0;
}

static int opens(const char *name, int flags) {
  int fd = open(name, flags, 0644);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}

static void restricted(const char *name, void (*body)(void)) {
  SECTION(name);
  pid_t child = MUST(fork());
  if (child == 0) {
    body();
    fflush(stdout);
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  if (status != 0) printf("%s ended with %#x\n", name, status);
}

static void arguments(void) {
  struct ruleset attr = {READ_FILE, 0, 0};
  char big[5000] = {READ_FILE};
  HOLDS(syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 6);
  CALL(syscall(SYS_landlock_create_ruleset, NULL, 0, 3));
  CALL(syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 1));
  CALL(syscall(SYS_landlock_create_ruleset, NULL, 8, 0));
  CALL(syscall(SYS_landlock_create_ruleset, &attr, 7, 0));
  CALL(syscall(SYS_landlock_create_ruleset, big, 5000, 0));
  FAILS(syscall(SYS_landlock_create_ruleset, big, 100, 0));
  big[90] = 1;
  CALL(syscall(SYS_landlock_create_ruleset, big, 100, 0));
  CALL(create(0, 0, 0));
  CALL(create(1ull << 40, 0, 0));
  CALL(create(0, 1 << 10, 0));
  CALL(create(0, 0, 1 << 10));
  int ruleset = MUST(create(READ_FILE | READ_DIR, 1, 0));
  CALL(fcntl(ruleset, F_GETFD));
  char byte;
  CALL(read(ruleset, &byte, 1));
  CALL(write(ruleset, &byte, 1));
  CALL(allow(ruleset, 0, "."));
  CALL(allow(ruleset, WRITE_FILE, "."));
  CALL(allow(ruleset, READ_DIR, "in/file"));
  CALL(allow(ruleset, READ_FILE, "in/file"));
  CALL(allow(ruleset, READ_FILE, "no such"));
  CALL(allow(1, READ_FILE, "."));
  CALL(allow(99, READ_FILE, "."));
  struct beneath rule = {READ_FILE, ruleset};
  CALL(syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0));
  CALL(syscall(SYS_landlock_add_rule, ruleset, 3, &rule, 0));
  CALL(syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 1));
  CALL(syscall(SYS_landlock_add_rule, ruleset, 1, NULL, 0));
  CALL(allow_port(ruleset, 0, 1));
  CALL(allow_port(ruleset, 2, 1));
  CALL(allow_port(ruleset, 1, 70000));
  CALL(allow_port(ruleset, 1, 0));
  CALL(syscall(SYS_landlock_restrict_self, ruleset, 1 << 9));
  CALL(restrict_self(1));
  CALL(restrict_self(99));
  int layers = 0;
  while (restrict_self(ruleset) == 0) layers++;
  printf("%d layers, then %s\n", layers, strerrorname_np(errno));
}

static void trees(void) {
  int ruleset = MUST(create(0x1fff, 0, 0));
  MUST(allow(ruleset, READ_FILE | READ_DIR | WRITE_FILE | MAKE_REG | MAKE_DIR | REMOVE_FILE | REMOVE_DIR | MAKE_SYM, "in"));
  MUST(allow(ruleset, READ_FILE, "out/one"));
  MUST(restrict_self(ruleset));
  CALL(opens("in/file", O_RDWR));
  CALL(opens("in", O_RDONLY));
  CALL(opens("out", O_RDONLY));
  CALL(opens("out", O_PATH));
  CALL(opens("out/file", O_RDONLY));
  CALL(opens("out/file", O_PATH));
  CALL(opens("out/one", O_RDONLY));
  CALL(opens("out/one", O_RDWR));
  CALL(opens("in/new", O_RDWR | O_CREAT));
  CALL(opens("out/new", O_RDWR | O_CREAT));
  CALL(opens("in/../out/file", O_RDONLY));
  CALL(mkdir("in/dir", 0755));
  CALL(mkdir("out/dir", 0755));
  CALL(mkdir("out/old", 0755));
  CALL(rmdir("in/dir"));
  CALL(rmdir("out/old"));
  CALL(symlink("x", "in/link"));
  CALL(symlink("x", "out/link"));
  CALL(mkfifo("in/fifo", 0644));
  CALL(unlink("in/new"));
  CALL(unlink("out/file"));
  CALL(unlink("out/nothing"));
  CALL(rename("in/file", "in/renamed"));
  CALL(rename("in/renamed", "in/sub/renamed"));
  CALL(rename("in/renamed", "out/renamed"));
  CALL(link("in/renamed", "in/linked"));
  CALL(link("in/renamed", "in/sub/linked"));
  CALL(rename("in/renamed", "in/file"));
  CALL(truncate("in/file", 3));
  CALL(stat("out/file", &(struct stat){0}));
  CALL(chmod("out/file", 0600));
  CALL(access("out/file", R_OK | W_OK));
  CALL(mount("x", "in/sub", "tmpfs", 0, NULL));
  CALL(umount("/proc"));
  CALL(execl("/bin/true", "true", NULL));
  int pipe_fds[2];
  MUST(pipe(pipe_fds));
  char path[64];
  sprintf(path, "/proc/self/fd/%d", pipe_fds[0]);
  CALL(opens(path, O_RDONLY | O_NONBLOCK));
}

static void layers(void) {
  int first = MUST(create(READ_FILE | WRITE_FILE, 0, 0));
  MUST(allow(first, READ_FILE | WRITE_FILE, "in"));
  MUST(restrict_self(first));
  int second = MUST(create(READ_FILE | READ_DIR, 0, 0));
  MUST(allow(second, READ_FILE, "in/file"));
  MUST(allow(second, READ_FILE, "out"));
  MUST(restrict_self(second));
  CALL(opens("in/file", O_RDWR));
  CALL(opens("in/sub/deep", O_RDONLY));
  CALL(opens("in/sub/deep", O_WRONLY));
  CALL(opens("out/file", O_RDONLY));
  CALL(opens("in", O_RDONLY));
}

static void refer(void) {
  int ruleset = MUST(create(REFER | READ_FILE | WRITE_FILE | MAKE_REG | REMOVE_FILE | EXECUTE, 0, 0));
  MUST(allow(ruleset, REFER | MAKE_REG | REMOVE_FILE | READ_FILE, "in"));
  MUST(allow(ruleset, REFER | MAKE_REG | REMOVE_FILE | READ_FILE | WRITE_FILE, "out"));
  MUST(allow(ruleset, MAKE_REG | REMOVE_FILE | READ_FILE, "third"));
  MUST(restrict_self(ruleset));
  // Out of in into out would make it writable.
  CALL(rename("in/file", "out/moved"));
  CALL(link("in/file", "out/linked"));
  CALL(rename("out/file", "in/moved"));
  CALL(rename("in/moved", "in/sub/moved"));
  CALL(rename("in/file", "third/moved"));
  CALL(rename("third/file", "in/moved2"));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "in/file", AT_FDCWD, "out/one", 2));
}

static void truncation(void) {
  int ruleset = MUST(create(READ_FILE | WRITE_FILE | TRUNCATE, 0, 0));
  MUST(allow(ruleset, READ_FILE | WRITE_FILE, "in"));
  MUST(allow(ruleset, READ_FILE | WRITE_FILE | TRUNCATE, "out"));
  int before = MUST(open("in/file", O_RDWR));
  MUST(restrict_self(ruleset));
  CALL(ftruncate(before, 2));
  CALL(truncate("in/file", 1));
  CALL(truncate("out/file", 1));
  CALL(opens("in/file", O_RDWR | O_TRUNC));
  CALL(opens("out/file", O_RDWR | O_TRUNC));
  int fd = MUST(open("in/file", O_RDWR));
  CALL(ftruncate(fd, 1));
  fd = MUST(open("out/file", O_RDWR));
  CALL(ftruncate(fd, 1));
  fd = MUST(memfd_create("m", 0));
  CALL(ftruncate(fd, 100));
}

static void devices(void) {
  int ruleset = MUST(create(IOCTL_DEV, 0, 0));
  int before = MUST(open("/dev/null", O_RDWR));
  MUST(restrict_self(ruleset));
  int n = 0;
  CALL(ioctl(before, TCGETS, &n));
  int fd = MUST(open("/dev/null", O_RDWR));
  CALL(ioctl(fd, TCGETS, &n));
  CALL(ioctl(fd, FIONBIO, &n));
  CALL(ioctl(fd, FIOCLEX, 0));
  CALL(ioctl(fd, FIONREAD, &n));
  fd = MUST(open("in/file", O_RDWR));
  CALL(ioctl(fd, FIONREAD, &n));
}

static int on_port(int type, int family, int port, bool binds) {
  int fd = socket(AF_INET, type, 0);
  struct sockaddr_in to = {.sin_family = family, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int result = binds ? bind(fd, (void *)&to, sizeof to) : connect(fd, (void *)&to, sizeof to);
  int error = errno;
  close(fd);
  errno = error;
  return result;
}

static void ports(void) {
  int ruleset = MUST(create(0, 3, 0));
  MUST(allow_port(ruleset, 1, 0));
  MUST(allow_port(ruleset, 2, 9));
  MUST(restrict_self(ruleset));
  CALL(on_port(SOCK_STREAM, AF_INET, 0, true));
  CALL(on_port(SOCK_STREAM, AF_INET, 33001, true));
  CALL(on_port(SOCK_STREAM, AF_INET, 9, false));
  CALL(on_port(SOCK_STREAM, AF_INET, 10, false));
  CALL(on_port(SOCK_STREAM, AF_UNSPEC, 10, false));
  CALL(on_port(SOCK_DGRAM, AF_INET, 33001, true));
  CALL(on_port(SOCK_DGRAM, AF_INET, 10, false));
  CALL(mkdir("out/free", 0755));
}

static void scopes(void) {
  int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0landlock-check"};
  socklen_t length = sizeof(sa_family_t) + sizeof "landlock-check";
  MUST(bind(listener, (void *)&name, length));
  MUST(listen(listener, 5));
  int ruleset = MUST(create(0, 0, 3));
  pid_t parent = getpid();
  pid_t child = MUST(fork());
  if (child == 0) {
    MUST(restrict_self(ruleset));
    int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    CALL(connect(fd, (void *)&name, length));
    CALL(kill(parent, 0));
    CALL(kill(getpid(), 0));
    CALL(ptrace(PTRACE_SEIZE, parent, 0, 0));
    int own = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un mine = {.sun_family = AF_UNIX, .sun_path = "\0landlock-own"};
    MUST(bind(own, (void *)&mine, length));
    MUST(listen(own, 5));
    pid_t inner = MUST(fork());
    if (inner == 0) {
      CALL(connect(fd, (void *)&mine, length));
      CALL(kill(getppid(), 0));
      fflush(stdout);
      _exit(0);
    }
    int status;
    MUST(waitpid(inner, &status, 0));
    fflush(stdout);
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  CALL(status);
}

static void prepare(void) {
  mkdir("in", 0755);
  mkdir("in/sub", 0755);
  mkdir("out", 0755);
  mkdir("out/old", 0755);
  mkdir("third", 0755);
  touch("in/file");
  touch("in/sub/deep");
  touch("out/file");
  touch("out/one");
  touch("third/file");
}

int main(void) {
  enter_scratch();
  void (*const parts[])(void) = {arguments, trees, layers, refer, truncation, devices, ports, scopes};
  const char *const names[] = {"arguments", "trees", "layers", "refer", "truncation", "devices", "ports", "scopes"};
  for (unsigned i = 0; i < 8; i++) {
    prepare();
    restricted(names[i], parts[i]);
  }
  SECTION("unprivileged");
  pid_t child = MUST(fork());
  if (child == 0) {
    int ruleset = MUST(create(READ_FILE, 0, 0));
    MUST(setuid(1000));
    CALL(restrict_self(ruleset));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CALL(restrict_self(ruleset));
    fflush(stdout);
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  return 0;
}

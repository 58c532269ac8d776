// Limits of namespaces, what a user without rights may map, and what descriptors of processes tell
// needs: root
#include "check.h"
#include <sys/ioctl.h>
#include <sys/vfs.h>

struct pidfd_info {
  uint64_t mask, cgroupid;
  uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
};
#define GET_INFO _IOWR(0xff, 11, struct pidfd_info)
#define GET_UTS _IO(0xff, 10)
#define NS_PID_FROM _IOR(0xb7, 6, int)
#define NS_PID_IN _IOR(0xb7, 8, int)

static int put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0) return -1;
  int n = write(fd, text, strlen(text));
  int failed = errno;
  close(fd);
  errno = failed;
  return n;
}

static void show(const char *path) {
  char text[200] = {0};
  int fd = MUST(open(path, O_RDONLY));
  MUST(read(fd, text, sizeof text - 1));
  close(fd);
  printf("%s: %s", path, text);
}

static void in_own_child(void (*body)(void)) {
  fflush(stdout);
  pid_t pid = MUST(fork());
  if (pid == 0) {
    body();
    fflush(stdout);
    _exit(0);
  }
  int status;
  MUST(waitpid(pid, &status, 0));
  if (status != 0) printf("status %x\n", status);
}

static void nests_users(void) {
  int depth = 0;
  for (; depth < 50; depth++) {
    char map[40];
    snprintf(map, sizeof map, "0 %d 1", geteuid());
    if (unshare(CLONE_NEWUSER) < 0) break;
    put("/proc/self/setgroups", "deny");
    if (put("/proc/self/uid_map", map) < 0 || put("/proc/self/gid_map", "0 0 1") < 0) break;
  }
  printf("nested %d deep, then %s\n", depth, strerrorname_np(errno));
}

static void nests_pids(void) {
  int depth = 0;
  while (depth < 50 && unshare(CLONE_NEWPID) == 0) {
    pid_t pid = fork();
    if (pid > 0) {
      waitpid(pid, NULL, 0);
      _exit(0);
    }
    depth++;
  }
  // The host's run is in a namespace of its own already.
  printf("nested %s deep, then %s\n", depth >= 31 && depth <= 32 ? "32" : "not", strerrorname_np(errno));
}

static void two_pid_namespaces(void) {
  CALL(unshare(CLONE_NEWPID));
  CALL(unshare(CLONE_NEWPID));
}

static void limited(void) {
  CALL(unshare(CLONE_NEWUSER));
  put("/proc/self/setgroups", "deny");
  put("/proc/self/uid_map", "0 0 1");
  put("/proc/self/gid_map", "0 0 1");
  show("/proc/sys/user/max_uts_namespaces");
  CALL(put("/proc/sys/user/max_uts_namespaces", "1"));
  show("/proc/sys/user/max_uts_namespaces");
  CALL(unshare(CLONE_NEWUTS));
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    // The first one is still our parent's.
    CALL(unshare(CLONE_NEWUTS));
    fflush(stdout);
    _exit(0);
  }
  waitpid(pid, NULL, 0);
  CALL(put("/proc/sys/user/max_user_namespaces", "0"));
  CALL(unshare(CLONE_NEWUSER));
  CALL(put("/proc/sys/user/max_ipc_namespaces", "0"));
  CALL(unshare(CLONE_NEWIPC));
  CALL(put("/proc/sys/user/max_pid_namespaces", "0"));
  CALL(unshare(CLONE_NEWPID));
  CALL(put("/proc/sys/user/max_mnt_namespaces", "0"));
  CALL(unshare(CLONE_NEWNS));
  CALL(put("/proc/sys/user/max_net_namespaces", "-1"));
  CALL(put("/proc/sys/user/max_net_namespaces", "99999999999"));
}

static void without_rights(void) {
  MUST(setresgid(1000, 1000, 1000));
  MUST(setresuid(1000, 1000, 1000));
  MUST(prctl(PR_SET_DUMPABLE, 1));
  CALL(put("/proc/sys/user/max_user_namespaces", "1"));
  CALL(unshare(CLONE_NEWUSER));
  CALL(prctl(PR_GET_DUMPABLE));
  CALL(put("/proc/self/gid_map", "0 1000 1"));
  CALL(put("/proc/self/setgroups", "deny"));
  CALL(put("/proc/self/gid_map", "0 1000 1"));
  CALL(put("/proc/self/uid_map", "0 0 1"));
  CALL(put("/proc/self/uid_map", "0 1000 1"));
  CALL(setpriority(PRIO_PROCESS, 0, -5));
  CALL(put("/proc/sys/user/max_user_namespaces", "1"));
  CALL(unshare(CLONE_NEWUSER));
  put("/proc/self/setgroups", "deny");
  put("/proc/self/gid_map", "0 0 1");
  put("/proc/self/uid_map", "0 0 1");
  CALL(unshare(CLONE_NEWUSER));
}

static void descriptors(void) {
  pid_t pid = MUST(fork());
  if (pid == 0) {
    pause();
    _exit(0);
  }
  int fd = MUST(syscall(SYS_pidfd_open, pid, 0));
  int same = MUST(syscall(SYS_pidfd_open, pid, 0));
  struct statfs fs;
  struct stat one, two;
  MUST(fstatfs(fd, &fs));
  MUST(fstat(fd, &one));
  MUST(fstat(same, &two));
  printf("magic %lx mode %o\n", (long)fs.f_type, one.st_mode);
  HOLDS(one.st_ino == two.st_ino && one.st_dev == two.st_dev);
  struct pidfd_info info = {.mask = 7};
  CALL(ioctl(fd, GET_INFO, &info));
  printf("mask %lx\n", (long)info.mask & 3);
  HOLDS(info.pid == (uint32_t)pid && info.tgid == (uint32_t)pid && info.ppid == (uint32_t)getpid() && info.euid == 0);
  CALL(ioctl(fd, GET_INFO, NULL));
  CALL(ioctl(fd, _IOWR(0xff, 11, int), &info));
  FAILS(ioctl(fd, GET_UTS, 0));
  CALL(ioctl(fd, GET_UTS, 1));
  int ns = MUST(open("/proc/self/ns/pid", O_RDONLY));
  HOLDS(ioctl(ns, NS_PID_FROM, pid) == pid && ioctl(ns, NS_PID_IN, pid) == pid);
  CALL(ioctl(ns, NS_PID_IN, 999999));
  int uts = MUST(open("/proc/self/ns/uts", O_RDONLY));
  CALL(ioctl(uts, NS_PID_IN, pid));
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  info.mask = 3;
  CALL(ioctl(fd, GET_INFO, &info));
  info.mask = 8;
  CALL(ioctl(fd, GET_INFO, &info));
  printf("exit %d mask %lx\n", info.exit_code, (long)info.mask & 8);
  CALL(ioctl(fd, GET_UTS, 0));
}

int main(void) {
  SECTION("depth");
  in_own_child(nests_users);
  in_own_child(nests_pids);
  in_own_child(two_pid_namespaces);
  SECTION("limits");
  in_own_child(limited);
  SECTION("without rights");
  in_own_child(without_rights);
  SECTION("descriptors");
  in_own_child(descriptors);
  return 0;
}

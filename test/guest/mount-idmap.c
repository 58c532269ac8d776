// Id-mapped mounts: MOUNT_ATTR_IDMAP
// needs: root
#include "check.h"
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

#define IDMAP 0x100000ull
struct attr { uint64_t set, clear, propagation, userns; };

// A user namespace whose maps are what is given, by a child that goes again.
static int userns(const char *uids, const char *gids) {
  int ready[2], go[2];
  MUST(pipe(ready));
  MUST(pipe(go));
  pid_t pid = fork();
  if (pid == 0) {
    MUST(unshare(CLONE_NEWUSER));
    write(ready[1], "x", 1);
    char c;
    read(go[0], &c, 1);
    _exit(0);
  }
  char c, path[64];
  read(ready[0], &c, 1);
  for (int i = 0; i < 2; i++) {
    const char *text = i ? gids : uids;
    if (!text) continue;
    sprintf(path, "/proc/%d/%s_map", pid, i ? "gid" : "uid");
    int fd = MUST(open(path, O_WRONLY));
    MUST(write(fd, text, strlen(text)));
    close(fd);
  }
  sprintf(path, "/proc/%d/ns/user", pid);
  int fd = MUST(open(path, O_RDONLY));
  write(go[1], "x", 1);
  waitpid(pid, NULL, 0);
  close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
  return fd;
}

static void owner(const char *path) {
  struct stat st;
  if (lstat(path, &st) < 0) printf("%s: %s\n", path, strerrorname_np(errno));
  else printf("%s: %d:%d %o\n", path, st.st_uid, st.st_gid, st.st_mode);
}

static int tree(const char *path, int recursive) {
  return MUST(syscall(SYS_open_tree, AT_FDCWD, path, 1 | (recursive ? AT_RECURSIVE : 0)));
}

// Does the rest as another user, without capabilities.
static void as(int uid, int gid, void (*work)(void)) {
  fflush(stdout);
  if (fork() == 0) {
    MUST(syscall(SYS_setgroups, 0, NULL));
    MUST(setresgid(gid, gid, gid));
    MUST(setresuid(uid, uid, uid));
    work();
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
}

static void by_1500(void) {
  CALL(close(open("m/new", O_CREAT | O_EXCL | O_WRONLY, 0640)));
  CALL(mkdir("m/newdir", 0755));
  CALL(symlink("x", "m/newlink"));
  CALL(mknod("m/newpipe", S_IFIFO | 0600, 0));
  owner("m/new"), owner("m/newdir"), owner("m/newlink"), owner("m/newpipe");
  owner("t/new"), owner("t/newdir"), owner("t/newlink"), owner("t/newpipe");
  CALL(access("m/mine", R_OK | W_OK));
  CALL(access("t/mine", R_OK));
  CALL(chmod("m/mine", 0644));
  CALL(chmod("t/mine", 0644));
  CALL(close(open("m/root", O_RDONLY)));
  CALL(utimensat(AT_FDCWD, "m/mine", NULL, 0));
  CALL(chown("m/mine", -1, 1500));
  CALL(chown("m/mine", 0, -1));
  CALL(link("m/mine", "m/mine2"));
  CALL(unlink("m/mine2"));
  CALL(rename("m/mine", "m/moved"));
  CALL(rename("m/moved", "m/mine"));
  int fd = open("m", O_TMPFILE | O_RDWR, 0600);
  struct stat st;
  fstat(fd, &st);
  printf("tmpfile %d:%d\n", st.st_uid, st.st_gid);
  CALL(syscall(SYS_setxattr, "m/mine", "user.a", "b", 1, 0));
}

static void by_500(void) {
  CALL(close(open("m/by500", O_CREAT | O_WRONLY, 0600)));
  CALL(mkdir("m/by500", 0700));
  CALL(symlink("x", "m/by500"));
  CALL(mknod("m/by500", S_IFIFO | 0600, 0));
  CALL(close(open("m", O_TMPFILE | O_WRONLY, 0600)));
  CALL(access("m/five", R_OK));
  CALL(access("t/five", R_OK));
}

static void suid(void) {
  char *argv[] = {"m/suid", "ids", NULL};
  execv("m/suid", argv);
  printf("exec: %s\n", strerrorname_np(errno));
}

int main(int argc, char **argv) {
  if (argc > 1) {
    printf("ids %d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
    return 0;
  }
  int self = MUST(open("/proc/self/exe", O_RDONLY));
  enter_scratch();
  umask(0);
  MUST(chmod(".", 0755));
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  MUST(mkdir("t", 0755));
  MUST(mkdir("m", 0755));
  MUST(mount("src", "t", "tmpfs", 0, "mode=777"));
  int map = userns("0 1000 1000", "0 1000 1000");

  SECTION("errors");
  struct attr a = {.set = IDMAP, .userns = map};
  CALL(syscall(SYS_mount_setattr, AT_FDCWD, "t", 0, &a, sizeof a));
  int fd = tree("t", 0);
  a.userns = 12345;
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a.userns = -1;
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a.userns = fd;
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  int plain = open("/dev/null", O_RDONLY);
  a.userns = plain;
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a.userns = open("/proc/self/ns/mnt", O_RDONLY);
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a.userns = userns(NULL, NULL);
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a.userns = userns("0 1 1", NULL);
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a = (struct attr){.clear = IDMAP, .userns = map};
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a = (struct attr){.set = IDMAP, .clear = IDMAP, .userns = map};
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a = (struct attr){.userns = 12345};
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  a = (struct attr){.set = IDMAP, .userns = map};
  MUST(mount("p", "m", "proc", 0, NULL));
  int proc = tree("m", 0);
  CALL(syscall(SYS_mount_setattr, proc, "", AT_EMPTY_PATH, &a, sizeof a));
  MUST(umount("m"));
  MUST(mkdir("t/sub", 0777));
  MUST(mount("p", "t/sub", "proc", 0, NULL));
  int both = tree("t", 1);
  CALL(syscall(SYS_mount_setattr, both, "", AT_EMPTY_PATH | AT_RECURSIVE, &a, sizeof a));
  MUST(umount("t/sub"));
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  CALL(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof a));
  MUST(syscall(SYS_move_mount, fd, "", AT_FDCWD, "m", 4));

  SECTION("what is seen");
  char line[1024];
  FILE *f = fopen("/proc/self/mountinfo", "r");
  while (fgets(line, sizeof line, f)) {
    char *at = strstr(line, "/m rw");
    if (at) printf("%.*s\n", (int)strcspn(at + 3, " "), at + 3);
  }
  fclose(f);
  const struct { const char *name; int uid, gid; } files[] = {{"root", 0, 0}, {"mine", 500, 500}, {"five", 999, 999}, {"far", 5000, 1}};
  for (unsigned i = 0; i < 4; i++) {
    sprintf(line, "t/%s", files[i].name);
    close(open(line, O_CREAT | O_WRONLY, 0600));
    chown(line, files[i].uid, files[i].gid);
    owner(line);
    sprintf(line, "m/%s", files[i].name);
    owner(line);
  }
  owner("m");
  owner("m/.");

  SECTION("users");
  as(1500, 1500, by_1500);
  as(500, 500, by_500);
  SECTION("root");
  CALL(chown("m/mine", 1001, 1002));
  owner("t/mine");
  CALL(chown("m/mine", 0, 0));
  CALL(chown("m/mine", 1000, 5));
  CALL(chown("m/mine", 1000, -1));
  owner("t/mine");
  CALL(chmod("m/far", 0644));
  CALL(access("m/far", R_OK));
  CALL(access("m/far", W_OK));
  CALL(close(open("m/far", O_RDONLY)));
  CALL(close(open("m/far", O_WRONLY)));
  CALL(unlink("m/far"));
  CALL(rename("m/far", "m/far2"));
  CALL(link("m/far", "m/far2"));
  CALL(utimensat(AT_FDCWD, "m/far", NULL, 0));
  CALL(truncate("m/far", 0));
  CALL(setxattr("m/far", "user.x", "y", 1, 0));
  CALL(close(open("m/rootmade", O_CREAT | O_WRONLY, 0600)));
  CALL(mkdir("m/rootmade", 0600));
  setfsuid(1003), setfsgid(1004);
  CALL(close(open("m/fsid", O_CREAT | O_WRONLY, 0600)));
  setfsuid(0), setfsgid(0);
  owner("m/fsid");
  owner("t/fsid");

  SECTION("a setgid directory");
  mkdir("t/sg", 0777);
  chown("t/sg", 7, 8);
  chmod("t/sg", 02777);
  owner("m/sg");
  setfsuid(1003), setfsgid(1004);
  CALL(mkdir("m/sg/d", 0755));
  setfsuid(0), setfsgid(0);
  owner("m/sg/d");
  owner("t/sg/d");

  SECTION("setuid programs");
  int out = open("t/suid", O_CREAT | O_WRONLY, 0755);
  char buf[65536];
  for (ssize_t n; (n = read(self, buf, sizeof buf)) > 0;) write(out, buf, n);
  close(out);
  chown("t/suid", 30, 40);
  chmod("t/suid", 06755);
  owner("m/suid");
  as(1500, 1500, suid);
  chown("t/suid", 5000, 40);
  chmod("t/suid", 06755);
  as(1500, 1500, suid);

  SECTION("access lists");
  unsigned char acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xdc, 5, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
                         16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};
  CALL(setxattr("m/mine", "system.posix_acl_access", acl, sizeof acl, 0));
  unsigned char got[128] = {0};
  CALL(getxattr("t/mine", "system.posix_acl_access", got, sizeof got));
  printf("below %d\n", got[16] | got[17] << 8);
  CALL(getxattr("m/mine", "system.posix_acl_access", got, sizeof got));
  printf("above %d\n", got[16] | got[17] << 8);
  acl[16] = 5, acl[17] = 0;
  CALL(setxattr("m/mine", "system.posix_acl_access", acl, sizeof acl, 0));

  SECTION("sockets");
  struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "m/sock"};
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  CALL(bind(s, (void *)&sun, sizeof sun));
  setfsuid(1001), setfsgid(1001);
  CALL(bind(s, (void *)&sun, sizeof sun));
  setfsuid(0), setfsgid(0);
  owner("t/sock");

  SECTION("copies");
  mkdir("n", 0755);
  MUST(mount("m", "n", NULL, MS_BIND, NULL));
  owner("n/mine");
  int again = tree("m", 0);
  CALL(syscall(SYS_mount_setattr, again, "", AT_EMPTY_PATH, &a, sizeof a));
  struct attr off = {.clear = IDMAP};
  int cleared = FAILS(syscall(467, AT_FDCWD, "m", 1, &off, sizeof off));
  struct stat st;
  fstatat(cleared, "mine", &st, 0);
  printf("%d:%d\n", st.st_uid, st.st_gid);
  struct attr other = {.set = IDMAP, .clear = IDMAP, .userns = userns("0 3000 1000", "0 4000 1000")};
  int replaced = FAILS(syscall(467, AT_FDCWD, "m", 1, &other, sizeof other));
  fstatat(replaced, "mine", &st, 0);
  printf("%d:%d\n", st.st_uid, st.st_gid);
  other.clear = 0;
  FAILS(syscall(467, AT_FDCWD, "m", 1, &other, sizeof other));

  SECTION("statmount");
  struct statx sx;
  syscall(SYS_statx, AT_FDCWD, "m", 0, 0x4000, &sx);
  struct { uint32_t size, spare; uint64_t id, param, ns; } r = {.size = 24, .id = sx.stx_mnt_id, .param = 0x6002};
  static char buffer[8192];
  CALL(syscall(457, &r, buffer, sizeof buffer, 0));
  uint32_t *w = (uint32_t *)buffer;
  printf("mask %lx attr %lx maps %d \"%s\" %d \"%s\"\n", ((uint64_t *)buffer)[1], ((uint64_t *)buffer)[8], w[38], buffer + 512 + w[39], w[40], buffer + 512 + w[41]);
  syscall(SYS_statx, AT_FDCWD, "t", 0, 0x4000, &sx);
  r.id = sx.stx_mnt_id;
  memset(buffer, 0, sizeof buffer);
  CALL(syscall(457, &r, buffer, sizeof buffer, 0));
  printf("mask %lx\n", ((uint64_t *)buffer)[1]);
  return 0;
}

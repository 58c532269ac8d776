// names: trailing slashes, dots, links, rename, O_PATH, *at calls with odd arguments
#include "check.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static int touch(const char *name, int mode) {
  int fd = MUST(open(name, O_WRONLY | O_CREAT, mode));
  close(fd);
  return 0;
}

static int openat2_(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  return syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static void try_open(const char *path, int flags) {
  errno = 0;
  int fd = open(path, flags, 0644);
  printf("open(%s, %o): %s\n", path, flags, fd < 0 ? strerrorname_np(errno) : "ok");
  if (fd >= 0) close(fd);
}

int main(void) {
  enter_scratch();
  umask(022);
  struct stat st;

  SECTION("slashes and dots");
  MUST(mkdir("d", 0755));
  touch("f", 0644);
  MUST(symlink("d", "ld"));
  MUST(symlink("f", "lf"));
  MUST(symlink("none", "ln"));
  MUST(symlink("d/", "ldslash"));
  MUST(symlink("loop", "loop"));
  MUST(symlink("newdir/", "lnewslash"));
  const char *paths[] = {"d/", "f/", "ld/", "lf/", "ln/", "d/.", "d/..", "d/../f", "f/.", "f/..", "ld/../f", "none/", "none/..", ".", "..", "./", "//", "d//", "d/./.", "ldslash", "loop", "loop/", "d/none", "f/x"};
  for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
    const char *p = paths[i];
    printf("%s: stat %s", p, stat(p, &st) < 0 ? strerrorname_np(errno) : "ok");
    printf(" lstat %s", lstat(p, &st) < 0 ? strerrorname_np(errno) : S_ISLNK(st.st_mode) ? "link" : S_ISDIR(st.st_mode) ? "dir" : "file");
    printf(" mkdir %s", mkdir(p, 0755) < 0 ? strerrorname_np(errno) : "ok");
    printf(" mknod %s", mknod(p, S_IFREG | 0644, 0) < 0 ? strerrorname_np(errno) : "ok");
    printf(" symlink %s", symlink("x", p) < 0 ? strerrorname_np(errno) : "ok");
    printf(" link %s", link("f", p) < 0 ? strerrorname_np(errno) : "ok");
    printf(" readlink %s", readlink(p, (char[64]){0}, 64) < 0 ? strerrorname_np(errno) : "ok");
    printf(" truncate %s", truncate(p, 0) < 0 ? strerrorname_np(errno) : "ok");
    printf(" access %s\n", access(p, W_OK) < 0 ? strerrorname_np(errno) : "ok");
    for (int k = 0; k < 5; k++) {
      static const char *made[] = {"ln", "none", "d/none", "f/x", "newdir"};
      struct stat s;
      if (k != 0 && lstat(made[k], &s) == 0) printf("  made %s %o\n", made[k], s.st_mode), remove(made[k]);
    }
  }
  const char *open_paths[] = {"d", "d/", "f", "f/", "lf", "lf/", "ld", "ld/", "ln", "ln/", "loop", "none", "none/", ".", "..", "/", "", "lnewslash", "d/.", "d/../f"};
  int open_flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_WRONLY | O_CREAT | O_EXCL, O_RDONLY | O_NOFOLLOW, O_RDONLY | O_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, O_PATH, O_PATH | O_NOFOLLOW, O_PATH | O_DIRECTORY | O_NOFOLLOW, O_WRONLY | O_TRUNC, O_CREAT | O_DIRECTORY, O_CREAT | O_NOFOLLOW | O_WRONLY, 3, 3 | O_CREAT, O_RDONLY | O_TRUNC};
  for (unsigned i = 0; i < sizeof open_paths / sizeof *open_paths; i++)
    for (unsigned k = 0; k < sizeof open_flags / sizeof *open_flags; k++) {
      try_open(open_paths[i], open_flags[k]);
      unlink("none");
      unlink("newdir");
    }

  SECTION("removing");
  CALL(unlink("d"));
  CALL(unlink("d/"));
  CALL(unlink("f/"));
  CALL(unlink("ld/"));
  CALL(unlink("none/"));
  CALL(unlink("."));
  CALL(unlink("d/.."));
  CALL(rmdir("f"));
  CALL(rmdir("f/"));
  CALL(rmdir("ld"));
  CALL(rmdir("ld/"));
  CALL(rmdir("d/."));
  CALL(rmdir("d/.."));
  CALL(rmdir("/"));
  CALL(rmdir("none"));
  CALL(rmdir(".."));
  CALL(unlinkat(AT_FDCWD, "d", 0));
  CALL(unlinkat(AT_FDCWD, "d", 1));
  touch("d/x", 0644);
  CALL(rmdir("d"));
  CALL(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));

  SECTION("renaming");
  MUST(mkdir("e", 0755));
  MUST(mkdir("full", 0755));
  touch("full/x", 0644);
  CALL(rename("f", "f"));
  CALL(rename("f", "g/"));
  CALL(rename("f/", "g"));
  CALL(rename("f", "e"));
  CALL(rename("e", "f"));
  CALL(rename("e", "full"));
  CALL(rename("e", "e/sub"));
  CALL(rename("full", "full/x"));
  CALL(rename("full/x", "full"));
  CALL(rename(".", "x"));
  CALL(rename("e", "."));
  CALL(rename("e", ".."));
  CALL(rename("none", "x"));
  CALL(rename("none", "none/x"));
  CALL(rename("e/", "e2/"));
  CALL(rename("e2", "e"));
  CALL(rename("ld", "ld2"));
  CALL(rename("ld2/", "ld3"));
  CALL(rename("ld2", "ld"));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "lf", RENAME_NOREPLACE));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "g", RENAME_NOREPLACE));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "full", RENAME_EXCHANGE));
  HOLDS(lstat("g", &st) == 0 && S_ISDIR(st.st_mode));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "full", RENAME_EXCHANGE));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "none", RENAME_EXCHANGE));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "full/x", RENAME_EXCHANGE | RENAME_NOREPLACE));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "full", AT_FDCWD, "full/x", RENAME_EXCHANGE));
  CALL(syscall(SYS_renameat2, AT_FDCWD, "g", AT_FDCWD, "h", 64));
  touch("h", 0644);
  MUST(link("h", "h2"));
  CALL(rename("h", "h2"));
  HOLDS(access("h", F_OK) == 0);
  MUST(mkdir("e/in", 0755));
  CALL(rename("e", "e/in/deep"));
  CALL(rename("e/in", "in"));
  CALL(rename("in", "e"));
  CALL(rename("in", "e"));
  HOLDS(lstat("e", &st) == 0 && st.st_nlink == 2 || st.st_nlink == 1);

  SECTION("links");
  CALL(link("e", "le"));
  CALL(link("lf", "hardlink-to-link"));
  HOLDS(lstat("hardlink-to-link", &st) == 0 && S_ISLNK(st.st_mode) && st.st_nlink == 2);
  CALL(linkat(AT_FDCWD, "lf", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
  CALL(linkat(AT_FDCWD, "ln", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
  CALL(linkat(AT_FDCWD, "h", AT_FDCWD, "h3", 8));
  CALL(symlink("", "empty"));
  char big[5000];
  memset(big, 'a', sizeof big);
  big[4999] = 0;
  CALL(symlink(big, "big"));
  big[4096] = 0;
  CALL(symlink(big, "big"));
  big[4095] = 0;
  CALL(symlink(big, "big"));
  HOLDS(lstat("big", &st) == 0 && st.st_size == 4095);
  FAILS(open("big", O_RDONLY));
  char name[300];
  memset(name, 'n', sizeof name);
  name[256] = 0;
  FAILS(open(name, O_RDONLY));
  CALL(mkdir(name, 0755));
  name[255] = 0;
  CALL(mkdir(name, 0755));
  CALL(rename(name, "short"));
  char buffer[64];
  CALL(readlink("lf", buffer, 0));
  CALL(readlink("h", buffer, 10));
  CALL(readlinkat(AT_FDCWD, "", buffer, 10));

  SECTION("O_PATH");
  int p = MUST(open("h", O_PATH));
  CALL(read(p, buffer, 1));
  CALL(write(p, buffer, 1));
  CALL(fchmod(p, 0600));
  CALL(fchown(p, -1, -1));
  CALL(ftruncate(p, 0));
  CALL(fsync(p));
  CALL(lseek(p, 0, SEEK_SET));
  CALL(fgetxattr(p, "user.x", buffer, 10));
  CALL(fstat(p, &st));
  struct statfs sfs;
  CALL(fstatfs(p, &sfs));
  CALL(fchdir(p));
  CALL(fcntl(p, F_GETFL) & ~O_LARGEFILE);
  CALL(fcntl(p, F_SETFL, O_APPEND));
  CALL(openat(p, "x", O_RDONLY));
  int q = MUST(dup(p));
  close(q);
  char proc[64];
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", p);
  FAILS(open(proc, O_RDONLY));
  int l = MUST(open("lf", O_PATH | O_NOFOLLOW));
  CALL(readlinkat(l, "", buffer, 10));
  CALL(fstatat(l, "", &st, AT_EMPTY_PATH));
  HOLDS(S_ISLNK(st.st_mode));
  CALL(fchownat(l, "", -1, -1, AT_EMPTY_PATH));
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", l);
  FAILS(open(proc, O_RDONLY));
  CALL(linkat(p, "", AT_FDCWD, "from-path", AT_EMPTY_PATH));

  SECTION("at");
  int dir = MUST(open("full", O_RDONLY | O_DIRECTORY));
  int file = MUST(open("h", O_RDWR));
  CALL(openat(file, "x", O_RDONLY));
  CALL(openat(99, "x", O_RDONLY));
  FAILS(openat(99, "/", O_RDONLY));
  CALL(mkdirat(dir, "made", 0755));
  CALL(unlinkat(dir, "made", AT_REMOVEDIR));
  CALL(fstatat(dir, "", &st, 0));
  CALL(fstatat(dir, "", &st, AT_EMPTY_PATH));
  CALL(fstatat(dir, "x", &st, 0x8000));
  CALL(faccessat(dir, "x", R_OK, 0));
  CALL(syscall(SYS_faccessat2, dir, "x", R_OK, AT_EACCESS));
  CALL(syscall(SYS_faccessat2, dir, "x", 8, 0));
  CALL(syscall(SYS_faccessat2, dir, "x", R_OK, 0x8000));
  CALL(syscall(SYS_faccessat2, dir, "", R_OK, AT_EMPTY_PATH));
  CALL(fchmodat(dir, "x", 0600, 0));
  CALL(utimensat(dir, "none", NULL, 0));
  CALL(utimensat(dir, NULL, NULL, 0));
  CALL(utimensat(AT_FDCWD, NULL, NULL, 0));
  struct timespec times[2] = {{5, 1000000000}, {6, 0}};
  CALL(utimensat(dir, "x", times, 0));
  times[0].tv_nsec = UTIME_OMIT;
  CALL(utimensat(dir, "x", times, 0));
  MUST(fstatat(dir, "x", &st, 0));
  HOLDS(st.st_mtime == 6);
  struct statx sx;
  CALL(syscall(SYS_statx, dir, "x", 0x6000, 0, &sx));
  CALL(syscall(SYS_statx, dir, "x", 0, 0x80000000u, &sx));
  CALL(syscall(SYS_statx, dir, "x", 0, 0x7ff, &sx));
  HOLDS(sx.stx_mtime.tv_sec == 6 && (sx.stx_mask & 0x7ff) == 0x7ff);

  SECTION("openat2");
  MUST(symlink("/etc/passwd", "full/abs"));
  MUST(symlink("../h", "full/up"));
  MUST(symlink("x", "full/in"));
  const char *beneath[] = {"x", "in", "up", "abs", "..", "../full/x", "./x", "x/.."};
  uint64_t resolves[] = {RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0x100};
  for (unsigned i = 0; i < sizeof beneath / sizeof *beneath; i++)
    for (unsigned k = 0; k < sizeof resolves / sizeof *resolves; k++) {
      // Whether the scratch folder is on the root's mount is the machine's business.
      if (beneath[i][0] == 'a' && resolves[k] == RESOLVE_NO_XDEV) continue;
      errno = 0;
      int fd = openat2_(dir, beneath[i], O_RDONLY, 0, resolves[k]);
      printf("openat2(%s, %lx): %s\n", beneath[i], (long)resolves[k], fd < 0 ? strerrorname_np(errno) : "ok");
      if (fd >= 0) close(fd);
    }
  CALL(openat2_(dir, "x", O_RDONLY, 0644, 0));
  CALL(openat2_(dir, "y", O_CREAT | O_WRONLY, 010000, 0));
  CALL(openat2_(dir, "x", O_PATH | O_RDWR, 0, 0));
  CALL(openat2_(dir, "x", 1ull << 40, 0, 0));
  CALL(syscall(SYS_openat2, dir, "x", &(struct open_how){0}, 8));
  CALL(openat2_(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));

  SECTION("cwd");
  MUST(mkdir("gone", 0755));
  MUST(chdir("gone"));
  MUST(rmdir("../gone"));
  CALL((long)getcwd(buffer, sizeof buffer) == 0 ? -1 : 0);
  CALL(open("x", O_CREAT | O_WRONLY, 0644));
  CALL(mkdir("x", 0755));
  CALL(stat(".", &st));
  HOLDS(st.st_nlink == 0);
  CALL(stat("..", &st));
  FAILS(open(".", O_RDONLY));
  DIR *d = opendir(".");
  HOLDS(d != NULL && readdir(d) == NULL);
  CALL(rename(".", "../y"));
  CALL(chdir(".."));
  CALL(chdir("h"));
  CALL(chdir("none"));
  CALL(syscall(SYS_getcwd, buffer, 1));
  CALL(syscall(SYS_getcwd, (char *)8, 4096));
  CALL(chroot("none"));
  CALL(umask(077));
  CALL(umask(0777777));
  CALL(umask(022));

  SECTION("nodes");
  CALL(mknod("fifo", S_IFIFO | 0644, 0));
  CALL(mknod("sock", S_IFSOCK | 0644, 0));
  CALL(mknod("dir", S_IFDIR | 0755, 0));
  CALL(mknod("odd", 0150000 | 0644, 0));
  CALL(mknod("plain", 0644, 0));
  HOLDS(stat("plain", &st) == 0 && S_ISREG(st.st_mode));
  CALL(open("sock", O_RDONLY));
  CALL(open("sock", O_PATH) >= 0 ? 0 : -1);
  CALL(open("fifo", O_WRONLY | O_NONBLOCK));
  FAILS(open("fifo", O_RDONLY | O_NONBLOCK));
  FAILS(open("fifo", O_RDWR));
  CALL(truncate("fifo", 0));
  CALL(truncate("e", 0));
  CALL(truncate("h", -1));
  CALL(truncate("none", 0));

  SECTION("O_TMPFILE");
  int tmp = open(".", O_TMPFILE | O_RDWR, 0600);
  FAILS(tmp);
  MUST(fstat(tmp, &st));
  HOLDS(st.st_nlink == 0);
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", tmp);
  CALL(linkat(AT_FDCWD, proc, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
  MUST(fstat(tmp, &st));
  HOLDS(st.st_nlink == 1);
  int excl = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", excl);
  CALL(linkat(AT_FDCWD, proc, AT_FDCWD, "linked2", AT_SYMLINK_FOLLOW));
  FAILS(open(".", O_TMPFILE | O_RDONLY, 0600));
  FAILS(open("h", O_TMPFILE | O_RDWR, 0600));
  FAILS(open("none", O_TMPFILE | O_RDWR, 0600));
  return 0;
}

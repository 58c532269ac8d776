// files and folders: open flags, rename, links, attributes, times, reading of folders
#include "check.h"
#include <dirent.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>

static void put(const char *name, const char *text) {
  int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  MUST(write(fd, text, strlen(text)));
  close(fd);
}

static void show(const char *name) {
  char buffer[256];
  int fd = open(name, O_RDONLY);
  if (fd < 0) {
    printf("%s: %s\n", name, strerrorname_np(errno));
    return;
  }
  int n = read(fd, buffer, sizeof buffer);
  printf("%s: [%.*s]\n", name, n < 0 ? 0 : n, buffer);
  close(fd);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void list(const char *name) {
  struct dirent **entries;
  int n = scandir(name, &entries, NULL, by_name);
  printf("%s:", name);
  for (int i = 0; i < n; i++) printf(" %s(%d)", entries[i]->d_name, entries[i]->d_type);
  printf("\n");
}

static void show_mode(const char *name) {
  struct stat st;
  if (lstat(name, &st) < 0) printf("%s: %s\n", name, strerrorname_np(errno));
  else printf("%s: mode %o size %ld links %ld\n", name, st.st_mode, S_ISDIR(st.st_mode) ? 0L : (long)st.st_size, S_ISDIR(st.st_mode) ? 0L : (long)st.st_nlink);
}

int main(void) {
  enter_scratch();
  umask(022);
  char buffer[4096];
  struct stat st, st2;

  SECTION("open");
  CALL(open("missing", O_RDONLY));
  FAILS(open("new", O_RDWR | O_CREAT | O_EXCL, 0666));
  CALL(open("new", O_RDWR | O_CREAT | O_EXCL, 0666));
  show_mode("new");
  put("file", "0123456789");
  CALL(open("file/below", O_RDONLY));
  CALL(open("file/", O_RDONLY));
  CALL(open("missing/", O_RDWR | O_CREAT, 0666));
  CALL(open(".", O_RDWR));
  CALL(open(".", O_WRONLY | O_CREAT, 0666));
  CALL(open("file", O_RDONLY | O_DIRECTORY));
  CALL(open("", O_RDONLY));
  MUST(symlink("file", "link"));
  MUST(symlink("nowhere", "dangling"));
  MUST(symlink("loop", "loop"));
  FAILS(open("link", O_RDONLY));
  CALL(open("link", O_RDONLY | O_NOFOLLOW));
  FAILS(open("link", O_PATH | O_NOFOLLOW));
  CALL(open("dangling", O_RDONLY));
  CALL(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0666));
  FAILS(open("dangling", O_RDWR | O_CREAT, 0666));
  show_mode("nowhere");
  CALL(open("loop", O_RDONLY));
  memset(buffer, 'n', 300);
  buffer[256] = 0;
  CALL(open(buffer, O_RDONLY));
  buffer[255] = 0;
  CALL(open(buffer, O_RDONLY));
  memset(buffer, '/', 4095);
  buffer[4095] = 0;
  FAILS(open(buffer, O_RDONLY));
  FAILS(open(".//././/file", O_RDONLY));
  int fd = MUST(open("file", O_RDWR | O_TRUNC));
  CALL(fstat(fd, &st));
  HOLDS(st.st_size == 0);

  SECTION("read, write, seek");
  CALL(write(fd, "abcdef", 6));
  CALL(lseek(fd, -2, SEEK_END));
  CALL(read(fd, buffer, 10));
  CALL(read(fd, buffer, 10));
  CALL(lseek(fd, -1, SEEK_SET));
  CALL(lseek(fd, 0, 77));
  CALL(lseek(fd, 100, SEEK_SET));
  CALL(read(fd, buffer, 10));
  CALL(write(fd, "far", 3));
  CALL(pread(fd, buffer, 10, 98));
  HOLDS(buffer[0] == 0 && memcmp(buffer + 2, "far", 3) == 0);
  CALL(pread(fd, buffer, 10, -1));
  CALL(pwrite(fd, "PP", 2, 1));
  CALL(lseek(fd, 0, SEEK_CUR));
  int append = MUST(open("file", O_WRONLY | O_APPEND));
  CALL(write(append, "end", 3));
  CALL(lseek(append, 0, SEEK_CUR));
  CALL(pwrite(append, "more", 4, 0));
  CALL(fstat(fd, &st));
  printf("size %ld\n", (long)st.st_size);
  CALL(read(append, buffer, 1));
  int reader = MUST(open("file", O_RDONLY));
  CALL(write(reader, "x", 1));
  CALL(ftruncate(reader, 0));
  struct iovec iov[2] = {{buffer, 3}, {buffer + 3, 3}};
  CALL(preadv(fd, iov, 2, 0));
  printf("%.6s\n", buffer);
  CALL(pwritev(fd, iov, 2, 50));
  CALL(preadv2(fd, iov, 2, -1, 0));
  CALL(dup(fd) >= 0);
  CALL(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
  printf("flags %x\n", fcntl(fd, F_GETFL));
  CALL(ftruncate(fd, 4));
  CALL(ftruncate(fd, -1));
  CALL(truncate("file", 8));
  CALL(truncate(".", 8));
  CALL(lseek(fd, 0, SEEK_DATA));
  CALL(lseek(fd, 0, SEEK_HOLE));
  CALL(lseek(fd, 8, SEEK_DATA));
  CALL(posix_fallocate(fd, 0, 5000));
  CALL(fstat(fd, &st));
  printf("size %ld\n", (long)st.st_size);
  CALL(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
  CALL(fsync(fd));
  CALL(fdatasync(fd));
  CALL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  CALL(readahead(fd, 0, 10));
  CALL(close(fd));
  CALL(close(fd));
  CALL(read(fd, buffer, 1));
  int dir = MUST(open(".", O_RDONLY | O_DIRECTORY));
  CALL(read(dir, buffer, 1));
  CALL(write(dir, buffer, 1));

  SECTION("O_PATH and O_TMPFILE");
  int path = MUST(open("file", O_PATH));
  CALL(read(path, buffer, 1));
  CALL(fchmod(path, 0600));
  CALL(fstat(path, &st));
  CALL(fcntl(path, F_GETFL) == O_PATH);
  int temporary = open(".", O_TMPFILE | O_RDWR, 0600);
  printf("O_TMPFILE %s\n", temporary >= 0 ? "ok" : strerrorname_np(errno));
  CALL(write(temporary, "unnamed", 7));
  sprintf(buffer, "/proc/self/fd/%d", temporary);
  CALL(linkat(AT_FDCWD, buffer, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  show("named");

  SECTION("links");
  CALL(link("file", "hard"));
  stat("file", &st);
  stat("hard", &st2);
  HOLDS(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev && st.st_nlink == 2);
  CALL(link("file", "hard"));
  CALL(link("missing", "x"));
  CALL(link(".", "x"));
  CALL(linkat(AT_FDCWD, "link", AT_FDCWD, "hard-to-link", 0));
  CALL(readlink("hard-to-link", buffer, sizeof buffer));
  CALL(readlink("link", buffer, 2));
  CALL(readlink("file", buffer, 2));
  CALL(readlink("link", buffer, 0));
  CALL(symlink("", "x"));
  CALL(symlink("x", "link"));
  CALL(unlink("hard"));
  CALL(unlink("hard"));
  CALL(unlink("."));
  CALL(unlink("link"));
  show("file");
  int open_fd = MUST(open("named", O_RDWR));
  CALL(unlink("named"));
  CALL(write(open_fd, "still", 5));
  CALL(fstat(open_fd, &st));
  printf("links of the unlinked: %ld\n", (long)st.st_nlink);

  SECTION("folders");
  CALL(mkdir("d", 0777));
  CALL(mkdir("d", 0777));
  CALL(mkdir("d/", 0777));
  CALL(mkdir("missing/x", 0777));
  CALL(mkdir("file/x", 0777));
  CALL(mkdir("d/e/", 0700));
  put("d/f", "inside");
  show_mode("d");
  list("d");
  CALL(rmdir("d"));
  CALL(rmdir("d/f"));
  CALL(rmdir("d/e/."));
  CALL(rmdir("d/.."));
  CALL(rmdir("missing"));
  CALL(unlink("d"));
  CALL(unlinkat(AT_FDCWD, "d/e", AT_REMOVEDIR));
  CALL(rmdir("/"));
  CALL(mkdir("/", 0777));
  MUST(mkdir("gone", 0777));
  MUST(chdir("gone"));
  MUST(rmdir("../gone"));
  HOLDS(getcwd(buffer, sizeof buffer) == NULL && errno == ENOENT);
  CALL(open("x", O_CREAT | O_RDWR, 0600));
  CALL(mkdir("x", 0777));
  list(".");
  MUST(fchdir(dir));
  HOLDS(getcwd(buffer, 2) == NULL && errno == ERANGE);
  CALL(chdir("file"));
  CALL(fchdir(999));
  int many = 0;
  MUST(mkdir("many", 0777));
  for (int i = 0; i < 500; i++) {
    sprintf(buffer, "many/entry-%d-with-a-longer-name", i);
    close(MUST(open(buffer, O_CREAT | O_RDWR, 0600)));
  }
  DIR *d = opendir("many");
  for (struct dirent *e; (e = readdir(d));) many += e->d_name[0] == 'e';
  printf("%d entries\n", many);
  rewinddir(d);
  int removed = 0;
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] == 'e' && unlinkat(dirfd(d), e->d_name, 0) == 0) removed++;
  printf("%d removed while reading\n", removed);
  closedir(d);
  CALL(rmdir("many"));
  CALL(syscall(SYS_getdents64, dir, buffer, 10));
  CALL(syscall(SYS_getdents64, open_fd, buffer, 100));

  SECTION("rename");
  put("a", "A");
  put("b", "B");
  CALL(rename("a", "b"));
  show("a");
  show("b");
  CALL(rename("b", "b"));
  CALL(rename("missing", "x"));
  CALL(rename("b", "d"));
  CALL(rename("d", "b"));
  CALL(rename("d", "d/sub"));
  CALL(rename("b", "missing/x"));
  CALL(rename("b", "."));
  CALL(rename("d/..", "x"));
  CALL(mkdir("full", 0777));
  put("full/x", "x");
  CALL(rename("d", "full"));
  CALL(mkdir("empty", 0777));
  CALL(rename("full", "empty"));
  list("empty");
  put("c", "C");
  CALL(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_NOREPLACE));
  CALL(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE));
  show("b");
  show("c");
  CALL(renameat2(AT_FDCWD, "b", AT_FDCWD, "missing", RENAME_EXCHANGE));
  CALL(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE | RENAME_NOREPLACE));
  CALL(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", 0x100));
  CALL(link("b", "b2"));
  CALL(rename("b", "b2"));
  show("b");
  CALL(rename("b/", "x"));
  CALL(rename("d/", "d2"));
  int held = MUST(open("c", O_RDONLY));
  put("newer", "newer");
  CALL(rename("newer", "c"));
  int n = read(held, buffer, 10);
  printf("replaced file still reads [%.*s]\n", n, buffer);

  SECTION("modes and times");
  CALL(chmod("b", 04755));
  show_mode("b");
  CALL(chmod("missing", 0755));
  CALL(fchmodat(AT_FDCWD, "b", 0640, 0));
  show_mode("b");
  struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
  CALL(utimensat(AT_FDCWD, "b", times, 0));
  stat("b", &st);
  printf("%ld.%09ld %ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_nsec = UTIME_NOW;
  CALL(utimensat(AT_FDCWD, "b", times, 0));
  stat("b", &st);
  HOLDS(st.st_atim.tv_sec == 1000000000 && st.st_mtim.tv_sec > 1700000000 && st.st_ctim.tv_sec > 1700000000);
  times[0].tv_nsec = 2000000000;
  CALL(utimensat(AT_FDCWD, "b", times, 0));
  MUST(symlink("b", "sym"));
  times[0].tv_nsec = 5, times[0].tv_sec = 1, times[1] = times[0];
  CALL(utimensat(AT_FDCWD, "sym", times, AT_SYMLINK_NOFOLLOW));
  lstat("sym", &st);
  HOLDS(st.st_mtim.tv_sec == 1 && st.st_mtim.tv_nsec == 5);
  stat(".", &st);
  sleep_ms(20);
  put("touch-the-folder", "");
  stat(".", &st2);
  HOLDS(st2.st_mtim.tv_sec > st.st_mtim.tv_sec || st2.st_mtim.tv_nsec > st.st_mtim.tv_nsec);
  CALL(access("b", R_OK | W_OK));
  CALL(access("missing", F_OK));
  CALL(access("b", 77));
  umask(077);
  close(MUST(open("masked", O_CREAT | O_RDWR, 0777)));
  show_mode("masked");
  MUST(mkdir("sticky", 01777));
  show_mode("sticky");

  SECTION("statx, statfs, mknod");
  struct statx sx;
  CALL(statx(AT_FDCWD, "b", 0, STATX_BASIC_STATS, &sx));
  HOLDS((sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS && sx.stx_size == 1 && S_ISREG(sx.stx_mode));
  CALL(statx(AT_FDCWD, "", 0, STATX_SIZE, &sx));
  CALL(statx(dir, "", AT_EMPTY_PATH, STATX_SIZE, &sx));
  CALL(statx(AT_FDCWD, "b", 0x40000000, STATX_SIZE, &sx));
  CALL(fstatat(dir, "", &st, AT_EMPTY_PATH));
  CALL(fstatat(dir, "sym", &st, AT_SYMLINK_NOFOLLOW));
  HOLDS(S_ISLNK(st.st_mode) && st.st_size == 1);
  struct statfs fs;
  CALL(statfs(".", &fs));
  HOLDS(fs.f_bsize > 0 && fs.f_namelen >= 255 && fs.f_blocks > 0);
  CALL(statfs("missing", &fs));
  CALL(fstatfs(dir, &fs));
  CALL(statfs("/proc", &fs));
  HOLDS(fs.f_type == 0x9fa0);
  CALL(mknod("node", S_IFREG | 0600, 0));
  CALL(mknod("node", S_IFIFO | 0600, 0));
  CALL(mknod("fifo", S_IFIFO | 0600, 0));
  CALL(mknod("strange", S_IFDIR | 0600, 0));
  show_mode("fifo");

  SECTION("devices");
  int zero = MUST(open("/dev/zero", O_RDWR)), null = MUST(open("/dev/null", O_RDWR)), full = MUST(open("/dev/full", O_RDWR));
  memset(buffer, 1, 100);
  CALL(read(zero, buffer, 100));
  HOLDS(buffer[0] == 0 && buffer[99] == 0);
  CALL(read(null, buffer, 100));
  CALL(write(null, buffer, 100));
  CALL(write(full, buffer, 100));
  CALL(lseek(null, 55, SEEK_SET));
  int random = MUST(open("/dev/urandom", O_RDONLY));
  CALL(read(random, buffer, 100));
  stat("/dev/null", &st);
  HOLDS(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
  char *zeros = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
  HOLDS(zeros != MAP_FAILED && zeros[5] == 0);

  SECTION("descriptors");
  struct rlimit limit = {20, 20};
  CALL(dup2(null, 300));
  CALL(dup2(300, 300));
  CALL(dup2(999, 3));
  CALL(dup3(300, 300, 0));
  CALL(dup3(300, 301, O_CLOEXEC));
  CALL(fcntl(301, F_GETFD));
  CALL(fcntl(300, F_DUPFD, 400));
  CALL(fcntl(300, F_DUPFD_CLOEXEC, 400));
  CALL(fcntl(300, F_DUPFD, 99999999));
  CALL(fcntl(300, 9999));
  CALL(fcntl(999, F_GETFD));
  CALL(close_range(300, 500, 0));
  CALL(fcntl(400, F_GETFD));
  CALL(close_range(10, 5, 0));
  close_range(3, ~0u, 0);
  CALL(setrlimit(RLIMIT_NOFILE, &limit));
  int last = -1;
  for (int one; (one = open("/dev/null", O_RDONLY)) >= 0;) last = one;
  printf("last descriptor %d, then %s\n", last, strerrorname_np(errno));
  CALL(dup(0));
  CALL(dup2(0, 20));
  CALL(dup2(0, 19));
  CALL(fcntl(0, F_DUPFD, 20));
  int p[2];
  CALL(pipe(p));
  return 0;
}

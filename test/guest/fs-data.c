// contents and attributes: holes, appending, mapping, modes, owners, xattrs, locks, limits
// needs: root
#include "check.h"
#include <grp.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <linux/falloc.h>

static int touch(const char *name, int mode) {
  int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, mode));
  return fd;
}

static void mode_of(const char *name) {
  struct stat st;
  if (lstat(name, &st) < 0) printf("%s: %s\n", name, strerrorname_np(errno));
  else printf("%s: %o %d:%d size %ld\n", name, st.st_mode, st.st_uid, st.st_gid, S_ISDIR(st.st_mode) ? 0L : (long)st.st_size);
}

static int as_user(void *arg) {
  setgroups(0, NULL);
  MUST(setresgid(1000, 1000, 1000));
  MUST(setresuid(1000, 1000, 1000));
  return ((int (*)(void))arg)();
}

static int user_checks(void) {
  char buffer[16];
  struct stat st;
  CALL(open("secret", O_RDONLY));
  CALL(open("closed/x", O_RDONLY));
  CALL(access("secret", R_OK));
  CALL(access("secret", F_OK));
  CALL(access("exec-only", X_OK));
  CALL(access("readable", X_OK));
  CALL(chmod("secret", 0777));
  CALL(chown("secret", 1000, -1));
  CALL(chown("secret", -1, -1));
  CALL(utimensat(AT_FDCWD, "secret", NULL, 0));
  CALL(utimensat(AT_FDCWD, "writable", NULL, 0));
  struct timespec times[2] = {{1, 0}, {2, 0}};
  CALL(utimensat(AT_FDCWD, "writable", times, 0));
  times[0].tv_nsec = UTIME_NOW;
  times[1].tv_nsec = UTIME_OMIT;
  CALL(utimensat(AT_FDCWD, "writable", times, 0));
  CALL(unlink("sticky/roots"));
  CALL(rename("sticky/roots", "sticky/mine"));
  int fd = open("sticky/own", O_CREAT | O_RDWR, 0666);
  FAILS(fd);
  CALL(rename("sticky/own", "sticky/own2"));
  CALL(rename("sticky/own2", "sticky/roots"));
  CALL(chown("sticky/own2", 0, -1));
  CALL(chown("sticky/own2", -1, 0));
  CALL(chown("sticky/own2", 1000, 1000));
  CALL(chmod("sticky/own2", 04755));
  mode_of("sticky/own2");
  CALL(chmod("sticky/own2", 02755));
  CALL(chmod("sticky/own2", 06755));
  CALL(write(fd, "x", 1));
  mode_of("sticky/own2");
  CALL(chmod("sticky/own2", 06755));
  CALL(ftruncate(fd, 0));
  mode_of("sticky/own2");
  CALL(chmod("sticky/own2", 06755));
  CALL(chown("sticky/own2", 1000, 1000));
  mode_of("sticky/own2");
  CALL(mkdir("setgid/dir", 0755));
  mode_of("setgid/dir");
  int sg = open("setgid/file", O_CREAT | O_RDWR, 02775);
  FAILS(sg);
  mode_of("setgid/file");
  CALL(chmod("setgid/file", 02775));
  mode_of("setgid/file");
  CALL(mkdir("denied", 0755));
  CALL(unlink("readable"));
  CALL(rmdir("closed"));
  CALL(mknod("sticky/dev", S_IFCHR | 0600, 0x103));
  CALL(mknod("sticky/fifo", S_IFIFO | 0600, 0));
  CALL(chroot("."));
  CALL(open("readable", O_RDONLY | O_NOATIME));
  CALL(open("readable", O_RDWR));
  CALL(open("readable", O_RDONLY | O_TRUNC));
  CALL(truncate("readable", 0));
  CALL(setxattr("readable", "user.x", "v", 1, 0));
  CALL(setxattr("sticky/own2", "user.x", "v", 1, 0));
  CALL(setxattr("sticky/own2", "trusted.x", "v", 1, 0));
  CALL(getxattr("sticky/own2", "trusted.x", buffer, 16));
  CALL(setxattr("sticky/own2", "security.x", "v", 1, 0));
  CALL(setxattr("sticky", "user.x", "v", 1, 0));
  CALL(stat("closed", &st));
  CALL(stat("closed/x", &st));
  CALL(chdir("closed"));
  return 0;
}

static int limited(void *arg) {
  struct rlimit limit = {100, 100};
  MUST(setrlimit(RLIMIT_FSIZE, &limit));
  signal(SIGXFSZ, SIG_IGN);
  int fd = touch("limited", 0644);
  char text[200] = {0};
  CALL(write(fd, text, 90));
  CALL(write(fd, text, 90));
  CALL(write(fd, text, 1));
  CALL(pwrite(fd, text, 10, 95));
  CALL(ftruncate(fd, 101));
  CALL(ftruncate(fd, 100));
  CALL(truncate("limited", 200));
  CALL(fallocate(fd, 0, 0, 200));
  signal(SIGXFSZ, SIG_DFL);
  no_core();
  write(fd, text, 1);
  return 0;
}

static int lock_child(void *arg) {
  int fd = MUST(open("locked", O_RDWR));
  struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
  CALL(fcntl(fd, F_SETLK, &fl));
  CALL(fcntl(fd, F_GETLK, &fl));
  printf("type %d start %ld len %ld parent %d\n", fl.l_type, (long)fl.l_start, (long)fl.l_len, fl.l_pid == getppid());
  fl = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 5};
  CALL(fcntl(fd, F_SETLK, &fl));
  fl = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
  CALL(fcntl(fd, F_SETLK, &fl));
  CALL(flock(fd, LOCK_EX | LOCK_NB));
  CALL(flock(fd, LOCK_SH | LOCK_NB));
  fl = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 200, .l_len = 1};
  CALL(fcntl(fd, F_OFD_SETLK, &fl));
  // Waits for the parent's unlock.
  fl = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 12, .l_len = 1};
  CALL(fcntl(fd, F_SETLKW, &fl));
  return 0;
}

static int deadlock_child(void *arg) {
  int fd = MUST(open("locked", O_RDWR));
  struct flock a = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};
  struct flock b = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 1};
  MUST(fcntl(fd, F_SETLKW, &b));
  write(*(int *)arg, "r", 1);
  // The parent holds a and waits for b by now.
  sleep_ms(300);
  CALL(fcntl(fd, F_SETLKW, &a));
  return 0;
}

int main(void) {
  enter_scratch();
  umask(0);
  struct stat st;
  char buffer[8192];

  SECTION("holes");
  int fd = touch("sparse", 0644);
  MUST(pwrite(fd, "data", 4, 1 << 20));
  MUST(fstat(fd, &st));
  HOLDS(st.st_size == (1 << 20) + 4 && st.st_blocks > 0 && st.st_blocks <= 16);
  CALL(lseek(fd, 0, SEEK_DATA));
  CALL(lseek(fd, 0, SEEK_HOLE));
  CALL(lseek(fd, 1 << 20, SEEK_HOLE));
  CALL(lseek(fd, (1 << 20) + 4, SEEK_DATA));
  CALL(lseek(fd, (1 << 20) + 4, SEEK_HOLE));
  CALL(lseek(fd, -1, SEEK_DATA));
  CALL(lseek(fd, 0, 9));
  CALL(lseek(fd, -1, SEEK_SET));
  CALL(lseek(fd, 10, SEEK_END));
  CALL(lseek(fd, INT64_MAX, SEEK_END));
  CALL(pread(fd, buffer, 10, INT64_MAX - 5));
  CALL(pwrite(fd, buffer, 10, INT64_MAX - 5));
  CALL(read(fd, buffer, 10));
  MUST(pread(fd, buffer, 8192, (1 << 20) - 4096));
  HOLDS(buffer[0] == 0 && buffer[4095] == 0 && memcmp(buffer + 4096, "data", 4) == 0);
  CALL(ftruncate(fd, 10));
  CALL(ftruncate(fd, 1 << 21));
  CALL(pread(fd, buffer, 8192, 1 << 20));
  HOLDS(buffer[0] == 0 && buffer[1] == 0);
  CALL(lseek(fd, 0, SEEK_DATA));
  MUST(ftruncate(fd, 0));
  for (int i = 0; i < 16; i++) MUST(pwrite(fd, "0123456789abcdef", 16, i * 4096));
  CALL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
  CALL(lseek(fd, 0, SEEK_HOLE));
  CALL(lseek(fd, 4096, SEEK_DATA));
  CALL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 12290, 4));
  MUST(pread(fd, buffer, 16, 12288));
  HOLDS(memcmp(buffer, "01\0\0\0\0006789abcdef", 16) == 0);
  CALL(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1));
  CALL(fallocate(fd, 0, 0, 0));
  CALL(fallocate(fd, 0, -1, 1));
  CALL(fallocate(fd, 0, 100000, 1000));
  MUST(fstat(fd, &st));
  HOLDS(st.st_size == 101000);
  CALL(fallocate(fd, FALLOC_FL_KEEP_SIZE, 200000, 1000));
  MUST(fstat(fd, &st));
  HOLDS(st.st_size == 101000);
  close(fd);
  fd = open("sparse", O_RDONLY);
  CALL(fallocate(fd, 0, 0, 10));
  CALL(ftruncate(fd, 0));
  CALL(write(fd, "x", 1));
  close(fd);

  SECTION("appending");
  fd = MUST(open("log", O_WRONLY | O_CREAT | O_APPEND, 0644));
  int fd2 = MUST(open("log", O_RDWR));
  MUST(write(fd, "one", 3));
  MUST(pwrite(fd2, "XX", 2, 5));
  MUST(write(fd, "two", 3));
  CALL(lseek(fd, 0, SEEK_CUR));
  CALL(pwrite(fd, "end", 3, 0));
  CALL(pread(fd2, buffer, 100, 0));
  HOLDS(memcmp(buffer, "one\0\0XXtwoend", 13) == 0);
  CALL(read(fd, buffer, 1));
  int fl = MUST(fcntl(fd, F_GETFL));
  HOLDS((fl & (O_APPEND | O_CREAT | O_ACCMODE)) == (O_APPEND | O_WRONLY));
  MUST(fcntl(fd, F_SETFL, 0));
  CALL(write(fd, "Z", 1));
  CALL(pwrite(fd, "A", 1, 0));
  CALL(pread(fd2, buffer, 100, 0));
  HOLDS(buffer[0] == 'A');

  SECTION("mapping");
  fd = touch("mapped", 0644);
  MUST(write(fd, "before", 6));
  char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  HOLDS(map != MAP_FAILED && memcmp(map, "before\0", 7) == 0);
  MUST(pwrite(fd, "after!", 6, 0));
  HOLDS(memcmp(map, "after!", 6) == 0);
  memcpy(map, "mapped", 6);
  MUST(pread(fd, buffer, 6, 0));
  HOLDS(memcmp(buffer, "mapped", 6) == 0);
  MUST(ftruncate(fd, 5000));
  map[4999] = 'q';
  MUST(pread(fd, buffer, 1, 4999));
  HOLDS(buffer[0] == 'q');
  MUST(ftruncate(fd, 4999));
  MUST(ftruncate(fd, 5000));
  MUST(pread(fd, buffer, 1, 4999));
  HOLDS(buffer[0] == 0);
  char *priv = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  priv[0] = 'P';
  MUST(pread(fd, buffer, 1, 0));
  HOLDS(buffer[0] == 'm');
  int rd = MUST(open("mapped", O_RDONLY));
  HOLDS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rd, 0) == MAP_FAILED && errno == EACCES);
  HOLDS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, rd, 0) != MAP_FAILED);
  MUST(unlink("mapped"));
  map[1] = 'U';
  MUST(pread(rd, buffer, 2, 0));
  HOLDS(buffer[1] == 'U');
  CALL(fstat(rd, &st));
  HOLDS(st.st_nlink == 0);

  SECTION("times");
  fd = touch("t", 0644);
  struct timespec times[2] = {{1000000000, 123456789}, {-5, 999999999}};
  CALL(futimens(fd, times));
  MUST(fstat(fd, &st));
  printf("%ld.%09ld %ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  MUST(write(fd, "x", 1));
  MUST(fstat(fd, &st));
  HOLDS(st.st_mtim.tv_sec > 1000000000 && st.st_atim.tv_sec == 1000000000);
  MUST(pread(fd, buffer, 1, 0));
  MUST(fstat(fd, &st));
  HOLDS(st.st_atim.tv_sec > 1000000000);
  struct timespec ctime = st.st_ctim;
  sleep_ms(20);
  MUST(chmod("t", 0600));
  MUST(fstat(fd, &st));
  HOLDS(st.st_ctim.tv_sec > ctime.tv_sec || st.st_ctim.tv_nsec > ctime.tv_nsec);
  MUST(mkdir("td", 0755));
  times[1].tv_sec = 77;
  MUST(utimensat(AT_FDCWD, "td", times, 0));
  close(touch("td/x", 0644));
  MUST(stat("td", &st));
  HOLDS(st.st_mtime > 1000);
  MUST(symlink("t", "tl"));
  CALL(utimensat(AT_FDCWD, "tl", times, AT_SYMLINK_NOFOLLOW));
  MUST(lstat("tl", &st));
  HOLDS(st.st_mtime == 77);
  MUST(stat("t", &st));
  HOLDS(st.st_mtime != 77);

  SECTION("xattrs");
  CALL(setxattr("t", "user.a", "value", 5, XATTR_REPLACE));
  CALL(setxattr("t", "user.a", "value", 5, XATTR_CREATE));
  CALL(setxattr("t", "user.a", "value", 5, XATTR_CREATE));
  CALL(setxattr("t", "user.a", "v", 1, 7));
  CALL(getxattr("t", "user.a", buffer, 2));
  CALL(getxattr("t", "user.a", NULL, 0));
  CALL(getxattr("t", "user.a", buffer, 100));
  CALL(getxattr("t", "user.none", buffer, 100));
  CALL(getxattr("t", "bogus.a", buffer, 100));
  CALL(setxattr("t", "bogus", "v", 1, 0));
  CALL(setxattr("t", "", "v", 1, 0));
  CALL(setxattr("t", "user.", "v", 1, 0));
  CALL(setxattr("t", "trusted.b", "w", 1, 0));
  CALL(setxattr("t", "user.empty", "", 0, 0));
  CALL(getxattr("t", "user.empty", buffer, 10));
  long n = MUST(listxattr("t", buffer, sizeof buffer));
  HOLDS(memmem(buffer, n, "user.a", 7) != NULL && memmem(buffer, n, "trusted.b", 10) != NULL);
  CALL(listxattr("t", buffer, 1));
  CALL(lsetxattr("tl", "user.a", "v", 1, 0));
  CALL(lsetxattr("tl", "trusted.a", "v", 1, 0));
  CALL(lgetxattr("tl", "trusted.a", buffer, 10));
  CALL(lgetxattr("tl", "user.a", buffer, 10));
  CALL(removexattr("t", "user.a"));
  CALL(removexattr("t", "user.a"));
  CALL(fsetxattr(fd, "user.f", buffer, 70000, 0));
  char long_name[300] = "user.";
  memset(long_name + 5, 'x', 260);
  long_name[255] = 0;
  CALL(setxattr("t", long_name, "v", 1, 0));
  long_name[255] = 'x';
  CALL(setxattr("t", long_name, "v", 1, 0));

  SECTION("modes");
  close(touch("m", 07777));
  mode_of("m");
  CALL(chmod("m", 0177777));
  mode_of("m");
  MUST(mkdir("md", 07777));
  mode_of("md");
  MUST(chown("m", 5, 6));
  mode_of("m");
  CALL(chown("m", -1, 7));
  CALL(lchown("tl", 8, 9));
  mode_of("tl");
  mode_of("t");
  MUST(chmod("m", 06755));
  fd = MUST(open("m", O_WRONLY));
  MUST(write(fd, "x", 1));
  mode_of("m");
  MUST(chown("m", 0, 0));
  mode_of("m");
  CALL(fchmod(fd, 0400));
  CALL(write(fd, "y", 1));
  CALL(chmod("tl", 0644));
  CALL(fchmodat(AT_FDCWD, "tl", 0600, AT_SYMLINK_NOFOLLOW));

  SECTION("as a user");
  close(touch("secret", 0600));
  close(touch("readable", 0644));
  close(touch("exec-only", 0711));
  close(touch("writable", 0666));
  MUST(mkdir("closed", 0700));
  close(touch("closed/x", 0666));
  MUST(mkdir("sticky", 01777));
  close(touch("sticky/roots", 0666));
  MUST(mkdir("setgid", 02777));
  MUST(chmod("setgid", 02777));
  MUST(chown("setgid", 0, 50));
  mode_of("setgid");
  MUST(chmod(".", 0755));
  in_child("user", as_user, user_checks);

  SECTION("limits");
  in_child("limited", limited, NULL);

  SECTION("locks");
  fd = touch("locked", 0644);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
  CALL(fcntl(fd, F_SETLK, &lock));
  lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 3};
  CALL(fcntl(fd, F_SETLK, &lock));
  lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 200, .l_len = 0};
  fd2 = MUST(open("locked", O_RDWR));
  CALL(fcntl(fd2, F_OFD_SETLK, &lock));
  CALL(flock(fd2, LOCK_SH));
  lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 7};
  CALL(fcntl(fd2, F_OFD_SETLK, &lock));
  lock.l_pid = 0;
  lock.l_start = -1;
  CALL(fcntl(fd, F_SETLK, &lock));
  lock.l_type = 9;
  CALL(fcntl(fd, F_SETLK, &lock));
  CALL(fcntl(fd, F_GETLK, &lock));
  CALL(flock(fd, 0));
  CALL(flock(99, LOCK_SH));
  pid_t child = spawn_child(lock_child, NULL);
  sleep_ms(300);
  lock = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 11, .l_len = 3};
  fcntl(fd, F_SETLK, &lock);
  int status;
  MUST(waitpid(child, &status, 0));
  print_status("lock child", status);
  // Closing any descriptor of the file drops the process's locks.
  close(MUST(open("locked", O_RDONLY)));
  close(fd2);
  int pipe_fds[2];
  MUST(pipe(pipe_fds));
  lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};
  MUST(fcntl(fd, F_SETLK, &lock));
  child = spawn_child(deadlock_child, &pipe_fds[1]);
  MUST(read(pipe_fds[0], buffer, 1));
  lock.l_start = 2;
  CALL(fcntl(fd, F_SETLKW, &lock));
  MUST(waitpid(child, &status, 0));
  print_status("deadlock child", status);
  return 0;
}

// What fcntl, flock, dup, ioctl and the positional and vector calls answer, errno by errno
#include "check.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY 1027
#endif

static int file, ro, wo;

static void print_lock(const char *what, struct flock *l) {
  printf("%s: type %d whence %d start %ld len %ld pid %s\n", what, l->l_type, l->l_whence, (long)l->l_start, (long)l->l_len,
         l->l_pid == -1 ? "-1" : l->l_pid == 0 ? "0" : l->l_pid == getppid() ? "parent" : "other");
}

static struct flock range(int type, long start, long len) {
  struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
  return l;
}

static int lock_child(void *arg) {
  struct flock l = range(F_WRLCK, 0, 0);
  CALL(fcntl(file, F_GETLK, &l));
  print_lock("first in the way", &l);
  l = range(F_RDLCK, 30, 5);
  CALL(fcntl(file, F_GETLK, &l));
  print_lock("nothing there", &l);
  l = range(F_WRLCK, 12, 1);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_RDLCK, 5, 3);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_WRLCK, 40, 10);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_UNLCK, 43, 2);
  CALL(fcntl(file, F_SETLK, &l));
  return 0;
}

static int owner_child(void *arg) {
  int fd = *(int *)arg;
  struct flock l = range(F_WRLCK, 0, 10);
  CALL(fcntl(fd, F_OFD_GETLK, &l));
  print_lock("open file lock", &l);
  l.l_pid = 1;
  CALL(fcntl(fd, F_OFD_SETLK, &l));
  return 0;
}

static int dead_end[2];

static int deadlock_child(void *arg) {
  struct flock l = range(F_WRLCK, 100, 1);
  char c;
  CALL(fcntl(file, F_SETLK, &l));
  MUST(write(dead_end[1], "x", 1));
  l = range(F_WRLCK, 200, 1);
  return fcntl(file, F_SETLKW, &l) == 0 ? 7 : 8;
}

static volatile sig_atomic_t got_signal, got_fd, got_code;
static void on_io(int sig, siginfo_t *info, void *context) {
  got_signal = sig;
  got_fd = info->si_fd;
  got_code = info->si_code;
}
static void on_alarm(int sig) {}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  enter_scratch();
  file = MUST(open("f", O_CREAT | O_RDWR, 0644));
  ro = MUST(open("f", O_RDONLY));
  wo = MUST(open("f", O_WRONLY));
  int dir = MUST(open(".", O_RDONLY | O_DIRECTORY));
  int path = MUST(open("f", O_PATH));
  int p[2], sv[2];
  MUST(pipe(p));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
  char b[64];
  struct iovec iov[3] = {{b, 4}, {b + 8, 0}, {b + 16, 4}};

  SECTION("wrong directions and kinds");
  CALL(read(wo, b, 1));
  CALL(write(ro, b, 1));
  CALL(read(path, b, 1));
  CALL(read(dir, b, 1));
  CALL(read(dir, b, 0));
  CALL(write(dir, b, 1));
  CALL(pread(p[0], b, 1, 0));
  CALL(pread(p[1], b, 1, 0));
  CALL(pwrite(p[0], b, 1, 0));
  CALL(pread(sv[0], b, 1, 0));
  CALL(pread(file, b, 1, -1));
  CALL(pread(99, b, 1, -1));
  CALL(pread(99, b, 1, 0));
  CALL(preadv(p[0], iov, 1, 0));
  CALL(lseek(p[0], 0, SEEK_SET));
  CALL(lseek(sv[0], 0, SEEK_SET));
  CALL(lseek(file, 0, 77));
  CALL(lseek(file, -1, SEEK_SET));
  CALL(lseek(path, 0, SEEK_SET));
  CALL(lseek(99, 0, SEEK_SET));
  CALL(read(file, (void *)-4096L, 1));
  CALL(read(file, b, -1));
  CALL(write(file, (void *)1, 1));
  CALL(write(file, (void *)1, 0));
  CALL(read(99, (void *)-1, -1));

  SECTION("vectors");
  CALL(readv(file, iov, -1));
  CALL(readv(file, iov, 1025));
  CALL(readv(file, iov, 0));
  CALL(readv(99, iov, 0));
  CALL(readv(file, (void *)1, 1));
  CALL(writev(ro, iov, 3));
  CALL(writev(file, iov, 3));
  CALL(lseek(file, 0, SEEK_CUR));
  struct iovec bad[2] = {{b, 4}, {(void *)1, 4}};
  CALL(pwritev(file, bad, 2, 0));
  struct iovec long1[1] = {{b, -1}};
  CALL(readv(file, long1, 1));
  CALL(preadv2(file, iov, 3, -1, 0));
  CALL(preadv2(file, iov, 3, 0, 0x1000));
  CALL(preadv2(file, iov, 3, -2, 0));
  CALL(pwritev2(file, iov, 1, 0, RWF_APPEND));
  CALL(lseek(file, 0, SEEK_END));
  CALL(pwritev2(file, iov, 1, 0, RWF_APPEND | RWF_NOAPPEND));
  CALL(pwritev2(file, iov, 1, -1, RWF_DSYNC));
  CALL(preadv2(p[0], iov, 1, -1, RWF_NOWAIT));
  CALL(pwritev2(file, iov, 1, 0, RWF_SYNC));

  SECTION("append");
  int app = MUST(open("a", O_CREAT | O_RDWR | O_APPEND, 0600));
  CALL(write(app, "12345", 5));
  CALL(pwrite(app, "xy", 2, 0));
  CALL(lseek(app, 0, SEEK_CUR));
  CALL(lseek(app, 0, SEEK_END));
  CALL(pwritev2(app, iov, 1, 0, RWF_NOAPPEND));
  CALL(lseek(app, 0, SEEK_END));
  CALL(fcntl(app, F_SETFL, 0));
  CALL(pwrite(app, "z", 1, 1));
  CALL(lseek(app, 0, SEEK_END));

  SECTION("dup");
  CALL(dup(99));
  CALL(dup2(99, 99));
  CALL(dup2(file, -1));
  CALL(dup2(file, 1 << 20));
  CALL(dup2(file, file) == file);
  CALL(dup3(file, file, 0));
  CALL(dup3(file, 60, O_NONBLOCK));
  CALL(dup3(file, 60, O_CLOEXEC));
  CALL(fcntl(60, F_GETFD));
  CALL(dup2(path, 61));
  CALL(fcntl(61, F_GETFL) == (O_PATH | 0100000) || fcntl(61, F_GETFL) == O_PATH);
  CALL(fcntl(file, F_DUPFD, 70));
  CALL(fcntl(file, F_DUPFD, -1));
  CALL(fcntl(file, F_DUPFD, 1 << 20));
  CALL(fcntl(file, F_DUPFD_CLOEXEC, 70));
  CALL(fcntl(71, F_GETFD));
  CALL(fcntl(71, F_SETFD, 6));
  CALL(fcntl(71, F_GETFD));
  CALL(fcntl(file, F_DUPFD_QUERY, 70));
  CALL(fcntl(file, F_DUPFD_QUERY, ro));
  CALL(fcntl(file, F_DUPFD_QUERY, 99));

  SECTION("fcntl");
  CALL(fcntl(99, F_GETFL));
  CALL(fcntl(file, 9999));
  CALL(fcntl(path, F_SETFL, O_NONBLOCK));
  CALL(fcntl(path, F_GETOWN));
  CALL(fcntl(p[0], F_GETFL));
  CALL(fcntl(p[1], F_GETFL));
  CALL(fcntl(sv[0], F_GETFL));
  CALL(fcntl(p[0], F_SETFL, O_NONBLOCK | O_CREAT | O_WRONLY));
  CALL(fcntl(p[0], F_GETFL));
  CALL(read(p[0], b, 1));
  CALL(fcntl(p[0], F_SETFL, O_DIRECT));
  CALL(fcntl(sv[0], F_SETFL, O_DIRECT));
  CALL(fcntl(file, F_GETPIPE_SZ));
  CALL(fcntl(p[0], F_SETPIPE_SZ, 0));
  CALL(fcntl(p[0], F_GETPIPE_SZ));
  CALL(fcntl(p[0], F_SETPIPE_SZ, -1));
  CALL(fcntl(p[0], F_GETLEASE));
  CALL(fcntl(p[0], F_SETLEASE, F_RDLCK));
  CALL(fcntl(file, F_NOTIFY, DN_CREATE));
  CALL(fcntl(p[0], F_GET_SEALS));
  CALL(fcntl(file, F_GETSIG));
  CALL(fcntl(file, F_SETSIG, 65));
  CALL(fcntl(file, F_SETSIG, SIGUSR1));
  CALL(fcntl(file, F_GETSIG));
  CALL(fcntl(file, F_SETOWN, 999999));
  CALL(fcntl(file, F_SETOWN, getpid()));
  HOLDS(fcntl(file, F_GETOWN) == getpid());
  struct f_owner_ex ex = {77, 0};
  CALL(fcntl(file, F_SETOWN_EX, &ex));
  ex = (struct f_owner_ex){F_OWNER_PGRP, getpgrp()};
  CALL(fcntl(file, F_SETOWN_EX, &ex));
  ex = (struct f_owner_ex){0, 0};
  CALL(fcntl(file, F_GETOWN_EX, &ex));
  HOLDS(ex.type == F_OWNER_PGRP && ex.pid == getpgrp());
  uint64_t hint = 99;
  CALL(fcntl(file, F_GET_RW_HINT, &hint));
  HOLDS(hint == 0);
  CALL(fcntl(file, F_SET_RW_HINT, (hint = 9, &hint)));

  SECTION("signals for input");
  struct sigaction act = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
  sigaction(SIGIO, &act, NULL);
  sigaction(SIGRTMIN + 3, &act, NULL);
  CALL(fcntl(sv[0], F_SETOWN, getpid()));
  CALL(fcntl(sv[0], F_SETFL, O_ASYNC | O_NONBLOCK));
  CALL(write(sv[1], "x", 1));
  HOLDS(got_signal == SIGIO);
  HOLDS((fcntl(sv[0], F_GETFL) & O_ASYNC) != 0);
  CALL(fcntl(sv[0], F_SETSIG, SIGRTMIN + 3));
  CALL(write(sv[1], "x", 1));
  HOLDS(got_signal == SIGRTMIN + 3 && got_fd == sv[0] && got_code == POLL_IN);
  CALL(fcntl(sv[0], F_SETFL, 0));
  got_signal = 0;
  CALL(write(sv[1], "x", 1));
  HOLDS(got_signal == 0);
  int on = 1;
  CALL(ioctl(file, FIOASYNC, &on));

  SECTION("ioctl");
  int n = 99;
  CALL(ioctl(99, FIONREAD, &n));
  CALL(ioctl(path, FIONREAD, &n));
  CALL(ioctl(sv[0], FIONREAD, &n));
  HOLDS(n == 3);
  CALL(ioctl(sv[1], TIOCOUTQ, &n));
  HOLDS(n > 0);
  CALL(lseek(file, 2, SEEK_SET));
  CALL(ioctl(file, FIONREAD, &n));
  HOLDS(n == lseek(file, 0, SEEK_END) - 2);
  CALL(ioctl(dir, FIONREAD, &n));
  CALL(ioctl(file, FIONREAD, (void *)1));
  CALL(ioctl(file, 0x12345, &n));
  CALL(ioctl(file, TIOCGWINSZ, &n));
  CALL(ioctl(file, FIOCLEX));
  CALL(fcntl(file, F_GETFD));
  CALL(ioctl(file, FIONCLEX));
  CALL(fcntl(file, F_GETFD));
  CALL(ioctl(p[0], FIONBIO, &on));
  CALL(fcntl(p[0], F_GETFL) & O_NONBLOCK);
  CALL(ioctl(p[0], FIONBIO, (void *)1));
  long size = -1;
  CALL(ioctl(p[0], FIOQSIZE, &size));
  CALL(ioctl(file, FICLONE, ro) == -1);

  SECTION("flock");
  int other = MUST(open("f", O_RDWR));
  CALL(flock(file, LOCK_SH));
  CALL(flock(other, LOCK_SH | LOCK_NB));
  CALL(flock(other, LOCK_EX | LOCK_NB));
  CALL(flock(file, LOCK_UN));
  CALL(flock(other, LOCK_EX | LOCK_NB));
  CALL(flock(file, LOCK_SH | LOCK_NB));
  CALL(flock(file, LOCK_UN));
  CALL(flock(file, 0));
  CALL(flock(file, LOCK_SH | LOCK_EX));
  CALL(flock(99, LOCK_SH));
  CALL(flock(path, LOCK_SH));
  close(other);
  CALL(flock(file, LOCK_SH | LOCK_NB));
  CALL(flock(p[0], LOCK_EX | LOCK_NB));

  SECTION("record locks");
  struct flock l = range(F_WRLCK, 10, 5);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_RDLCK, 0, 10);
  CALL(fcntl(file, F_SETLK, &l));
  in_child("locks", lock_child, NULL);
  l = range(77, 0, 1);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_RDLCK, -5, 1);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_RDLCK, 5, -6);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_RDLCK, 5, -5);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_RDLCK, 0x7fffffffffffffff, 2);
  CALL(fcntl(file, F_SETLK, &l));
  l = range(F_WRLCK, 0, 1);
  CALL(fcntl(ro, F_SETLK, &l));
  l = range(F_RDLCK, 0, 1);
  CALL(fcntl(wo, F_SETLK, &l));
  l = range(F_UNLCK, 0, 1);
  CALL(fcntl(file, F_GETLK, &l));
  l.l_whence = 9;
  CALL(fcntl(file, F_SETLK, &l));
  CALL(fcntl(file, F_SETLK, (void *)1));
  close(dup(file));
  l = range(F_WRLCK, 200, 1);
  CALL(fcntl(file, F_SETLK, &l));
  MUST(pipe(dead_end));
  pid_t pid = spawn_child(deadlock_child, NULL);
  MUST(read(dead_end[0], b, 1));
  sleep_ms(100);
  l = range(F_WRLCK, 100, 1);
  CALL(fcntl(file, F_SETLKW, &l));
  l = range(F_UNLCK, 200, 1);
  CALL(fcntl(file, F_SETLK, &l));
  int status;
  waitpid(pid, &status, 0);
  print_status("waited for the lock", status);
  l = range(F_WRLCK, 0, 10);
  CALL(fcntl(file, F_OFD_SETLK, &l));
  int third = MUST(open("f", O_RDWR));
  in_child("ofd", owner_child, &third);
  l = range(F_RDLCK, 3, 1);
  CALL(fcntl(third, F_OFD_SETLK, &l));
  signal(SIGALRM, on_alarm);
  siginterrupt(SIGALRM, 1);
  struct itimerval soon = {{0, 0}, {0, 100000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  CALL(fcntl(third, F_OFD_SETLKW, &l));

  SECTION("memory files");
  CALL(memfd_create("x", 0x100));
  CALL(memfd_create((void *)1, 0));
  char long_name[300];
  memset(long_name, 'n', sizeof long_name);
  long_name[250] = 0;
  CALL(memfd_create(long_name, 0));
  long_name[249] = 0;
  FAILS(memfd_create(long_name, 0));
  int m = MUST(memfd_create("sealed", MFD_ALLOW_SEALING));
  CALL(fcntl(m, F_GET_SEALS));
  CALL(ftruncate(m, 8192));
  CALL(fcntl(m, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
  CALL(ftruncate(m, 8193));
  CALL(ftruncate(m, 100));
  CALL(pwrite(m, "x", 1, 8192));
  CALL(pwrite(m, "x", 1, 8191));
  void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
  CALL(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(munmap(map, 4096));
  CALL(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(pwrite(m, "x", 1, 0));
  CALL((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0));
  CALL(fcntl(m, F_ADD_SEALS, F_SEAL_SEAL));
  CALL(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(fcntl(m, F_GET_SEALS));
  CALL(fcntl(m, F_ADD_SEALS, 0x1000));
  m = MUST(memfd_create("plain", 0));
  CALL(fcntl(m, F_GET_SEALS));
  CALL(fcntl(m, F_GETFL) & O_ACCMODE);

  SECTION("storage");
  CALL(fsync(p[0]));
  CALL(fsync(99));
  CALL(fdatasync(dir));
  CALL(fsync(path));
  CALL(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL));
  CALL(posix_fadvise(file, 0, 0, 77));
  CALL(posix_fadvise(file, 0, -1, 0));
  CALL(readahead(wo, 0, 100));
  CALL(readahead(p[0], 0, 100));
  CALL(readahead(file, 0, 100));
  CALL(sync_file_range(p[0], 0, 0, 0));
  CALL(sync_file_range(file, 0, 0, 0x80));
  CALL(sync_file_range(file, -1, 0, 0));
  CALL(sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE));
  CALL(fallocate(file, 0, 0, 0));
  CALL(fallocate(file, 0, -1, 1));
  CALL(fallocate(file, 0x1000, 0, 1));
  CALL(fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, 1));
  CALL(fallocate(file, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE, 0, 1));
  CALL(fallocate(ro, 0, 0, 1));
  CALL(fallocate(p[1], 0, 0, 1));
  CALL(fallocate(dir, 0, 0, 1));
  CALL(fallocate(sv[0], 0, 0, 1));
  CALL(fallocate(file, 0, 0, 0x7fffffffffffffff));

  SECTION("copies");
  MUST(ftruncate(file, 0));
  MUST(pwrite(file, "0123456789", 10, 0));
  int to = MUST(open("to", O_CREAT | O_RDWR, 0600));
  loff_t in_at = 2, out_at = 5;
  CALL(copy_file_range(file, &in_at, to, &out_at, 100, 0));
  HOLDS(in_at == 10 && out_at == 13);
  CALL(copy_file_range(file, &in_at, to, &out_at, 100, 0));
  CALL(copy_file_range(file, NULL, to, NULL, 100, 1));
  CALL(copy_file_range(p[0], NULL, to, NULL, 1, 0));
  CALL(copy_file_range(dir, NULL, to, NULL, 1, 0));
  CALL(copy_file_range(wo, NULL, to, NULL, 1, 0));
  CALL(copy_file_range(file, NULL, app, NULL, 1, 0) == 1);
  in_at = 0, out_at = 1;
  CALL(copy_file_range(file, &in_at, file, &out_at, 5, 0));
  off_t at = 1;
  lseek(to, 0, SEEK_SET);
  CALL(sendfile(to, file, &at, 4));
  HOLDS(at == 5 && lseek(to, 0, SEEK_CUR) == 4);
  CALL(sendfile(to, p[0], NULL, 4));
  CALL(sendfile(to, sv[0], NULL, 4));
  CALL(sendfile(to, p[0], &at, 4));
  CALL(sendfile(to, wo, NULL, 4));
  CALL(sendfile(ro, file, NULL, 4));
  at = -1;
  CALL(sendfile(to, file, &at, 4));
  CALL(sendfile(to, file, (void *)1, 4));
  lseek(file, 0, SEEK_SET);
  CALL(sendfile(sv[1], file, NULL, 100));
  CALL(sendfile(p[1], file, NULL, 100));
  fcntl(to, F_SETFL, O_APPEND);
  CALL(sendfile(to, file, NULL, 1));
  CALL(splice(file, NULL, to, NULL, 1, 0));
  CALL(splice(file, NULL, p[1], NULL, 1, 0x100));
  loff_t where = 3;
  CALL(splice(file, &where, p[1], NULL, 4, 0));
  HOLDS(where == 7);
  CALL(splice(p[0], &where, to, NULL, 4, 0));
  CALL(splice(p[0], NULL, to, NULL, 4, 0));
  fcntl(to, F_SETFL, 0);
  CALL(splice(p[0], NULL, to, NULL, 4, 0));
  CALL(splice(p[0], NULL, p[1], NULL, 4, 0));
  CALL(splice(p[0], NULL, sv[1], &where, 4, 0));
  CALL(tee(p[0], p[1], 4, 0));
  CALL(tee(p[0], sv[0], 4, 0));
  CALL(vmsplice(file, iov, 1, 0));
  CALL(vmsplice(p[1], iov, 1, 0));
  return 0;
}

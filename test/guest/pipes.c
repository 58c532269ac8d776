// pipes and FIFOs: capacity, atomicity, ends, readiness, splice and tee
#include "check.h"
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static void show_poll(const char *what, int fd, short events) {
  struct pollfd p = {fd, events, 0};
  int n = poll(&p, 1, 0);
  printf("%s: %d%s%s%s%s\n", what, n, p.revents & POLLIN ? " IN" : "", p.revents & POLLOUT ? " OUT" : "", p.revents & POLLHUP ? " HUP" : "",
         p.revents & POLLERR ? " ERR" : "");
}

static int broken(void *arg) {
  signal(SIGPIPE, SIG_DFL);
  return write(*(int *)arg, "x", 1) == 1;
}

static int open_writer(void *arg) {
  sleep_ms(30);
  int fd = open(arg, O_WRONLY);
  if (write(fd, "through the fifo", 16) != 16) return 1;
  return 0;
}

static int writes_records(void *arg) {
  int *fds = arg;
  char record[512];
  memset(record, 'a' + fds[2], sizeof record);
  for (int i = 0; i < 200; i++)
    if (write(fds[1], record, sizeof record) != sizeof record) return 1;
  return 0;
}

static void *slow_reader(void *arg) {
  int fd = *(int *)arg;
  static char buffer[50000];
  sleep_ms(30);
  long total = 0, n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) total += n;
  return (void *)total;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  int fds[3];
  static char big[1 << 18];
  char buffer[256];

  SECTION("flags and capacity");
  CALL(pipe2(fds, 0x10));
  CALL(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
  HOLDS(fcntl(fds[0], F_GETFD) == FD_CLOEXEC && (fcntl(fds[1], F_GETFL) & O_NONBLOCK));
  HOLDS((fcntl(fds[0], F_GETFL) & O_ACCMODE) == O_RDONLY && (fcntl(fds[1], F_GETFL) & O_ACCMODE) == O_WRONLY);
  CALL(fcntl(fds[0], F_GETPIPE_SZ));
  CALL(fcntl(fds[0], F_SETPIPE_SZ, 5000));
  CALL(fcntl(fds[0], F_SETPIPE_SZ, 0));
  CALL(write(fds[1], big, sizeof big));
  show_poll("full writer", fds[1], POLLOUT);
  show_poll("full reader", fds[0], POLLIN);
  CALL(write(fds[1], big, 1));
  int waiting = 0;
  CALL(ioctl(fds[0], FIONREAD, &waiting));
  printf("%d bytes wait\n", waiting);
  CALL(fcntl(fds[0], F_SETPIPE_SZ, 4096));
  CALL(read(fds[0], big, 4096));
  CALL(write(fds[1], big, 4097));
  CALL(read(fds[0], big, sizeof big));
  CALL(read(fds[0], big, 1));
  CALL(write(fds[0], "x", 1));
  CALL(read(fds[1], big, 1));
  CALL(lseek(fds[0], 0, SEEK_CUR));
  CALL(pread(fds[0], big, 1, 0));
  CALL(ftruncate(fds[1], 0));
  CALL(fsync(fds[1]));
  CALL(write(fds[1], "", 0));
  CALL(read(fds[0], big, 0));
  struct stat st;
  CALL(fstat(fds[0], &st));
  HOLDS(S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0600 && st.st_blksize == 4096);

  SECTION("ends");
  show_poll("empty reader", fds[0], POLLIN);
  show_poll("empty writer", fds[1], POLLOUT);
  MUST(write(fds[1], "last", 4));
  close(fds[1]);
  show_poll("reader without writers, bytes left", fds[0], POLLIN);
  CALL(read(fds[0], buffer, sizeof buffer));
  CALL(read(fds[0], buffer, sizeof buffer));
  show_poll("reader without writers", fds[0], POLLIN);
  close(fds[0]);
  MUST(pipe(fds));
  close(fds[0]);
  CALL(write(fds[1], "x", 1));
  show_poll("writer without readers", fds[1], POLLOUT);
  in_child("SIGPIPE", broken, &fds[1]);
  close(fds[1]);

  SECTION("writes up to PIPE_BUF are not torn");
  MUST(pipe(fds));
  for (fds[2] = 0; fds[2] < 4; fds[2]++) spawn_child(writes_records, fds);
  close(fds[1]);
  int torn = 0, records = 0, n;
  char record[512];
  FILE *in = fdopen(fds[0], "r");
  while ((n = fread(record, 1, sizeof record, in)) == sizeof record) {
    records++;
    for (int i = 1; i < 512; i++)
      if (record[i] != record[0]) torn = 1;
  }
  printf("%d records, torn %d, rest %d\n", records, torn, n);
  fclose(in);
  while (wait(NULL) > 0) {
  }

  SECTION("a blocked writer goes on");
  MUST(pipe(fds));
  pthread_t thread;
  pthread_create(&thread, NULL, slow_reader, &fds[0]);
  CALL(write(fds[1], big, sizeof big));
  close(fds[1]);
  void *total;
  pthread_join(thread, &total);
  printf("read %ld\n", (long)total);
  close(fds[0]);

  SECTION("vectors");
  MUST(pipe(fds));
  struct iovec out[3] = {{"one ", 4}, {"", 0}, {"two three", 9}};
  CALL(writev(fds[1], out, 3));
  char a[3], b[20] = "";
  struct iovec into[2] = {{a, 3}, {b, 20}};
  CALL(readv(fds[0], into, 2));
  printf("[%.3s] [%s]\n", a, b);
  CALL(writev(fds[1], out, -1));
  CALL(writev(fds[1], out, 0));
  CALL(writev(fds[1], out, 1025));

  SECTION("splice, tee, sendfile");
  int second[2];
  MUST(pipe(second));
  MUST(write(fds[1], "spliced data", 12));
  CALL(tee(fds[0], second[1], 7, 0));
  CALL(splice(fds[0], NULL, second[1], NULL, 100, 0));
  n = read(second[0], buffer, sizeof buffer);
  printf("%.*s\n", n, buffer);
  enter_scratch();
  int file = MUST(open("file", O_RDWR | O_CREAT, 0600));
  MUST(write(file, "contents of the file", 20));
  off_t offset = 9;
  CALL(sendfile(fds[1], file, &offset, 6));
  printf("offset %ld\n", (long)offset);
  loff_t from = 0;
  CALL(splice(file, &from, fds[1], NULL, 8, 0));
  n = read(fds[0], buffer, sizeof buffer);
  printf("%.*s\n", n, buffer);
  MUST(write(fds[1], "into", 4));
  from = 16;
  CALL(splice(fds[0], NULL, file, &from, 4, 0));
  n = pread(file, buffer, sizeof buffer, 0);
  printf("%.*s\n", n, buffer);
  CALL(splice(file, NULL, file, NULL, 4, 0));
  CALL(splice(fds[0], &from, second[1], NULL, 4, 0));
  CALL(splice(fds[0], NULL, second[1], NULL, 4, SPLICE_F_NONBLOCK));
  int copy = MUST(open("copy", O_RDWR | O_CREAT, 0600));
  off_t in_at = 0, out_at = 5;
  CALL(copy_file_range(file, &in_at, copy, &out_at, 8, 0));
  CALL(lseek(copy, 0, SEEK_END));

  SECTION("packet mode");
  int packets[2];
  CALL(pipe2(packets, O_DIRECT));
  MUST(write(packets[1], "first", 5));
  MUST(write(packets[1], "second", 6));
  CALL(read(packets[0], buffer, 3));
  CALL(read(packets[0], buffer, sizeof buffer));

  SECTION("FIFOs");
  CALL(mkfifo("fifo", 0640));
  CALL(mkfifo("fifo", 0640));
  CALL(open("fifo", O_WRONLY | O_NONBLOCK));
  pid_t child = spawn_child(open_writer, "fifo");
  int reader = MUST(open("fifo", O_RDONLY));
  n = read(reader, buffer, sizeof buffer);
  printf("%.*s\n", n, buffer);
  waitpid(child, NULL, 0);
  CALL(read(reader, buffer, sizeof buffer));
  close(reader);
  reader = MUST(open("fifo", O_RDONLY | O_NONBLOCK));
  show_poll("no writer yet", reader, POLLIN);
  CALL(read(reader, buffer, 1));
  int writer = MUST(open("fifo", O_WRONLY | O_NONBLOCK));
  CALL(read(reader, buffer, 1));
  close(writer);
  show_poll("writer gone", reader, POLLIN);
  int both = MUST(open("fifo", O_RDWR));
  CALL(write(both, "self", 4));
  CALL(read(both, buffer, 4));
  stat("fifo", &st);
  HOLDS(S_ISFIFO(st.st_mode));
  return 0;
}

// asynchronous I/O: reads, writes and syncs of a file, completions, eventfds and errors
#include "check.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>

static aio_context_t ctx;

static struct iocb request(int fd, int opcode, void *buf, long n, long offset, long data) {
  struct iocb cb = {0};
  cb.aio_fildes = fd;
  cb.aio_lio_opcode = opcode;
  cb.aio_buf = (unsigned long)buf;
  cb.aio_nbytes = n;
  cb.aio_offset = offset;
  cb.aio_data = data;
  return cb;
}

static long submit(struct iocb *cb) { return syscall(SYS_io_submit, ctx, 1, &cb); }

static void fetch(long min, long max, struct timespec *wait) {
  struct io_event events[8];
  long n = syscall(SYS_io_getevents, ctx, min, max, events, wait);
  printf("events: %ld%s%s", n, n < 0 ? " " : "", n < 0 ? strerrorname_np(errno) : "");
  for (long i = 0; i < n; i++) printf(" [%lld: %lld]", (long long)events[i].data, (long long)events[i].res);
  printf("\n");
}

int main(void) {
  struct timespec now = {0, 0}, soon = {0, 20000000};
  char text[] = "asynchronous", back[32] = "";

  SECTION("contexts");
  CALL(syscall(SYS_io_setup, 0, &ctx));
  CALL(syscall(SYS_io_setup, 8, NULL));
  CALL(syscall(SYS_io_setup, 8, &ctx));
  HOLDS(ctx != 0);
  CALL(syscall(SYS_io_setup, 8, &ctx));
  CALL(syscall(SYS_io_submit, 12345, 0, NULL));
  CALL(syscall(SYS_io_submit, ctx, 0, NULL));
  fetch(0, 8, &now);
  fetch(1, 8, &soon);
  fetch(2, 1, &soon);

  SECTION("a file");
  int fd = MUST(open("aio-file", O_CREAT | O_RDWR | O_TRUNC, 0600));
  struct iocb w = request(fd, IOCB_CMD_PWRITE, text, 12, 4, 1);
  CALL(submit(&w));
  fetch(1, 8, NULL);
  struct iocb r = request(fd, IOCB_CMD_PREAD, back, sizeof back, 4, 2);
  CALL(submit(&r));
  fetch(1, 8, NULL);
  printf("read back: %s\n", back);
  struct iovec iov[2] = {{back, 3}, {back + 10, 4}};
  struct iocb v = request(fd, IOCB_CMD_PREADV, iov, 2, 8, 3);
  struct iocb s = request(fd, IOCB_CMD_FSYNC, NULL, 0, 0, 4);
  struct iocb *both[] = {&v, &s};
  CALL(syscall(SYS_io_submit, ctx, 2, both));
  fetch(2, 8, NULL);
  printf("vector: %.3s %.4s\n", back, back + 10);
  struct iocb end = request(fd, IOCB_CMD_PREAD, back, 8, 1000, 5);
  CALL(submit(&end));
  fetch(1, 1, NULL);

  SECTION("eventfd");
  int efd = MUST(eventfd(0, 0));
  w.aio_flags = IOCB_FLAG_RESFD;
  w.aio_resfd = efd;
  CALL(submit(&w));
  unsigned long count = 0;
  CALL(read(efd, &count, 8));
  printf("count %lu\n", count);
  fetch(1, 8, NULL);
  w.aio_resfd = fd;
  CALL(submit(&w));

  SECTION("errors");
  struct iocb bad = request(99, IOCB_CMD_PREAD, back, 1, 0, 0);
  CALL(submit(&bad));
  bad = request(fd, 77, back, 1, 0, 0);
  CALL(submit(&bad));
  bad = request(fd, IOCB_CMD_PREAD, back, 1, -1, 0);
  CALL(submit(&bad));
  int rdonly = MUST(open("aio-file", O_RDONLY));
  bad = request(rdonly, IOCB_CMD_PWRITE, text, 1, 0, 0);
  CALL(submit(&bad));
  struct iocb *list[] = {&r, (struct iocb *)8};
  CALL(syscall(SYS_io_submit, ctx, 2, list));
  fetch(1, 8, NULL);
  CALL(syscall(SYS_io_destroy, ctx));
  CALL(syscall(SYS_io_destroy, ctx));
  fetch(0, 8, &now);
  CALL(unlink("aio-file"));
  return 0;
}

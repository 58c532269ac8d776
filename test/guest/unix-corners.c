// Unix sockets in the corners: queues, polling states, ancillary data, timeouts, options
#include "check.h"
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int events(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND, 0};
  poll(&p, 1, 0);
  return p.revents;
}

static socklen_t named(struct sockaddr_un *a, const char *name, int n) {
  a->sun_family = AF_UNIX;
  memcpy(a->sun_path, name, n);
  return offsetof(struct sockaddr_un, sun_path) + n;
}

static int option(int fd, int level, int name) {
  int value = -77;
  socklen_t n = sizeof value;
  return getsockopt(fd, level, name, &value, &n) < 0 ? -errno : value;
}

static long fill(int fd, int size, int flags) {
  static char block[100000];
  long total = 0, n;
  while ((n = send(fd, block, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) total += n;
  printf("stopped by %s after ", strerrorname_np(errno));
  return total;
}

static void on_alarm(int sig) {}

int main(void) {
  setlinebuf(stdout);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGALRM, on_alarm);
  enter_scratch();
  int sv[2], dg[2], sq[2];
  char b[300] = {0};
  struct sockaddr_un a, from;
  socklen_t n;

  SECTION("socket");
  CALL(socket(AF_UNIX, SOCK_RDM, 0));
  CALL(socket(AF_UNIX, SOCK_STREAM, 5));
  CALL(socket(AF_UNIX, SOCK_STREAM | 0x100, 0));
  CALL(socket(-1, SOCK_STREAM, 0));
  CALL(socket(46, SOCK_STREAM, 0));
  CALL(socket(AF_UNIX, 11, 0));
  CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, (void *)1));
  CALL(socketpair(AF_INET, SOCK_STREAM, 0, sv));
  int raw = MUST(socket(AF_UNIX, SOCK_RAW, AF_UNIX));
  CALL(option(raw, SOL_SOCKET, SO_TYPE));

  SECTION("fresh sockets");
  int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), d = MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), q = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
  printf("%x %x %x\n", events(s), events(d), events(q));
  CALL(recv(s, b, 1, MSG_DONTWAIT));
  CALL(recv(d, b, 1, MSG_DONTWAIT));
  CALL(recv(q, b, 1, MSG_DONTWAIT));
  CALL(send(s, b, 1, 0));
  CALL(send(d, b, 1, 0));
  CALL(send(q, b, 1, 0));
  CALL(send(s, b, 0, 0));
  CALL(shutdown(s, 3));
  CALL(shutdown(s, SHUT_RD));
  printf("%x\n", events(s));
  CALL(shutdown(d, SHUT_WR));
  printf("%x\n", events(d));
  CALL(send(d, b, 1, 0));
  n = sizeof from;
  CALL(getpeername(s, (void *)&from, &n));
  CALL(getsockname(s, (void *)&from, &n));
  printf("length %d\n", n);
  n = -1;
  CALL(getsockname(s, (void *)&from, &n));
  n = 1;
  CALL(getsockname(s, (void *)&from, &n));
  printf("length %d\n", n);
  CALL(getsockname(s, (void *)1, (n = 5, &n)));
  CALL(getsockname(s, (void *)&from, (void *)1));
  close(s), close(d), close(q);

  SECTION("addresses");
  s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  CALL(bind(s, (void *)&a, (named(&a, "x", 2), 1)));
  CALL(bind(s, (void *)&a, 200));
  CALL(bind(s, (void *)&a, 111));
  CALL(bind(s, (void *)1, 10));
  CALL(bind(s, (void *)&a, -1));
  a.sun_family = AF_INET;
  CALL(bind(s, (void *)&a, 4));
  CALL(connect(s, (void *)&a, 4));
  CALL(bind(s, (void *)&a, named(&a, "none/x", 7)));
  CALL(bind(s, (void *)&a, named(&a, "unended", 7)));
  CALL(bind(s, (void *)&a, named(&a, "again", 6)));
  n = sizeof from;
  CALL(getsockname(s, (void *)&from, &n));
  printf("length %d %s\n", n, from.sun_path);
  struct stat st;
  CALL(stat("unended", &st));
  printf("mode %o\n", st.st_mode);
  CALL(open("unended", O_RDWR));
  CALL(listen(s, 0));
  CALL(listen(s, -1));
  CALL(listen(s, 0));
  int c1 = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)), c2 = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)),
      c3 = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  n = named(&a, "unended", 8);
  CALL(connect(c1, (void *)&a, n));
  CALL(connect(c1, (void *)&a, n));
  CALL(connect(c2, (void *)&a, n));
  CALL(connect(c3, (void *)&a, n));
  printf("%x %x %x\n", events(s), events(c1), events(c3));
  CALL(bind(c1, (void *)&a, named(&a, "f", 2)));
  CALL(ioctl(s, FIONREAD, b));
  CALL(send(c1, "early", 5, 0));
  CALL(accept4(s, NULL, NULL, 0x100));
  socklen_t m = sizeof from;
  memset(&from, 1, sizeof from);
  int acc = CALL(accept4(s, (void *)&from, &m, SOCK_NONBLOCK)) ;
  printf("peer length %d\n", m);
  CALL(fcntl(acc, F_GETFL));
  CALL(recv(acc, b, 10, 0));
  CALL(connect(c3, (void *)&a, named(&a, "unended", 8)));
  CALL(send(c2, "x", 1, 0));
  CALL(close(s));
  printf("%x %x\n", events(c2), events(c1));
  CALL(option(c2, SOL_SOCKET, SO_ERROR) != 0);
  CALL(recv(c2, b, 1, 0));
  CALL(send(c2, b, 1, 0));
  CALL(connect(c3, (void *)&a, named(&a, "unended", 8)));
  unlink("unended");
  int fresh = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  CALL(connect(fresh, (void *)&a, named(&a, "unended", 8)));
  close(MUST(open("plain", O_CREAT | O_RDWR, 0600)));
  CALL(connect(fresh, (void *)&a, named(&a, "plain", 6)));
  CALL(connect(fresh, (void *)&a, 2));
  a.sun_family = AF_UNSPEC;
  CALL(connect(fresh, (void *)&a, 2));
  CALL(accept(fresh, NULL, NULL));
  CALL(accept(0, NULL, NULL));
  CALL(accept(99, NULL, NULL));

  SECTION("a stream's ends");
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
  printf("%x\n", events(sv[0]));
  CALL(send(sv[0], "abc", 3, 0));
  printf("%x\n", events(sv[1]));
  CALL(shutdown(sv[0], SHUT_WR));
  printf("%x %x\n", events(sv[0]), events(sv[1]));
  CALL(send(sv[0], "x", 1, MSG_NOSIGNAL));
  CALL(recv(sv[1], b, 2, 0));
  CALL(recv(sv[1], b, 9, MSG_WAITALL));
  CALL(recv(sv[1], b, 9, 0));
  CALL(send(sv[1], "back", 4, 0));
  CALL(shutdown(sv[1], SHUT_RDWR));
  printf("%x %x\n", events(sv[0]), events(sv[1]));
  CALL(recv(sv[0], b, 9, 0));
  CALL(recv(sv[0], b, 9, 0));
  close(sv[0]), close(sv[1]);
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
  CALL(send(sv[0], "unread", 6, 0));
  close(sv[1]);
  printf("%x\n", events(sv[0]));
  CALL(recv(sv[0], b, 9, 0));
  CALL(recv(sv[0], b, 9, 0));
  CALL(send(sv[0], b, 9, MSG_NOSIGNAL));
  CALL(sendto(sv[0], b, 1, 0, (void *)&a, 5));
  close(sv[0]);

  SECTION("queues");
  for (int size = 1; size <= 100000; size = size * 7 + 3) {
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
    printf("%ld bytes by %d", fill(sv[0], size, 0), size);
    printf(", %x", events(sv[0]));
    static char sink[70000];
    long got = 0;
    while (!(events(sv[0]) & POLLOUT)) got += read(sv[1], sink, 1000);
    printf(", writable after %ld\n", got);
    close(sv[0]), close(sv[1]);
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, dg));
    printf("%ld bytes by %d\n", fill(dg[0], size, 0), size);
    close(dg[0]), close(dg[1]);
  }
  MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sq));
  printf("%ld bytes in packets\n", fill(sq[0], 1000, 0));
  int receiver = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  d = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  CALL(bind(receiver, (void *)&a, named(&a, "box", 4)));
  CALL(connect(d, (void *)&a, named(&a, "box", 4)));
  printf("%ld datagrams\n", fill(d, 1, 0));
  printf("%x\n", events(d));
  CALL(recv(receiver, b, 10, 0));
  printf("%x\n", events(d));
  struct timeval tv = {0, 50000};
  CALL(setsockopt(d, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
  CALL(send(d, "x", 1, 0));
  CALL(send(d, "x", 1, 0));
  CALL(shutdown(receiver, SHUT_RD));
  CALL(send(d, "x", 1, 0));
  close(receiver);
  CALL(send(d, "x", 1, 0));
  CALL(send(d, "x", 1, 0));
  CALL(sendto(d, "x", 1, 0, (void *)&a, named(&a, "box", 4)));
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, dg));
  CALL(send(dg[0], b, 250000, 0));
  CALL(send(dg[0], NULL, 0, 0));
  CALL(recv(dg[1], b, 10, 0));
  CALL(sendto(dg[0], "x", 1, 0, (void *)&a, named(&a, "box", 4)));
  close(dg[1]);
  CALL(send(dg[0], "x", 1, 0));
  CALL(send(dg[0], "x", 1, 0));
  CALL(recv(dg[0], b, 1, MSG_DONTWAIT));

  SECTION("packets");
  MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sq));
  CALL(send(sq[0], "one", 3, 0));
  CALL(send(sq[0], "", 0, 0));
  CALL(send(sq[0], "three", 5, MSG_EOR));
  CALL(recv(sq[1], b, 2, MSG_TRUNC));
  CALL(recv(sq[1], b, 2, 0));
  CALL(read(sq[1], b, 2));
  printf("%x\n", events(sq[1]));
  close(sq[0]);
  printf("%x\n", events(sq[1]));
  CALL(recv(sq[1], b, 2, 0));
  CALL(recv(sq[1], b, 2, MSG_DONTWAIT));
  CALL(send(sq[1], b, 2, 0));

  SECTION("flags");
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
  CALL(recv(sv[0], b, 1, MSG_DONTWAIT));
  CALL(recv(sv[0], b, 0, MSG_DONTWAIT));
  CALL(read(sv[0], b, 0));
  CALL(recv(sv[0], b, 1, MSG_ERRQUEUE | MSG_DONTWAIT));
  CALL(send(sv[1], "abc", 3, MSG_MORE));
  CALL(recv(sv[0], b, 2, MSG_PEEK));
  CALL(recv(sv[0], b, 10, MSG_PEEK | MSG_TRUNC));
  CALL(recv(sv[0], (void *)1, 10, 0));
  CALL(recv(sv[0], b, 10, 0));
  CALL(send(sv[1], (void *)1, 10, 0));
  tv = (struct timeval){0, 30000};
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  CALL(recv(sv[0], b, 1, 0));
  CALL(read(sv[0], b, 1));
  tv = (struct timeval){5, 0};
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  struct itimerval soon = {{0, 0}, {0, 50000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  CALL(recv(sv[0], b, 1, 0));
  setitimer(ITIMER_REAL, &soon, NULL);
  CALL(read(sv[0], b, 1));

  SECTION("ancillary data");
  union {
    struct cmsghdr h;
    char bytes[1024];
  } control;
  struct iovec iov = {b, 1};
  struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(8)};
  control.h = (struct cmsghdr){CMSG_LEN(8), SOL_SOCKET, SCM_RIGHTS};
  ((int *)CMSG_DATA(&control.h))[0] = sv[0];
  ((int *)CMSG_DATA(&control.h))[1] = 99;
  CALL(sendmsg(sv[1], &msg, 0));
  ((int *)CMSG_DATA(&control.h))[1] = 0;
  CALL(sendmsg(sv[1], &msg, 0));
  CALL(send(sv[1], "tail", 4, 0));
  control.h.cmsg_len = 5;
  CALL(sendmsg(sv[1], &msg, 0));
  control.h = (struct cmsghdr){CMSG_LEN(8), SOL_SOCKET, 77};
  CALL(sendmsg(sv[1], &msg, 0));
  control.h = (struct cmsghdr){CMSG_LEN(8), 99, SCM_RIGHTS};
  CALL(sendmsg(sv[1], &msg, MSG_DONTWAIT));
  for (int room = 0; room <= 40; room += 8) {
    control.h = (struct cmsghdr){CMSG_LEN(8), SOL_SOCKET, SCM_RIGHTS};
    ((int *)CMSG_DATA(&control.h))[0] = 0;
    ((int *)CMSG_DATA(&control.h))[1] = 1;
    msg.msg_controllen = CMSG_SPACE(8);
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, dg));
    MUST(sendmsg(dg[0], &msg, 0));
    memset(&control, 0, sizeof control);
    msg.msg_controllen = room;
    long got = recvmsg(dg[1], &msg, room == 40 ? MSG_CMSG_CLOEXEC : 0);
    printf("room %d: got %ld, control %zu, flags %x, cmsg %zu %d %d\n", room, got, msg.msg_controllen, msg.msg_flags, control.h.cmsg_len,
           control.h.cmsg_level, control.h.cmsg_type);
    if (room == 40) printf("cloexec %d\n", fcntl(((int *)CMSG_DATA(&control.h))[1], F_GETFD));
    close(dg[0]), close(dg[1]);
  }
  iov.iov_len = 100;
  msg.msg_controllen = sizeof control;
  CALL(recvmsg(sv[0], &msg, 0));
  HOLDS(msg.msg_controllen == CMSG_SPACE(8) && control.h.cmsg_type == SCM_RIGHTS);
  CALL(recvmsg(sv[0], &msg, 0));
  struct ucred me = {getpid(), getuid(), getgid()};
  iov.iov_len = 1;
  control.h = (struct cmsghdr){CMSG_LEN(sizeof me), SOL_SOCKET, SCM_CREDENTIALS};
  memcpy(CMSG_DATA(&control.h), &me, sizeof me);
  msg.msg_controllen = CMSG_SPACE(sizeof me);
  CALL(sendmsg(sv[1], &msg, 0));
  me.pid = 999999;
  memcpy(CMSG_DATA(&control.h), &me, sizeof me);
  CALL(sendmsg(sv[1], &msg, 0));
  int on = 1;
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  CALL(send(sv[1], "late", 4, 0));
  iov.iov_len = 100;
  msg.msg_controllen = sizeof control;
  CALL(recvmsg(sv[0], &msg, 0));
  memcpy(&me, CMSG_DATA(&control.h), sizeof me);
  HOLDS(control.h.cmsg_type == SCM_CREDENTIALS && me.pid == getpid() && me.uid == getuid());

  SECTION("many messages");
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, dg));
  struct mmsghdr many[4];
  struct iovec iovs[4];
  char text[4][8] = {"a", "bb", "ccc", "dddd"};
  for (int i = 0; i < 4; i++) {
    iovs[i] = (struct iovec){text[i], i + 1};
    many[i] = (struct mmsghdr){{.msg_iov = &iovs[i], .msg_iovlen = 1}, 77};
  }
  CALL(sendmmsg(dg[0], many, 4, 0));
  printf("%u %u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len, many[3].msg_len);
  for (int i = 0; i < 4; i++) iovs[i].iov_len = 3;
  CALL(recvmmsg(dg[1], many, 3, 0, NULL));
  printf("%u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
  CALL(recvmmsg(dg[1], many, 4, MSG_WAITFORONE, NULL));
  printf("%u %x\n", many[0].msg_len, many[0].msg_hdr.msg_flags);
  CALL(recvmmsg(dg[1], many, 4, MSG_DONTWAIT, NULL));
  struct timespec bad = {0, 2000000000};
  CALL(recvmmsg(dg[1], many, 4, MSG_DONTWAIT, &bad));
  many[1].msg_hdr.msg_iovlen = 2000;
  CALL(sendmmsg(dg[0], many, 4, 0));
  CALL(sendmsg(dg[0], &many[1].msg_hdr, 0));
  CALL(sendmmsg(dg[0], many, 0, 0));
  CALL(sendmsg(dg[0], (void *)1, 0));

  SECTION("options");
  CALL(option(sv[0], SOL_SOCKET, SO_TYPE));
  CALL(option(sv[0], SOL_SOCKET, SO_DOMAIN));
  CALL(option(sv[0], SOL_SOCKET, SO_PROTOCOL));
  CALL(option(sv[0], SOL_SOCKET, SO_SNDBUF));
  CALL(option(sv[0], SOL_SOCKET, SO_RCVBUF));
  CALL(option(sv[0], SOL_SOCKET, SO_RCVLOWAT));
  CALL(option(sv[0], SOL_SOCKET, SO_SNDLOWAT));
  CALL(option(sv[0], SOL_SOCKET, SO_ACCEPTCONN));
  CALL(option(sv[0], SOL_SOCKET, SO_PEERSEC));
  CALL(option(sv[0], SOL_SOCKET, 9999));
  CALL(option(sv[0], 6, 1));
  CALL(option(sv[0], 77, 1));
  int small = 1;
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
  CALL(option(sv[0], SOL_SOCKET, SO_SNDBUF));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
  CALL(option(sv[0], SOL_SOCKET, SO_RCVBUF));
  small = 10000;
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
  CALL(option(sv[0], SOL_SOCKET, SO_SNDBUF));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, 2));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, (void *)1, 4));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, -1));
  CALL(setsockopt(sv[0], SOL_SOCKET, 9999, &small, 4));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_TYPE, &small, 4));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_ERROR, &small, 4));
  CALL(setsockopt(sv[0], 6, 1, &small, 4));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_KEEPALIVE, &small, 4));
  CALL(option(sv[0], SOL_SOCKET, SO_KEEPALIVE));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_REUSEADDR, &small, 4));
  CALL(option(sv[0], SOL_SOCKET, SO_REUSEADDR));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_BROADCAST, &small, 4));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_REUSEPORT, &small, 4));
  struct linger ling = {1, 5};
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_LINGER, &ling, sizeof ling));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_LINGER, &ling, 4));
  n = sizeof ling;
  memset(&ling, 0, sizeof ling);
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_LINGER, &ling, &n));
  printf("%d %d %d\n", ling.l_onoff, ling.l_linger, n);
  tv = (struct timeval){0, 2000000};
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  tv = (struct timeval){-1, 0};
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, 8));
  tv = (struct timeval){3, 248000};
  CALL(setsockopt(sv[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
  n = sizeof tv;
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_SNDTIMEO, &tv, &n));
  printf("%ld %ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
  struct ucred peer;
  n = sizeof peer;
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &peer, &n));
  HOLDS(peer.pid == getpid() && peer.uid == geteuid() && n == 12);
  n = 5;
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &peer, &n));
  printf("%d\n", n);
  n = sizeof peer;
  CALL(getsockopt(raw, SOL_SOCKET, SO_PEERCRED, &peer, &n));
  printf("%d %d %d\n", peer.pid, peer.uid, peer.gid);
  n = -1;
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_TYPE, &small, &n));
  n = 0;
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_TYPE, &small, &n));
  printf("%d\n", n);
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_TYPE, (void *)1, (n = 4, &n)));
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_TYPE, &small, NULL));
  CALL(getsockopt(0, SOL_SOCKET, SO_TYPE, &small, &n) == -1);
  fstat(sv[0], &st);
  printf("mode %o nlink %ld size %ld blksize %ld\n", st.st_mode, (long)st.st_nlink, (long)st.st_size, (long)st.st_blksize);
  char link[64] = {0};
  snprintf(b, sizeof b, "/proc/self/fd/%d", sv[0]);
  MUST(readlink(b, link, sizeof link));
  link[8] = 0;
  puts(link);
  CALL(ftruncate(sv[0], 0));
  CALL((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, sv[0], 0));
  CALL(ioctl(sv[0], SIOCATMARK, &n));
  return 0;
}

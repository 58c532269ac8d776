// unix sockets: types, names, descriptors and credentials in messages
#include "check.h"
#include <sys/socket.h>
#include <stddef.h>
#include <sys/un.h>

static struct sockaddr_un name_of(const char *path) {
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  strcpy(sa.sun_path, path);
  return sa;
}

static int send_fds(int sock, const int *fds, int count, const char *text) {
  char control[CMSG_SPACE(sizeof(int) * 8)] = {0};
  struct iovec iov = {(void *)text, strlen(text)};
  struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
  struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int) * count);
  memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
  return sendmsg(sock, &msg, 0);
}

static int receive(int sock, int *fds, int room, int flags) {
  char control[CMSG_SPACE(sizeof(int) * 8) + CMSG_SPACE(sizeof(struct ucred))] = {0};
  char text[64] = "";
  struct iovec iov = {text, sizeof text - 1};
  struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
  int n = recvmsg(sock, &msg, flags);
  int count = 0;
  printf("received %d [%s] flags %x", n, text, msg.msg_flags);
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); n >= 0 && c; c = CMSG_NXTHDR(&msg, c)) {
    if (c->cmsg_type == SCM_RIGHTS) {
      count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      memcpy(fds, CMSG_DATA(c), count * sizeof(int));
      printf(" %d descriptors", count);
    } else if (c->cmsg_type == SCM_CREDENTIALS) {
      struct ucred *u = (struct ucred *)CMSG_DATA(c);
      printf(" credentials of %s, uid %d", u->pid == getpid() ? "me" : u->pid == 0 ? "nobody" : "another", u->uid);
    }
  }
  printf("\n");
  return count;
}

static int writes_and_leaves(void *arg) {
  int *s = arg;
  close(s[0]);
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (write(s[1], "from the child", 14) != 14) return 1;
  return getsockopt(s[1], SOL_SOCKET, SO_PEERCRED, &peer, &size);
}

static void *accepts(void *arg) {
  int fd = accept(*(int *)arg, NULL, NULL);
  char buffer[64];
  int n = read(fd, buffer, sizeof buffer);
  for (int i = 0; i < n; i++) buffer[i] -= 32;
  if (write(fd, buffer, n) != n) printf("write failed\n");
  close(fd);
  return NULL;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  enter_scratch();
  int s[2], fds[8];
  char buffer[256];

  SECTION("pairs");
  int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  for (int i = 0; i < 3; i++) {
    printf("type %d\n", types[i]);
    CALL(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s));
    CALL(send(s[0], "hello", 5, 0));
    CALL(send(s[0], "world!", 6, 0));
    CALL(recv(s[1], buffer, 3, MSG_PEEK));
    CALL(recv(s[1], buffer, 3, 0));
    CALL(recv(s[1], buffer, sizeof buffer, MSG_TRUNC));
    CALL(recv(s[1], buffer, sizeof buffer, 0));
    CALL(send(s[0], "", 0, 0));
    CALL(recv(s[1], buffer, sizeof buffer, 0));
    CALL(shutdown(s[0], SHUT_WR));
    CALL(send(s[0], "x", 1, 0));
    CALL(recv(s[1], buffer, sizeof buffer, 0));
    close(s[1]);
    CALL(send(s[0], "x", 1, MSG_NOSIGNAL));
    CALL(recv(s[0], buffer, sizeof buffer, 0));
    close(s[0]);
  }
  CALL(socketpair(AF_UNIX, 77, 0, s));
  CALL(socketpair(AF_INET, SOCK_STREAM, 0, s));
  CALL(socket(AF_UNIX, SOCK_STREAM, 77));

  SECTION("descriptors");
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  int file = MUST(open("passed", O_RDWR | O_CREAT, 0600));
  MUST(write(file, "passed on", 9));
  int both[2] = {file, s[0]};
  CALL(send_fds(s[0], both, 2, "two"));
  int count = receive(s[1], fds, 64, 0);
  HOLDS(count == 2 && fcntl(fds[0], F_GETFD) == 0);
  CALL(lseek(fds[0], 0, SEEK_SET));
  CALL(read(file, buffer, 4));
  CALL(read(fds[0], buffer, 20));
  close(fds[0]);
  close(fds[1]);
  CALL(send_fds(s[0], both, 1, "cloexec"));
  receive(s[1], fds, 64, MSG_CMSG_CLOEXEC);
  CALL(fcntl(fds[0], F_GETFD));
  CALL(send_fds(s[0], both, 2, "no room"));
  receive(s[1], fds, 0, 0);
  CALL(send_fds(s[0], both, 2, "room for one"));
  receive(s[1], fds, CMSG_LEN(sizeof(int)), 0);
  int wrong[1] = {999};
  CALL(send_fds(s[0], wrong, 1, "bad"));
  MUST(write(s[0], "plain", 5));
  CALL(send_fds(s[0], both, 1, "with"));
  MUST(write(s[0], "after", 5));
  receive(s[1], fds, 64, 0);
  receive(s[1], fds, 64, 0);
  int inner[2];
  MUST(pipe(inner));
  send_fds(s[0], &inner[1], 1, "writer in flight");
  close(inner[1]);
  MUST(fcntl(inner[0], F_SETFL, O_NONBLOCK));
  CALL(read(inner[0], buffer, 1));
  close(s[1]);
  CALL(read(inner[0], buffer, 1));
  close(s[0]);

  SECTION("credentials");
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  int on = 1;
  CALL(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  MUST(write(s[0], "who", 3));
  receive(s[1], fds, 64, 0);
  pid_t child = spawn_child(writes_and_leaves, s);

  struct ucred peer;
  socklen_t size = sizeof peer;
  CALL(getsockopt(s[1], SOL_SOCKET, SO_PEERCRED, &peer, &size));
  HOLDS(peer.pid == getpid() && peer.uid == geteuid() && peer.gid == getegid());
  int status;
  waitpid(child, &status, 0);
  print_status("child", status);
  CALL(recv(s[0], buffer, 14, 0));
  close(s[0]);
  close(s[1]);

  SECTION("names");
  int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  struct sockaddr_un at = name_of("sock"), other;
  CALL(connect(client, (void *)&at, sizeof at));
  CALL(bind(listener, (void *)&at, sizeof at));
  CALL(bind(client, (void *)&at, sizeof at));
  CALL(connect(client, (void *)&at, sizeof at));
  CALL(accept(listener, NULL, NULL));
  CALL(listen(listener, 5));
  struct stat st;
  stat("sock", &st);
  HOLDS(S_ISSOCK(st.st_mode));
  CALL(open("sock", O_RDWR));
  pthread_t thread;
  pthread_create(&thread, NULL, accepts, &listener);
  CALL(connect(client, (void *)&at, sizeof at));
  CALL(connect(client, (void *)&at, sizeof at));
  CALL(write(client, "shout", 5));
  int n = read(client, buffer, sizeof buffer);
  printf("%.*s\n", n, buffer);
  pthread_join(thread, NULL);
  CALL(read(client, buffer, 1));
  size = sizeof other;
  CALL(getpeername(client, (void *)&other, &size));
  printf("peer %s, size %d\n", other.sun_path, (int)size);
  size = sizeof other;
  CALL(getsockname(client, (void *)&other, &size));
  printf("own size %d\n", (int)size);
  close(client);
  close(listener);
  client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  CALL(connect(client, (void *)&at, sizeof at));
  at = name_of("passed");
  CALL(connect(client, (void *)&at, sizeof at));
  at = name_of("no/such/folder");
  CALL(bind(client, (void *)&at, sizeof at));

  SECTION("abstract names");
  int abstract = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  struct sockaddr_un hidden = {.sun_family = AF_UNIX};
  memcpy(hidden.sun_path, "\0guest\0test", 11);
  socklen_t hidden_size = offsetof(struct sockaddr_un, sun_path) + 11;
  CALL(bind(abstract, (void *)&hidden, hidden_size));
  int twin = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  CALL(bind(twin, (void *)&hidden, hidden_size));
  CALL(sendto(twin, "to a name", 9, 0, (void *)&hidden, hidden_size));
  size = sizeof other;
  CALL(recvfrom(abstract, buffer, sizeof buffer, 0, (void *)&other, &size));
  printf("sender's size %d\n", (int)size);
  CALL(bind(twin, (void *)&hidden, sizeof(sa_family_t)));
  size = sizeof other;
  getsockname(twin, (void *)&other, &size);
  printf("bound by itself: %d, %d\n", (int)size, other.sun_path[0]);
  close(abstract);
  CALL(sendto(twin, "gone", 4, 0, (void *)&hidden, hidden_size));

  SECTION("datagrams keep their bounds, streams do not");
  MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
  MUST(send(s[0], "0123456789", 10, 0));
  struct iovec iov = {buffer, 4};
  struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
  CALL(recvmsg(s[1], &msg, 0));
  printf("truncated %d\n", !!(msg.msg_flags & MSG_TRUNC));
  struct mmsghdr many[3] = {0};
  struct iovec parts[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
  for (int i = 0; i < 3; i++) many[i].msg_hdr.msg_iov = &parts[i], many[i].msg_hdr.msg_iovlen = 1;
  CALL(sendmmsg(s[0], many, 3, 0));
  char room[3][8];
  for (int i = 0; i < 3; i++) parts[i] = (struct iovec){room[i], 8};
  CALL(recvmmsg(s[1], many, 3, MSG_DONTWAIT, NULL));
  printf("lengths %d %d %d\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);

  SECTION("options");
  int value;
  size = sizeof value;
  CALL(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &value, &size));
  printf("type %d\n", value);
  CALL(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &value, &size));
  printf("domain %d\n", value);
  CALL(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &value, &size));
  printf("error %d\n", value);
  CALL(getsockopt(s[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &size));
  CALL(getsockopt(s[0], SOL_SOCKET, 9999, &value, &size));
  struct timeval ms30 = {0, 30000};
  CALL(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &ms30, sizeof ms30));
  uint64_t before = now_ms();
  CALL(recv(s[0], buffer, 1, 0));
  HOLDS(now_ms() - before >= 25);
  CALL(recv(file, buffer, 1, 0));
  CALL(recv(999, buffer, 1, 0));
  return 0;
}

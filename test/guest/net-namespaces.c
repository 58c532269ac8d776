// Network namespaces made by programs: lo, sockets, tables, setns
// needs: root
#include "check.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_in here(int port) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  return sa;
}

/** Port of a listening socket in the network namespace of now. */
static int listens(int *fd) {
  struct sockaddr_in at = here(0);
  socklen_t size = sizeof at;
  *fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(bind(*fd, (void *)&at, sizeof at));
  MUST(listen(*fd, 4));
  MUST(getsockname(*fd, (void *)&at, &size));
  return ntohs(at.sin_port);
}

static int connects(int port) {
  struct sockaddr_in at = here(port);
  int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
  int result = connect(fd, (void *)&at, sizeof at) == 0 ? 0 : -errno;
  close(fd);
  return result;
}

/** Whether a line of /proc/net/tcp has this local port in state LISTEN. */
static bool listed(int port) {
  char line[512], wanted[32];
  snprintf(wanted, sizeof wanted, "0100007F:%04X 00000000:0000 0A", port);
  FILE *f = fopen("/proc/self/net/tcp", "r");
  bool found = false;
  while (f != NULL && fgets(line, sizeof line, f) != NULL) found |= strstr(line, wanted) != NULL;
  if (f != NULL) fclose(f);
  return found;
}

/** Names in /proc/net/dev. */
static void devices(void) {
  char line[512], name[64];
  FILE *f = fopen("/proc/self/net/dev", "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (strchr(line, '|') == NULL && sscanf(line, " %63[^:]", name) == 1) printf("device %s\n", name);
  if (f != NULL) fclose(f);
}

static int flagsOf(int fd, const char *name) {
  struct ifreq request = {0};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return ioctl(fd, SIOCGIFFLAGS, &request) < 0 ? -errno : request.ifr_flags & (IFF_UP | IFF_LOOPBACK);
}

static int interfaces(int fd) {
  struct ifreq all[16];
  struct ifconf list = {sizeof all, {(void *)all}};
  if (ioctl(fd, SIOCGIFCONF, &list) < 0) return -errno;
  int n = list.ifc_len / (int)sizeof all[0];
  for (int i = 0; i < n; i++) printf("address of %s\n", all[i].ifr_name);
  return n;
}

/** Links that a dump has. */
static int links(void) {
  int fd = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  struct {
    struct nlmsghdr h;
    struct ifinfomsg i;
  } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {0}};
  MUST(send(fd, &ask, sizeof ask, 0));
  int n = 0;
  static char answer[65536];
  for (bool done = false; !done;) {
    long got = MUST(recv(fd, answer, sizeof answer, 0));
    for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got)) {
      if (h->nlmsg_type == RTM_NEWLINK) n++;
      else done = true;
    }
  }
  close(fd);
  return n;
}

/** RTM_NEWLINK that brings lo up: 0 or its -errno. */
static int bringUp(void) {
  int fd = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  struct {
    struct nlmsghdr h;
    struct ifinfomsg i;
  } up = {{sizeof up, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0}, {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}};
  MUST(send(fd, &up, sizeof up, 0));
  char answer[4096];
  MUST(recv(fd, answer, sizeof answer, 0));
  close(fd);
  return ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
}

struct Link {
  struct nlmsghdr h;
  struct ifinfomsg i;
  char attributes[256];
};

static void *put(struct Link *m, int type, const void *data, size_t n) {
  struct rtattr *a = (void *)((char *)m + NLMSG_ALIGN(m->h.nlmsg_len));
  a->rta_type = type;
  a->rta_len = RTA_LENGTH(n);
  if (n > 0) memcpy(RTA_DATA(a), data, n);
  m->h.nlmsg_len = NLMSG_ALIGN(m->h.nlmsg_len) + RTA_ALIGN(a->rta_len);
  return a;
}

static void ended(struct Link *m, struct rtattr *a) { a->rta_len = (char *)m + m->h.nlmsg_len - (char *)a; }

/** Sends it: 0 or the -errno of the answer. */
static int asked(struct Link *m) {
  int fd = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  MUST(send(fd, m, m->h.nlmsg_len, 0));
  char answer[4096];
  MUST(recv(fd, answer, sizeof answer, 0));
  close(fd);
  return ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
}

/** A veth pair whose second interface goes to another namespace, -1 for none: `type` says what `where` is. */
static int makesPair(const char *name, const char *peer, int type, int where) {
  struct Link m = {{NLMSG_LENGTH(sizeof(struct ifinfomsg)), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 1, 0}, {0}, {0}};
  struct ifinfomsg none = {0};
  put(&m, IFLA_IFNAME, name, strlen(name) + 1);
  struct rtattr *info = put(&m, IFLA_LINKINFO, NULL, 0);
  put(&m, IFLA_INFO_KIND, "veth", 4);
  struct rtattr *data = put(&m, IFLA_INFO_DATA, NULL, 0);
  struct rtattr *other = put(&m, 1 /* VETH_INFO_PEER */, &none, sizeof none);
  put(&m, IFLA_IFNAME, peer, strlen(peer) + 1);
  if (where >= 0) put(&m, type, &where, sizeof where);
  ended(&m, other);
  ended(&m, data);
  ended(&m, info);
  return asked(&m);
}

static int moves(const char *name, int type, int where) {
  struct Link m = {{NLMSG_LENGTH(sizeof(struct ifinfomsg)), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0}, {.ifi_index = if_nametoindex(name)}, {0}};
  put(&m, type, &where, sizeof where);
  return asked(&m);
}

static int ends(pid_t child) {
  int status;
  MUST(waitpid(child, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void) {
  int outside = MUST(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  int before;
  int oldPort = listens(&before);

  SECTION("a new namespace has lo, which is down");
  MUST(unshare(CLONE_NEWNET));
  int inside = MUST(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  int udp = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  devices();
  HOLDS(links() == 1);
  HOLDS(if_nametoindex("lo") == 1);
  HOLDS(flagsOf(udp, "lo") == IFF_LOOPBACK);
  HOLDS(flagsOf(udp, "eth0") == -ENODEV);
  HOLDS(interfaces(udp) == 0);
  HOLDS(connects(oldPort) == -ENETUNREACH);
  HOLDS(!listed(oldPort));
  HOLDS(flagsOf(before, "lo") == (IFF_LOOPBACK | IFF_UP));

  SECTION("it can be brought up");
  HOLDS(bringUp() == 0);
  HOLDS(flagsOf(udp, "lo") == (IFF_LOOPBACK | IFF_UP));
  HOLDS(interfaces(udp) == 1);
  HOLDS(connects(oldPort) == -ECONNREFUSED);
  int server;
  int port = listens(&server);
  HOLDS(connects(port) == 0);
  HOLDS(listed(port));
  struct sockaddr_in at = here(80);
  int low = MUST(socket(AF_INET, SOCK_STREAM, 0));
  CALL(bind(low, (void *)&at, sizeof at));
  int mark = 3;
  CALL(setsockopt(low, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
  struct ifreq request = {.ifr_name = "lo", .ifr_mtu = 9000};
  CALL(ioctl(udp, SIOCSIFMTU, &request));
  CALL(ioctl(udp, SIOCGIFMTU, &request));
  HOLDS(request.ifr_mtu == 9000);
  CALL(close(MUST(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP))));
  CALL(close(MUST(socket(AF_PACKET, SOCK_DGRAM, 0))));
  CALL(close(MUST(socket(AF_INET6, SOCK_STREAM, 0))));

  SECTION("sockets stay where they were made");
  MUST(setns(outside, CLONE_NEWNET));
  HOLDS(connects(port) == -ECONNREFUSED);
  HOLDS(connects(oldPort) == 0);
  HOLDS(!listed(port));
  HOLDS(listed(oldPort));
  HOLDS(interfaces(udp) == 1);
  request.ifr_mtu = 0;
  CALL(ioctl(udp, SIOCGIFMTU, &request));
  HOLDS(request.ifr_mtu == 9000);
  at = here(port);
  CALL(sendto(udp, "x", 1, 0, (void *)&at, sizeof at));
  int other = MUST(accept4(server, NULL, NULL, SOCK_NONBLOCK));
  HOLDS(flagsOf(other, "lo") == (IFF_LOOPBACK | IFF_UP));
  MUST(ioctl(other, SIOCGIFMTU, &request));
  HOLDS(request.ifr_mtu == 9000);

  SECTION("a child's namespace");
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child == 0) {
    MUST(unshare(CLONE_NEWNET));
    _exit(connects(port) == -ENETUNREACH && links() == 1 && setns(inside, 0) == 0 && connects(port) == 0 ? 0 : 1);
  }
  HOLDS(ends(child) == 0);

  SECTION("without the capability there");
  fflush(stdout);
  child = MUST(fork());
  if (child == 0) {
    MUST(setns(inside, CLONE_NEWNET));
    MUST(setuid(1000));
    struct sockaddr_in privileged = here(81);
    int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
    CALL(bind(fd, (void *)&privileged, sizeof privileged));
    CALL(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    CALL(ioctl(fd, SIOCSIFMTU, &request));
    HOLDS(bringUp() == -EPERM);
    CALL(unshare(CLONE_NEWNET));
    HOLDS(connects(port) == 0);
    fflush(stdout);
    _exit(0);
  }
  HOLDS(ends(child) == 0);

  SECTION("interfaces go from one to another");
  MUST(unshare(CLONE_NEWNET));
  int first = MUST(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  HOLDS(makesPair("left", "right", IFLA_NET_NS_FD, inside) == 0);
  HOLDS(if_nametoindex("left") != 0 && if_nametoindex("right") == 0);
  HOLDS(makesPair("here", "there", 0, -1) == 0);
  HOLDS(moves("there", IFLA_NET_NS_FD, inside) == 0);
  HOLDS(if_nametoindex("there") == 0);
  HOLDS(moves("here", IFLA_NET_NS_FD, 999) == -EBADF || moves("here", IFLA_NET_NS_FD, 999) == -EINVAL);
  fflush(stdout);
  int told[2];
  MUST(pipe(told));
  child = MUST(fork());
  if (child == 0) {
    MUST(setns(inside, CLONE_NEWNET));
    MUST(write(told[1], "x", 1));
    sleep_ms(300);
    _exit(if_nametoindex("here") != 0 && if_nametoindex("right") != 0 && if_nametoindex("there") != 0 ? 0 : 1);
  }
  char byte;
  MUST(read(told[0], &byte, 1));
  HOLDS(moves("here", IFLA_NET_NS_PID, child) == 0);
  HOLDS(ends(child) == 0);
  HOLDS(links() == 2);
  close(first);

  SECTION("a namespace with a name");
  char place[] = "/tmp/network-XXXXXX";
  close(MUST(mkstemp(place)));
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
  CALL(mount("/proc/self/ns/net", place, NULL, MS_BIND, NULL));
  MUST(setns(outside, CLONE_NEWNET));
  HOLDS(if_nametoindex("left") == 0);
  int named = MUST(open(place, O_RDONLY));
  CALL(setns(named, CLONE_NEWNET));
  HOLDS(if_nametoindex("left") != 0);
  close(named);
  CALL(umount(place));
  CALL(mount("/proc/self/ns/mnt", place, NULL, MS_BIND, NULL));
  CALL(unlink(place));

  SECTION("the last descriptor of a namespace");
  for (int i = 0; i < 40; i++) {
    child = MUST(fork());
    if (child == 0) {
      MUST(unshare(CLONE_NEWNET));
      int fd;
      _exit(bringUp() == 0 && connects(listens(&fd)) == 0 ? 0 : 1);
    }
    if (ends(child) != 0) printf("child %d failed\n", i);
  }
  return 0;
}

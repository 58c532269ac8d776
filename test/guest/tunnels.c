// Interfaces made with /dev/net/tun
// needs: root
#include "check.h"
#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

static const struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = 0x6300, .sin_addr.s_addr = 0x0200090a};

static void setAddress(int fd, const char *name, unsigned long request, const char *address) {
  struct ifreq ifr = {0};
  strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
  struct sockaddr_in *at = (void *)&ifr.ifr_addr;
  at->sin_family = AF_INET;
  inet_pton(AF_INET, address, &at->sin_addr);
  MUST(ioctl(fd, request, &ifr));
}

static unsigned short sum(const unsigned char *p, int n) {
  unsigned long total = 0;
  for (int i = 0; i < n; i += 2) total += p[i] << 8 | p[i + 1];
  while (total >> 16) total = (total >> 16) + (total & 0xffff);
  return ~total;
}

int main(void) {
  MUST(unshare(CLONE_NEWNET));
  SECTION("before there is an interface");
  int tun = MUST(open("/dev/net/tun", O_RDWR));
  unsigned features = 0;
  CALL(ioctl(tun, TUNGETFEATURES, &features));
  HOLDS((features & (IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) == (IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR));
  unsigned char packet[2000] = {0};
  CALL(read(tun, packet, sizeof packet));
  CALL(write(tun, packet, 20));
  struct pollfd waits = {tun, POLLIN | POLLOUT, 0};
  CALL(poll(&waits, 1, 0));
  HOLDS(waits.revents == POLLERR);
  struct ifreq ifr = {.ifr_name = "pipe%d", .ifr_flags = IFF_TUN | IFF_NO_PI};
  CALL(ioctl(tun, TUNGETIFF, &ifr));
  CALL(ioctl(tun, TUNSETIFF, NULL));

  SECTION("an interface of packets");
  CALL(ioctl(tun, TUNSETIFF, &ifr));
  printf("name %s\n", ifr.ifr_name);
  CALL(ioctl(tun, TUNSETIFF, &ifr));
  struct ifreq is = {0};
  CALL(ioctl(tun, TUNGETIFF, &is));
  HOLDS(strcmp(is.ifr_name, ifr.ifr_name) == 0 && (is.ifr_flags & (IFF_TUN | IFF_NO_PI)) == (IFF_TUN | IFF_NO_PI));
  HOLDS(if_nametoindex(ifr.ifr_name) > 1);
  int udp = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  setAddress(udp, ifr.ifr_name, SIOCSIFADDR, "10.9.0.1");
  setAddress(udp, ifr.ifr_name, SIOCSIFNETMASK, "255.255.255.0");
  is.ifr_flags = IFF_UP;
  CALL(ioctl(udp, SIOCSIFFLAGS, &is));
  CALL(sendto(udp, "hello", 5, 0, (void *)&there, sizeof there));
  long n;
  do n = MUST(read(tun, packet, sizeof packet));
  while (packet[0] >> 4 != 4 || packet[9] != IPPROTO_UDP);
  HOLDS(n == 33 && memcmp(packet + 28, "hello", 5) == 0);
  // Back to its sender: addresses and ports the other way round.
  unsigned char head[28];
  memcpy(head, packet, sizeof head);
  memcpy(head + 12, packet + 16, 4);
  memcpy(head + 16, packet + 12, 4);
  memcpy(head + 20, packet + 22, 2);
  memcpy(head + 22, packet + 20, 2);
  head[26] = head[27] = head[10] = head[11] = 0;
  unsigned short check = sum(head, 20);
  head[10] = check >> 8;
  head[11] = check;
  struct iovec parts[2] = {{head, sizeof head}, {"world", 5}};
  CALL(writev(tun, parts, 2));
  char answer[10] = {0};
  struct sockaddr_in from;
  socklen_t size = sizeof from;
  CALL(recvfrom(udp, answer, sizeof answer, 0, (void *)&from, &size));
  HOLDS(strcmp(answer, "world") == 0 && from.sin_addr.s_addr == there.sin_addr.s_addr);
  CALL(write(tun, head, 0));

  SECTION("waiting for packets");
  MUST(fcntl(tun, F_SETFL, O_NONBLOCK));
  while (read(tun, packet, sizeof packet) > 0) {
  }
  HOLDS(errno == EAGAIN);
  MUST(fcntl(tun, F_SETFL, 0));
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child == 0) {
    sleep_ms(100);
    sendto(udp, "later", 5, 0, (void *)&there, sizeof there);
    _exit(0);
  }
  waits.events = POLLIN;
  CALL(poll(&waits, 1, 10000));
  do n = MUST(read(tun, packet, sizeof packet));
  while (packet[0] >> 4 != 4 || packet[9] != IPPROTO_UDP);
  HOLDS(memcmp(packet + 28, "later", 5) == 0);
  MUST(waitpid(child, NULL, 0));

  SECTION("an interface of frames");
  int tap = MUST(open("/dev/net/tun", O_RDWR)), another = MUST(open("/dev/net/tun", O_RDWR));
  struct ifreq frames = {.ifr_name = "frames", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  CALL(ioctl(tap, TUNSETIFF, &frames));
  CALL(ioctl(another, TUNSETIFF, &frames));
  int header = 12;
  CALL(ioctl(tap, TUNSETVNETHDRSZ, &header));
  header = 0;
  CALL(ioctl(tap, TUNGETVNETHDRSZ, &header));
  HOLDS(header == 12);
  CALL(ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM));
  CALL(ioctl(tap, TUNSETPERSIST, 0));
  CALL(ioctl(tap, SIOCGIFHWADDR, &frames));
  CALL(ioctl(tap, _IOR('T', 255, int), &header));
  CALL(close(tap));
  HOLDS(if_nametoindex("frames") == 0);
  frames.ifr_flags = 0;
  CALL(ioctl(another, TUNSETIFF, &frames));

  SECTION("without the capability");
  fflush(stdout);
  child = MUST(fork());
  if (child == 0) {
    int own = MUST(open("/dev/net/tun", O_RDWR));
    MUST(setuid(1000));
    frames.ifr_flags = IFF_TAP;
    CALL(ioctl(own, TUNSETIFF, &frames));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  return 0;
}

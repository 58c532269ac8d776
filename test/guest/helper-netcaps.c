// What a program may do on the network by its capabilities; one line each. For test/network.
#include "check.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(void) {
  int fd = FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  close(fd);
  fd = FAILS(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)));
  close(fd);
  fd = FAILS(socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  FAILS(bind(fd, (void *)&at, sizeof at));
  int mark = 7, big = 1 << 24;
  FAILS(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
  FAILS(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big));
  struct ifreq ifr = {.ifr_name = "lo", .ifr_mtu = 60000};
  FAILS(ioctl(fd, SIOCSIFMTU, &ifr));

  int route = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  struct {
    struct nlmsghdr h;
    struct ifaddrmsg a;
    struct rtattr attr;
    struct in_addr address;
  } add = {{sizeof add, RTM_NEWADDR, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, 1, 0},
           {AF_INET, 32, 0, 0, 1},
           {RTA_LENGTH(4), IFA_LOCAL},
           {htonl(0x0a636363)}};
  MUST(send(route, &add, sizeof add, 0));
  char answer[4096] = {0};
  MUST(recv(route, answer, sizeof answer, 0));
  int error = ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
  printf("RTM_NEWADDR: %s\n", error == 0 ? "ok" : strerrorname_np(-error));
  return 0;
}

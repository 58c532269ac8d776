// The network broker: a process of its own that does for the Sentry the few things in the sandbox's network namespace
// that need a capability. The Sentry keeps none; whether a guest may ask is the Sentry's decision, and what the broker
// can do at all is bounded by the capabilities it was given, by the list of requests below, and by a seccomp filter.
//
// It is forked from runsc, which is Node, so it gives all memory back but this addon's code and the region that it
// stands on, and from then on makes raw system calls only. It ends when the Sentry's end of the socket is closed.
//
// Networks that guests make for themselves are another process's: when the first is wanted, the broker clones a maker, in a
// user namespace of its own. It has all capabilities there, so that it may do anything on networks that it has made
// itself, and none anywhere else, so that the host refuses whatever it is asked to do on any other. A network is named
// by a socket in it.
//
//   request (SOCK_SEQPACKET): BrokerHeader, then `length` bytes, and one descriptor where the request needs one
//   answer: int32 result or -errno, then the bytes of an ioctl's struct, and the descriptor that was made
#include <napi.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "args.h"
#include "raw-syscall.h"

namespace {

// Twin of the constants in sentry/host/net-broker.ts.
enum Request : int32_t { kSocket, kBind, kSetOption, kSend, kIoctl, kTun, kWrite, kMaker, kNetwork, kTable };

struct BrokerHeader {
  int32_t request, a, b, c, length;
};

constexpr size_t kMaxBytes = 64 * 1024;
constexpr size_t kRegion = 256 * 1024;
constexpr int kSocketFd = 3;
constexpr int kReadFlags = O_RDONLY | O_CLOEXEC;
constexpr int kTunFlags = O_RDWR | O_NONBLOCK | O_CLOEXEC;
constexpr int kMakerFlags = CLONE_NEWUSER | SIGCHLD;
/// Beside the bits of capabilities: it lends sockets CAP_NET_ADMIN to choose how they avoid congestion, and for nothing else. Twin of
/// CHOOSES_CONGESTION in runsc/network-capabilities.ts.
constexpr uint32_t kChoosesCongestion = 1u << 30;
constexpr char kAlgorithms[] = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/// All that is ever opened behind the filter, which knows this array's place. Twin of NETWORK_TABLES in sentry/host/net-broker.ts.
constexpr char kPaths[][40] = {
    "/dev/net/tun",
    "/proc/thread-self/net/anycast6",
    "/proc/thread-self/net/arp",
    "/proc/thread-self/net/dev",
    "/proc/thread-self/net/dev_mcast",
    "/proc/thread-self/net/fib_trie",
    "/proc/thread-self/net/icmp",
    "/proc/thread-self/net/icmp6",
    "/proc/thread-self/net/if_inet6",
    "/proc/thread-self/net/igmp",
    "/proc/thread-self/net/igmp6",
    "/proc/thread-self/net/ipv6_route",
    "/proc/thread-self/net/mcfilter",
    "/proc/thread-self/net/mcfilter6",
    "/proc/thread-self/net/netstat",
    "/proc/thread-self/net/packet",
    "/proc/thread-self/net/protocols",
    "/proc/thread-self/net/ptype",
    "/proc/thread-self/net/raw",
    "/proc/thread-self/net/raw6",
    "/proc/thread-self/net/route",
    "/proc/thread-self/net/rt6_stats",
    "/proc/thread-self/net/rt_cache",
    "/proc/thread-self/net/snmp",
    "/proc/thread-self/net/snmp6",
    "/proc/thread-self/net/sockstat",
    "/proc/thread-self/net/sockstat6",
    "/proc/thread-self/net/tcp",
    "/proc/thread-self/net/tcp6",
    "/proc/thread-self/net/udp",
    "/proc/thread-self/net/udp6",
    "/proc/thread-self/net/udplite",
    "/proc/thread-self/net/udplite6",
};
constexpr int kPathCount = sizeof kPaths / sizeof kPaths[0];
constexpr size_t kControl = CMSG_SPACE(2 * sizeof(int));

struct Range {
  uintptr_t low, high;
};

/// All memory that a process may have, but for what nobody may map.
constexpr uintptr_t kLowest = 65536, kHighest = 0x7ffffffff000;

/// What the child works with: all of it lies in the region that survives.
struct Broker {
  int userFd, netFd;
  /// The pid namespace that it is to stand in, or -1.
  int pidFd;
  uint32_t capabilities;
  /// It stands in the sandbox's pid namespace.
  bool isAmongGuests;
  /// In memory that the command line shares, until all is given back: its number there, and whether it is among the guests.
  int* hostPid;
  int* place;
  /// What `place` points at where there is no such memory.
  int tried;
  /// By address: our code, the region, and what is around the thread pointer, where the host looks for rseq(2)'s words.
  Range keep[3];
  /// What it serves; whether it is the maker; whether there is one.
  int socketFd;
  bool isMaker, hasMaker;
  /// The network is one that the Sentry is not in: it opens all sockets and tables there.
  bool opensAll, raisesLo;
  /// kChoosesCongestion, and the host permits it.
  bool choosesCongestion;
  /// What the host has loaded, with spaces between and around.
  char algorithms[256];
  BrokerHeader header;
  alignas(8) uint8_t bytes[kMaxBytes];
  alignas(8) uint8_t control[kControl];
};

[[noreturn]] void Leave() {
  for (;;) Raw(SYS_exit_group, 0);
}

// ioctls on a struct ifreq that change an interface: all of them want CAP_NET_ADMIN of the host.
bool IsInterfaceChange(int32_t request) {
  switch (static_cast<uint32_t>(request)) {
    case SIOCSIFFLAGS:
    case SIOCSIFADDR:
    case SIOCSIFDSTADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
    case SIOCSIFTXQLEN:
    case SIOCSIFNAME:
      return true;
    default:
      return false;
  }
}

[[noreturn]] void Loop(Broker& b);

/// A socket for the Sentry, or a netlink, raw or packet one where that needs a capability.
long MakeSocket(const BrokerHeader& h, bool opensAll, int* made) {
  bool isInet = h.a == AF_INET || h.a == AF_INET6;
  bool isNetlink = h.a == AF_NETLINK && (h.c == NETLINK_ROUTE || (opensAll && h.c == NETLINK_SOCK_DIAG));
  if (!(isInet && (opensAll || h.b == SOCK_RAW)) && !isNetlink && h.a != AF_PACKET) return -EPERM;
  long fd = Raw(SYS_socket, h.a, h.b | SOCK_NONBLOCK | SOCK_CLOEXEC, h.c);
  if (fd >= 0) *made = static_cast<int>(fd);
  return fd < 0 ? fd : 0;
}

/// Goes into the network of a socket. The host lets the maker into its own only.
long Enter(int fd) {
  long network = Raw(SYS_ioctl, fd, SIOCGSKNS, 0);
  if (network < 0) return network;
  long r = Raw(SYS_setns, network, CLONE_NEWNET);
  Raw(SYS_close, network);
  return r;
}

/// TUNSETIFF in the network where we are: a tun descriptor belongs to the one that it was opened in.
long MakeTun(Broker& b, int* made, size_t* back) {
  if (b.header.length != sizeof(struct ifreq)) return -EINVAL;
  long tun = Raw(SYS_openat, AT_FDCWD, Ptr(kPaths[0]), kTunFlags, 0);
  if (tun < 0) return tun;
  long r = Raw(SYS_ioctl, tun, TUNSETIFF, Ptr(b.bytes));
  if (r < 0) {
    Raw(SYS_close, tun);
    return r;
  }
  *made = static_cast<int>(tun);
  *back = sizeof(struct ifreq);
  return 0;
}

/// What only the maker does.
long ServeMaker(Broker& b, int fd, int* made, size_t* back) {
  const BrokerHeader& h = b.header;
  long r = h.request == kNetwork ? Raw(SYS_unshare, CLONE_NEWNET) : Enter(fd);
  if (r < 0) return r;
  switch (h.request) {
    case kNetwork:
      *made = static_cast<int>(r = Raw(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      return r < 0 ? r : 0;
    case kSocket:
      return MakeSocket(h, true, made);
    case kTable:
      if (h.a < 1 || h.a >= kPathCount) return -EINVAL;
      *made = static_cast<int>(r = Raw(SYS_openat, AT_FDCWD, Ptr(kPaths[h.a]), kReadFlags, 0));
      return r < 0 ? r : 0;
    default:
      return MakeTun(b, made, back);
  }
}

/// Clones the maker, which serves fd. It ends, as we do, when the other end is closed.
long StartMaker(Broker& b, int fd) {
  if (b.hasMaker || fd < 0) return -EPERM;
  long pid = Raw(SYS_clone, kMakerFlags, 0, 0, 0, 0);
  if (pid != 0) {
    b.hasMaker = pid > 0;
    return pid < 0 ? pid : 0;
  }
  b.isMaker = true;
  b.choosesCongestion = false;
  Raw(SYS_close, b.socketFd);
  b.socketFd = fd;
  Loop(b);
}

/// Has the capabilities of this set in effect, and those of `permitted` at hand.
bool SetCapabilities(uint32_t effective, uint32_t permitted) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {{effective, permitted, 0}, {0, 0, 0}};
  return Raw(SYS_capset, Ptr(&header), Ptr(data)) >= 0;
}

/// Whether the first n bytes name an algorithm that the host has. For any other name it would look for a module to load.
bool IsLoaded(const Broker& b, size_t n) {
  const char* name = reinterpret_cast<const char*>(b.bytes);
  size_t length = 0;
  while (length < n && name[length] != 0) length++;
  if (length == 0) return false;
  for (const char* at = b.algorithms; *at != 0; at++) {
    size_t same = 0;
    while (same < length && at[same + 1] == name[same]) same++;
    if (*at == ' ' && same == length && at[length + 1] == ' ') return true;
  }
  return false;
}

long SetOption(Broker& b, int fd) {
  const BrokerHeader& h = b.header;
  bool isCongestion = h.a == IPPROTO_TCP && h.b == TCP_CONGESTION;
  if (isCongestion && !IsLoaded(b, static_cast<size_t>(h.length))) return -EPERM;
  bool raises = isCongestion && b.choosesCongestion;
  if (raises) SetCapabilities(b.capabilities | 1u << CAP_NET_ADMIN, b.capabilities | 1u << CAP_NET_ADMIN);
  long r = Raw(SYS_setsockopt, fd, h.a, h.b, Ptr(b.bytes), h.length);
  if (raises && !SetCapabilities(b.capabilities, b.capabilities | 1u << CAP_NET_ADMIN)) Leave();
  return r;
}

/// Sends a netlink message: of all sockets these alone ask for the sender's capabilities. The last `a` bytes are the address.
long Send(Broker& b, int fd, int other) {
  const BrokerHeader& h = b.header;
  if (h.a < 0 || h.a > h.length) return -EINVAL;
  long network = -1;
  if (h.b != 0) {
    // An interface for another network: its message says by which descriptor of ours, at this place.
    if (h.b < 0 || h.b % 4 != 0 || h.b > h.length - h.a - 4) return -EINVAL;
    network = Raw(SYS_ioctl, other, SIOCGSKNS, 0);
    if (network < 0) return network;
    *reinterpret_cast<int32_t*>(b.bytes + h.b) = static_cast<int32_t>(network);
  }
  long name = h.a == 0 ? 0 : Ptr(b.bytes + h.length - h.a);
  long sent = Raw(SYS_sendto, fd, Ptr(b.bytes), h.length - h.a, MSG_DONTWAIT | MSG_NOSIGNAL, name, h.a);
  if (network >= 0) Raw(SYS_close, network);
  return sent;
}

/// Serves one request; *made is a descriptor that goes with the answer, *back how many bytes do.
long Serve(Broker& b, int fd, int other, int* made, size_t* back) {
  const BrokerHeader& h = b.header;
  if (b.isMaker && (h.request == kSocket || h.request == kNetwork || h.request == kTable || h.request == kTun))
    return ServeMaker(b, fd, made, back);
  switch (h.request) {
    case kSocket:
      return MakeSocket(h, b.opensAll, made);
    case kTable: {
      if (!b.opensAll || h.a < 1 || h.a >= kPathCount) return -EINVAL;
      long table = Raw(SYS_openat, AT_FDCWD, Ptr(kPaths[h.a]), kReadFlags, 0);
      *made = static_cast<int>(table);
      return table < 0 ? table : 0;
    }
    case kMaker:
      return b.isMaker ? -EPERM : StartMaker(b, fd);
    case kBind:
      return Raw(SYS_bind, fd, Ptr(b.bytes), h.length);
    case kSetOption:
      return SetOption(b, fd);
    case kSend:
      return Send(b, fd, other);
    case kIoctl:
      if (!IsInterfaceChange(h.a) || h.length != sizeof(struct ifreq)) return -EPERM;
      *back = sizeof(struct ifreq);
      return Raw(SYS_ioctl, fd, h.a, Ptr(b.bytes));
    case kTun:
      // Without it the host would still give us what somebody has left there for anybody, or for root.
      return (b.capabilities & (1u << CAP_NET_ADMIN)) != 0 ? MakeTun(b, made, back) : -EPERM;
    case kWrite:
      // Of a file below /proc/sys/net: some of them ask who writes for CAP_NET_ADMIN.
      return Raw(SYS_pwrite64, fd, Ptr(b.bytes), h.length, 0);
    default:
      return -EINVAL;
  }
}

/// The first of at most two descriptors of a message, or -1; the second goes to `other`.
int DescriptorOf(msghdr& m, int* other = nullptr) {
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(sizeof(int))) return -1;
  const int* fds = reinterpret_cast<int*>(CMSG_DATA(c));
  if (other != nullptr && c->cmsg_len >= CMSG_LEN(2 * sizeof(int))) *other = fds[1];
  return fds[0];
}

void PutDescriptor(msghdr& m, uint8_t* control, int fd, int other = -1) {
  size_t count = other < 0 ? 1 : 2;
  m.msg_control = control;
  m.msg_controllen = CMSG_SPACE(count * sizeof(int));
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(count * sizeof(int));
  int* fds = reinterpret_cast<int*>(CMSG_DATA(c));
  fds[0] = fd;
  if (other >= 0) fds[1] = other;
}

[[noreturn]] void Loop(Broker& b) {
  for (;;) {
    iovec parts[2] = {{&b.header, sizeof b.header}, {b.bytes, sizeof b.bytes}};
    msghdr m = {};
    m.msg_iov = parts;
    m.msg_iovlen = 2;
    m.msg_control = b.control;
    m.msg_controllen = sizeof b.control;
    long n = Raw(SYS_recvmsg, b.socketFd, Ptr(&m), MSG_CMSG_CLOEXEC);
    if (n == -EINTR) continue;
    if (n < static_cast<long>(sizeof b.header)) Leave();
    int other = -1;
    int fd = DescriptorOf(m, &other);
    int made = -1;
    size_t back = 0;
    long fits = b.header.length >= 0 && b.header.length <= n - static_cast<long>(sizeof b.header);
    int32_t answer = static_cast<int32_t>(fits ? Serve(b, fd, other, &made, &back) : -EINVAL);
    iovec reply[2] = {{&answer, sizeof answer}, {b.bytes, back}};
    msghdr r = {};
    r.msg_iov = reply;
    r.msg_iovlen = 2;
    if (made >= 0) PutDescriptor(r, b.control, made);
    Raw(SYS_sendmsg, b.socketFd, Ptr(&r), MSG_NOSIGNAL);
    if (made >= 0) Raw(SYS_close, made);
    if (fd >= 0) Raw(SYS_close, fd);
    if (other >= 0) Raw(SYS_close, other);
  }
}

/// Where it has come to stand: Broker::place.
constexpr int kAmongGuests = 1, kBesideRunsc = 2;

/// What a filter is written into.
struct Program {
  sock_filter code[104];
  size_t length = 0;

  void Add(sock_filter one) {
    if (length < sizeof code / sizeof code[0]) code[length++] = one;
  }
  void Load(size_t offset) { Add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset))); }
  void Return(uint32_t what) { Add(BPF_STMT(BPF_RET | BPF_K, what)); }
  /// Kills unless the word that is loaded has this value.
  void Demand(uint32_t value) {
    Add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0));
    Return(SECCOMP_RET_KILL_PROCESS);
  }
  /// Begins what is said of one call; where it ends is filled in by Allow().
  size_t Call(uint32_t nr) {
    Add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 0));
    return length - 1;
  }
  void Allow(size_t from) {
    Return(SECCOMP_RET_ALLOW);
    code[from].jf = static_cast<uint8_t>(length - from - 1);
  }
};

constexpr size_t Low(int n) { return offsetof(seccomp_data, args) + static_cast<size_t>(n) * 8; }
constexpr size_t High(int n) { return Low(n) + 4; }

bool Confine(Broker& b) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (Raw(SYS_capget, Ptr(&header), Ptr(data)) < 0) return false;
  uint32_t admin = 1u << CAP_NET_ADMIN;
  b.capabilities &= data[0].permitted;
  b.choosesCongestion = b.choosesCongestion && (data[0].permitted & admin) != 0 && (b.capabilities & admin) == 0;
  if (!SetCapabilities(b.capabilities, b.capabilities | (b.choosesCongestion ? admin : 0))) return false;
  if (Raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return false;
  Program p;
  p.Load(offsetof(seccomp_data, arch));
  p.Demand(AUDIT_ARCH_X86_64);
  p.Load(offsetof(seccomp_data, nr));
  for (uint32_t nr : {SYS_recvmsg, SYS_sendmsg, SYS_sendto, SYS_socket, SYS_bind, SYS_setsockopt, SYS_ioctl, SYS_pwrite64, SYS_close, SYS_exit_group})
    p.Allow(p.Call(nr));
  if (b.choosesCongestion) p.Allow(p.Call(SYS_capset));
  size_t at = p.Call(SYS_clone);
  p.Load(Low(0));
  p.Demand(kMakerFlags);
  p.Allow(at);
  // Both want CAP_SYS_ADMIN, which only the maker has, over what is its own.
  at = p.Call(SYS_unshare);
  p.Load(Low(0));
  p.Demand(CLONE_NEWNET);
  p.Allow(at);
  at = p.Call(SYS_setns);
  p.Load(Low(1));
  p.Demand(CLONE_NEWNET);
  p.Allow(at);
  // A path is one of kPaths, in memory that nobody can write to.
  auto first = reinterpret_cast<uintptr_t>(&kPaths[0]), last = reinterpret_cast<uintptr_t>(&kPaths[kPathCount - 1]);
  if (first >> 32 == last >> 32) {
    at = p.Call(SYS_openat);
    p.Load(High(1));
    p.Demand(static_cast<uint32_t>(first >> 32));
    p.Load(Low(1));
    p.Add(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, static_cast<uint32_t>(first), 0, 1));
    p.Add(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<uint32_t>(last), 0, 1));
    p.Return(SECCOMP_RET_KILL_PROCESS);
    p.Load(Low(2));
    p.Add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kReadFlags, 2, 0));
    p.Demand(kTunFlags);
    p.Allow(at);
  }
  p.Return(SECCOMP_RET_KILL_PROCESS);
  sock_fprog filter = {static_cast<unsigned short>(p.length), p.code};
  return Raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, Ptr(&filter)) == 0;
}

/// Reads the names of the algorithms while there are files.
void FindAlgorithms(Broker& b) {
  long fd = Raw(SYS_openat, AT_FDCWD, Ptr(kAlgorithms), kReadFlags, 0);
  if (fd < 0) return;
  long n = Raw(SYS_read, fd, Ptr(b.algorithms + 1), sizeof b.algorithms - 3);
  Raw(SYS_close, fd);
  if (n <= 0) return;
  b.algorithms[0] = ' ';
  for (long i = 1; i <= n; i++)
    if (b.algorithms[i] == '\n') b.algorithms[i] = ' ';
  b.algorithms[n + 1] = ' ';
}

/// The child's life, on a stack in the region.
int BrokerMain(void* arg) {
  Broker& b = *static_cast<Broker*>(arg);
  // Nobody but a process that ends right away goes into that namespace with its children: who is root of a user namespace only
  // may go there, but not back to where all of us come from.
  b.isAmongGuests = b.pidFd >= 0 && Raw(SYS_setns, b.pidFd, CLONE_NEWPID) == 0;
  *const_cast<volatile int*>(b.place) = b.isAmongGuests ? kAmongGuests : kBesideRunsc;
  if (b.isAmongGuests) {
    long first = Raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (first < 0) Leave();
    if (first > 0) {
      Raw(SYS_wait4, first, 0, 0, 0);
      Leave();
    }
    // A child of the Sentry's from now on: its pid namespace ends only when all in it have been waited for.
    long child = Raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0) Leave();
    if (child > 0) {
      timespec pause = {0, 50000};
      for (int looks = 0; looks < 20000 && *const_cast<volatile int*>(b.hostPid) == 0; looks++) Raw(SYS_nanosleep, Ptr(&pause), 0);
      Leave();
    }
    // What it is called by who started it.
    char name[16] = {};
    Raw(SYS_readlink, Ptr("/proc/self"), Ptr(name), sizeof name - 1);
    int pid = 0;
    for (const char* at = name; *at >= '0' && *at <= '9'; at++) pid = pid * 10 + (*at - '0');
    *const_cast<volatile int*>(b.hostPid) = pid;
  }
  Raw(SYS_setsid);
  Raw(SYS_prctl, PR_SET_NAME, Ptr("runsc-net"), 0, 0, 0);
  for (int sig = 1; sig <= 64; sig++) {
    unsigned long none[4] = {0, 0, 0, 0};
    if (sig != SIGKILL && sig != SIGSTOP) Raw(SYS_rt_sigaction, sig, Ptr(none), 0, 8);
  }
  unsigned long empty = 0;
  Raw(SYS_rt_sigprocmask, SIG_SETMASK, Ptr(&empty), 0, 8);
  // A netlink message can name a process whose network an interface is to go to. Only where none of the host's can be
  // named, or where our capabilities are worth nothing over the host's network, may such messages be sent.
  bool isBelow = b.isAmongGuests;
  if (b.netFd >= 0 && Raw(SYS_setns, b.netFd, CLONE_NEWNET) < 0) {
    // Who is not root owns the sandbox's user namespace, and is root in it.
    if (Raw(SYS_setns, b.userFd, CLONE_NEWUSER) < 0 || Raw(SYS_setns, b.netFd, CLONE_NEWNET) < 0) Leave();
    isBelow = true;
  }
  if (b.raisesLo) {
    struct ifreq lo = {};
    lo.ifr_name[0] = 'l';
    lo.ifr_name[1] = 'o';
    lo.ifr_flags = IFF_UP | IFF_RUNNING;
    long asker = Raw(SYS_socket, AF_INET, SOCK_DGRAM, 0);
    Raw(SYS_ioctl, asker, SIOCSIFFLAGS, Ptr(&lo));
    if (asker >= 0) Raw(SYS_close, asker);
  }
  if (!isBelow) b.capabilities &= ~(1u << CAP_NET_ADMIN);
  FindAlgorithms(b);
  b.socketFd = kSocketFd;
  Raw(SYS_close_range, kSocketFd + 1, ~0U, 0);
  Raw(SYS_close_range, 0, kSocketFd - 1, 0);
  Raw(SYS_chdir, Ptr("/"));
  uintptr_t from = kLowest;
  for (const Range& range : b.keep) {
    if (range.low > from) Raw(SYS_munmap, static_cast<long>(from), static_cast<long>(range.low - from));
    if (range.high > from) from = range.high;
  }
  Raw(SYS_munmap, static_cast<long>(from), static_cast<long>(kHighest - from));
  if (!Confine(b)) Leave();
  Loop(b);
}

/// The addon's own pages: where this file's code and constants are.
int FindCode(dl_phdr_info* info, size_t, void* out) {
  auto* code = static_cast<Range*>(out);
  auto self = reinterpret_cast<uintptr_t>(&BrokerMain);
  uintptr_t low = ~0UL, high = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& p = info->dlpi_phdr[i];
    if (p.p_type != PT_LOAD) continue;
    uintptr_t start = info->dlpi_addr + p.p_vaddr;
    low = std::min<uintptr_t>(low, start & ~4095UL);
    high = std::max<uintptr_t>(high, (start + p.p_memsz + 4095) & ~4095UL);
  }
  if (self < low || self >= high) return 0;
  *code = {low, high};
  return 1;
}

/// pid: 0 for our own.
int OpenNamespace(int pid, const char* name) {
  std::string path = "/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/ns/" + name;
  return open(path.c_str(), O_RDONLY | O_CLOEXEC);
}

/**
 * (socket, pid of the Sentry, whether it works in that one's network namespace and not in ours, capability bits, a network namespace
 * where it opens all sockets instead or -1, whether it raises lo there): its pid or -errno.
 */
napi_value ForkNetBroker(napi_env env, napi_callback_info info) {
  Args<6> a(env, info);
  static_assert(sizeof(Broker) + 64 * 1024 <= kRegion);
  void* region = mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) return integer(env, -errno);
  auto* b = static_cast<Broker*>(region);
  auto low = reinterpret_cast<uintptr_t>(region);
  auto thread = reinterpret_cast<uintptr_t>(__builtin_thread_pointer()) & ~4095UL;
  b->keep[1] = {low, low + kRegion};
  b->keep[2] = {thread - 2 * 4096, thread + 3 * 4096};
  b->choosesCongestion = (a.u32(3) & kChoosesCongestion) != 0;
  b->capabilities = a.u32(3) & ~kChoosesCongestion;
  b->userFd = b->netFd = -1;
  int pidFd = -1;
  int pid = a.i32(1);
  bool joins = false;
  napi_get_value_bool(env, a.v[2], &joins);
  int ownNetwork = a.i32(4);
  b->opensAll = ownNetwork >= 0;
  napi_get_value_bool(env, a.v[5], &b->raisesLo);
  int64_t answer = dl_iterate_phdr(FindCode, &b->keep[0]) == 1 ? 0 : -ENOEXEC;
  std::sort(b->keep, b->keep + 3, [](const Range& x, const Range& y) { return x.low < y.low; });
  if (answer == 0 && joins) {
    b->userFd = OpenNamespace(pid, "user");
    b->netFd = OpenNamespace(pid, "net");
    if (b->userFd < 0 || b->netFd < 0) answer = -errno;
  }
  // Descriptors 0 to 3 are the child's to arrange, so none that it needs may lie there.
  int socketFd = answer == 0 ? fcntl(a.i32(0), F_DUPFD_CLOEXEC, kSocketFd + 1) : -1;
  int givenFd = ownNetwork >= 0 ? ownNetwork : b->netFd;
  int netFd = givenFd < 0 ? -1 : fcntl(givenFd, F_DUPFD_CLOEXEC, kSocketFd + 1);
  int userFd = b->userFd < 0 ? -1 : fcntl(b->userFd, F_DUPFD_CLOEXEC, kSocketFd + 1);
  if (b->netFd >= 0) close(b->netFd);
  if (b->userFd >= 0) close(b->userFd);
  if (answer == 0 && (socketFd < 0 || (joins && (netFd < 0 || userFd < 0)) || (ownNetwork >= 0 && netFd < 0))) answer = -EMFILE;
  if (answer == 0) {
    b->netFd = netFd;
    b->userFd = userFd;
    void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    b->hostPid = page == MAP_FAILED ? nullptr : static_cast<int*>(page);
    b->place = b->hostPid == nullptr ? &b->tried : b->hostPid + 1;
    int opened = b->hostPid == nullptr ? -1 : OpenNamespace(pid, "pid");
    pidFd = opened < 0 ? -1 : fcntl(opened, F_DUPFD_CLOEXEC, kSocketFd + 1);
    if (opened >= 0) close(opened);
    b->pidFd = pidFd;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    answer = Raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (answer == 0) {
      Raw(SYS_dup2, socketFd, kSocketFd);
      // Onto the stack that stays: the region's end.
      uintptr_t top = low + kRegion - 64;
      asm volatile("mov %0, %%rsp\n\txor %%ebp, %%ebp\n\tcall *%1\n\tud2" : : "r"(top), "r"(&BrokerMain), "D"(b) : "memory");
      __builtin_unreachable();
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    if (answer > 0 && b->hostPid != nullptr) {
      timespec pause = {0, 50000};
      for (int looks = 0; looks < 100000 && *const_cast<volatile int*>(b->place) == 0; looks++) nanosleep(&pause, nullptr);
      if (*const_cast<volatile int*>(b->place) == kAmongGuests) {
        waitpid(static_cast<pid_t>(answer), nullptr, 0);
        answer = *b->hostPid > 0 ? *b->hostPid : -ESRCH;
      }
    }
    if (b->hostPid != nullptr) munmap(b->hostPid, 4096);
  }
  for (int fd : {socketFd, netFd, userFd, pidFd})
    if (fd >= 0) close(fd);
  munmap(region, kRegion);
  return integer(env, static_cast<int32_t>(answer));
}

/** (socket, request, a, b, c, fd or -1, bytes, n, back, another fd or -1): the result or -errno. A descriptor that was made is the result; bytes of an ioctl's struct replace those sent when `back` is true. */
napi_value NetBrokerCall(napi_env env, napi_callback_info info) {
  Args<10> a(env, info);
  uint32_t n = a.u32(7);
  uint8_t* bytes = a.span(6, 0, n);
  if (n > kMaxBytes || (bytes == nullptr && n > 0)) return integer(env, -EINVAL);
  int sock = a.i32(0), fd = a.i32(5);
  BrokerHeader header = {a.i32(1), a.i32(2), a.i32(3), a.i32(4), static_cast<int32_t>(n)};
  iovec parts[2] = {{&header, sizeof header}, {bytes, n}};
  msghdr m = {};
  m.msg_iov = parts;
  m.msg_iovlen = 2;
  alignas(8) uint8_t control[kControl] = {};
  if (fd >= 0) PutDescriptor(m, control, fd, a.i32(9));
  ssize_t r;
  do r = sendmsg(sock, &m, MSG_NOSIGNAL);
  while (r < 0 && errno == EINTR);
  if (r < 0) return integer(env, -EPERM);
  int32_t answer = -EPERM;
  bool back = false;
  napi_get_value_bool(env, a.v[8], &back);
  iovec reply[2] = {{&answer, sizeof answer}, {bytes, back ? n : 0}};
  msghdr got = {};
  got.msg_iov = reply;
  got.msg_iovlen = 2;
  got.msg_control = control;
  got.msg_controllen = sizeof control;
  do r = recvmsg(sock, &got, MSG_CMSG_CLOEXEC);
  while (r < 0 && errno == EINTR);
  // It is gone: as if there had been none.
  if (r < static_cast<ssize_t>(sizeof answer)) return integer(env, -EPERM);
  int made = DescriptorOf(got);
  if (answer < 0) {
    if (made >= 0) close(made);
    return integer(env, answer);
  }
  return integer(env, made >= 0 ? made : answer);
}

}  // namespace

void InitNetBroker(Napi::Env env, Napi::Object exports) {
  define(env, exports, "forkNetBroker", ForkNetBroker);
  define(env, exports, "netBrokerCall", NetBrokerCall);
}

// Host sockets on behalf of guests: one function a system call, numbers and byte arrays in, a number out, -errno for a
// failure. Which families, options and flags a guest may reach is decided in sentry/net/host-socket.ts, and once more
// by the Sentry's seccomp filter. Every socket is close-on-exec and non-blocking: the Sentry never waits in one.
#include <napi.h>

#include <cstring>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "args.h"

namespace {

/** (family, type, protocol): the descriptor. */
napi_value SocketOpen(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  return result(env, socket(a.i32(0), a.i32(1) | SOCK_NONBLOCK | SOCK_CLOEXEC, a.i32(2)));
}

/** (fd, address bytes, length) */
template <int (*Call)(int, const struct sockaddr*, socklen_t)>
napi_value WithAddress(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  const uint8_t* address = a.span(1, 0, a.u32(2));
  if (address == nullptr) return integer(env, -EFAULT);
  return result(env, Call(a.i32(0), reinterpret_cast<const struct sockaddr*>(address), a.u32(2)));
}

napi_value SocketListen(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  return result(env, listen(a.i32(0), a.i32(1)));
}

/** (fd, name, out): the descriptor; out[0] is the length of the peer's address, which a connection that is reset by now has too. */
napi_value SocketAccept(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  size_t room, outSize;
  uint8_t* name = a.bytes(1, &room);
  auto* out = reinterpret_cast<int32_t*>(a.bytes(2, &outSize));
  if (name == nullptr || out == nullptr || outSize < 4) return integer(env, -EFAULT);
  socklen_t length = static_cast<socklen_t>(room);
  int fd = accept4(a.i32(0), reinterpret_cast<struct sockaddr*>(name), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  out[0] = static_cast<int32_t>(length);
  return result(env, fd);
}

napi_value SocketShutdown(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  return result(env, shutdown(a.i32(0), a.i32(1)));
}

/** (fd, peer, out): the length of the address, which is cut to out's. */
napi_value SocketName(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  size_t room;
  uint8_t* out = a.bytes(2, &room);
  if (out == nullptr) return integer(env, -EFAULT);
  bool peer = false;
  napi_get_value_bool(env, a.v[1], &peer);
  socklen_t length = static_cast<socklen_t>(room);
  auto* address = reinterpret_cast<struct sockaddr*>(out);
  int r = peer ? getpeername(a.i32(0), address, &length) : getsockname(a.i32(0), address, &length);
  return r < 0 ? integer(env, -errno) : integer(env, static_cast<int32_t>(length));
}

/** (fd, level, name, value, length) */
napi_value SocketSetOption(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  const uint8_t* value = a.span(3, 0, a.u32(4));
  if (value == nullptr) return integer(env, -EFAULT);
  return result(env, setsockopt(a.i32(0), a.i32(1), a.i32(2), value, a.u32(4)));
}

/** (fd, program, count): SO_ATTACH_FILTER with `count` instructions of classic BPF. */
napi_value SocketAttachFilter(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  uint32_t count = a.u32(2);
  uint8_t* program = a.span(1, 0, static_cast<uint64_t>(count) * sizeof(struct sock_filter));
  if (program == nullptr || count > BPF_MAXINSNS) return integer(env, -EINVAL);
  struct sock_fprog filter = {static_cast<unsigned short>(count), reinterpret_cast<struct sock_filter*>(program)};
  return result(env, setsockopt(a.i32(0), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter));
}

/** (fd, level, name, value, room): the length of the value. */
napi_value SocketGetOption(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  uint8_t* value = a.span(3, 0, a.u32(4));
  if (value == nullptr) return integer(env, -EFAULT);
  socklen_t length = a.u32(4);
  int r = getsockopt(a.i32(0), a.i32(1), a.i32(2), value, &length);
  return r < 0 ? integer(env, -errno) : integer(env, static_cast<int32_t>(length));
}

/** (fd, bytes, n, flags, name, nameLength, control, controlLength): bytes sent. MSG_DONTWAIT and MSG_NOSIGNAL are added. */
napi_value SocketSend(napi_env env, napi_callback_info info) {
  Args<8> a(env, info);
  uint8_t* bytes = a.span(1, 0, a.u32(2));
  uint8_t* name = a.span(4, 0, a.u32(5));
  uint8_t* control = a.span(6, 0, a.u32(7));
  // An empty array has no address.
  if (bytes == nullptr || (name == nullptr && a.u32(5) != 0) || (control == nullptr && a.u32(7) != 0)) return integer(env, -EFAULT);
  struct iovec iov = {bytes, a.u32(2)};
  struct msghdr msg = {};
  if (a.u32(5) != 0) {
    msg.msg_name = name;
    msg.msg_namelen = a.u32(5);
  }
  if (a.u32(7) != 0) {
    msg.msg_control = control;
    msg.msg_controllen = a.u32(7);
  }
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  return result(env, sendmsg(a.i32(0), &msg, a.i32(3) | MSG_DONTWAIT | MSG_NOSIGNAL));
}

/** (fd, bytes, n, flags, name, control, controlRoom, out): bytes received; out is {name length, control length, msg_flags}. */
napi_value SocketReceive(napi_env env, napi_callback_info info) {
  Args<8> a(env, info);
  uint8_t* bytes = a.span(1, 0, a.u32(2));
  size_t nameRoom;
  uint8_t* name = a.bytes(4, &nameRoom);
  uint8_t* control = a.span(5, 0, a.u32(6));
  size_t outSize;
  auto* out = reinterpret_cast<int32_t*>(a.bytes(7, &outSize));
  if (bytes == nullptr || name == nullptr || (control == nullptr && a.u32(6) != 0) || out == nullptr || outSize < 12) {
    return integer(env, -EFAULT);
  }
  struct iovec iov = {bytes, a.u32(2)};
  struct msghdr msg = {};
  msg.msg_name = name;
  msg.msg_namelen = static_cast<socklen_t>(nameRoom);
  if (a.u32(6) != 0) {
    msg.msg_control = control;
    msg.msg_controllen = a.u32(6);
  }
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  ssize_t n = recvmsg(a.i32(0), &msg, (a.i32(3) | MSG_DONTWAIT) & ~MSG_CMSG_CLOEXEC);
  if (n < 0) return integer(env, -errno);
  out[0] = static_cast<int32_t>(msg.msg_namelen);
  out[1] = static_cast<int32_t>(msg.msg_controllen);
  out[2] = msg.msg_flags;
  return number(env, static_cast<double>(n));
}

/** (fd, out): SIOCGIFCONF, an array of struct ifreq; its bytes. */
napi_value InterfaceList(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  size_t room;
  uint8_t* out = a.bytes(1, &room);
  if (out == nullptr) return integer(env, -EFAULT);
  struct ifconf list = {};
  list.ifc_len = static_cast<int>(room);
  list.ifc_buf = reinterpret_cast<char*>(out);
  return ioctl(a.i32(0), SIOCGIFCONF, &list) < 0 ? integer(env, -errno) : integer(env, list.ifc_len);
}

/** (fd, ifreq, data): SIOCETHTOOL with the struct that `data` is. */
napi_value Ethtool(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  struct ifreq request;
  const uint8_t* given = a.span(1, 0, sizeof request);
  size_t room;
  uint8_t* data = a.bytes(2, &room);
  if (given == nullptr || data == nullptr || room < 256) return integer(env, -EFAULT);
  memcpy(&request, given, sizeof request);
  request.ifr_data = reinterpret_cast<char*>(data);
  return result(env, ioctl(a.i32(0), SIOCETHTOOL, &request));
}

}  // namespace

void InitNet(Napi::Env env, Napi::Object exports) {
  define(env, exports, "socketOpen", SocketOpen);
  define(env, exports, "socketBind", WithAddress<bind>);
  define(env, exports, "socketConnect", WithAddress<connect>);
  define(env, exports, "socketListen", SocketListen);
  define(env, exports, "socketAccept", SocketAccept);
  define(env, exports, "socketShutdown", SocketShutdown);
  define(env, exports, "socketName", SocketName);
  define(env, exports, "socketSetOption", SocketSetOption);
  define(env, exports, "socketAttachFilter", SocketAttachFilter);
  define(env, exports, "socketGetOption", SocketGetOption);
  define(env, exports, "socketSend", SocketSend);
  define(env, exports, "socketReceive", SocketReceive);
  define(env, exports, "interfaceList", InterfaceList);
  define(env, exports, "ethtool", Ethtool);
}

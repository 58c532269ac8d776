// Commands that are over before Node would have started: `--version`, and `exec ID COMMAND...` without flags of its own,
// which is what health checks and people at a keyboard call again and again.
//
// The command line that makes a container leaves the request for such a program in the container's state folder
// (runsc/container.ts, exec.json) with an empty list of arguments at its end, and takes the file away while the container
// is paused. Here the arguments are put in, the request goes to the sandbox, and the program's end is waited for.
// Whatever is unusual, from a flag to an error of the sandbox, is left to Node, which begins anew and knows the words for
// it: nothing has happened until the sandbox answers that the program runs.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bare.h"
#include "front.h"

/** runsc/control-client.ts: no message is larger. */
#define MESSAGE_BYTES (1024 * 1024)
#define REPLY_BYTES 4096
/** exec.json ends with an empty list in two objects. */
#define TAIL "[]}}"
#define TAIL_BYTES 4
/** Of an error of runsc's own: the codes below are the program's. */
#define EXIT_ERROR 255

/** runsc/foreground.ts: FORWARDED. */
#define BIT(signal) (1UL << ((signal) - 1))
#define FORWARDED (BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGTERM) | BIT(SIGUSR1) | BIT(SIGUSR2) | BIT(SIGALRM) | BIT(SIGCONT))

__attribute__((noreturn)) static void end(int code) {
  for (;;) call3(SYS_exit_group, code, 0, 0);
}

static int same(const char *a, const char *b) {
  while (*a != 0 && *a == *b) a++, b++;
  return *a == *b;
}

/** What follows `head` in `text`; 0 when it begins otherwise. */
static const char *after(const char *text, const char *head) {
  while (*head != 0)
    if (*text++ != *head++) return 0;
  return text;
}

static const char *variable(char **envp, const char *name) {
  for (; *envp != 0; envp++) {
    const char *rest = after(*envp, name);
    if (rest != 0 && *rest == '=') return rest + 1;
  }
  return 0;
}

/** runsc/state-file.ts: checkId(). */
static int is_id(const char *text) {
  if (same(text, "") || same(text, ".") || same(text, "..")) return 0;
  for (; *text != 0; text++) {
    char c = *text;
    int word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!word && c != '_' && c != '+' && c != '-' && c != '.') return 0;
  }
  return 1;
}

/** runsc/config.ts: defaultRoot(), where it is the same for any environment; else 0. */
static const char *default_root(char **envp) {
  if (call3(SYS_geteuid, 0, 0, 0) != 0) return 0;
  const char *runtime = variable(envp, "XDG_RUNTIME_DIR");
  if (runtime == 0 || *runtime == 0) return "/run/runsc";
  char map[64];
  long fd = call3(SYS_open, (long)"/proc/self/uid_map", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  long n = call3(SYS_read, fd, (long)map, sizeof map - 1);
  call3(SYS_close, fd, 0, 0);
  if (n <= 0) return 0;
  map[n] = 0;
  return after(map, "         0          0 4294967295\n") != 0 ? "/run/runsc" : 0;
}

/** A char a byte, as runsc/text.ts: guestText() has them. 0 when there is no room. */
static char *append_string(char *to, const char *limit, const char *text) {
  *to++ = '"';
  for (; *text != 0; text++) {
    unsigned char c = (unsigned char)*text;
    if (limit - to < 16) return 0;
    if (c < 0x20) {
      to = append(to, "\\u00");
      *to++ = '0' + (c >> 4);
      *to++ = "0123456789abcdef"[c & 15];
    } else if (c >= 0x80) {
      *to++ = (char)(0xc0 | c >> 6);
      *to++ = (char)(0x80 | (c & 0x3f));
    } else {
      if (c == '"' || c == '\\') *to++ = '\\';
      *to++ = (char)c;
    }
  }
  *to++ = '"';
  return to;
}

/** The request in `folder`, with these arguments; where it ends in `message`, or 0. */
static char *read_request(char *message, const char *folder, char **args) {
  char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
  append(append(path, folder), "/exec.json");
  long fd = call3(SYS_open, (long)path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  char *to = message, *limit = message + MESSAGE_BYTES;
  long n;
  while ((n = call3(SYS_read, fd, (long)to, limit - to)) > 0) to += n;
  call3(SYS_close, fd, 0, 0);
  if (n < 0 || to == limit || to - message < TAIL_BYTES || after(to - TAIL_BYTES, TAIL) == 0) return 0;
  to -= TAIL_BYTES - 1;
  for (; *args != 0; args++) {
    to = append_string(to, limit, *args);
    if (to == 0 || limit - to < 16) return 0;
    *to++ = args[1] == 0 ? ']' : ',';
  }
  return append(to, "}}");
}

static long connect_to(const char *folder) {
  struct sockaddr_un address;
  address.sun_family = AF_UNIX;
  append(append(address.sun_path, folder), "/control.sock");
  long fd = call3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (call3(SYS_connect, fd, (long)&address, sizeof address) == 0) return fd;
  call3(SYS_close, fd, 0, 0);
  return -1;
}

/** Sends a request together with our stdin, stdout and stderr. */
static int send_with_stdio(long fd, char *message, unsigned long n) {
  struct {
    struct cmsghdr head;
    int fds[4];
  } control;
  struct iovec bytes = {message, n};
  struct msghdr m;
  m.msg_name = 0;
  m.msg_namelen = 0;
  m.msg_iov = &bytes;
  m.msg_iovlen = 1;
  m.msg_control = &control;
  m.msg_controllen = CMSG_SPACE(3 * sizeof(int));
  m.msg_flags = 0;
  control.head.cmsg_level = SOL_SOCKET;
  control.head.cmsg_type = SCM_RIGHTS;
  control.head.cmsg_len = CMSG_LEN(3 * sizeof(int));
  for (int i = 0; i < 3; i++) control.fds[i] = i;
  long sent;
  do sent = call3(SYS_sendmsg, fd, (long)&m, MSG_NOSIGNAL);
  while (sent == -EINTR);
  return sent == (long)n;
}

static void send_text(long fd, const char *text) {
  long sent;
  do sent = call6(SYS_sendto, fd, (long)text, length(text), MSG_NOSIGNAL, 0, 0);
  while (sent == -EINTR);
}

/** Takes one message into `reply`, as text; its length, or what is below 1 when the sandbox is gone. */
static long receive(long fd, char *reply) {
  long n;
  // A sandbox that has ended without reading all resets the connection, and that is told before what it has said.
  do n = call6(SYS_recvfrom, fd, (long)reply, REPLY_BYTES - 1, 0, 0, 0);
  while (n == -EINTR || n == -ECONNRESET);
  if (n > 0) reply[n] = 0;
  return n;
}

/** The number that answers request `id`, or -1: an answer to another one, or an error. */
static long result_of(const char *reply, const char *id) {
  const char *at = after(reply, "{\"id\":");
  if (at == 0 || (at = after(at, id)) == 0 || (at = after(at, ",\"result\":")) == 0) return -1;
  long n = 0;
  if (*at < '0' || *at > '9') return -1;
  while (*at >= '0' && *at <= '9' && n < INT32_MAX) n = n * 10 + (*at++ - '0');
  return *at == '}' && n <= INT32_MAX ? n : -1;
}

static void forward(long fd, unsigned long id, long pid, unsigned signal) {
  char text[160];
  char *to = append_number(append(text, "{\"id\":"), id);
  to = append_number(append(to, ",\"method\":\"signal\",\"pid\":"), (unsigned long)pid);
  to = append_number(append(to, ",\"signal\":"), signal);
  append(to, ",\"to\":\"process\"}");
  send_text(fd, text);
}

/** Waits for the program; signals that come meanwhile are for it. */
__attribute__((noreturn)) static void supervise(long fd, long signals, long pid) {
  char text[80], reply[REPLY_BYTES];
  append(append_number(append(text, "{\"id\":2,\"method\":\"wait\",\"pid\":"), (unsigned long)pid), "}");
  send_text(fd, text);
  for (unsigned long next = 3;;) {
    struct pollfd wait[2];
    wait[0].fd = (int)fd;
    wait[1].fd = (int)signals;
    wait[0].events = wait[1].events = POLLIN;
    wait[0].revents = wait[1].revents = 0;
    if (call3(SYS_poll, (long)wait, 2, -1) < 0) continue;
    if (wait[1].revents != 0) {
      struct signalfd_siginfo info;
      if (call3(SYS_read, signals, (long)&info, sizeof info) == (long)sizeof info) forward(fd, next++, pid, info.ssi_signo);
    }
    if (wait[0].revents == 0) continue;
    if (receive(fd, reply) <= 0) {
      say("runsc: the sandbox is gone\n");
      end(EXIT_ERROR);
    }
    long status = result_of(reply, "2");
    if (status >= 0) end((status & 0x7f) != 0 ? 128 + (int)(status & 0x7f) : (int)(status >> 8 & 0xff));
    if (after(reply, "{\"id\":2,") != 0) {
      say("runsc: waiting for the program: the sandbox answered ");
      say(reply);
      say("\n");
      end(EXIT_ERROR);
    }
  }
}

/** Starts the program and stays until it ends. Returns when it cannot, with all as it was. */
static void exec(const char *root, const char *id, char **args) {
  char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
  if (length(root) + length(id) + sizeof "//control.sock" > sizeof folder) return;
  append(append(append(folder, root), "/"), id);
  // What is closed here is /dev/null to the program: Node opens that.
  for (int fd = 0; fd < 3; fd++)
    if (call3(SYS_fcntl, fd, F_GETFD, 0) < 0) return;
  char *message = (char *)call6(SYS_mmap, 0, MESSAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if ((unsigned long)message > -4096UL) return;
  char *message_end = read_request(message, folder, args);
  long fd = message_end == 0 ? -1 : connect_to(folder);
  if (fd >= 0) {
    // Before the program is there, so that no signal is lost on it.
    unsigned long forwarded = FORWARDED, before;
    call6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&forwarded, (long)&before, sizeof before, 0, 0);
    long signals = call6(SYS_signalfd4, -1, (long)&forwarded, sizeof forwarded, SFD_CLOEXEC, 0, 0);
    char reply[REPLY_BYTES];
    if (signals >= 0 && send_with_stdio(fd, message, (unsigned long)(message_end - message)) && receive(fd, reply) > 0) {
      long pid = result_of(reply, "1");
      if (pid > 0) supervise(fd, signals, pid);
    }
    if (signals >= 0) call3(SYS_close, signals, 0, 0);
    call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before, 0, 0);
    call3(SYS_close, fd, 0, 0);
  }
  call3(SYS_munmap, (long)message, MESSAGE_BYTES, 0);
}

/** The value of a flag that stands at `at`, in the same word or in the next one, to which `at` moves then. 0: it does not. */
static const char *flag_value(int argc, char **argv, int *at, const char *flag) {
  const char *rest = after(argv[*at], flag);
  if (rest != 0 && *rest == '=') return rest + 1;
  return rest != 0 && *rest == 0 && *at + 1 < argc ? argv[++*at] : 0;
}

/** runsc/config.ts has the choices. */
static int is_platform(const char *value) { return same(value, "systrap") || same(value, "ptrace"); }

/** By its other name the executable has another thing to say: runsc/command-line.ts. */
static int is_shim(const char *program) {
  const char *name = program;
  for (; *program != 0; program++)
    if (*program == '/') name = program + 1;
  return after(name, "containerd-shim") != 0;
}

void front(int argc, char **argv, const char *version) {
  if (is_shim(argv[0])) return;
  if (argc == 2 && (same(argv[1], "--version") || same(argv[1], "-v")) && *version != 0) {
    // Node has the words for a stdout that takes nothing.
    long n = call3(SYS_write, 1, (long)version, length(version));
    if (n == (long)length(version)) end(0);
    return;
  }
  const char *root = 0;
  int at = 1;
  while (at < argc && !same(argv[at], "exec")) {
    const char *value = flag_value(argc, argv, &at, "--root");
    if (value != 0 && *value != 0) root = value;
    // A running sandbox has its platform.
    else if (value != 0 || (value = flag_value(argc, argv, &at, "--platform")) == 0 || !is_platform(value)) return;
    at++;
  }
  // The container's id and a command, no flags before either.
  if (at + 2 >= argc || !is_id(argv[at + 1]) || argv[at + 1][0] == '-' || argv[at + 2][0] == '-') return;
  if (root == 0) root = default_root(argv + argc + 1);
  if (root != 0) exec(root, argv[at + 1], argv + at + 2);
}

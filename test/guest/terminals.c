// pseudo-terminals: line discipline, sizes, foreground groups and job control
#include "check.h"
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

static int master, slave;
static char slave_name[64];

static void open_pair(void) {
  master = MUST(posix_openpt(O_RDWR | O_NOCTTY));
  MUST(grantpt(master));
  MUST(unlockpt(master));
  MUST(ptsname_r(master, slave_name, sizeof slave_name) ? -1 : 0);
  slave = MUST(open(slave_name, O_RDWR | O_NOCTTY));
}

static void show(const char *what, int fd, int timeout) {
  struct pollfd p = {fd, POLLIN, 0};
  char buffer[256];
  printf("%s: ", what);
  if (poll(&p, 1, timeout) == 0) {
    printf("nothing\n");
    return;
  }
  long n = read(fd, buffer, sizeof buffer);
  if (n < 0) printf("%s", strerrorname_np(errno));
  for (long i = 0; i < n; i++) {
    unsigned char c = buffer[i];
    if (c >= 32 && c < 127) putchar(c);
    else printf("<%d>", c);
  }
  printf(" (%ld)\n", n);
}

static void feed(const char *bytes, int size) {
  MUST(write(master, bytes, size));
}

static volatile int got;
static void note(int sig) {
  got = sig;
}

static int session(void *arg) {
  (void)arg;
  CALL(setsid() > 0);
  CALL(open("/dev/tty", O_RDWR));
  CALL(tcgetpgrp(slave));
  CALL(ioctl(slave, TIOCSCTTY, 0));
  HOLDS(tcgetpgrp(slave) == getpid() && tcgetsid(slave) == getpid());
  int tty = MUST(open("/dev/tty", O_RDWR));
  CALL(write(tty, "via tty", 7));
  struct sigaction sa = {.sa_handler = note};
  sigaction(SIGINT, &sa, NULL);
  sigaction(SIGQUIT, &sa, NULL);
  sigaction(SIGWINCH, &sa, NULL);
  feed("\3", 1);
  for (int i = 0; i < 100 && !got; i++) sleep_ms(5);
  printf("^C gives %s\n", got ? sigabbrev_np(got) : "nothing");
  got = 0;
  feed("\34", 1);
  for (int i = 0; i < 100 && !got; i++) sleep_ms(5);
  printf("^\\ gives %s\n", got ? sigabbrev_np(got) : "nothing");
  got = 0;
  struct winsize size = {33, 99, 0, 0};
  CALL(ioctl(master, TIOCSWINSZ, &size));
  for (int i = 0; i < 100 && !got; i++) sleep_ms(5);
  printf("a new size gives %s\n", got ? sigabbrev_np(got) : "nothing");

  // A background group may not read; with TOSTOP it may not write.
  pid_t background = fork();
  if (background == 0) {
    setpgid(0, 0);
    char c;
    long n = read(slave, &c, 1);
    _exit(n == 1 ? c : 1);
  }
  setpgid(background, background);
  int status;
  MUST(waitpid(background, &status, WUNTRACED));
  print_status("background reader", status);
  CALL(tcsetpgrp(slave, background));
  HOLDS(tcgetpgrp(slave) == background);
  feed("Q\n", 2);
  kill(background, SIGCONT);
  MUST(waitpid(background, &status, WUNTRACED));
  print_status("foreground reader", status);
  // Taking the terminal back from the background raises SIGTTOU unless it is blocked.
  sigset_t ttou;
  sigemptyset(&ttou);
  sigaddset(&ttou, SIGTTOU);
  sigprocmask(SIG_BLOCK, &ttou, NULL);
  CALL(tcsetpgrp(slave, getpgrp()));
  sigprocmask(SIG_UNBLOCK, &ttou, NULL);
  struct termios t;
  tcgetattr(slave, &t);
  t.c_lflag |= TOSTOP;
  tcsetattr(slave, TCSANOW, &t);
  fflush(stdout);
  background = fork();
  if (background == 0) {
    setpgid(0, 0);
    _exit(write(slave, "x", 1) == 1 ? 0 : 1);
  }
  setpgid(background, background);
  MUST(waitpid(background, &status, WUNTRACED));
  print_status("background writer", status);
  kill(background, SIGKILL);
  waitpid(background, &status, 0);
  CALL(tcsetpgrp(slave, 999999));
  // Giving up the terminal hangs up the foreground group, which is this process.
  signal(SIGHUP, note);
  got = 0;
  CALL(ioctl(slave, TIOCNOTTY));
  printf("giving it up gives %s\n", got ? sigabbrev_np(got) : "nothing");
  return 0;
}

static int hangs_up(void *arg) {
  (void)arg;
  setsid();
  MUST(ioctl(slave, TIOCSCTTY, 0));
  close(slave);
  int keep = MUST(open("/dev/tty", O_RDWR));
  // Closing the last master hangs up: SIGHUP to the session leader.
  signal(SIGHUP, note);
  close(master);
  for (int i = 0; i < 100 && !got; i++) sleep_ms(5);
  printf("hangup gives %s\n", got ? sigabbrev_np(got) : "nothing");
  char c;
  CALL(read(keep, &c, 1));
  CALL(write(keep, &c, 1));
  return 0;
}

int main(void) {
  open_pair();
  struct termios raw, cooked;
  struct winsize size;

  SECTION("names and defaults");
  HOLDS(strncmp(slave_name, "/dev/pts/", 9) == 0);
  HOLDS(isatty(master) && isatty(slave));
  CALL(isatty(0));
  struct stat st;
  CALL(fstat(slave, &st));
  HOLDS(S_ISCHR(st.st_mode) && major(st.st_rdev) == 136);
  CALL(tcgetattr(slave, &cooked));
  printf("iflag %x oflag %x cflag %x lflag %x\n", cooked.c_iflag, cooked.c_oflag, cooked.c_cflag, cooked.c_lflag);
  for (int i = 0; i < 17; i++) printf("%d ", cooked.c_cc[i]);
  printf("\n");
  CALL(ioctl(slave, TIOCGWINSZ, &size));
  printf("%d x %d\n", size.ws_row, size.ws_col);
  size.ws_row = 24, size.ws_col = 80;
  CALL(ioctl(slave, TIOCSWINSZ, &size));
  CALL(ioctl(master, TIOCGWINSZ, &size));
  printf("%d x %d\n", size.ws_row, size.ws_col);

  SECTION("canonical mode");
  feed("hel", 3);
  show("half a line", slave, 20);
  feed("lo\n", 3);
  show("a line", slave, 1000);
  show("echo", master, 1000);
  feed("abc\177\177d\n", 7);
  show("erased", slave, 1000);
  show("echo of erasing", master, 1000);
  feed("nothing stays\25new\n", 18);
  show("killed line", slave, 1000);
  show("echo of killing", master, 1000);
  feed("word one\27two\n", 13);
  show("erased word", slave, 1000);
  show("echo", master, 1000);
  feed("eof\4", 4);
  show("^D after text", slave, 1000);
  feed("\4", 1);
  show("^D alone", slave, 1000);
  feed("\26\3x\r", 4);
  show("quoted ^C, and CR as NL", slave, 1000);
  show("echo", master, 1000);
  feed("one\ntwo\n", 8);
  show("one line at a time", slave, 1000);
  show("the next", slave, 1000);
  show("echo", master, 1000);

  SECTION("output");
  MUST(write(slave, "out\nput", 7));
  show("NL becomes CR NL", master, 1000);

  SECTION("raw mode");
  raw = cooked;
  cfmakeraw(&raw);
  CALL(tcsetattr(slave, TCSANOW, &raw));
  feed("a\3\4\r", 4);
  show("raw", slave, 1000);
  show("no echo", master, 20);
  MUST(write(slave, "x\ny", 3));
  show("raw output", master, 1000);
  raw.c_cc[VMIN] = 3;
  raw.c_cc[VTIME] = 0;
  tcsetattr(slave, TCSANOW, &raw);
  feed("12", 2);
  sleep_ms(50); // Linux hands it over by a worker
  int waiting = 0;
  CALL(ioctl(slave, FIONREAD, &waiting));
  printf("%d waiting\n", waiting);
  feed("34", 2);
  show("at least three", slave, 1000);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 1;
  tcsetattr(slave, TCSANOW, &raw);
  char c;
  CALL(read(slave, &c, 1));
  feed("rest", 4);
  CALL(tcflush(slave, TCIFLUSH));
  CALL(read(slave, &c, 1));
  CALL(tcsetattr(slave, TCSANOW, &cooked));

  SECTION("sessions");
  in_child("session", session, NULL);

  SECTION("ends");
  int m2 = master, s2 = slave;
  open_pair();
  close(slave);
  show("master without slaves", master, 1000);
  slave = MUST(open(slave_name, O_RDWR | O_NOCTTY));
  show("slave is back", master, 20);
  close(master);
  CALL(read(slave, &c, 1));
  CALL(write(slave, &c, 1));
  CALL(open(slave_name, O_RDWR | O_NOCTTY));
  close(slave);
  close(m2);
  close(s2);
  open_pair();
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int result = hangs_up(NULL);
    fflush(stdout);
    _exit(result);
  }
  close(master);
  close(slave);
  int status;
  waitpid(child, &status, 0);
  print_status("hung up", status);

  SECTION("hung up from inside");
  fflush(stdout);
  child = fork();
  if (child == 0) {
    setsid();
    master = MUST(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK));
    MUST(unlockpt(master));
    slave = MUST(open(ptsname(master), O_RDWR));
    signal(SIGHUP, SIG_IGN);
    MUST(syscall(SYS_vhangup));
    char c;
    CALL(read(slave, &c, 1));
    CALL(write(slave, "x", 1));
    // The other side goes on, since the terminal is still open; login opens it anew.
    CALL(read(master, &c, 1));
    int again = MUST(open(ptsname(master), O_RDWR | O_NOCTTY));
    CALL(write(again, "y", 1));
    CALL(read(master, &c, 1));
    close(slave);
    CALL(read(master, &c, 1));
    close(again);
    CALL(read(master, &c, 1));
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, &status, 0);
  print_status("from inside", status);

  SECTION("errors");
  int null = open("/dev/null", O_RDWR);
  CALL(tcgetattr(null, &raw));
  CALL(ioctl(null, TIOCGWINSZ, &size));
  CALL(open("/dev/tty", O_RDWR));
  CALL(open("/dev/pts/9999", O_RDWR));
  return 0;
}

// A program with many ways to behave badly, for test/bad-input: helper-victim HOW [ARGUMENT].
#include "check.h"

static int exit_with(const char *code) {
  return atoi(code);
}

static void say(const char *what) {
  printf("%s\n", what);
  fflush(stdout);
}

// Forks until it is refused; says how often it worked, ends the children.
static int fork_until_refused(void) {
  static pid_t pids[100000];
  int count = 0;
  for (; count < 100000; count++) {
    pid_t pid = fork();
    if (pid == 0) {
      for (;;) pause();
    }
    if (pid < 0) break;
    pids[count] = pid;
  }
  printf("refused after %d: %s\n", count, strerrorname_np(errno));
  for (int i = 0; i < count; i++) kill(pids[i], SIGKILL);
  while (wait(NULL) > 0) {
  }
  return 0;
}

static int eat_memory(void) {
  size_t eaten = 0;
  for (;;) {
    char *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
      printf("refused after %zu MiB: %s\n", eaten, strerrorname_np(errno));
      return 0;
    }
    memset(at, 1, 1 << 20);
    if (++eaten == 2048) {
      say("nobody stopped it at 2 GiB");
      return 9;
    }
  }
}

static int fill(const char *path) {
  int fd = MUST(open(path, O_WRONLY | O_CREAT, 0600));
  static char block[65536];
  long total = 0, n;
  while ((n = write(fd, block, sizeof block)) > 0 && total < 1L << 31) total += n;
  printf("full after %ld: %s\n", total, n < 0 ? strerrorname_np(errno) : "nothing");
  close(fd);
  unlink(path);
  return 0;
}

static int catcher_signal;
static sigset_t everything;
static void go_on(int sig, siginfo_t *info, void *context) {
  (void)info, (void)context;
  catcher_signal = sig;
  _exit(33);
}

// Writes over memory that is not its own: every page of a range, in a child of its own so that one fault ends one try.
static int trash(void) {
  unsigned long starts[] = {0x60000, 0x61000, 0xfffffffff000 >> 1, 0x7ffffffde000, 0x7fffffff0000, 0x7ffff0000000, 0x7ffffffff000 - 0x200000, 0x10000, 0x100000};
  int faults = 0, written = 0;
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
    for (unsigned long page = 0; page < 32; page++) {
      pid_t pid = fork();
      if (pid == 0) {
        struct sigaction sa = {.sa_sigaction = go_on, .sa_flags = SA_SIGINFO};
        sigaction(SIGSEGV, &sa, NULL);
        sigaction(SIGBUS, &sa, NULL);
        memset((void *)(starts[i] + page * 4096), 0xcc, 4096);
        // If the write went through, the memory is used: calls, signals and a fork after it.
        kill(getpid(), 0);
        getppid();
        _exit(0);
      }
      int status;
      if (pid < 0 || waitpid(pid, &status, 0) < 0) continue;
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) written++;
      else faults++;
    }
  }
  (void)written;
  say(faults > 0 ? "every try ended" : "no try faulted");
  // The same against what is mapped and not from the program's own file.
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx", &from, &to) != 2 || to - from > 1 << 20) continue;
    pid_t pid = fork();
    if (pid == 0) {
      mprotect((void *)from, to - from, PROT_READ | PROT_WRITE | PROT_EXEC);
      munmap((void *)(from + 0x1000000), 0x10000);
      memset((void *)from, 0xcc, to - from);
      kill(getpid(), 0);
      _exit(0);
    }
    waitpid(pid, NULL, 0);
  }
  // And the whole of the address space taken away from under it.
  pid_t pid = fork();
  if (pid == 0) {
    sigfillset(&everything);
    sigprocmask(SIG_BLOCK, &everything, NULL);
    syscall(SYS_munmap, 4096, 0x7fffffffd000);
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  say(WIFSIGNALED(status) || WIFEXITED(status) ? "without memory it ended" : "?");
  return 0;
}

// Random system calls with random arguments, in children that may die of them.
static int random_calls(const char *seed) {
  for (int round = 0; round < 10; round++) {
    pid_t pid = fork();
    if (pid == 0) {
      srandom(atoi(seed) * 1000 + round);
      for (int i = 0; i < 300; i++) {
        long nr = random() % 470, a[6];
        // Not what would stop or empty the test itself.
        if (nr == SYS_kill || nr == SYS_tkill || nr == SYS_tgkill || nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_pause || nr == SYS_reboot ||
            nr == SYS_rt_sigsuspend || nr == 435 || nr == SYS_rt_sigprocmask || nr == SYS_rt_sigreturn || nr == SYS_exit || nr == SYS_exit_group ||
            nr == 424 || nr == SYS_rt_sigqueueinfo || nr == SYS_rt_tgsigqueueinfo)
          continue;
        static char memory[65536];
        for (int k = 0; k < 6; k++) {
          switch (random() % 6) {
            case 0: a[k] = random() % 10; break;
            case 1: a[k] = (long)memory + random() % 60000; break;
            case 2: a[k] = -(random() % 200); break;
            case 3: a[k] = (long)random() << 32 | random(); break;
            case 4: a[k] = 0; break;
            default: a[k] = 1L << (random() % 63); break;
          }
        }
        syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
      }
      _exit(0);
    }
    // A call may well block: what has not ended after a second is killed.
    for (int i = 0; pid > 0 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
      sleep_ms(10);
      if (i == 100) kill(pid, SIGKILL);
    }
  }
  return 0;
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "nothing", *argument = argc > 2 ? argv[2] : "0";
  if (strcmp(how, "exit") == 0) return exit_with(argument);
  if (strcmp(how, "echo") == 0) say(argument);
  if (strcmp(how, "sleep") == 0) {
    say("ready");
    for (;;) pause();
  }
  if (strcmp(how, "term") == 0) { // ends with 7 when it is asked to
    struct sigaction sa = {.sa_sigaction = go_on, .sa_flags = SA_SIGINFO};
    sigaction(SIGTERM, &sa, NULL);
    say("ready");
    for (;;) pause();
  }
  if (strcmp(how, "busy") == 0) {
    say("ready");
    for (int i = 0; i < 4; i++)
      if (fork() == 0) break;
    for (;;) {
      pid_t pid = fork();
      if (pid == 0) _exit(0);
      waitpid(pid, NULL, 0);
      close(open("/proc/self/status", O_RDONLY));
    }
  }
  if (strcmp(how, "forks") == 0) return fork_until_refused();
  if (strcmp(how, "memory") == 0) return eat_memory();
  if (strcmp(how, "fill") == 0) return fill(argument);
  if (strcmp(how, "trash") == 0) return trash();
  if (strcmp(how, "calls") == 0) {
    random_calls(argument);
    say("still here");
  }
  return 0;
}

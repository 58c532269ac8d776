// execve: what is kept, what is reset, scripts, and the errors
#include "check.h"
#include <sys/auxv.h>

extern char **environ;
static char self[PATH_MAX];

static void print_set(const char *name, sigset_t *set) {
  printf("%s:", name);
  for (int sig = 1; sig < 32; sig++)
    if (sigismember(set, sig) == 1) printf(" %s", sigabbrev_np(sig));
  printf("\n");
}

// What the program says of itself after an exec.
static int report(int argc, char **argv) {
  printf("argc %d:", argc);
  for (int i = 0; i < argc; i++) {
    const char *slash = strrchr(argv[i], '/');
    printf(" [%s]", slash && i == 0 ? slash + 1 : argv[i]);
  }
  printf("\nenvironment:");
  for (char **e = environ; *e; e++) printf(" [%s]", *e);
  printf("\n");
  sigset_t blocked, pending;
  sigprocmask(SIG_BLOCK, NULL, &blocked);
  sigpending(&pending);
  print_set("blocked", &blocked);
  print_set("pending", &pending);
  struct sigaction usr1, usr2;
  sigaction(SIGUSR1, NULL, &usr1);
  sigaction(SIGUSR2, NULL, &usr2);
  printf("handler of USR1 reset: %d, USR2 ignored: %d\n", usr1.sa_handler == SIG_DFL, usr2.sa_handler == SIG_IGN);
  printf("fd 50 %s, fd 51 %s\n", fcntl(50, F_GETFD) < 0 ? "closed" : "open", fcntl(51, F_GETFD) < 0 ? "closed" : "open");
  char comm[32] = "";
  prctl(PR_GET_NAME, comm);
  // By descriptor, Linux before 6.14 names the program after the number.
  if (strcmp(argv[0], "by-fd") == 0) strcpy(comm, "-");
  printf("name %.4s, alarm left %d, umask %o\n", comm, alarm(0) > 0, umask(0));
  stack_t stack;
  sigaltstack(NULL, &stack);
  printf("alternate stack %s, dumpable %d, secure %lu\n", stack.ss_flags & SS_DISABLE ? "off" : "on", prctl(PR_GET_DUMPABLE), getauxval(AT_SECURE));
  printf("threads alone: %d\n", getpid() == syscall(SYS_gettid));
  return 17;
}

static void handler(int sig) {
  (void)sig;
}

static int plain(void *arg) {
  (void)arg;
  char *args[] = {"renamed", "report", "two words", "", NULL}, *env[] = {"A=1", "B=", "NOEQUALS", NULL};
  execve(self, args, env);
  return 1;
}

static int keeps(void *arg) {
  (void)arg;
  signal(SIGUSR1, handler);
  signal(SIGUSR2, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGTERM);
  dup2(0, 50);
  dup2(0, 51);
  fcntl(51, F_SETFD, FD_CLOEXEC);
  alarm(100);
  umask(027);
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
  sigaltstack(&stack, NULL);
  char *args[] = {self, "report", NULL}, *env[] = {NULL};
  execve(self, args, env);
  return 1;
}

static void *exec_thread(void *arg) {
  plain(arg);
  return NULL;
}
static void *idle_thread(void *arg) {
  pause();
  return arg;
}
static int from_thread(void *arg) {
  pthread_t a, b;
  pthread_create(&a, NULL, idle_thread, arg);
  pthread_create(&b, NULL, exec_thread, arg);
  pause();
  return 1;
}

static int by_descriptor(void *arg) {
  (void)arg;
  int fd = open(self, O_RDONLY | O_CLOEXEC);
  char *args[] = {"by-fd", "report", NULL}, *env[] = {"FD=1", NULL};
  syscall(SYS_execveat, fd, "", args, env, AT_EMPTY_PATH);
  return 1;
}

static int script(void *arg) {
  char *args[] = {"ignored", "last", NULL}, *env[] = {"S=1", NULL};
  execve(arg, args, env);
  printf("script: %s\n", strerrorname_np(errno));
  return 1;
}

static int many_arguments(void *arg) {
  (void)arg;
  static char word[1000];
  memset(word, 'x', sizeof word - 1);
  static char *args[1002];
  args[0] = self;
  args[1] = "count";
  for (int i = 2; i < 1001; i++) args[i] = word;
  execve(self, args, environ);
  printf("many: %s\n", strerrorname_np(errno));
  return 1;
}

static int too_long(void *arg) {
  (void)arg;
  size_t size = 200000; // more than MAX_ARG_STRLEN, 32 pages
  char *word = malloc(size);
  memset(word, 'x', size - 1);
  word[size - 1] = 0;
  char *args[] = {self, word, NULL};
  CALL(execve(self, args, environ));
  return 0;
}

static void put(const char *name, const void *bytes, size_t size, int mode) {
  int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  MUST(write(fd, bytes, size));
  MUST(fchmod(fd, mode));
  close(fd);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "count") == 0) {
    printf("%d arguments of %zu\n", argc, strlen(argv[2]));
    return 0;
  }
  if (argc > 1) return report(argc, argv);
  umask(022);
  MUST(readlink("/proc/self/exe", self, sizeof self - 1));
  enter_scratch();

  SECTION("arguments and environment");
  in_child("plain", plain, NULL);
  SECTION("what is kept");
  in_child("keeps", keeps, NULL);
  SECTION("from a thread");
  in_child("thread", from_thread, NULL);
  SECTION("by descriptor");
  in_child("descriptor", by_descriptor, NULL);

  SECTION("scripts");
  char line[PATH_MAX + 100];
  int length = snprintf(line, sizeof line, "#!  %s   report me  \nrest\n", self);
  put("script", line, length, 0755);
  in_child("script", script, "./script");
  put("missing-interpreter", "#!/nowhere/at/all\n", 18, 0755);
  in_child("missing interpreter", script, "./missing-interpreter");
  put("empty-interpreter", "#!\n", 3, 0755);
  in_child("empty interpreter", script, "./empty-interpreter");
  put("loop", "#!./loop\n", 9, 0755);
  in_child("a script that interprets itself", script, "./loop");
  length = snprintf(line, sizeof line, "#!./script x\n");
  put("nested", line, length, 0755);
  in_child("script by a script", script, "./nested");

  SECTION("sizes");
  in_child("a megabyte of arguments", many_arguments, NULL);
  in_child("one argument too long", too_long, NULL);

  SECTION("errors");
  char *args[] = {"x", NULL};
  put("not-executable", "\177ELF", 4, 0644);
  put("empty", "", 0, 0755);
  put("text", "hello\n", 6, 0755);
  put("short-elf", "\177ELF\2\1\1", 7, 0755);
  CALL(execve("nowhere", args, environ));
  CALL(execve("", args, environ));
  CALL(execve("/", args, environ));
  CALL(execve(".", args, environ));
  CALL(execve("text/below", args, environ));
  CALL(execve("not-executable", args, environ));
  CALL(execve("empty", args, environ));
  CALL(execve("text", args, environ));
  CALL(execve("short-elf", args, environ));
  CALL(execve((char *)8, args, environ));
  CALL(execve(self, (char **)8, environ));
  int writer = open("text", O_WRONLY);
  CALL(execve("text", args, environ));
  close(writer);
  MUST(symlink("circle", "circle"));
  CALL(execve("circle", args, environ));
  CALL(syscall(SYS_execveat, 99, "", args, environ, AT_EMPTY_PATH));
  CALL(syscall(SYS_execveat, AT_FDCWD, "text", args, environ, 0x8000));
  symlink("text", "link");
  CALL(syscall(SYS_execveat, AT_FDCWD, "link", args, environ, AT_SYMLINK_NOFOLLOW));
  return 0;
}

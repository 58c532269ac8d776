// A guest that makes host calls from its stub's code: helper of test/platform/stub-calls.test.ts. Each call is made by a process of
// its own, since the filter ends whoever asks for what it does not admit.
#include "stub-calls.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#define SURVIVED 42

static void die(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static const long *asked;
static long asked_nr;
static void one_call(void) { host_call(asked_nr, asked[0], asked[1], asked[2], asked[3], asked[4], asked[5]); }

/** Whether a child that does this goes on behind it. */
static int survives(void (*body)(void)) {
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    alarm(3);
    body();
    _exit(SURVIVED);
  }
  int status;
  if (waitpid(pid, &status, 0) != pid) die("waitpid");
  return WIFEXITED(status) && WEXITSTATUS(status) == SURVIVED;
}

static int admitted(long nr, const long *arguments) {
  asked_nr = nr;
  asked = arguments;
  return survives(one_call);
}

// ---- every number, with arguments that would do harm

static void numbers(long from, long to) {
  static char path[] = "/tmp/runsc-escaped";
  static char *const argv[] = {path, NULL};
  // As a call that opens, executes, maps, signals, traces, or forks would want them.
  const long sets[][6] = {
      {(long)path, O_CREAT | O_RDWR, 0666, 0, 0, 0},
      {AT_FDCWD, (long)path, O_CREAT | O_RDWR, 0666, 0, 0},
      {1, 1, SIGKILL, 0, 0, 0},
      {0x11, 0, 0, (long)argv, 0, 0},
      {-1, -1, -1, -1, -1, -1},
  };
  for (long nr = from; nr < to; nr++)
    for (unsigned i = 0; i < sizeof sets / sizeof *sets; i++) {
      // The x32 numbers and the negative ones get one set.
      if ((nr < 0 || nr > 0x3fffffff) && i != 1) continue;
      if (admitted(nr, sets[i])) printf("%ld %u\n", nr, i);
    }
}

// ---- calls on memory, over all that is the stub's

static void memory(void) {
  static const struct {
    const char *what;
    unsigned long addr, length;
  } ranges[] = {
      {"text", STUB_TEXT, 4096},
      {"all of the text", STUB_TEXT, STUB_TEXT_SIZE},
      {"data", STUB_DATA, 4096},
      {"ring", STUB_RING, RING_SIZE},
      {"configuration", STUB_CONF, CONF_SIZE},
      {"window", STUB_WINDOW, WINDOW_SIZE},
      {"a context", STUB_WINDOW, CONTEXT_SIZE},
      {"stacks", STUB_STACKS, STACK_SIZE},
      {"from below into the text", STUB_TEXT - 4096, 8192},
      {"from below over everything", 0x10000000, 0x7ff200000000UL - 0x10000000},
      {"up to the end of the address space", 0x7fff00000000UL, 0xfffff000UL},
      {"round the end", STUB_TEXT, -STUB_TEXT},
      {"round the end and back", 0x200000, -4096UL},
      {"the jump table", JUMP_TABLE, 4096},
      {"the thunks", 0x70000, THUNKS_END - 0x70000},
      {"from the null page", 0, 0x200000},
      {"from the thunks on", THUNKS_END - 4096, 8192},
  };
  for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    long at = (long)ranges[i].addr, n = (long)ranges[i].length, own = 0x20000000;
    const struct {
      const char *call;
      long nr, arguments[6];
    } calls[] = {
        {"munmap", SYS_munmap, {at, n}},
        {"mprotect", SYS_mprotect, {at, n, 7}},
        {"mmap", SYS_mmap, {at, n, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0}},
        {"mmap of a file", SYS_mmap, {at, n, 3, MAP_PRIVATE | MAP_FIXED, 3, 0}},
        {"shared mmap", SYS_mmap, {at, n, 7, MAP_SHARED | MAP_FIXED, 3, 0}},
        {"madvise", SYS_madvise, {at, n, MADV_DONTNEED}},
        {"madvise REMOVE", SYS_madvise, {at, n, MADV_REMOVE}},
        {"mremap away", SYS_mremap, {at, n, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, own}},
        {"mremap onto", SYS_mremap, {own, 4096, n, MREMAP_MAYMOVE | MREMAP_FIXED, at}},
        {"mremap, keeping it", SYS_mremap, {at, n, n, 7, own}},
        {"mremap in place", SYS_mremap, {at, 4096, n, 0}},
        {"mremap to anywhere", SYS_mremap, {own, 4096, n, MREMAP_MAYMOVE}},
    };
    for (unsigned k = 0; k < sizeof calls / sizeof *calls; k++)
      if (admitted(calls[k].nr, calls[k].arguments)) printf("%s: %s\n", ranges[i].what, calls[k].call);
  }
}

// ---- other ways into the kernel: what is answered, is answered by the Sentry


static long by_int80(long nr) {
  long result = nr;
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "r8", "r9", "r10", "r11", "memory");
  return (int)result;
}

static long by_vsyscall(long nr) {
  long result = nr;
  unsigned long at = nr == SYS_time ? 0xffffffffff600400UL : nr == SYS_getcpu ? 0xffffffffff600800UL : 0xffffffffff600000UL;
  __asm__ volatile("call *%1" : "+a"(result) : "r"(at), "D"(0), "S"(0), "d"(0) : "rcx", "r11", "r8", "r9", "r10", "memory");
  return result;
}

static long by_sysenter(long nr) {
  static long stack[64];
  __asm__ volatile("mov %%rsp, %%r12\n mov %1, %%rsp\n mov %1, %%rbp\n sysenter\n mov %%r12, %%rsp"
                   : "+a"(nr)
                   : "r"(stack + 32)
                   : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "memory");
  return nr;
}

/** A far jump into a 32-bit code segment, `int $0x80` there, and back. */
static long by_compatibility_mode(long nr) {
  unsigned char *low = mmap((void *)0x10000000, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (low == MAP_FAILED) die("mmap");
  static const unsigned char code[] = {0xb8, 0, 0, 0, 0, 0xcd, 0x80, 0xcb};  // mov $nr,%eax; int $0x80; lret
  memcpy(low, code, sizeof code);
  memcpy(low + 1, &nr, 4);
  struct {
    uint32_t offset;
    uint16_t segment;
  } __attribute__((packed)) far = {0x10000000, 0x23};
  long result;
  __asm__ volatile(
      "mov %%rsp, %%r12\n"
      "lea 1f(%%rip), %%rax\n"
      "mov $0x10001ff0, %%esp\n"
      "movl $0x33, 4(%%rsp)\n"
      "movl %%eax, (%%rsp)\n"
      "ljmpl *%1\n"
      "1: mov %%r12, %%rsp\n"
      : "=a"(result)
      : "m"(far)
      : "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "memory");
  return (int)result;
}

static void other_ways(void) {
  static const struct {
    const char *name;
    long (*call)(long);
    long nr;
  } ways[] = {
      // 20 is getpid of the i386 table, 5 open, 2 fork.
      {"int80 getpid", by_int80, 20},
      {"int80 open", by_int80, 5},
      {"int80 fork", by_int80, 2},
      {"vsyscall gettimeofday", by_vsyscall, SYS_gettimeofday},
      {"vsyscall time", by_vsyscall, SYS_time},
      {"vsyscall getcpu", by_vsyscall, SYS_getcpu},
      {"sysenter getpid", by_sysenter, 20},
      {"compatibility getpid", by_compatibility_mode, 20},
      {"compatibility fork", by_compatibility_mode, 2},
  };
  static const int signals[] = {SIGSEGV, SIGILL, SIGBUS, SIGTRAP, SIGSYS};
  static char stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
    int fds[2];
    if (pipe(fds) < 0) die("pipe");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      // A signal ends it: what the processor or the host refuses is a fault.
      for (unsigned k = 0; k < sizeof signals / sizeof *signals; k++) signal(signals[k], SIG_DFL);
      alarm(3);
      long result = ways[i].call(ways[i].nr);
      write(fds[1], &result, sizeof result);
      _exit(SURVIVED);
    }
    close(fds[1]);
    long result;
    int status, told = read(fds[0], &result, sizeof result) == sizeof result;
    waitpid(pid, &status, 0);
    close(fds[0]);
    if (!told) printf("%s: ends\n", ways[i].name);
    else if (result == -ENOSYS) printf("%s: ENOSYS\n", ways[i].name);
    else printf("%s: %s\n", ways[i].name, result < 0 && result > -4096 ? strerror(-result) : "answers");
  }
}

// ---- descriptors on their way to the stub

static int stolen = -1;

/** Receives what the Sentry sends for a mapping, before the stub does. */
static void *thief(void *ready) {
  char byte, control[64];
  struct iovec iov = {&byte, 1};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  *(volatile int *)ready = 1;
  if (host_call(SYS_recvmsg, 3, (long)&message, 0, 0, 0, 0) < 0) return NULL;
  __atomic_store_n(&stolen, *(int *)(control + 16), __ATOMIC_SEQ_CST);
  return NULL;
}

static int map_fd, map_shared, map_shm;
static void *victim(void *unused) {
  (void)unused;
  // Until one of them is taken: the stub waits for it, and this thread never comes back.
  for (;;) {
    if (map_shm >= 0) shmat(map_shm, NULL, SHM_RDONLY);
    else mmap(NULL, 4096, PROT_READ, map_shared ? MAP_SHARED : MAP_PRIVATE, map_fd, 0);
    usleep(1000);
  }
  return NULL;
}

/** Runs in a child: maps read-only, takes the descriptor, and writes the file through it. */
static void steal(void) {
  volatile int ready = 0;
  pthread_t a, b;
  if (setresuid(1000, 1000, 1000) < 0) _exit(3);
  pthread_create(&a, NULL, thief, (void *)&ready);
  while (!ready) sched_yield();
  usleep(20000);
  pthread_create(&b, NULL, victim, NULL);
  for (int i = 0; __atomic_load_n(&stolen, __ATOMIC_SEQ_CST) < 0; i++) {
    if (i == 200) _exit(4);
    usleep(10000);
  }
  long at = host_call(SYS_mmap, 0x30000000, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, stolen, 0);
  // A guest can have its own copy, as of any file that it may read.
  long copy = host_call(SYS_mmap, 0x30000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, stolen, 0);
  if (at == 0x30000000) *(volatile char *)at = 'X';
  _exit(at == -EACCES && copy == 0x30000000 ? 5 : 6);
}

static struct {
  char what[64];
  pid_t pid;
} thefts[16];
static int theft_count;

static void try_steal(const char *what) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(10);
    steal();
  }
  strcpy(thefts[theft_count].what, what);
  thefts[theft_count++].pid = pid;
}

/** All of them leave a thread behind that waits for its descriptor: each must be gone all the same. */
static void tell_thefts(void) {
  for (int i = 0; i < theft_count; i++) {
    int status;
    if (waitpid(thefts[i].pid, &status, 0) < 0) die("waitpid");
    const char *result = "not tried";
    if (WIFSIGNALED(status)) result = "ended";
    else if (WEXITSTATUS(status) == 5) result = "cannot be written";
    else if (WEXITSTATUS(status) == 6) result = "WRITTEN";
    printf("%s: %s\n", thefts[i].what, result);
  }
}

static int file_of(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, "original", 8) != 8) die(path);
  return fd;
}

static void descriptors(void) {
  static const char *const files[] = {"/dev/shm/victim", "/tmp/victim"};
  map_shm = -1;
  for (unsigned i = 0; i < 2; i++) {
    // Whoever wrote it still has it open for writing, as a daemon has its files.
    int writer = file_of(files[i]);
    map_fd = open(files[i], O_RDONLY);
    for (map_shared = 0; map_shared < 2; map_shared++) {
      char name[64];
      snprintf(name, sizeof name, "%s %s", files[i], map_shared ? "shared" : "private");
      try_steal(name);
    }
    close(map_fd);
    close(writer);
  }
  int sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
  if (sealed < 0 || ftruncate(sealed, 4096) < 0 || fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE) < 0) die("sealed memfd");
  map_fd = sealed;
  for (map_shared = 0; map_shared < 2; map_shared++) try_steal(map_shared ? "sealed memfd shared" : "sealed memfd private");
  map_shm = shmget(IPC_PRIVATE, 4096, 0644);
  if (map_shm < 0) die("shmget");
  try_steal("segment attached read-only");
  tell_thefts();
  shmctl(map_shm, IPC_RMID, NULL);
}

// ---- processes that nobody knows

static void clones(long wanted) {
  long made = 0, refused = 0;
  for (long i = 0; i < wanted; i++) {
    long pid = host_call(SYS_clone, FORK_FLAGS, 0, 0, 0, 0, 0);
    if (pid == 0)
      for (;;) __asm__ volatile("pause");
    if (pid > 0) made++;
    else if (pid == -EAGAIN) refused++;
  }
  // The unknown ones would end up in this count as well: they are only told of by the stub that made them.
  printf("made %s, refused %s\n", made > 0 ? "some" : "none", refused > 0 ? "some" : "none");
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  find_gadget();
  const char *mode = argc > 1 ? argv[1] : "";
  if (strcmp(mode, "numbers") == 0) numbers(0, 480);
  else if (strcmp(mode, "odd-numbers") == 0) {
    numbers(480, 520);
    numbers(0x40000000, 0x40000000 + 480);
    numbers(-10, 0);
    numbers(-0x80000000L, -0x80000000L + 4);
  } else if (strcmp(mode, "memory") == 0) memory();
  else if (strcmp(mode, "other-ways") == 0) other_ways();
  else if (strcmp(mode, "descriptors") == 0) descriptors();
  else if (strcmp(mode, "clones") == 0) clones(atol(argv[2]));
  else return 2;
  puts("done");
  return 0;
}

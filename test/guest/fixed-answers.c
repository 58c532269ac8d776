// calls that a kernel need not be asked for twice: exact whatever changes what they answer
// needs: root
#include "check.h"
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static int word;

static long futex(int *at, int op, int value) { return syscall(SYS_futex, at, op, value, NULL, NULL, ~0); }

// All of them, often enough that whoever wants to answer them by itself from now on does.
static void warm(void) {
  struct timespec ts;
  struct timeval tv;
  for (int i = 0; i < 30; i++) {
    syscall(SYS_getpid);
    syscall(SYS_gettid);
    syscall(SYS_getppid);
    syscall(SYS_getuid);
    syscall(SYS_geteuid);
    syscall(SYS_getgid);
    syscall(SYS_getegid);
    syscall(SYS_sched_yield);
    futex(&word, FUTEX_WAKE_PRIVATE, 1);
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
    syscall(SYS_gettimeofday, &tv, NULL);
    syscall(SYS_time, NULL);
  }
}

static void print_ids(const char *when) {
  printf("%s: %ld %ld %ld %ld\n", when, syscall(SYS_getuid), syscall(SYS_geteuid), syscall(SYS_getgid), syscall(SYS_getegid));
}

// ---- clocks

static int is_between(const struct timespec *a, const struct timespec *b, const struct timespec *c) {
  return (a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec <= b->tv_nsec)) &&
         (b->tv_sec < c->tv_sec || (b->tv_sec == c->tv_sec && b->tv_nsec <= c->tv_nsec));
}

static void clocks(void) {
  // Not the alarm clocks, which a machine without a battery-backed clock does not have.
  static const int known[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE,
                              CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
  for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
    int good = 0;
    for (int round = 0; round < 50; round++) {
      struct timespec before, raw, after;
      clock_gettime(known[i], &before);
      long result = syscall(SYS_clock_gettime, known[i], &raw);
      clock_gettime(known[i], &after);
      good += result == 0 && is_between(&before, &raw, &after);
    }
    printf("clock %d: %d of 50 readings lie between those around them\n", known[i], good);
  }
  struct timespec ts;
  char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CALL(syscall(SYS_clock_gettime, 99, &ts));
  CALL(syscall(SYS_clock_gettime, -1000000, &ts));
  CALL(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, NULL));
  CALL(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, page));
  CALL(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, -4096L));
  CALL(syscall(SYS_gettimeofday, page, NULL));
  CALL(syscall(SYS_gettimeofday, NULL, page));
  CALL(syscall(SYS_gettimeofday, NULL, NULL));
  CALL(syscall(SYS_time, page));
  struct timezone tz = {5, 5};
  struct timeval tv, later;
  CALL(syscall(SYS_gettimeofday, &tv, &tz));
  HOLDS(tz.tz_minuteswest == 0 && tz.tz_dsttime == 0);
  syscall(SYS_gettimeofday, &later, NULL);
  HOLDS(timercmp(&tv, &later, <=) && later.tv_usec >= 0 && later.tv_usec < 1000000 && later.tv_sec - tv.tv_sec < 5);
  long stored = 0, now = syscall(SYS_time, &stored);
  HOLDS(now == stored && labs(now - later.tv_sec) <= 1);
}

#define TERABYTE (1UL << 40)

// The vDSO is no mapping of ours, but nothing that is mapped without an address may take its place.
static int takes_all_room(void *arg) {
  int pieces = 0;
  while (mmap(NULL, TERABYTE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED) pieces++;
  while (mmap(NULL, TERABYTE / 64, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED) {
  }
  HOLDS(pieces > 100);
  struct timespec ts;
  CALL(clock_gettime(CLOCK_MONOTONIC, &ts));
  HOLDS(memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4) == 0);
  return 0;
}

// ---- identity

static int changes_ids(void *arg) {
  warm();
  print_ids("before");
  MUST(setresgid(100, 101, 102));
  print_ids("after setresgid");
  MUST(setresuid(1000, 0, 0));
  print_ids("after setresuid");
  MUST(seteuid(1001));
  print_ids("after seteuid");
  return 0;
}

static int is_new_process(void *arg) {
  HOLDS(syscall(SYS_getpid) != *(long *)arg && syscall(SYS_getppid) == *(long *)arg && syscall(SYS_gettid) == syscall(SYS_getpid));
  return 0;
}

static int loses_its_parent(void *arg) {
  long reaper = *(long *)arg;
  int tell[2], ready[2];
  char byte = 0;
  MUST(pipe(tell) | pipe(ready));
  pid_t middle = fork();
  if (middle == 0) {
    pid_t inner = fork();
    if (inner != 0) {
      read(ready[0], &byte, 1);
      _exit(0);
    }
    warm();
    long was = syscall(SYS_getppid);
    write(ready[1], &byte, 1);
    while (syscall(SYS_getppid) == was) sleep_ms(1);
    char is_right = syscall(SYS_getppid) == reaper && was != reaper;
    write(tell[1], &is_right, 1);
    _exit(0);
  }
  waitpid(middle, NULL, 0);
  char is_right = 0;
  read(tell[0], &is_right, 1);
  printf("getppid follows a dead parent's child to its reaper: %s\n", is_right ? "yes" : "NO");
  return 0;
}

static int is_init(void *arg) {
  warm();
  printf("first of a pid namespace: pid %ld, tid %ld, parent %ld\n", syscall(SYS_getpid), syscall(SYS_gettid), syscall(SYS_getppid));
  return 0;
}

static int enters_namespaces(void *arg) {
  warm();
  FAILS(unshare(CLONE_NEWPID));
  warm();
  HOLDS(syscall(SYS_getpid) != 1);
  in_child("init", is_init, NULL);
  return 0;
}

static int becomes_nobody(void *arg) {
  warm();
  print_ids("before unshare");
  FAILS(unshare(CLONE_NEWUSER));
  print_ids("unmapped");
  int fd = MUST(open("/proc/self/uid_map", O_WRONLY));
  FAILS(write(fd, "7 0 1", 5));
  print_ids("mapped");
  warm();
  print_ids("and again");
  return 0;
}

static int joins(void *arg) {
  warm();
  int ready[2], done[2];
  char byte = 0;
  MUST(pipe(ready) | pipe(done));
  pid_t other = fork();
  if (other == 0) {
    unshare(CLONE_NEWUSER);
    write(ready[1], &byte, 1);
    close(done[1]);
    read(done[0], &byte, 1);
    _exit(0);
  }
  close(done[0]);
  read(ready[0], &byte, 1);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/user", other);
  int fd = MUST(open(path, O_RDONLY));
  print_ids("before setns");
  FAILS(setns(fd, CLONE_NEWUSER));
  print_ids("after setns");
  close(done[1]);
  waitpid(other, NULL, 0);
  return 0;
}

static void *tells_its_tid(void *arg) {
  warm();
  return (void *)syscall(SYS_gettid);
}

static void *new_program_of_a_thread(void *arg) {
  execl("/proc/self/exe", "fixed-answers", "--ids", arg, NULL);
  return NULL;
}

static int execs_from_a_thread(void *arg) {
  warm();
  char number[16];
  snprintf(number, sizeof number, "%ld", syscall(SYS_getpid));
  pthread_t thread;
  pthread_create(&thread, NULL, new_program_of_a_thread, number);
  pthread_join(thread, NULL);
  return 1;
}

// ---- who wants to see the calls

static int watched(void *arg) {
  warm();
  MUST(ptrace(PTRACE_TRACEME, 0, 0, 0));
  raise(SIGSTOP);
  struct timespec ts;
  syscall(SYS_getpid);
  syscall(SYS_sched_yield);
  futex(&word, FUTEX_WAKE_PRIVATE, 1);
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
  syscall(SYS_time, NULL);
  syscall(SYS_getuid);
  return 0;
}

static void print_calls(pid_t pid) {
  int status, in_call = 0;
  for (;;) {
    MUST(ptrace(PTRACE_SYSCALL, pid, 0, 0));
    MUST(waitpid(pid, &status, 0));
    if (!WIFSTOPPED(status)) break;
    struct user_regs_struct regs;
    MUST(ptrace(PTRACE_GETREGS, pid, 0, &regs));
    if (!(in_call = !in_call)) continue;
    switch (regs.orig_rax) {
      case SYS_getpid: printf("seen: getpid\n"); break;
      case SYS_sched_yield: printf("seen: sched_yield\n"); break;
      case SYS_futex: printf("seen: futex\n"); break;
      case SYS_clock_gettime: printf("seen: clock_gettime\n"); break;
      case SYS_time: printf("seen: time\n"); break;
      case SYS_getuid: printf("seen: getuid\n"); break;
    }
  }
  print_status("tracee", status);
}

static void traced(void) {
  pid_t pid = spawn_child(watched, NULL);
  int status;
  MUST(waitpid(pid, &status, 0));
  print_status("tracee", status);
  print_calls(pid);
}

static int calls_for_ever(void *arg) {
  for (;;) warm();
}

static void attached(void) {
  pid_t pid = spawn_child(calls_for_ever, NULL);
  sleep_ms(50);
  int status, seen[4] = {0};
  MUST(ptrace(PTRACE_ATTACH, pid, 0, 0));
  MUST(waitpid(pid, &status, 0));
  print_status("attached", status);
  for (int i = 0; i < 200; i++) {
    MUST(ptrace(PTRACE_SYSCALL, pid, 0, 0));
    MUST(waitpid(pid, &status, 0));
    struct user_regs_struct regs;
    MUST(ptrace(PTRACE_GETREGS, pid, 0, &regs));
    seen[0] |= regs.orig_rax == SYS_getpid;
    seen[1] |= regs.orig_rax == SYS_futex;
    seen[2] |= regs.orig_rax == SYS_clock_gettime;
    seen[3] |= regs.orig_rax == SYS_sched_yield;
  }
  printf("seen after attaching: getpid %d, futex %d, clock_gettime %d, sched_yield %d\n", seen[0], seen[1], seen[2], seen[3]);
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
}

static struct sock_filter refusing[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpid, 5, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_yield, 4, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 3, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getuid, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_time, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
};
static struct sock_fprog program = {sizeof refusing / sizeof *refusing, refusing};

static void print_refused(void) {
  struct timespec ts;
  CALL(syscall(SYS_getpid));
  CALL(syscall(SYS_sched_yield));
  CALL(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts));
  CALL(syscall(SYS_getuid));
  CALL(syscall(SYS_time, NULL));
}

static volatile int filtered;
static void *is_filtered_too(void *arg) {
  warm();
  filtered = 1;
  while (filtered != 2) sleep_ms(1);
  print_refused();
  return NULL;
}

static int filters(void *arg) {
  warm();
  pthread_t thread;
  pthread_create(&thread, NULL, is_filtered_too, NULL);
  while (filtered != 1) sleep_ms(1);
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
  print_refused();
  filtered = 2;
  pthread_join(thread, NULL);
  return 0;
}

// ---- FUTEX_WAKE

#define HAND_OVERS 20000
static int ball;

// The word is changed by a plain store: only the calls keep the two in step.
static void *plays(void *arg) {
  int me = (int)(long)arg;
  for (int i = 0; i < HAND_OVERS; i++) {
    while (*(volatile int *)&ball != me) futex(&ball, FUTEX_WAIT_PRIVATE, !me);
    *(volatile int *)&ball = !me;
    futex(&ball, FUTEX_WAKE_PRIVATE, 1);
  }
  return NULL;
}

static int shared_child(void *arg) {
  // The same memory at another place.
  char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, *(int *)arg, 0);
  int *there = (int *)(at + 64);
  for (int i = 0; i < 30; i++) futex(there + 1, FUTEX_WAKE, 1);
  while (__atomic_load_n(there, __ATOMIC_SEQ_CST) == 0) futex(there, FUTEX_WAIT, 0);
  __atomic_store_n(there, 2, __ATOMIC_SEQ_CST);
  futex(there, FUTEX_WAKE, 1);
  return 0;
}

static void between_processes(void) {
  int fd = MUST(memfd_create("words", 0));
  MUST(ftruncate(fd, 4096));
  char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int *here = (int *)(at + 64);
  pid_t pid = spawn_child(shared_child, &fd);
  while (futex(here, FUTEX_WAKE, 1) == 0) sleep_ms(1);
  *here = 1;
  futex(here, FUTEX_WAKE, 1);
  while (__atomic_load_n(here, __ATOMIC_SEQ_CST) != 2) futex(here, FUTEX_WAIT, 1);
  waitpid(pid, NULL, 0);
  CALL(futex(here, FUTEX_WAKE, 1));
}

static int from, to;
static void *is_moved(void *arg) {
  futex(&from, FUTEX_WAIT_PRIVATE, 0);
  return NULL;
}

static void requeued(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, is_moved, NULL);
  sleep_ms(300);
  CALL(futex(&to, FUTEX_WAKE_PRIVATE, 1));
  CALL(syscall(SYS_futex, &from, FUTEX_CMP_REQUEUE_PRIVATE, 1, 9, &to, 0));
  CALL(futex(&from, FUTEX_WAKE_PRIVATE, 9));
  CALL(syscall(SYS_futex, &to, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0));
  CALL(syscall(SYS_futex, &to, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 4));
  CALL(futex(&to, FUTEX_WAKE_PRIVATE, 9));
  CALL(futex(&to, FUTEX_WAKE_PRIVATE, 9));
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static void *times_out(void *arg) {
  struct timespec ts = {0, 20000000};
  syscall(SYS_futex, &from, FUTEX_WAIT_PRIVATE, 0, &ts);
  return NULL;
}

static void wakes(void) {
  warm();
  char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CALL(futex(&word, FUTEX_WAKE, 1));
  CALL(futex(&word, FUTEX_WAKE_PRIVATE, 0));
  CALL(futex((int *)((char *)&word + 1), FUTEX_WAKE_PRIVATE, 1));
  CALL(futex((int *)none, FUTEX_WAKE_PRIVATE, 1));
  munmap(none, 4096);
  CALL(futex((int *)none, FUTEX_WAKE_PRIVATE, 1));
  CALL(futex((int *)none, FUTEX_WAKE, 1));
  CALL(syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0));
  CALL(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
  requeued();
  pthread_t threads[2];
  pthread_create(&threads[0], NULL, times_out, NULL);
  pthread_join(threads[0], NULL);
  CALL(futex(&from, FUTEX_WAKE_PRIVATE, 1));
  between_processes();
  for (long i = 0; i < 2; i++) pthread_create(&threads[i], NULL, plays, (void *)i);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  printf("%d hand-overs by plain stores\n", 2 * HAND_OVERS);
}

// ---- many threads

#define MANY 1000
static int turns[MANY + 1];

static void *waits_for_its_turn(void *arg) {
  long me = (long)arg;
  while (__atomic_load_n(&turns[me], __ATOMIC_SEQ_CST) == 0) futex(&turns[me], FUTEX_WAIT_PRIVATE, 0);
  __atomic_store_n(&turns[me + 1], 1, __ATOMIC_SEQ_CST);
  futex(&turns[me + 1], FUTEX_WAKE_PRIVATE, 1);
  return NULL;
}

static void many(void) {
  static pthread_t threads[MANY];
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 65536);
  int made = 0;
  for (long i = 0; i < MANY; i++) made += pthread_create(&threads[i], &attr, waits_for_its_turn, (void *)i) == 0;
  printf("%d threads\n", made);
  turns[0] = 1;
  futex(&turns[0], FUTEX_WAKE_PRIVATE, 1);
  for (int i = 0; i < made; i++) pthread_join(threads[i], NULL);
  HOLDS(turns[MANY] == 1);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--ids") == 0) {
    warm();
    printf("a thread's exec has the process's number: %s\n", syscall(SYS_getpid) == atol(argv[2]) && syscall(SYS_gettid) == atol(argv[2]) ? "yes" : "NO");
    return 0;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  warm();
  long pid = syscall(SYS_getpid);

  SECTION("clocks");
  clocks();
  in_child("all room taken", takes_all_room, NULL);
  SECTION("identity");
  in_child("changes ids", changes_ids, NULL);
  in_child("fork", is_new_process, &pid);
  in_child("parent", loses_its_parent, &pid);
  HOLDS(syscall(SYS_getpid) == pid);
  in_child("pid namespace", enters_namespaces, NULL);
  in_child("user namespace", becomes_nobody, NULL);
  in_child("setns", joins, NULL);
  pthread_t thread;
  void *tid;
  pthread_create(&thread, NULL, tells_its_tid, NULL);
  pthread_join(thread, &tid);
  HOLDS((long)tid != pid && syscall(SYS_gettid) == pid);
  in_child("exec", execs_from_a_thread, NULL);
  SECTION("tracers and filters");
  traced();
  attached();
  in_child("filter", filters, NULL);
  SECTION("futexes");
  wakes();
  SECTION("many threads");
  many();
  return 0;
}

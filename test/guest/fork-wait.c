// fork, vfork, clone, exit and the ways to wait for children
#include "check.h"
#include <sys/resource.h>

static int exits(void *arg) {
  return *(int *)arg;
}
static int dies(void *arg) {
  raise(*(int *)arg);
  return 0;
}
static int sleeps(void *arg) {
  sleep_ms(*(int *)arg);
  return 0;
}
static int stops(void *arg) {
  (void)arg;
  raise(SIGSTOP);
  // The parent is to see us going on before the end.
  sleep_ms(50);
  return 3;
}
static int in_own_group(void *arg) {
  (void)arg;
  setpgid(0, 0);
  return 4;
}

static int variable = 1;
static int changes_memory(void *arg) {
  variable = 2;
  *(int *)arg = 2;
  return variable;
}

static int reports_parent(void *arg) {
  int *fds = arg;
  // The parent may have gone already: who adopts is told by the pid of the main program, which stays.
  while (getppid() != fds[2]) sleep_ms(5);
  pid_t now = getppid();
  if (write(fds[1], &now, sizeof now) != sizeof now) return 1;
  return 0;
}
static int orphans(void *arg) {
  spawn_child(reports_parent, arg);
  return 0;
}

static char clone_stack[65536] __attribute__((aligned(16)));
static int clone_child(void *arg) {
  *(int *)arg = 99;
  _exit(9);
}

static void *thread_that_exits(void *arg) {
  (void)arg;
  _exit(21);
}
static int exit_from_thread(void *arg) {
  pthread_t thread;
  pthread_create(&thread, NULL, thread_that_exits, arg);
  pause();
  return 0;
}
static void *late_thread(void *arg) {
  (void)arg;
  sleep_ms(50);
  exit(22);
}
static int leader_exits_first(void *arg) {
  pthread_t thread;
  pthread_create(&thread, NULL, late_thread, arg);
  pthread_exit(NULL);
}

int main(void) {
  no_core();
  int status;
  siginfo_t info;

  SECTION("statuses");
  for (int code = 0; code < 512; code += 100) {
    char name[32];
    snprintf(name, sizeof name, "exit(%d)", code);
    in_child(name, exits, &code);
  }
  int signals[] = {SIGTERM, SIGKILL, SIGSEGV};
  for (int i = 0; i < 3; i++) in_child("raise", dies, &signals[i]);
  in_child("_exit in a thread", exit_from_thread, NULL);
  in_child("leader gone first", leader_exits_first, NULL);

  SECTION("waitid");
  int five = 5;
  pid_t child = spawn_child(exits, &five);
  memset(&info, 0, sizeof info);
  CALL(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
  printf("code %d status %d\n", info.si_code, info.si_status);
  HOLDS(info.si_signo == SIGCHLD && info.si_pid == child && info.si_uid == getuid());
  CALL(waitid(P_PID, child, &info, WEXITED));
  CALL(waitid(P_PID, child, &info, WEXITED));
  child = spawn_child(dies, &signals[0]);
  CALL(waitid(P_ALL, 0, &info, WEXITED));
  printf("code %d status %d\n", info.si_code, info.si_status);
  CALL(waitid(P_ALL, 0, &info, 0));
  CALL(waitid(77, 0, &info, WEXITED));

  SECTION("WNOHANG, groups, nobody there");
  int ms = 100;
  child = spawn_child(sleeps, &ms);
  CALL(waitpid(child, &status, WNOHANG));
  info.si_pid = 77;
  CALL(waitid(P_PID, child, &info, WEXITED | WNOHANG));
  HOLDS(info.si_pid == 0);
  HOLDS(waitpid(-1, &status, 0) == child);
  CALL(waitpid(-1, &status, 0));
  CALL(waitpid(-1, &status, WNOHANG));
  CALL(waitpid(1234567, &status, 0));
  CALL(waitpid(-1, &status, 0x1000));
  child = spawn_child(in_own_group, NULL);
  setpgid(child, child);
  CALL(waitpid(0, &status, 0));
  HOLDS(waitpid(-child, &status, 0) == child);
  print_status("by group", status);

  SECTION("stopped and continued");
  child = spawn_child(stops, NULL);
  HOLDS(waitpid(child, &status, WUNTRACED) == child);
  print_status("child", status);
  CALL(waitpid(child, &status, WUNTRACED | WNOHANG));
  kill(child, SIGCONT);
  HOLDS(waitpid(child, &status, WCONTINUED) == child);
  print_status("child", status);
  HOLDS(waitpid(child, &status, 0) == child);
  print_status("child", status);
  child = spawn_child(stops, NULL);
  waitid(P_PID, child, &info, WSTOPPED);
  printf("stop code %d status %d\n", info.si_code, info.si_status);
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  print_status("a stopped child is killed", status);

  SECTION("memory is copied");
  int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  *shared = 1;
  in_child("changes", changes_memory, shared);
  printf("private %d, shared %d\n", variable, *shared);

  SECTION("orphans go to the reaper");
  int fds[3] = {0, 0, getpid()};
  MUST(pipe(fds));
  CALL(prctl(PR_SET_CHILD_SUBREAPER, 1));
  in_child("middle", orphans, fds);
  pid_t reaper = 0;
  CALL(read(fds[0], &reaper, sizeof reaper));
  HOLDS(reaper == getpid());
  HOLDS(waitpid(-1, &status, 0) > 0);
  print_status("orphan", status);

  SECTION("vfork shares memory and waits");
  volatile int touched = 0;
  fflush(stdout);
  child = vfork();
  if (child == 0) {
    touched = 1;
    _exit(8);
  }
  waitpid(child, &status, 0);
  printf("touched %d\n", touched);
  print_status("vfork", status);

  SECTION("clone");
  int value = 0;
  child = clone(clone_child, clone_stack + sizeof clone_stack, CLONE_VM | SIGCHLD, &value);
  waitpid(child, &status, 0);
  printf("CLONE_VM: %d\n", value);
  value = 0;
  child = clone(clone_child, clone_stack + sizeof clone_stack, SIGUSR1, &value);
  signal(SIGUSR1, SIG_IGN);
  CALL(waitpid(child, &status, 0));
  HOLDS(waitpid(child, &status, __WALL) == child);
  print_status("its signal is not SIGCHLD", status);
  printf("without CLONE_VM: %d\n", value);
  CALL(clone(clone_child, clone_stack + sizeof clone_stack, CLONE_THREAD | SIGCHLD, &value));
  CALL(clone(clone_child, clone_stack + sizeof clone_stack, CLONE_SIGHAND | SIGCHLD, &value));
  CALL(clone(clone_child, clone_stack + sizeof clone_stack, CLONE_FS | CLONE_NEWNS | SIGCHLD, &value));

  SECTION("many");
  pid_t pids[50];
  for (int i = 0; i < 50; i++) pids[i] = spawn_child(exits, &i);
  int sum = 0, all = 1;
  for (int i = 0; i < 50; i++) {
    if (waitpid(pids[i], &status, 0) != pids[i]) all = 0;
    sum += WEXITSTATUS(status);
  }
  printf("fifty children: %d, sum %d\n", all, sum);

  SECTION("death of the parent");
  MUST(pipe(fds));
  fflush(stdout);
  child = fork();
  if (child == 0) {
    pid_t grandchild = fork();
    if (grandchild == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (write(fds[1], "r", 1) != 1) _exit(1);
      pause();
      _exit(0);
    }
    char ready;
    if (read(fds[0], &ready, 1) != 1) _exit(1);
    _exit(0);
  }
  HOLDS(waitpid(child, &status, 0) == child);
  HOLDS(waitpid(-1, &status, 0) > 0);
  print_status("grandchild", status);
  return 0;
}

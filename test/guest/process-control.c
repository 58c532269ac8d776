// prctl, resource limits, identities and capabilities: what each call changes, and who may
// needs: root
#include "check.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <asm/prctl.h>

static int names(void *arg) {
  (void)arg;
  char name[16] = {0};
  CALL(prctl(PR_SET_NAME, "a-name-that-is-too-long", 0, 0, 0));
  CALL(prctl(PR_GET_NAME, name, 0, 0, 0));
  printf("name %s\n", name);
  CALL(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
  CALL(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
  CALL(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
  CALL(prctl(PR_SET_DUMPABLE, 2, 0, 0, 0));
  int got = -1;
  CALL(prctl(PR_SET_PDEATHSIG, 65, 0, 0, 0));
  CALL(prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0));
  CALL(prctl(PR_GET_PDEATHSIG, &got, 0, 0, 0));
  printf("pdeathsig %d\n", got);
  CALL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CALL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
  CALL(prctl(PR_SET_TIMERSLACK, 123, 0, 0, 0));
  CALL(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
  CALL(prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0));
  CALL(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
  CALL(prctl(PR_GET_TIMING, 0, 0, 0, 0));
  CALL(prctl(PR_SET_TIMING, 1, 0, 0, 0));
  CALL(prctl(PR_GET_TSC, &got, 0, 0, 0));
  CALL(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
  CALL(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
  CALL(prctl(PR_GET_FPEMU, &got, 0, 0, 0));
  CALL(prctl(PR_GET_ENDIAN, &got, 0, 0, 0));
  CALL(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0));
  CALL(prctl(PR_SET_KEEPCAPS, 2, 0, 0, 0));
  CALL(prctl(PR_CAPBSET_READ, 0, 0, 0, 0));
  CALL(prctl(PR_CAPBSET_READ, 63, 0, 0, 0));
  CALL(prctl(PR_GET_CHILD_SUBREAPER, &got, 0, 0, 0));
  CALL(prctl(PR_TASK_PERF_EVENTS_DISABLE, 0, 0, 0, 0));
  CALL(prctl(123456, 0, 0, 0, 0));
  return 0;
}

static int limits(void *arg) {
  (void)arg;
  struct rlimit r;
  getrlimit(RLIMIT_NOFILE, &r);
  r.rlim_cur = 100;
  CALL(setrlimit(RLIMIT_NOFILE, &r));
  r.rlim_cur = r.rlim_max + 1;
  CALL(setrlimit(RLIMIT_NOFILE, &r));
  CALL(getrlimit(99, &r));
  CALL(setrlimit(RLIMIT_NOFILE, NULL));
  CALL(prlimit(0, RLIMIT_NOFILE, NULL, &r));
  printf("nofile %d\n", (int)r.rlim_cur);
  CALL(prlimit(99999, RLIMIT_NOFILE, NULL, &r));
  r.rlim_cur = r.rlim_max = RLIM_INFINITY;
  CALL(setrlimit(RLIMIT_CORE, &r));
  CALL(getrlimit(RLIMIT_CORE, &r));
  HOLDS(r.rlim_cur == RLIM_INFINITY);
  int fd = dup2(0, 100);
  HOLDS(fd == -1 && errno == EBADF);
  CALL(fcntl(0, F_DUPFD, 100));
  struct rusage u;
  CALL(getrusage(RUSAGE_SELF, &u));
  CALL(getrusage(RUSAGE_THREAD, &u));
  CALL(getrusage(RUSAGE_CHILDREN, &u));
  CALL(getrusage(7, &u));
  return 0;
}

static void show_ids(const char *when) {
  uid_t r, e, s;
  gid_t gr, ge, gs;
  getresuid(&r, &e, &s);
  getresgid(&gr, &ge, &gs);
  printf("%s: uid %d %d %d fs %d, gid %d %d %d fs %d\n", when, r, e, s, setfsuid(-1), gr, ge, gs, setfsgid(-1));
}

static void show_caps(const char *when) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  syscall(SYS_capget, &head, data);
  printf("%s: effective %s, permitted %s, inheritable %s\n", when, data[0].effective ? "some" : "none", data[0].permitted ? "some" : "none",
         data[0].inheritable ? "some" : "none");
}

static int ids(void *arg) {
  (void)arg;
  gid_t groups[4] = {30, 10, 20, 10};
  CALL(setgroups(4, groups));
  gid_t got[8];
  CALL(getgroups(8, got));
  printf("groups %d %d %d %d\n", got[0], got[1], got[2], got[3]);
  CALL(getgroups(2, got));
  CALL(setgroups(70000, groups));
  CALL(setresgid(100, 101, 102));
  CALL(setfsgid(100));
  show_ids("gids");
  CALL(setresuid(-1, 1000, -1));
  show_ids("euid");
  show_caps("euid 1000");
  CALL(seteuid(0));
  show_caps("euid 0");
  CALL(setfsuid(1000));
  show_ids("fsuid");
  CALL(setreuid(1000, 0));
  show_ids("setreuid");
  CALL(setuid(1000));
  show_ids("setuid");
  show_caps("setuid");
  CALL(setuid(0));
  CALL(setresuid(0, -1, -1));
  CALL(setgroups(0, groups));
  CALL(setgid(5));
  CALL(kill(getppid(), 0));
  return 0;
}

static int keeps(void *arg) {
  (void)arg;
  CALL(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
  CALL(setresuid(1000, 1000, 1000));
  show_caps("kept");
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  syscall(SYS_capget, &head, data);
  data[0].inheritable = 1 << CAP_CHOWN;
  CALL(syscall(SYS_capset, &head, data));
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0));
  data[0].permitted = data[0].effective = 1 << CAP_SETPCAP;
  data[1].permitted = data[1].effective = 0;
  CALL(syscall(SYS_capset, &head, data));
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
  data[0].permitted = 1 << CAP_CHOWN;
  CALL(syscall(SYS_capset, &head, data));
  head.version = 5;
  CALL(syscall(SYS_capget, &head, data));
  printf("version %x\n", head.version);
  CALL(prctl(PR_SET_SECUREBITS, 1 << 6, 0, 0, 0));
  data[0].permitted = data[0].effective = 1 << CAP_SETPCAP;
  CALL(prctl(PR_SET_SECUREBITS, 0xff, 0, 0, 0));
  CALL(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
  CALL(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0));
  CALL(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0));
  CALL(prctl(PR_CAPBSET_READ, CAP_SYS_TIME, 0, 0, 0));
  return 0;
}

static int others(void *arg) {
  (void)arg;
  unsigned long base = 0;
  CALL(syscall(SYS_arch_prctl, ARCH_GET_FS, &base));
  HOLDS(base == (unsigned long)pthread_self());
  CALL(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x1234000));
  CALL(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
  HOLDS(base == 0x1234000);
  CALL(syscall(SYS_arch_prctl, ARCH_SET_GS, 1ul << 63));
  CALL(syscall(SYS_arch_prctl, 0x9999, 0));
  CALL(personality(0xffffffff));
  CALL(personality(ADDR_NO_RANDOMIZE));
  CALL(personality(0xffffffff));
  CALL(sethostname("a-guest", 7));
  struct utsname u;
  uname(&u);
  printf("hostname %s\n", u.nodename);
  CALL(sethostname(u.nodename, 65));
  CALL(sethostname(NULL, 5));
  CALL(syscall(SYS_kcmp, getpid(), getpid(), 1, 0, 0));
  CALL(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0));
  CALL(syscall(SYS_kcmp, getpid(), getppid(), 99, 0, 0));
  CALL(syscall(SYS_kcmp, getpid(), 99999, 0, 0, 0));
  return 0;
}

int main(void) {
  // A hostname of our own, so that the host's is left alone.
  MUST(unshare(CLONE_NEWUTS));
  SECTION("prctl");
  in_child("names", names, NULL);
  SECTION("limits");
  in_child("limits", limits, NULL);
  SECTION("identities");
  in_child("ids", ids, NULL);
  SECTION("kept capabilities");
  in_child("keeps", keeps, NULL);
  SECTION("others");
  in_child("others", others, NULL);
  return 0;
}

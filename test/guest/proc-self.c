// /proc: what a process can read of itself and of the machine
#include "check.h"
#include <dirent.h>

static char buffer[1 << 18];

static long slurp(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) {
    printf("%s: %s\n", path, strerrorname_np(errno));
    buffer[0] = 0;
    return -1;
  }
  long n = 0, got;
  while ((got = read(fd, buffer + n, sizeof buffer - 1 - n)) > 0) n += got;
  buffer[n] = 0;
  close(fd);
  return n;
}

// Prints which of the keys begin a line of the file.
static void keys(const char *path, const char *const *wanted) {
  slurp(path);
  printf("%s:", path);
  for (; *wanted; wanted++) {
    char at[64];
    snprintf(at, sizeof at, "\n%s", *wanted);
    int first = strncmp(buffer, *wanted, strlen(*wanted)) == 0;
    printf(" %s%s", *wanted, first || strstr(buffer, at) ? "" : "=missing");
  }
  printf("\n");
}

static long status_number(const char *key) {
  slurp("/proc/self/status");
  char at[64];
  snprintf(at, sizeof at, "\n%s:", key);
  char *found = strstr(buffer, at);
  return found ? strtol(found + strlen(at), NULL, 0) : -1;
}

static void link_of(const char *path) {
  char target[PATH_MAX];
  long n = readlink(path, target, sizeof target - 1);
  if (n < 0) {
    printf("%s: %s\n", path, strerrorname_np(errno));
    return;
  }
  target[n] = 0;
  char *digits = strchr(target, '[');
  if (digits && strchr("pis", target[0])) strcpy(digits, "[n]");
  char *slash = strrchr(target, '/');
  printf("%s -> %s\n", path, slash && slash[1] ? slash + 1 : target);
}

static void *thread_waits(void *arg) {
  prctl(PR_SET_NAME, "second");
  pthread_barrier_wait(arg);
  pthread_barrier_wait(arg);
  return NULL;
}

static int count_entries(const char *path) {
  DIR *d = opendir(path);
  int n = 0;
  if (d == NULL) return -1;
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static int vanishes(void *arg) {
  (void)arg;
  return 0;
}

int main(int argc, char **argv) {
  enter_scratch();
  if (argc == 1) {
    setenv("MARK", "of this test", 1);
    char *args[] = {"named-by-argv", "two words", "", NULL};
    execv("/proc/self/exe", args);
  }
  SECTION("identity");
  long n = slurp("/proc/self/cmdline");
  for (long i = 0; i < n; i++) putchar(buffer[i] ? buffer[i] : '|');
  printf(" (%ld)\n", n);
  n = slurp("/proc/self/environ");
  HOLDS(memmem(buffer, n, "MARK=of this test", 18) != NULL);
  CALL(prctl(PR_SET_NAME, "a name that is too long"));
  slurp("/proc/self/comm");
  printf("comm %s", buffer);
  int comm = MUST(open("/proc/self/comm", O_WRONLY));
  CALL(write(comm, "by file", 7));
  slurp("/proc/self/comm");
  printf("comm %s", buffer);
  HOLDS(status_number("Pid") == getpid() && status_number("PPid") == getppid() && status_number("Tgid") == getpid());
  slurp("/proc/self/stat");
  int pid, ppid, pgrp, session;
  char name[64], state;
  HOLDS(sscanf(buffer, "%d (%63[^)]) %c %d %d %d", &pid, name, &state, &ppid, &pgrp, &session) == 6);
  HOLDS(pid == getpid() && strcmp(name, "by file") == 0 && state == 'R' && ppid == getppid() && pgrp == getpgrp());
  int spaces = 0;
  for (char *p = buffer; *p; p++) spaces += *p == ' ';
  printf("fields of stat: %d\n", spaces);
  slurp("/proc/self/statm");
  long pages[7];
  HOLDS(sscanf(buffer, "%ld %ld %ld %ld %ld %ld %ld", pages, pages + 1, pages + 2, pages + 3, pages + 4, pages + 5, pages + 6) == 7 && pages[0] > 0);
  char *self = realpath("/proc/self", NULL), expected[64];
  sprintf(expected, "/proc/%d", getpid());
  HOLDS(self && strcmp(self, expected) == 0);
  link_of("/proc/self/root");
  char cwd[PATH_MAX], by_link[PATH_MAX];
  n = readlink("/proc/self/cwd", by_link, sizeof by_link - 1);
  by_link[n] = 0;
  HOLDS(strcmp(getcwd(cwd, sizeof cwd), by_link) == 0);

  SECTION("descriptors");
  int file = MUST(open("file", O_RDWR | O_CREAT | O_APPEND, 0600)), fds[2];
  MUST(write(file, "12345", 5));
  MUST(pipe(fds));
  dup2(file, 100);
  dup2(fds[0], 101);
  dup2(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 102);
  link_of("/proc/self/fd/100");
  link_of("/proc/self/fd/101");
  link_of("/proc/self/fd/77");
  unlink("file");
  link_of("/proc/self/fd/100");
  slurp("/proc/self/fdinfo/100");
  char *mount = strstr(buffer, "mnt_id");
  if (mount) *mount = 0;
  printf("%s", buffer);
  int again = open("/proc/self/fd/100", O_RDONLY);
  CALL(read(again, buffer, 10));
  struct stat a, b;
  fstat(again, &a);
  stat("/proc/self/fd/100", &b);
  HOLDS(a.st_ino == b.st_ino);
  lstat("/proc/self/fd/100", &b);
  HOLDS(S_ISLNK(b.st_mode));
  CALL(open("/proc/self/fd/102/nothing", O_RDONLY));
  HOLDS(count_entries("/proc/self/fd") == count_entries("/proc/self/fdinfo"));
  CALL(unlink("/proc/self/fd/100"));
  CALL(open("/proc/self/fd/new", O_CREAT | O_RDWR, 0600));

  SECTION("memory");
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  int stack = 0, heap = 0, vdso = 0, sorted = 1;
  unsigned long last = 0;
  malloc(100);
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx", &from, &to) == 2) {
      if (from < last) sorted = 0;
      last = to;
    }
    if (strstr(line, "[stack]")) stack = (unsigned long)&line >= from && (unsigned long)&line < to;
    heap |= strstr(line, "[heap]") != NULL;
    vdso |= strstr(line, "[vdso]") != NULL;
  }
  fclose(maps);
  printf("stack %d heap %d vdso %d sorted %d\n", stack, heap, vdso, sorted);
  slurp("/proc/self/smaps");
  HOLDS(strstr(buffer, "\nRss:") && strstr(buffer, "\nPrivate_Dirty:") && strstr(buffer, "\nVmFlags:"));
  static int target = 4711;
  int mem = MUST(open("/proc/self/mem", O_RDWR)), value = 0;
  CALL(pread(mem, &value, sizeof value, (off_t)&target));
  printf("value %d\n", value);
  value = 5;
  CALL(pwrite(mem, &value, sizeof value, (off_t)&target));
  printf("target %d\n", *(volatile int *)&target);
  CALL(pread(mem, &value, sizeof value, 0));
  unsigned long auxv[2];
  int fd = MUST(open("/proc/self/auxv", O_RDONLY)), known = 0;
  while (read(fd, auxv, sizeof auxv) == sizeof auxv) known += auxv[0] == 6 && auxv[1] == 4096;
  HOLDS(known == 1);
  HOLDS(status_number("VmRSS") > 0 && status_number("VmSize") > status_number("VmRSS"));

  SECTION("threads");
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_t thread;
  pthread_create(&thread, NULL, thread_waits, &barrier);
  pthread_barrier_wait(&barrier);
  HOLDS(status_number("Threads") == 2);
  printf("tasks %d\n", count_entries("/proc/self/task"));
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *e; (e = readdir(tasks));) {
    if (e->d_name[0] == '.' || atoi(e->d_name) == getpid()) continue;
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
    slurp(path);
    printf("other thread %s", buffer);
  }
  closedir(tasks);
  pthread_barrier_wait(&barrier);
  pthread_join(thread, NULL);

  SECTION("others");
  pid_t child = spawn_child(vanishes, NULL);
  siginfo_t info;
  MUST(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
  char path[64];
  sprintf(path, "/proc/%d/stat", child);
  slurp(path);
  char *paren = strrchr(buffer, ')');
  printf("a zombie is %c\n", paren ? paren[2] : '?');
  sprintf(path, "/proc/%d/cmdline", child);
  printf("its command line: %ld bytes\n", slurp(path));
  sprintf(path, "/proc/%d/status", child);
  int held = open(path, O_RDONLY);
  waitpid(child, NULL, 0);
  CALL(read(held, buffer, 10));
  sprintf(path, "/proc/%d", child);
  CALL(access(path, F_OK));
  CALL(access("/proc/1/status", R_OK));
  CALL(access("/proc/999999", F_OK));
  CALL(mkdir("/proc/x", 0777));
  CALL(open("/proc/x", O_CREAT | O_RDWR, 0600));
  CALL(unlink("/proc/uptime"));

  SECTION("keys");
  keys("/proc/self/status", (const char *const[]){"Name:", "Umask:", "State:", "Tgid:", "Ngid:", "Pid:", "PPid:", "TracerPid:", "Uid:", "Gid:", "FDSize:", "Groups:", "NSpid:", "VmPeak:", "VmSize:", "VmHWM:", "VmRSS:", "VmData:", "VmStk:", "VmExe:", "Threads:", "SigQ:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "Cpus_allowed:", "Cpus_allowed_list:", "Mems_allowed:", "voluntary_ctxt_switches:", NULL});
  keys("/proc/meminfo", (const char *const[]){"MemTotal:", "MemFree:", "MemAvailable:", "Buffers:", "Cached:", "SwapTotal:", "SwapFree:", "Shmem:", "HugePages_Total:", NULL});
  keys("/proc/self/io", (const char *const[]){"rchar:", "wchar:", "syscr:", "syscw:", "read_bytes:", "write_bytes:", NULL});
  keys("/proc/self/limits", (const char *const[]){"Limit", "Max cpu time", "Max file size", "Max stack size", "Max open files", "Max processes", "Max locked memory", NULL});
  keys("/proc/stat", (const char *const[]){"cpu ", "cpu0 ", "intr", "ctxt ", "btime ", "processes ", "procs_running ", NULL});
  keys("/proc/cpuinfo", (const char *const[]){"processor", "vendor_id", "model name", "flags", "cpu MHz", NULL});
  keys("/proc/filesystems", (const char *const[]){"nodev\tproc", "nodev\ttmpfs", "nodev\tsysfs", NULL});
  slurp("/proc/self/mountinfo");
  // The root of the first may lie anywhere in its file system.
  HOLDS(strstr(buffer, " / ") && strstr(buffer, " / /proc ") && strstr(buffer, " - proc proc "));
  double up, idle;
  slurp("/proc/uptime");
  HOLDS(sscanf(buffer, "%lf %lf", &up, &idle) == 2 && up > 0);
  slurp("/proc/loadavg");
  HOLDS(sscanf(buffer, "%lf %lf", &up, &idle) == 2);
  slurp("/proc/version");
  HOLDS(strncmp(buffer, "Linux version ", 14) == 0);
  const char *numbers[] = {"/proc/sys/kernel/pid_max", "/proc/sys/fs/pipe-max-size", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/ngroups_max", "/proc/sys/net/core/somaxconn", "/proc/sys/fs/file-max", "/proc/sys/vm/max_map_count", "/proc/sys/kernel/random/entropy_avail"};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    slurp(numbers[i]);
    printf("%s is a number: %d\n", numbers[i], buffer[0] >= '0' && buffer[0] <= '9');
  }
  slurp("/proc/sys/kernel/ostype");
  printf("%s", buffer);
  slurp("/proc/sys/kernel/random/uuid");
  printf("uuid of %zu\n", strlen(buffer));
  for (int i = 0; i < 7; i++) {
    const char *names[] = {"mnt", "pid", "net", "ipc", "uts", "user", "cgroup"};
    sprintf(path, "/proc/self/ns/%s", names[i]);
    char link[64] = "";
    HOLDS(readlink(path, link, sizeof link) > 0 && strncmp(link, names[i], strlen(names[i])) == 0);
  }
  return 0;
}

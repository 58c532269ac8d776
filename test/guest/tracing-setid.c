// ptrace and set-id programs: who is traced by somebody without rights gains none
// needs: root
#include "check.h"
#include <sys/ptrace.h>

static const char *program;

// Prints its effective user and ends. Run as itself, set-user-ID root.
static int effective(void) {
  printf("effective user: %s\n", geteuid() == 0 ? "root" : "somebody");
  return 0;
}

static int traced(void *arg) {
  bool traces = arg != NULL;
  MUST(setresuid(4711, 4711, 4711));
  if (traces) MUST(ptrace(PTRACE_TRACEME, 0, 0, 0));
  execl(program, program, "effective", NULL);
  return 1;
}

static int unprivileged(void *arg) {
  MUST(setresuid(4711, 4711, 4711));
  pid_t pid = spawn_child(traced, arg);
  int status;
  MUST(waitpid(pid, &status, 0));
  if (WIFSTOPPED(status)) {
    printf("stopped by signal %d\n", WSTOPSIG(status));
    CALL(ptrace(PTRACE_CONT, pid, 0, 0));
    MUST(waitpid(pid, &status, 0));
  }
  print_status("traced", status);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1) return effective();
  char self[PATH_MAX], copy[] = "/tmp/setid-XXXXXX", command[2 * PATH_MAX];
  self[MUST(readlink("/proc/self/exe", self, sizeof self - 1))] = 0;
  close(MUST(mkstemp(copy)));
  snprintf(command, sizeof command, "cp %s %s", self, copy);
  MUST(system(command) == 0 ? 0 : -1);
  MUST(chmod(copy, 04755));
  program = copy;
  (void)argv;
  for (int i = 0; i < 2; i++) {
    SECTION(i == 0 ? "alone" : "traced");
    int status;
    MUST(waitpid(spawn_child(unprivileged, i == 0 ? NULL : (void *)1), &status, 0));
  }
  unlink(copy);
  return 0;
}

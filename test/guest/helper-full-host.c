// What a process meets when the host lets it have no more processes or threads.
#include "check.h"

static void *sleeper(void *unused) {
  pause();
  return NULL;
}

int main(void) {
  static pid_t children[400];
  int n = 0, status, by_signal = 0;
  for (; n < 400; n++) {
    children[n] = fork();
    if (children[n] < 0) break;
    if (children[n] == 0) {
      pause();
      _exit(0);
    }
  }
  printf("fork: %s\n", n == 400 ? "no end" : strerrorname_np(errno));
  pid_t child = vfork();
  if (child == 0) _exit(0);
  printf("vfork: %s\n", child < 0 ? strerrorname_np(errno) : "ok");
  pthread_t thread;
  int error = pthread_create(&thread, NULL, sleeper, NULL);
  printf("pthread_create: %s\n", error != 0 ? strerrorname_np(error) : "ok");
  fflush(stdout);
  printf("children that have ended: %d\n", waitpid(-1, &status, WNOHANG));
  // An exec needs no more than there is.
  for (int i = 0; i < 3; i++) {
    kill(children[i], SIGTERM);
    waitpid(children[i], &status, 0);
    // A sandbox's host may need a moment to take the dead one away.
    for (int tries = 0; tries < 200 && (children[i] = fork()) < 0; tries++) sleep_ms(10);
    if (children[i] < 0) {
      printf("no new process\n");
      continue;
    }
    if (children[i] == 0) {
      execl("/bin/true", "true", NULL);
      _exit(98);
    }
    waitpid(children[i], &status, 0);
    print_status("a new program", status);
  }
  for (int i = 3; i < n; i++) kill(children[i], SIGTERM);
  while (wait(&status) > 0) by_signal += WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
  printf("all others ended by the signal: %d\n", by_signal == n - 3);
  return 0;
}

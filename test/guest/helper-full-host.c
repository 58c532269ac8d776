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
  // The sandbox's own threads come and go: there may be room for one again.
  pid_t child = vfork();
  if (child == 0) _exit(0);
  printf("vfork is EAGAIN or ok: %d\n", child > 0 || errno == EAGAIN);
  if (child > 0) waitpid(child, &status, 0);
  pthread_t thread;
  int error = pthread_create(&thread, NULL, sleeper, NULL);
  printf("pthread_create is EAGAIN or ok: %d\n", error == 0 || error == EAGAIN);
  fflush(stdout);
  printf("children that have ended: %d\n", waitpid(-1, &status, WNOHANG));
  int born = 0, died = 0;
  for (int i = 0; i < 5; i++) {
    kill(children[i], SIGTERM);
    waitpid(children[i], &status, 0);
    // A sandbox's host may need a moment to take the dead one away.
    for (int tries = 0; tries < 100 && (children[i] = fork()) < 0; tries++) sleep_ms(10);
    if (children[i] < 0) continue;
    if (children[i] == 0) {
      execl("/bin/true", "true", NULL);
      _exit(98);
    }
    waitpid(children[i], &status, 0);
    born++;
    died += !WIFEXITED(status);
  }
  printf("new processes: %d, killed at exec: %d\n", born > 0, died);
  for (int i = 5; i < n; i++) kill(children[i], SIGTERM);
  while (wait(&status) > 0) by_signal += WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
  printf("all others ended by the signal: %d\n", by_signal == n - 5);
  return 0;
}

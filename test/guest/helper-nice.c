// Two processes on one processor, one with a nice value: how much more the other one gets done.
#include "check.h"
#include <linux/sched.h>

static volatile long *turns;

static int turn(void *which) {
  long n = (long)which;
  if (n == 1) setpriority(PRIO_PROCESS, 0, 19);
  if (n == 2) {
    struct sched_param param = {0};
    sched_setscheduler(0, SCHED_IDLE, &param);
  }
  for (;;) turns[n * 64]++;
}

int main(void) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  sched_setaffinity(0, sizeof one, &one);
  turns = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (long other = 1; other <= 2; other++) {
    turns[0] = 0;
    pid_t first = spawn_child(turn, (void *)0), second = spawn_child(turn, (void *)other);
    sleep_ms(1500);
    kill(first, SIGKILL);
    kill(second, SIGKILL);
    waitpid(first, NULL, 0);
    waitpid(second, NULL, 0);
    printf("%s: %s\n", other == 1 ? "nice 19" : "SCHED_IDLE", turns[0] > 4 * turns[other * 64] ? "steps back" : "does not step back");
  }
  return 0;
}

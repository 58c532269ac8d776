// Computes until it is killed, or whoever started it ends.
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() == 1) return 1;
  for (volatile uint64_t n = 0;; n++) {
  }
}

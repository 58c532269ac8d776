// Children of several kinds, each with a page at an address that tells its kind to who looks from the host: the test kills them there.
#include "check.h"
#include <linux/futex.h>

#define MARK 0x200000000000UL
#define KIND_STEP 0x100000000UL
#define KINDS 6

static void mark(long kind) {
  void *at = (void *)(MARK + (unsigned long)kind * KIND_STEP);
  if (mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at) _exit(98);
}

static int ball;
static void *plays(void *arg) {
  int me = (int)(long)arg;
  for (;;) {
    while (__atomic_load_n(&ball, __ATOMIC_SEQ_CST) != me) syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, !me, NULL);
    __atomic_store_n(&ball, !me, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1);
  }
  return NULL;
}

static void lives(long kind) {
  int fd = open("/dev/null", O_WRONLY);
  pthread_t thread;
  switch (kind) {
    case 1: // computes
      for (volatile long i = 0;; i++) {
      }
    case 2: // calls
      for (;;) write(fd, "x", 1);
    case 3: // waits
      for (;;) pause();
    case 4: // makes processes
      for (;;) {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        waitpid(pid, NULL, 0);
      }
    case 5: // has threads that wake each other
      pthread_create(&thread, NULL, plays, (void *)1);
      plays((void *)0);
    case 6: // maps and unmaps
      for (;;) munmap(mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536);
  }
}

int main(int argc, char **argv) {
  if (argc > 1) return 7;
  pid_t children[KINDS + 1];
  for (long kind = 1; kind <= KINDS; kind++) {
    children[kind] = fork();
    if (children[kind] == 0) {
      mark(kind);
      lives(kind);
    }
  }
  // As the first process this one also inherits what kind 4 leaves behind.
  for (int left = KINDS; left > 0;) {
    int status;
    pid_t pid = MUST(waitpid(-1, &status, 0));
    for (int kind = 1; kind <= KINDS; kind++) {
      if (children[kind] != pid) continue;
      left--;
      printf("kind %d ", kind);
      print_status("has ended", status);
    }
  }
  pid_t pid = fork();
  if (pid == 0) {
    execl("/proc/self/exe", "helper-mortal", "again", NULL);
    _exit(1);
  }
  int status;
  MUST(waitpid(pid, &status, 0));
  print_status("a new program", status);
  return 0;
}

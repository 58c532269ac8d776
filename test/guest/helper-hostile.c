// A guest that attacks the stub of its own process on the systrap platform: helper of test/platform/hostile-guest.test.ts.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// native/stub/sysmsg.h.
#define STUB_SYSCALL 0x7ff000000000UL
#define STUB_STACKS 0x7ff100000000UL
#define RING ((volatile uint32_t *)0x7ff000100000UL)
#define RING_WORDS 16384
#define RING_SLOTS 64
#define WINDOW ((volatile uint32_t *)0x7ff010000000UL)
#define CONTEXT_WORDS 0x8000
#define JUMP_TABLE 0x60000UL

/** Runs one call from the stub's own text, whose next instruction is an int3. */
static void stub_call(long nr, long a, long b, long c, long d) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = -1;
  register long r9 __asm__("r9") = 0;
  __asm__ volatile("call *%0" ::"r"(STUB_SYSCALL), "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
}

static void opens(void) { stub_call(SYS_openat, -100, (long)"/etc/passwd", 0, 0); }
static void unmaps_the_window(void) { stub_call(SYS_munmap, (long)WINDOW, 4096, 0, 0); }
static void makes_the_stub_writable(void) { stub_call(SYS_mprotect, STUB_SYSCALL, 4096, 7, 0); }
static void unmaps_itself(void) { stub_call(SYS_munmap, 0x400000, 0x100000, 0, 0); }
static void clones(void) { stub_call(SYS_clone, 0x8011, 0, 0, 0); }

static void busy_with_calls(int times) {
  for (int i = 0; i < times; i++) {
    int fds[2];
    char byte;
    if (pipe(fds) < 0 || write(fds[1], "x", 1) != 1 || read(fds[0], &byte, 1) != 1) _exit(1);
    close(fds[0]);
    close(fds[1]);
  }
}

static void clears_the_ring(void) {
  for (int i = 0; i < 100; i++) {
    memset((void *)RING, 0, RING_WORDS * 4);
    busy_with_calls(1);
  }
}

static void fills_the_ring(void) {
  for (int i = 0; i < 100000; i++) {
    RING[rand() % RING_WORDS] = (uint32_t)rand();
    if (i % 1000 == 0) busy_with_calls(1);
  }
}

static void announce(int slot) {
  volatile uint32_t *c = WINDOW + slot * CONTEXT_WORDS;
  c[0] = 1;
  RING[RING_SLOTS + (__atomic_fetch_add(&RING[0], 1, __ATOMIC_SEQ_CST) & 8191)] = c[2] + 1;
}

static void *events(void *seed) {
  unsigned state = (unsigned)(long)seed;
  for (;;) {
    WINDOW[4] = rand_r(&state) % 9;
    announce(0);
  }
  return NULL;
}

static void *scribbles(void *seed) {
  unsigned state = (unsigned)(long)seed;
  for (;;) {
    WINDOW[rand_r(&state) % 0x800] = rand_r(&state);
    if (rand_r(&state) % 8 == 0) WINDOW[rand_r(&state) % 12] = rand_r(&state) % 8;
    if (rand_r(&state) % 16 == 0) announce(rand_r(&state) % 3);
  }
  return NULL;
}

static void with_thread(void *(*body)(void *)) {
  pthread_t thread;
  pthread_create(&thread, NULL, body, (void *)(long)getpid());
  busy_with_calls(3000);
}

static void forges_events(void) { with_thread(events); }
static void writes_its_context(void) { with_thread(scribbles); }

static void writes_the_jump_table(void) {
  memset((void *)JUMP_TABLE, 0x41, 0x20000);
  busy_with_calls(100);
}

static void stands_on_the_signal_stack(void) {
  __asm__ volatile("mov %0, %%rsp\n mov $39, %%eax\n syscall\n mov $231, %%eax\n xor %%edi, %%edi\n syscall" ::"r"(STUB_STACKS + 0x8000));
}

static const struct {
  const char *name;
  void (*attack)(void);
} attacks[] = {
    {"opens", opens},
    {"unmaps-the-window", unmaps_the_window},
    {"makes-the-stub-writable", makes_the_stub_writable},
    {"unmaps-itself", unmaps_itself},
    {"clones", clones},
    {"clears-the-ring", clears_the_ring},
    {"fills-the-ring", fills_the_ring},
    {"forges-events", forges_events},
    {"writes-its-context", writes_its_context},
    {"writes-the-jump-table", writes_the_jump_table},
    {"stands-on-the-signal-stack", stands_on_the_signal_stack},
};

/** The attack runs in a child; its parent must find the child ended and go on as if nothing was. */
int main(int argc, char **argv) {
  for (unsigned i = 0; i < sizeof attacks / sizeof *attacks; i++) {
    if (argc < 2 || strcmp(argv[1], attacks[i].name) != 0) continue;
    pid_t pid = fork();
    if (pid == 0) {
      alarm(5);
      attacks[i].attack();
      _exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid) return 1;
    pid = fork();
    if (pid == 0) _exit(7);
    if (waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 7) return 1;
    busy_with_calls(100);
    puts("the sandbox goes on");
    return 0;
  }
  for (unsigned i = 0; i < sizeof attacks / sizeof *attacks; i++) puts(attacks[i].name);
  return 0;
}

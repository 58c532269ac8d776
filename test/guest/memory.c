// mmap, mprotect, mremap, brk, file mappings shared and private, memfd
#include "check.h"
#include <setjmp.h>

static sigjmp_buf back;
static void caught(int sig) {
  siglongjmp(back, sig);
}

// r, w: whether the byte can be read and written.
static void access_of(const char *what, volatile char *at) {
  struct sigaction sa = {.sa_handler = caught};
  sigaction(SIGSEGV, &sa, NULL);
  sigaction(SIGBUS, &sa, NULL);
  volatile int read_ok = 0, write_ok = 0;
  volatile char value = 0;
  if (sigsetjmp(back, 1) == 0) {
    value = *at;
    read_ok = 1;
  }
  if (read_ok && sigsetjmp(back, 1) == 0) {
    *at = value;
    write_ok = 1;
  }
  printf("%s: %s%s\n", what, read_ok ? "r" : "-", write_ok ? "w" : "-");
}

static char *pages(int count, int prot) {
  char *at = mmap(NULL, count * 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST((long)at);
  return at;
}

// How many lines of the map lie inside the range, with what permissions.
static void print_maps(const char *what, char *from, size_t size) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  printf("%s:", what);
  while (fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    char perms[8];
    if (sscanf(line, "%lx-%lx %7s", &start, &end, perms) != 3) continue;
    if (start >= (unsigned long)from + size || end <= (unsigned long)from) continue;
    long first = ((long)start - (long)from) / 4096, last = ((long)end - (long)from) / 4096;
    if (first < 0) first = -1;
    if (last > (long)(size / 4096)) last = size / 4096 + 1;
    printf(" %ld..%ld:%s", first, last, perms);
  }
  printf("\n");
  fclose(maps);
}

static int child_changes(void *arg) {
  char **maps = arg;
  strcpy(maps[0], "child");
  strcpy(maps[1], "child");
  strcpy(maps[2], "child");
  return 0;
}

static int touch_all(void *arg) {
  char *at = arg;
  for (int i = 0; i < 1024; i++) at[i * 4096] = 1;
  return 0;
}

int main(void) {
  enter_scratch();
  SECTION("anonymous memory");
  char *at = pages(8, PROT_READ | PROT_WRITE);
  HOLDS(((uintptr_t)at & 4095) == 0);
  HOLDS(at[0] == 0 && at[8 * 4096 - 1] == 0);
  CALL(mprotect(at + 4096, 4096, PROT_READ));
  CALL(mprotect(at + 3 * 4096, 4096, PROT_NONE));
  CALL(munmap(at + 5 * 4096, 4096));
  for (int i = 0; i < 8; i++) {
    char name[16];
    snprintf(name, sizeof name, "page %d", i);
    access_of(name, at + i * 4096);
  }
  print_maps("split", at, 8 * 4096);
  CALL(mprotect(at, 8 * 4096, PROT_READ));
  CALL(mprotect(at, 5 * 4096, PROT_READ | PROT_WRITE));
  CALL(munmap(at, 8 * 4096));
  CALL(munmap(at, 8 * 4096));

  SECTION("errors");
  CALL(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  CALL(mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0));
  CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0));
  CALL(mmap((void *)4097, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  CALL(mmap(NULL, 1ul << 62, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  CALL(mmap((void *)(1ul << 47), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  CALL(munmap((void *)1, 4096));
  CALL(munmap((void *)4096, 0));
  CALL(mprotect((void *)1, 4096, PROT_READ));
  CALL(mprotect((void *)(1ul << 40), 4096, PROT_READ));
  CALL(mprotect((void *)(1ul << 40), 0, PROT_READ));
  int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
  CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 100));
  int read_only = MUST(open("file", O_RDONLY)), write_only = MUST(open("file", O_WRONLY));
  CALL(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, read_only, 0));
  CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, write_only, 0));
  HOLDS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, read_only, 0) != MAP_FAILED);
  int directory = open(".", O_RDONLY);
  CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, directory, 0));
  int pipe_fds[2];
  MUST(pipe(pipe_fds));
  CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, pipe_fds[0], 0));
  char *readable = mmap(NULL, 4096, PROT_READ, MAP_SHARED, read_only, 0);
  CALL(mprotect(readable, 4096, PROT_READ | PROT_WRITE));

  SECTION("placement");
  at = pages(4, PROT_NONE);
  HOLDS(mmap(at + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at + 4096);
  CALL(mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  munmap(at, 4096);
  HOLDS(mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);
  HOLDS(mmap(at + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != at + 4096);
  munmap(at, 4096);
  HOLDS(mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == at);
  HOLDS((unsigned long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0) < 1ul << 31);

  SECTION("mremap");
  at = pages(4, PROT_READ | PROT_WRITE);
  for (int i = 0; i < 4; i++) at[i * 4096] = 'A' + i;
  char *moved = mremap(at, 4 * 4096, 64 * 4096, MREMAP_MAYMOVE);
  HOLDS(moved != MAP_FAILED && moved[0] == 'A' && moved[3 * 4096] == 'D' && moved[63 * 4096] == 0);
  HOLDS(mremap(moved, 64 * 4096, 2 * 4096, 0) == moved);
  access_of("beyond the shrunk end", moved + 2 * 4096);
  char *target = pages(8, PROT_NONE);
  HOLDS(mremap(moved, 2 * 4096, 3 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
  HOLDS(target[4096] == 'B' && target[2 * 4096] == 0);
  access_of("old place", moved);
  CALL(mremap(target, 3 * 4096, 100 * 4096, 0));
  CALL(mremap((void *)(1ul << 40), 4096, 8192, MREMAP_MAYMOVE));
  CALL(mremap(target, 4096, 0, MREMAP_MAYMOVE));
  CALL(mremap(target + 1, 4096, 4096, MREMAP_MAYMOVE));
  char *twin = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char *other = mremap(twin, 0, 8192, MREMAP_MAYMOVE);
  strcpy(twin, "seen twice");
  printf("duplicate of a shared mapping: %s\n", other == MAP_FAILED ? "failed" : other);

  SECTION("file mappings");
  MUST(pwrite(fd, "file contents", 13, 0));
  MUST(ftruncate(fd, 3 * 4096));
  char *shared = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char *private = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  printf("%s, %s\n", shared, private);
  memcpy(shared, "FILE", 4);
  char buffer[64] = "";
  MUST(pread(fd, buffer, 13, 0));
  printf("read after a store: %s\n", buffer);
  memcpy(private + 5, "CONTENTS", 8);
  MUST(pread(fd, buffer, 13, 0));
  printf("read after a private store: %s, private %s\n", buffer, private);
  MUST(pwrite(fd, "later", 5, 4096));
  printf("store by write seen: %s, %s\n", shared + 4096, private + 4096);
  CALL(msync(shared, 4096, MS_SYNC));
  CALL(msync(shared, 4096, MS_ASYNC | MS_SYNC));
  CALL(msync((void *)(1ul << 40), 4096, MS_SYNC));
  close(fd);
  shared[2 * 4096] = 'z';
  printf("mapping outlives its descriptor: %c\n", shared[2 * 4096]);
  MUST(truncate("file", 4096));
  access_of("page cut off by truncate", shared + 4096);
  access_of("private page cut off", private + 2 * 4096);
  MUST(truncate("file", 2 * 4096));
  access_of("page is back", shared + 4096);
  printf("and is zero: %d\n", shared[4096]);
  MUST(unlink("file"));
  printf("unlinked: %.4s\n", shared);
  FILE *maps = fopen("/proc/self/maps", "r");
  int deleted = 0;
  while (fgets(buffer, sizeof buffer, maps) || !feof(maps))
    if (strstr(buffer, "(deleted)")) deleted = 1;
  fclose(maps);
  (void)deleted;

  SECTION("fork");
  char *kinds[3];
  int memfd = MUST(memfd_create("shared", 0));
  MUST(ftruncate(memfd, 4096));
  kinds[0] = pages(1, PROT_READ | PROT_WRITE);
  kinds[1] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  kinds[2] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  for (int i = 0; i < 3; i++) strcpy(kinds[i], "parent");
  in_child("child", child_changes, kinds);
  printf("private %s, shared %s, memfd %s\n", kinds[0], kinds[1], kinds[2]);
  char *many = pages(1024, PROT_READ | PROT_WRITE);
  in_child("touch 4 MiB", touch_all, many);
  printf("here it is still %d\n", many[0] + many[1023 * 4096]);
  CALL(madvise(kinds[0], 4096, MADV_DONTFORK));
  CALL(madvise(kinds[1], 4096, MADV_WIPEONFORK));

  SECTION("madvise");
  strcpy(many, "thrown away");
  CALL(madvise(many, 4096, MADV_DONTNEED));
  printf("after DONTNEED: [%s]\n", many);
  strcpy(kinds[1], "kept");
  CALL(madvise(kinds[1], 4096, MADV_DONTNEED));
  printf("shared after DONTNEED: [%s]\n", kinds[1]);
  CALL(madvise(many, 4096, MADV_WILLNEED));
  CALL(madvise(many, 4096, 9999));
  CALL(madvise(many + 1, 4096, MADV_DONTNEED));
  CALL(madvise((void *)(1ul << 40), 4096, MADV_DONTNEED));

  SECTION("memfd");
  CALL(fcntl(memfd, F_GET_SEALS));
  int sealed = MUST(memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC));
  CALL(fcntl(sealed, F_GET_SEALS));
  MUST(ftruncate(sealed, 4096));
  CALL(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
  CALL(ftruncate(sealed, 100));
  CALL(ftruncate(sealed, 10000));
  CALL(pwrite(sealed, "x", 1, 0));
  CALL(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(pwrite(sealed, "x", 1, 0));
  CALL(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, sealed, 0));
  CALL(fcntl(sealed, F_ADD_SEALS, F_SEAL_SEAL));
  CALL(fcntl(sealed, F_ADD_SEALS, 0));

  SECTION("brk");
  char *start = (char *)syscall(SYS_brk, 0);
  HOLDS((char *)syscall(SYS_brk, start + 10000) == start + 10000);
  start[9999] = 'b';
  HOLDS((char *)syscall(SYS_brk, start) == start);
  HOLDS((char *)syscall(SYS_brk, start + 10000) == start + 10000);
  // The last page may be shared with what malloc holds below, so only a page of its own is surely new.
  HOLDS(start[9999] == 0);
  syscall(SYS_brk, start);
  HOLDS((char *)syscall(SYS_brk, 1) == start);
  HOLDS((char *)syscall(SYS_brk, 1ul << 46) == start);

  SECTION("locking and residency");
  CALL(mlock(many, 8192));
  CALL(munlock(many, 8192));
  CALL(mlock((void *)(1ul << 40), 4096));
  unsigned char resident[4] = {0};
  char *fresh = pages(4, PROT_READ | PROT_WRITE);
  fresh[0] = 1;
  CALL(mincore(fresh, 4096, resident));
  HOLDS(resident[0] & 1);
  CALL(mincore((void *)(1ul << 40), 4096, resident));
  CALL(mincore(fresh + 1, 4096, resident));

  SECTION("code");
  unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; // mov $42,%eax; ret
  char *jit = pages(1, PROT_READ | PROT_WRITE);
  memcpy(jit, code, sizeof code);
  CALL(mprotect(jit, 4096, PROT_READ | PROT_EXEC));
  printf("generated code answers %d\n", ((int (*)(void))jit)());
  CALL(mprotect(jit, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
  jit[1] = 43;
  printf("changed code answers %d\n", ((int (*)(void))jit)());
  return 0;
}

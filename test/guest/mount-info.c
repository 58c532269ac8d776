// statmount and listmount
// needs: root
#include "check.h"
#include <linux/stat.h>
#include <sys/mount.h>

struct request { uint32_t size, spare; uint64_t id, param, ns; };
static char buffer[8192];

static uint64_t unique(const char *path) {
  struct statx sx;
  if (syscall(SYS_statx, AT_FDCWD, path, 0, 0x4000, &sx) < 0) return 0;
  return (sx.stx_mask & 0x4000) ? sx.stx_mnt_id : 0;
}

static void show(uint64_t id, uint64_t mask, const char *base) {
  struct request r = {.size = 24, .id = id, .param = mask};
  memset(buffer, 0, sizeof buffer);
  if (syscall(457, &r, buffer, sizeof buffer, 0) < 0) {
    printf("statmount: %s\n", strerrorname_np(errno));
    return;
  }
  uint32_t *w = (uint32_t *)buffer;
  uint64_t *q = (uint64_t *)buffer;
  char *str = buffer + 512;
  char *point = str + w[27];
  if (!strncmp(point, base, strlen(base))) point += strlen(base);
  printf("mask %lx magic %lx flags %x attr %lx propagation %lx type %s root %s point %s source %s\n", q[1], q[3], w[8], q[7 + 1], q[9], mask & 0x20 ? str + w[9] : "", mask & 8 ? str + w[26] : "", mask & 0x10 ? point : "", mask & 0x200 ? str + w[31] : "");
}

int main(void) {
  enter_scratch();
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  char base[PATH_MAX];
  getcwd(base, sizeof base);
  MUST(mkdir("m", 0755));
  MUST(mount("src", "m", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755"));
  MUST(mkdir("m/a", 0755));
  MUST(mkdir("m/b", 0755));
  MUST(mount("x", "m/a", "tmpfs", MS_RDONLY, NULL));
  MUST(mount("m/a", "m/b", NULL, MS_BIND, NULL));
  MUST(mount(NULL, "m/b", NULL, MS_SHARED, NULL));
  uint64_t m = unique("m"), a = unique("m/a"), b = unique("m/b");
  HOLDS(m > 1u << 31 && a > m && b > a);
  show(m, 0x23b, base);
  show(a, 0x23b, base);
  show(b, 0x3b, base);
  show(m, 2, base);
  show(12345, 2, base);
  struct request r = {.size = 24, .id = m, .param = 0x30};
  CALL(syscall(457, &r, buffer, 512, 0));
  CALL(syscall(457, &r, buffer, 4096, 1));
  r.size = 8;
  CALL(syscall(457, &r, buffer, 4096, 0));
  r.size = 24;
  r.param = 0;
  uint64_t ids[64];
  CALL(syscall(458, &r, ids, 64, 0));
  HOLDS(ids[0] == a && ids[1] == b);
  CALL(syscall(458, &r, ids, 64, 1));
  HOLDS(ids[0] == b && ids[1] == a);
  CALL(syscall(458, &r, ids, 1, 0));
  r.param = a;
  CALL(syscall(458, &r, ids, 64, 0));
  HOLDS(ids[0] == b);
  r.id = 99;
  CALL(syscall(458, &r, ids, 64, 0));
  r.id = ~0ull;
  r.param = 0;
  HOLDS(syscall(458, &r, ids, 64, 0) > 3);
  struct { uint64_t set, clear, propagation, userns; } attr = {.set = 1};
  int tree = syscall(467, AT_FDCWD, "m", 1, &attr, 32);
  FAILS(tree);
  CALL(openat(tree, "x", O_CREAT | O_WRONLY, 0644));
  attr.set = 1 << 30;
  CALL(syscall(467, AT_FDCWD, "m", 1, &attr, 32));
  return 0;
}

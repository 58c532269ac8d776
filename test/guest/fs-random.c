// a few thousand random operations on a small tree: every result and the tree they leave behind
#include "check.h"
#include <dirent.h>
#include <sys/xattr.h>

static uint64_t state = 88172645463325252ull;

static unsigned rnd(unsigned n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (state >> 20) % n;
}

static const char *parts[] = {"a", "b", "c", "d", "..", ".", "l"};

static const char *any_path(void) {
  static char bufs[2][256];
  static int which;
  char *p = bufs[which ^= 1];
  int n = 1 + rnd(4);
  *p = 0;
  for (int i = 0; i < n; i++) {
    if (i) strcat(p, "/");
    strcat(p, parts[rnd(rnd(4) ? 4 : 7)]);
  }
  if (rnd(12) == 0) strcat(p, "/");
  return p;
}

static char base[PATH_MAX];

static void show_tree(const char *path, int depth) {
  struct dirent **entries;
  int n = scandir(path, &entries, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    const char *name = entries[i]->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s/%s", path, name);
    struct stat st;
    if (lstat(full, &st) < 0) {
      printf("%s: %s\n", full, strerrorname_np(errno));
      continue;
    }
    int same = entries[i]->d_ino == st.st_ino && entries[i]->d_type == st.st_mode >> 12;
    printf("%*s%s %o links %ld size %ld%s\n", depth, "", name, st.st_mode, S_ISDIR(st.st_mode) ? 0L : (long)st.st_nlink, S_ISDIR(st.st_mode) ? 0L : (long)st.st_size, same ? "" : " WRONG ENTRY");
    if (S_ISREG(st.st_mode)) {
      unsigned sum = 0;
      int fd = open(full, O_RDONLY);
      unsigned char bytes[4096];
      for (int got; (got = read(fd, bytes, sizeof bytes)) > 0;)
        for (int k = 0; k < got; k++) sum = sum * 31 + bytes[k];
      close(fd);
      printf("%*s  sum %u\n", depth, "", sum);
    }
    if (S_ISDIR(st.st_mode) && depth < 40) show_tree(full, depth + 2);
  }
}

// Alone it works in an empty folder; with a folder and a number it goes on in that folder with other operations.
int main(int argc, char **argv) {
  umask(022);
  if (argc == 3) {
    MUST(chdir(argv[1]));
    state += 7919 * strtoull(argv[2], NULL, 10);
    for (int i = 0; i < 20; i++) rnd(2);
  } else {
    enter_scratch();
    // Deep enough that no path climbs out of it.
    for (int i = 0; i < 6; i++) {
      MUST(mkdir("root", 0755));
      MUST(chdir("root"));
    }
  }
  getcwd(base, sizeof base);
  int fds[8];
  for (int i = 0; i < 8; i++) fds[i] = -1;
  char data[20000];
  for (unsigned i = 0; i < sizeof data; i++) data[i] = i * 7 + i / 256;
  static char buffer[70000];

  for (int round = 0; round < 6000; round++) {
    const char *p = any_path(), *q = any_path();
    long r = 0;
    errno = 0;
    int op = rnd(30), k = rnd(8);
    switch (op) {
    case 0: case 1: case 2: r = mkdir(p, 0700 + rnd(0100)); break;
    case 3: case 4: case 5: {
      static const int flags[] = {O_RDWR | O_CREAT, O_RDWR, O_RDONLY, O_RDWR | O_CREAT | O_EXCL, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND, O_RDONLY | O_DIRECTORY, O_RDONLY | O_NOFOLLOW, O_RDWR | O_CREAT | O_NOFOLLOW, O_PATH};
      int fd = open(p, flags[rnd(10)], 0644);
      r = fd < 0 ? -1 : 0;
      if (fd >= 0) {
        if (fds[k] >= 0) close(fds[k]);
        fds[k] = fd;
      }
      break;
    }
    case 6: case 7: r = unlink(p); break;
    case 8: r = rmdir(p); break;
    case 9: case 10: case 11: r = rename(p, q); break;
    case 12: r = syscall(SYS_renameat2, AT_FDCWD, p, AT_FDCWD, q, 1 + rnd(2)); break;
    case 13: case 14: r = link(p, q); break;
    case 15: r = symlink(q, p); break;
    case 16: r = readlink(p, buffer, 100); break;
    case 17: r = truncate(p, rnd(50000)); break;
    case 18: r = chmod(p, rnd(01000)); if (geteuid()) r = 0; break;
    case 19: case 20: r = fds[k] < 0 ? 0 : write(fds[k], data, rnd(20000)); break;
    case 21: r = fds[k] < 0 ? 0 : pwrite(fds[k], data, rnd(9000), rnd(60000)); break;
    case 22: r = fds[k] < 0 ? 0 : read(fds[k], buffer, rnd(70000)); if (r > 0) { unsigned s = 0; for (int i = 0; i < r; i++) s = s * 31 + (unsigned char)buffer[i]; printf("read %u ", s); } break;
    case 23: {
      // Where a folder's offsets end, each file system answers by itself: ext4 with 0, overlay and tmpfs with EINVAL.
      int to = rnd(3000), whence = rnd(3);
      struct stat st;
      r = fds[k] < 0 || (fstat(fds[k], &st) == 0 && S_ISDIR(st.st_mode)) ? 0 : lseek(fds[k], to, whence);
      if (r >= 0) r = 0;
      break;
    }
    case 24: r = fds[k] < 0 ? 0 : ftruncate(fds[k], rnd(40000)); break;
    case 25: r = chdir(rnd(3) ? p : base); break;
    case 26: { struct stat st; r = fds[k] < 0 ? 0 : fstat(fds[k], &st); if (fds[k] >= 0 && !S_ISDIR(st.st_mode)) printf("links %ld size %ld ", (long)st.st_nlink, (long)st.st_size); break; }
    case 27: r = setxattr(p, rnd(2) ? "user.x" : "user.y", data, rnd(50), rnd(3)); break;
    case 28: r = getxattr(p, rnd(2) ? "user.x" : "user.y", buffer, 100); break;
    case 29: { char cwd[PATH_MAX]; r = getcwd(cwd, sizeof cwd) ? 0 : -1; if (r == 0) printf("at %s ", strlen(cwd) >= strlen(base) ? cwd + strlen(base) : "above"); break; }
    }
    // Nothing may climb out of the tree.
    char cwd[PATH_MAX];
    int e = errno;
    if (getcwd(cwd, sizeof cwd) == NULL || strncmp(cwd, base, strlen(base)) != 0) MUST(chdir(base));
    printf("%d: %d %s %s = %ld %s\n", round, op, p, q, r, r < 0 ? strerrorname_np(e) : "");
    if (round % 1500 == 1499) show_tree(base, 0);
  }
  return 0;
}

// Mounts images (arguments from the second on) one after the other at the directory of the first argument, and prints all that is in them.
// "fuzz IMAGE DIRECTORY ROUNDS SEED": damages one in many ways, and looks at all of it each time: nothing may happen but errors.
#include "check.h"
#include <dirent.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static int quiet;

static void contents(const char *path, off_t size) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) {
    if (!quiet) printf(" open %s", strerrorname_np(errno));
    return;
  }
  unsigned hash = 0, mapped = 0;
  ssize_t n;
  long total = 0;
  static unsigned char buf[70001];
  while ((n = read(fd, buf, sizeof buf)) > 0) {
    for (ssize_t i = 0; i < n; i++) hash = hash * 31 + buf[i];
    total += n;
    if (quiet && total > 1 << 22) break;
  }
  if (!quiet) printf(" read %ld %08x%s", total, hash, n < 0 ? strerrorname_np(errno) : "");
  // From places in the middle, too.
  for (off_t at = size / 3; at < size && total == size; at += size / 3 + 1) {
    n = pread(fd, buf, 5000, at);
    for (ssize_t i = 0; i < n; i++) mapped = mapped * 31 + buf[i];
  }
  if (!quiet) printf(" parts %08x", mapped);
  if (size > 0 && size < 1 << 24 && total == size) {
    unsigned char *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
      if (!quiet) printf(" mmap %s", strerrorname_np(errno));
    } else {
      mapped = 0;
      for (off_t i = 0; i < size; i++) mapped = mapped * 31 + p[i];
      if (!quiet) printf(" %s", mapped == hash ? "same" : "DIFFERENT");
      munmap(p, size);
    }
  }
  close(fd);
}

static int seen;
static void show(const char *path, int depth) {
  struct stat st;
  if (++seen > 20000) return;
  if (lstat(path, &st) < 0) {
    if (!quiet) printf("%s: %s\n", path, strerrorname_np(errno));
    return;
  }
  if (!quiet)
    printf("%s: ino %ld mode %o %d:%d nlink %ld size %ld blocks %ld rdev %lx mtime %ld.%ld", path, st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size,
           st.st_blocks, st.st_rdev, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  char names[4096], value[4096];
  ssize_t n = llistxattr(path, names, sizeof names);
  if (n < 0 && !quiet) printf(" listxattr %s", strerrorname_np(errno));
  for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
    ssize_t got = lgetxattr(path, name, value, sizeof value);
    if (!quiet) printf(" %s=%.*s", name, (int)(got > 0 ? got : 0), value);
  }
  if (S_ISLNK(st.st_mode)) {
    n = readlink(path, value, sizeof value);
    if (!quiet) n < 0 ? printf(" readlink %s", strerrorname_np(errno)) : printf(" -> %.*s", (int)n, value);
  }
  if (S_ISREG(st.st_mode)) contents(path, st.st_size);
  if (!quiet) printf("\n");
  if (!S_ISDIR(st.st_mode) || depth > 6) return;
  DIR *d = opendir(path);
  if (!d) {
    if (!quiet) printf("%s: opendir %s\n", path, strerrorname_np(errno));
    return;
  }
  struct dirent *e;
  while (errno = 0, e = readdir(d)) {
    if (!quiet) printf("%s: %s type %d ino %ld\n", path, e->d_name, e->d_type, e->d_ino);
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    char below[PATH_MAX];
    if (snprintf(below, sizeof below, "%s/%s", path, e->d_name) < (int)sizeof below) show(below, depth + 1);
  }
  if (errno && !quiet) printf("%s: readdir %s\n", path, strerrorname_np(errno));
  closedir(d);
}

int main(int argc, char **argv) {
  char where[PATH_MAX], image[PATH_MAX];
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  if (!strcmp(argv[1], "fuzz")) {
    quiet = 1;
    MUST(mkdir(argv[3], 0700));
    MUST(mount("x", argv[3], "tmpfs", 0, NULL));
    MUST(chdir(argv[3]));
    mkdir("m", 0700);
    int rounds = atoi(argv[4]), fd = MUST(open(argv[2], O_RDONLY));
    sprintf(image, "%s/copy", argv[3]);
    sprintf(where, "%s/m", argv[3]);
    static unsigned char bytes[1 << 22];
    ssize_t length = MUST(read(fd, bytes, sizeof bytes));
    close(fd);
    srandom(argc > 5 ? atoi(argv[5]) : 1);
    int mounted = 0;
    for (int i = 0; i < rounds; i++) {
      int out = MUST(open("copy", O_CREAT | O_TRUNC | O_WRONLY, 0600));
      write(out, bytes, i % 16 == 15 ? random() % length : length);
      for (int c = 1 + random() % 12; c > 0; c--) {
        // Metadata lie in front; the superblock is left alone most of the time.
        off_t at = random() % 4 == 0 ? random() % length : 1152 + random() % 8192;
        if (random() % 16 == 0) at = 1024 + random() % 128;
        static const unsigned char values[] = {0, 1, 0xff, 0x7f, 0x80};
        unsigned char b = random() % 2 ? values[random() % 5] : random();
        pwrite(out, &b, 1, at);
      }
      // Without the sum of the superblock, damage there gets further.
      pwrite(out, "", 1, 1024 + 8);
      close(out);
      if (mount(image, where, "erofs", MS_RDONLY, NULL) < 0) continue;
      mounted++;
      seen = 0;
      show(where, 0);
      MUST(umount2(where, MNT_DETACH));
    }
    printf("fuzzed %s\n", mounted > rounds / 4 ? "enough" : "too few");
    return 0;
  }
  MUST(chdir(argv[1]));
  for (int i = 2; i < argc; i++) {
    if (CALL(mount(argv[i], argv[1], "erofs", MS_RDONLY, NULL)) < 0) continue;
    MUST(chdir(argv[1]));
    struct statfs sf;
    statfs(".", &sf);
    printf("type %lx bsize %ld blocks %ld free %ld files %lx ffree %lx namelen %ld flags %lx\n", sf.f_type, sf.f_bsize, sf.f_blocks, sf.f_bfree, sf.f_files, sf.f_ffree, sf.f_namelen,
           sf.f_flags);
    char line[1024];
    FILE *f = fopen("/proc/self/mountinfo", "r");
    while (fgets(line, sizeof line, f)) {
      char *at = strstr(line, " - erofs ");
      if (at) printf("%s", strstr(at + 9, " "));
    }
    fclose(f);
    show(".", 0);
    CALL(close(open("new", O_CREAT | O_WRONLY, 0600)));
    CALL(mkdir("new", 0600));
    CALL(unlink("a"));
    CALL(chmod("a", 0600));
    CALL(setxattr("a", "user.new", "x", 1, 0));
    CALL(access("a", W_OK));
    CALL(access("nothing", R_OK));
    CALL(mount(NULL, argv[1], NULL, MS_REMOUNT, NULL));
    CALL(mount(NULL, argv[1], NULL, MS_REMOUNT | MS_RDONLY, "nonsense"));
    MUST(chdir("/"));
    CALL(umount(argv[1]));
  }
  return 0;
}

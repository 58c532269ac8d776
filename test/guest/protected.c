// what others have left in a folder for all: hard links, symbolic links, files and FIFOs under /proc/sys/fs/protected_*
// needs: root
#include "check.h"

static int opens(const char *name, int flags) {
  int fd = open(name, flags, 0644);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}

static int owned(const char *name, int mode, int uid) {
  close(MUST(open(name, O_RDWR | O_CREAT | O_EXCL, 0600)));
  MUST(chmod(name, mode));
  return chown(name, uid, uid);
}

static bool set(const char *name, char level) {
  char path[100];
  snprintf(path, sizeof path, "/proc/sys/fs/protected_%s", name);
  int fd = open(path, O_RDWR);
  char old = 0;
  read(fd, &old, 1);
  close(fd);
  return old == level;
}

int main(void) {
  enter_scratch();
  MUST(chmod(".", 0777));
  umask(0);
  HOLDS(set("hardlinks", '1'));
  owned("readable", 0644, 1000);
  owned("writable", 0666, 1000);
  owned("suid", 04777, 1000);
  owned("sgid", 02777, 1000);
  owned("mine", 0600, 1001);
  MUST(mkfifo("fifo", 0666));
  MUST(symlink("mine", "link"));
  pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setgid(1001));
    MUST(setuid(1001));
    CALL(link("readable", "a"));
    CALL(link("writable", "b"));
    CALL(link("suid", "c"));
    CALL(link("sgid", "d"));
    CALL(link("mine", "e"));
    CALL(link("fifo", "f"));
    CALL(link("link", "g"));
    CALL(opens("link", O_RDONLY));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  CALL(link("readable", "h"));
  CALL(link("fifo", "i"));
  return 0;
}

// POSIX ACLs: what is a list, masks and modes, inheritance in place of the umask, who may do what
// needs: root
#include "check.h"
#include <grp.h>
#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

static char value[256];

static int put(int at, int tag, int perm, uint32_t id) {
  memcpy(value + at, &(uint16_t){tag}, 2);
  memcpy(value + at + 2, &(uint16_t){perm}, 2);
  memcpy(value + at + 4, &id, 4);
  return at + 8;
}

// A list in a short form: "o7 u1000:6 g5 G50:4 m7 t0".
static int list(const char *text) {
  memcpy(value, &(uint32_t){2}, 4);
  int at = 4;
  for (; *text != 0; text += strcspn(text, " ") + (strchr(text, ' ') != NULL)) {
    const char *colon = text[strcspn(text, ": ")] == ':' ? strchr(text, ':') : NULL;
    uint32_t id = colon ? (uint32_t)atoi(text + 1) : ~0u;
    int perm = atoi(colon ? colon + 1 : text + 1);
    int tag = *text == 'o' ? 1 : *text == 'u' ? 2 : *text == 'g' ? 4 : *text == 'G' ? 8 : *text == 'm' ? 16 : 32;
    at = put(at, tag, perm, id);
  }
  return at;
}

static int set(const char *file, const char *name, const char *text) { return setxattr(file, name, value, list(text), 0); }

static void show(const char *file) {
  struct stat st;
  if (stat(file, &st) < 0) {
    printf("%s: %s\n", file, strerrorname_np(errno));
    return;
  }
  printf("%s: %o", file, st.st_mode);
  const char *const kinds[] = {ACCESS, DEFAULT};
  for (int k = 0; k < 2; k++) {
    int n = getxattr(file, kinds[k], value, sizeof value);
    if (n < 0) printf(" %s", strerrorname_np(errno));
    else printf(" [");
    for (int at = 4; at < n; at += 8) {
      uint16_t tag, perm;
      int32_t id;
      memcpy(&tag, value + at, 2);
      memcpy(&perm, value + at + 2, 2);
      memcpy(&id, value + at + 4, 4);
      printf("%s%d:%d:%d", at == 4 ? "" : " ", tag, id, perm);
    }
    if (n >= 0) printf("]");
  }
  printf("\n");
}

static int touch(const char *name, int mode) { return close(MUST(open(name, O_RDWR | O_CREAT, mode))); }

static void as(int uid, int gid, int group, const char *file) {
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child == 0) {
    gid_t groups[] = {group};
    MUST(setgroups(group != 0, groups));
    MUST(setgid(gid));
    MUST(setuid(uid));
    printf("%d:%d,%d %s: %c%c%c\n", uid, gid, group, file, access(file, R_OK) ? '-' : 'r', access(file, W_OK) ? '-' : 'w',
           access(file, X_OK) ? '-' : 'x');
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
}

int main(void) {
  enter_scratch();
  MUST(chmod(".", 0755));
  umask(022);

  SECTION("lists");
  touch("f", 0644);
  show("f");
  CALL(set("f", ACCESS, "o6 u1000:7 g4 m5 t4"));
  show("f");
  CALL(set("f", ACCESS, "o7 g5 t1"));
  show("f");
  CALL(set("f", ACCESS, "o6 u1000:7 g4 t4"));
  CALL(set("f", ACCESS, "o6 g4 u1000:7 m4 t4"));
  CALL(set("f", ACCESS, "g4 o6 t4"));
  CALL(set("f", ACCESS, "o6 g4"));
  CALL(set("f", ACCESS, "o6 g4 t9"));
  CALL(set("f", ACCESS, "o6 g4 m7 t4"));
  show("f");
  CALL(setxattr("f", ACCESS, value, 3, 0));
  CALL(setxattr("f", ACCESS, "\3\0\0\0", 4, 0));
  CALL(setxattr("f", ACCESS, "\2\0\0\0abc", 7, 0));
  CALL(set("f", DEFAULT, "o6 g4 t4"));
  CALL(removexattr("f", DEFAULT));
  CALL(removexattr("f", ACCESS));
  CALL(removexattr("f", ACCESS));
  show("f");
  MUST(symlink("f", "l"));
  CALL(lsetxattr("l", ACCESS, value, list("o6 g4 t4"), 0));
  CALL(lgetxattr("l", ACCESS, value, 100));
  CALL(getxattr("/proc/self/status", ACCESS, value, 100));
  CALL(set("f", ACCESS, "o6 u1000:7 g4 m5 t4"));
  char names[256];
  CALL(listxattr("f", names, sizeof names));
  printf("%s\n", names);
  CALL(getxattr("f", ACCESS, NULL, 0));
  CALL(getxattr("f", ACCESS, value, 10));

  SECTION("chmod");
  CALL(chmod("f", 0770));
  show("f");
  CALL(chmod("f", 02604));
  show("f");

  SECTION("inheritance");
  MUST(mkdir("d", 0755));
  CALL(set("d", DEFAULT, "o7 u1000:6 g5 m6 t4"));
  show("d");
  touch("d/f", 0666);
  show("d/f");
  touch("d/g", 0600);
  show("d/g");
  MUST(mkdir("d/d", 0777));
  show("d/d");
  MUST(mknod("d/p", S_IFIFO | 0666, 0));
  show("d/p");
  MUST(symlink("f", "d/l"));
  CALL(set("d", DEFAULT, "o7 g7 t7"));
  umask(077);
  touch("d/open", 0666);
  show("d/open");
  CALL(removexattr("d", DEFAULT));
  touch("d/closed", 0666);
  show("d/closed");
  umask(022);
  MUST(rename("d/f", "moved"));
  show("moved");
  MUST(link("moved", "linked"));
  show("linked");

  SECTION("permission");
  touch("s", 0600);
  MUST(chown("s", 1, 10));
  CALL(set("s", ACCESS, "o6 u1000:7 u1001:0 g4 G50:2 G51:4 m6 t1"));
  show("s");
  as(1, 1, 0, "s");
  as(1000, 1, 0, "s");
  as(1001, 10, 0, "s");
  as(1002, 10, 0, "s");
  as(1002, 50, 0, "s");
  as(1002, 50, 51, "s");
  as(1002, 1, 0, "s");
  MUST(chmod("s", 0604));
  as(1000, 1, 0, "s");
  as(1002, 1, 0, "s");
  as(0, 0, 0, "s");
  pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setuid(1000));
    CALL(set("s", ACCESS, "o6 g4 t4"));
    CALL(removexattr("s", ACCESS));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  return 0;
}

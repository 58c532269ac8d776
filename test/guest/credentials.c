// user and group ids, capabilities, and what they allow on files and processes
// needs: root
#include "check.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>

static void show(const char *what) {
  uid_t r, e, s;
  gid_t gr, ge, gs;
  getresuid(&r, &e, &s);
  getresgid(&gr, &ge, &gs);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct caps[2] = {0};
  syscall(SYS_capget, &header, caps);
  printf("%s: uid %d %d %d gid %d %d %d, effective %s, permitted %s\n", what, r, e, s, gr, ge, gs, caps[0].effective ? "some" : "none", caps[0].permitted ? "some" : "none");
}

static int plain_user(void *arg) {
  (void)arg;
  gid_t groups[] = {100, 200};
  CALL(setgroups(2, groups));
  CALL(getgroups(0, NULL));
  CALL(setgid(1000));
  CALL(setuid(1000));
  show("after setuid");
  CALL(setuid(0));
  CALL(setgroups(0, NULL));
  CALL(open("private", O_RDONLY));
  FAILS(open("public", O_RDONLY));
  CALL(open("public", O_WRONLY));
  CALL(access("private", R_OK));
  CALL(chmod("public", 0777));
  CALL(chown("public", 1000, 1000));
  CALL(unlink("public"));
  FAILS(open("for-group", O_RDONLY));
  CALL(open("for-group", O_WRONLY));
  CALL(mkdir("shared/mine", 0755));
  CALL(rmdir("shared/roots"));
  CALL(rmdir("shared/mine"));
  CALL(chdir("closed"));
  CALL(stat("closed/x", &(struct stat){0}));
  CALL(kill(getppid(), 0));
  CALL(kill(1, SIGTERM));
  CALL(setpriority(PRIO_PROCESS, 0, -5));
  CALL(setpriority(PRIO_PROCESS, 0, 5));
  CALL(setpriority(PRIO_PROCESS, 0, 0));
  struct rlimit more;
  struct rlimit now;
  getrlimit(RLIMIT_NOFILE, &now);
  more.rlim_max = now.rlim_max + 1;
  more.rlim_cur = now.rlim_cur;
  CALL(setrlimit(RLIMIT_NOFILE, &more));
  CALL(sethostname("x", 1));
  CALL(mknod("shared/device", S_IFCHR | 0600, 259));
  CALL(chroot("."));
  CALL(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
  CALL(setresuid(-1, 2000, -1));
  CALL(setresuid(1000, 1000, 1000));
  int fd = MUST(open("shared/own", O_RDWR | O_CREAT, 0600));
  struct stat st;
  fstat(fd, &st);
  printf("owner %d %d\n", st.st_uid, st.st_gid);
  CALL(fchmod(fd, 0644));
  CALL(fchown(fd, 1000, 100));
  CALL(fchown(fd, 1000, 300));
  CALL(fchown(fd, 2000, -1));
  CALL(unlink("shared/own"));
  return 0;
}

static int saved_ids(void *arg) {
  (void)arg;
  CALL(setresgid(10, 20, 30));
  CALL(setresuid(1000, 2000, 0));
  show("set apart");
  CALL(seteuid(0));
  show("back to the saved id");
  CALL(setreuid(1000, 2000));
  show("setreuid");
  CALL(seteuid(0));
  CALL(setresgid(-1, 30, -1));
  CALL(setegid(77));
  return 0;
}

static int keeps_capabilities(void *arg) {
  (void)arg;
  CALL(prctl(PR_SET_KEEPCAPS, 1));
  CALL(setuid(1000));
  show("kept");
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct caps[2] = {0};
  caps[0].permitted = caps[0].effective = caps[0].inheritable = 1 << CAP_DAC_OVERRIDE | 1 << CAP_SETUID;
  CALL(syscall(SYS_capset, &header, caps));
  FAILS(open("private", O_RDONLY));
  CALL(chown("public", 5, 5));
  caps[0].permitted |= 1 << CAP_CHOWN;
  CALL(syscall(SYS_capset, &header, caps));
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0));
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
  CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_DAC_OVERRIDE, 0, 0));
  CALL(setuid(0));
  header.version = 1;
  CALL(syscall(SYS_capget, &header, NULL));
  return 0;
}

static int file_system_id(void *arg) {
  (void)arg;
  printf("%d %d\n", setfsuid(1000), setfsuid(1000));
  CALL(open("private", O_RDONLY));
  FAILS(open("shared/by-fsuid", O_RDWR | O_CREAT, 0600));
  setfsuid(0);
  struct stat st;
  stat("shared/by-fsuid", &st);
  printf("owner %d\n", st.st_uid);
  unlink("shared/by-fsuid");
  return 0;
}

static int flags(void *arg) {
  (void)arg;
  CALL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_GET_DUMPABLE));
  CALL(prctl(PR_SET_DUMPABLE, 0));
  CALL(prctl(PR_SET_DUMPABLE, 7));
  CALL(prctl(PR_GET_DUMPABLE));
  CALL(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN));
  CALL(prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN));
  CALL(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN));
  CALL(prctl(PR_CAPBSET_READ, 99));
  CALL(prctl(99999));
  return 0;
}

static int set_id_bits(void *arg) {
  (void)arg;
  struct stat st;
  int fd = MUST(open("suid", O_RDWR | O_CREAT, 0777));
  MUST(fchmod(fd, 06777));
  MUST(setgid(1000));
  MUST(setuid(1000));
  MUST(write(fd, "x", 1));
  fstat(fd, &st);
  printf("after a write %o\n", st.st_mode & 07777);
  return 0;
}

static int sticky(void *arg) {
  (void)arg;
  MUST(setuid(1000));
  CALL(unlink("tmp/roots"));
  CALL(rename("tmp/roots", "tmp/taken"));
  FAILS(open("tmp/mine", O_CREAT | O_RDWR, 0600));
  CALL(unlink("tmp/mine"));
  return 0;
}

static void make(const char *name, int mode, int uid, int gid) {
  close(MUST(open(name, O_RDWR | O_CREAT, 0600)));
  MUST(chown(name, uid, gid));
  MUST(chmod(name, mode));
}

int main(void) {
  enter_scratch();
  umask(0);
  MUST(chmod(".", 0755));
  make("private", 0600, 0, 0);
  make("public", 0644, 0, 0);
  make("for-group", 0640, 0, 200);
  MUST(mkdir("shared", 0777));
  MUST(mkdir("shared/roots", 0755));
  MUST(mkdir("closed", 0700));
  MUST(mkdir("tmp", 01777));
  MUST(chmod("tmp", 01777));
  make("tmp/roots", 0666, 0, 0);
  show("at first");
  SECTION("a plain user");
  in_child("plain user", plain_user, NULL);
  SECTION("saved ids");
  in_child("saved ids", saved_ids, NULL);
  SECTION("capabilities");
  in_child("capabilities", keeps_capabilities, NULL);
  SECTION("file system id");
  in_child("file system id", file_system_id, NULL);
  SECTION("flags");
  in_child("flags", flags, NULL);
  SECTION("set-id bits");
  in_child("set-id bits", set_id_bits, NULL);
  SECTION("sticky folder");
  in_child("sticky", sticky, NULL);
  SECTION("group of a new file");
  MUST(mkdir("setgid", 0777));
  MUST(chown("setgid", 0, 555));
  MUST(chmod("setgid", 02777));
  close(MUST(open("setgid/file", O_RDWR | O_CREAT, 0644)));
  MUST(mkdir("setgid/folder", 0755));
  struct stat st;
  stat("setgid/file", &st);
  printf("file: group %d\n", st.st_gid);
  stat("setgid/folder", &st);
  printf("folder: group %d mode %o\n", st.st_gid, st.st_mode);
  return 0;
}

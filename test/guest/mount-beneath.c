// mounts put below others, and file systems made by fsconfig with more than strings
// needs: root /dev/fuse
#include "check.h"
#include <linux/mount.h>
#include <sys/mount.h>

#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x200
#endif
#define MOVE(from, to, flags) syscall(SYS_move_mount, from, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH | (flags))

// A detached tmpfs with a file of this name in it.
static int made(const char *file) {
  int fs = MUST(syscall(SYS_fsopen, "tmpfs", 0));
  MUST(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
  int mnt = MUST(syscall(SYS_fsmount, fs, 0, 0));
  close(fs);
  close(MUST(openat(mnt, file, O_CREAT | O_WRONLY, 0644)));
  return mnt;
}

static void shown(const char *at) {
  char path[64];
  for (const char *const *name = (const char *const[]){"lowest", "middle", "top", NULL}; *name; name++) {
    snprintf(path, sizeof path, "%s/%s", at, *name);
    printf("%s ", access(path, F_OK) == 0 ? *name : "-");
  }
  printf("at %s\n", at);
}

int main(void) {
  enter_scratch();
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  // The parent must not be the namespace's root mount.
  MUST(mkdir("t", 0755));
  MUST(mount("none", "t", "tmpfs", 0, NULL));
  MUST(chdir("t"));
  MUST(mkdir("mp", 0755));
  MUST(mkdir("plain", 0755));

  SECTION("beneath");
  CALL(MOVE(made("top"), "mp", 0));
  int middle = made("middle");
  CALL(MOVE(middle, "mp", MOVE_MOUNT_BENEATH));
  shown("mp");
  CALL(MOVE(made("lowest"), "mp", MOVE_MOUNT_BENEATH));
  shown("mp");
  CALL(umount2("mp", MNT_DETACH));
  shown("mp");
  CALL(umount2("mp", MNT_DETACH));
  shown("mp");
  CALL(umount2("mp", MNT_DETACH));
  shown("mp");

  SECTION("refused");
  int one = made("top");
  CALL(MOVE(one, "plain", MOVE_MOUNT_BENEATH));
  CALL(MOVE(one, "/", MOVE_MOUNT_BENEATH));
  CALL(MOVE(one, "mp", MOVE_MOUNT_BENEATH | MOVE_MOUNT_SET_GROUP));
  CALL(MOVE(one, "mp", 0x400));
  CALL(MOVE(one, "mp", 0));
  MUST(mkdir("mp/inner", 0755));
  CALL(MOVE(made("middle"), "mp/inner", MOVE_MOUNT_BENEATH));
  CALL(syscall(SYS_move_mount, AT_FDCWD, "mp", AT_FDCWD, "mp", MOVE_MOUNT_BENEATH));

  SECTION("propagated");
  MUST(mkdir("peer", 0755));
  MUST(mkdir("group", 0755));
  MUST(mount("none", "group", "tmpfs", 0, NULL));
  MUST(mount(NULL, "group", NULL, MS_SHARED, NULL));
  MUST(mkdir("group/mp", 0755));
  MUST(mount("group", "peer", NULL, MS_BIND, NULL));
  int top = made("top");
  CALL(MOVE(top, "group/mp", 0));
  shown("peer/mp");
  int below = made("middle");
  CALL(MOVE(below, "group/mp", MOVE_MOUNT_BENEATH));
  shown("group/mp");
  shown("peer/mp");
  // The copy of the group would go too, and somebody has it open.
  CALL(umount("peer/mp"));
  close(top);
  close(below);
  CALL(umount("peer/mp"));
  shown("group/mp");
  shown("peer/mp");

  SECTION("layers one by one");
  MUST(mkdir("a:b", 0755));
  MUST(mkdir("c", 0755));
  MUST(mkdir("joined", 0755));
  close(MUST(open("a:b/top", O_CREAT | O_WRONLY, 0644)));
  close(MUST(open("c/lowest", O_CREAT | O_WRONLY, 0644)));
  int fs = MUST(syscall(SYS_fsopen, "overlay", 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", "a:b", 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", "c", 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
  int mnt = syscall(SYS_fsmount, fs, 0, 0);
  FAILS(mnt);
  CALL(MOVE(mnt, "joined", 0));
  shown("joined");

  SECTION("parameters of other kinds");
  int device = MUST(open("/dev/fuse", O_RDWR));
  char text[16];
  snprintf(text, sizeof text, "%d", device);
  fs = MUST(syscall(SYS_fsopen, "fuse", 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, "fd", NULL, 999));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, "fd", "x", device));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, "user_id", NULL, device));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_PATH, "user_id", "/", AT_FDCWD));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "fd", text, 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "rootmode", "40000", 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "user_id", "0", 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "group_id", "0", 0));
  CALL(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
  FAILS(syscall(SYS_fsmount, fs, 0, 0));
  close(device);
  return 0;
}

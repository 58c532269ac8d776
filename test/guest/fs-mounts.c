// mounts: bind, remount, move, propagation, unmounting, pivot_root, and the calls on descriptors
// needs: root
#include "check.h"
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/statfs.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

static void put(const char *name) { close(MUST(open(name, O_WRONLY | O_CREAT, 0644))); }

// What mountinfo says of a mount point: options, propagation and type, without numbers.
static void info(const char *name) {
  char path[PATH_MAX], line[4096];
  if (realpath(name, path) == NULL) {
    printf("%s: no path %s\n", name, strerrorname_np(errno));
    return;
  }
  FILE *f = fopen("/proc/self/mountinfo", "r");
  int found = 0;
  while (fgets(line, sizeof line, f)) {
    char root[1024], point[1024], options[256], rest[1024] = "";
    if (sscanf(line, "%*d %*d %*s %1023s %1023s %255s %1023[^\n]", root, point, options, rest) < 4) continue;
    if (strcmp(point, path) != 0) continue;
    found++;
    char kinds[64] = "";
    if (strstr(rest, "shared:")) strcat(kinds, " shared");
    if (strstr(rest, "master:")) strcat(kinds, " slave");
    if (strstr(rest, "unbindable")) strcat(kinds, " unbindable");
    char *dash = strstr(rest, "- ");
    char type[64] = "";
    sscanf(dash + 2, "%63s", type);
    const char *super = strstr(dash, " rw") ? "rw" : "ro";
    const char *tail = strrchr(root, '/');
    printf("%s: %s%s %s %s root %s\n", name, options, kinds, type, super, root[1] ? tail : "/");
  }
  fclose(f);
  if (!found) printf("%s: not mounted\n", name);
}

static int shared_child(void *arg) {
  MUST(unshare(CLONE_NEWNS));
  info("sh/a");
  MUST(mount("t", "sh/fromchild", "tmpfs", 0, NULL));
  MUST(mount(NULL, "sh", NULL, MS_SLAVE | MS_REC, NULL));
  info("sh/a");
  MUST(mount("t", "sh/private", "tmpfs", 0, NULL));
  return 0;
}

static int pivot(void *arg) {
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  MUST(mkdir("newroot", 0755));
  CALL(syscall(SYS_pivot_root, "newroot", "newroot"));
  MUST(mount("t", "newroot", "tmpfs", 0, NULL));
  MUST(mkdir("newroot/old", 0755));
  put("newroot/marker");
  CALL(syscall(SYS_pivot_root, "newroot", "."));
  CALL(syscall(SYS_pivot_root, "newroot/old", "newroot/old"));
  MUST(chdir("newroot"));
  CALL(syscall(SYS_pivot_root, ".", "old"));
  HOLDS(access("/marker", F_OK) == 0);
  HOLDS(access("/old/proc", F_OK) == 0);
  char cwd[64];
  HOLDS(getcwd(cwd, sizeof cwd) != NULL && strcmp(cwd, "/") == 0);
  CALL(umount2("/old", 0));
  CALL(umount2("/old", MNT_DETACH));
  HOLDS(access("/old/proc", F_OK) < 0);
  CALL(rmdir("/old"));
  MUST(mkdir("/again", 0755));
  MUST(mount("t", "/again", "tmpfs", 0, NULL));
  MUST(chdir("/again"));
  CALL(syscall(SYS_pivot_root, ".", "."));
  CALL(umount2(".", MNT_DETACH));
  HOLDS(access("/marker", F_OK) < 0);
  return 0;
}

int main(void) {
  enter_scratch();
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  MUST(mkdir("base", 0755));
  MUST(mount("x", "base", "tmpfs", 0, "mode=755"));
  MUST(chdir("base"));
  struct stat st;
  struct statfs sfs;

  SECTION("tmpfs");
  MUST(mkdir("t", 0755));
  CALL(mount("src", "t", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=750,uid=3,gid=4,nr_inodes=10"));
  info("t");
  MUST(stat("t", &st));
  printf("%o %d %d\n", st.st_mode, st.st_uid, st.st_gid);
  MUST(statfs("t", &sfs));
  printf("blocks %ld files %ld type %lx flags %lx\n", (long)sfs.f_blocks, (long)sfs.f_files, (long)sfs.f_type, (long)sfs.f_flags & 0xffff);
  int fd = MUST(open("t/big", O_RDWR | O_CREAT, 0644));
  char *block = calloc(1, 100000);
  CALL(write(fd, block, 100000));
  CALL(write(fd, block, 1));
  CALL(ftruncate(fd, 0));
  CALL(fallocate(fd, 0, 0, 70000));
  CALL(fallocate(fd, 0, 0, 65536));
  MUST(unlink("t/big"));
  CALL(umount("t"));
  close(fd);
  char name[32];
  int i;
  for (i = 0; i < 20; i++) {
    sprintf(name, "t/%d", i);
    if (mkdir(name, 0755) < 0) break;
  }
  printf("made %d: %s\n", i, strerrorname_np(errno));
  CALL(mount(NULL, "t", NULL, MS_REMOUNT, "nr_inodes=5"));
  CALL(mount(NULL, "t", NULL, MS_REMOUNT, "size=128k,nr_inodes=100"));
  CALL(mkdir("t/more", 0755));
  CALL(mount(NULL, "t", NULL, MS_REMOUNT | MS_RDONLY, NULL));
  info("t");
  CALL(mkdir("t/ro", 0755));
  CALL(chmod("t/more", 0700));
  CALL(open("t/x", O_CREAT | O_WRONLY, 0644));
  CALL(access("t/more", W_OK));
  CALL(rmdir("t/more"));
  CALL(rename("t/more", "t/m"));
  CALL(mount(NULL, "t", NULL, MS_REMOUNT, NULL));
  CALL(mount("x", "t", "tmpfs", 0, "bogus=1"));
  CALL(mount("x", "t", "tmpfs", 0, "size=x"));
  CALL(mount("x", "t", "nosuchfs", 0, NULL));
  CALL(mount("x", "none", "tmpfs", 0, NULL));
  put("file");
  CALL(mount("x", "file", "tmpfs", 0, NULL));
  CALL(mount("x", "t", NULL, 0, NULL));
  CALL(mount("x", "t/more", NULL, MS_REMOUNT, NULL));
  CALL(rmdir("t"));
  CALL(rename("t", "u"));
  MUST(mount("x", "t", "tmpfs", 0, NULL));
  CALL(access("t/more", F_OK));
  MUST(umount("t"));
  CALL(access("t/more", F_OK));
  CALL(umount2("t", 64));
  CALL(umount("t/more"));
  CALL(umount("file"));
  CALL(umount2("t", MNT_EXPIRE));
  CALL(umount2("t", MNT_EXPIRE));
  CALL(umount("t"));

  SECTION("bind");
  MUST(mkdir("src", 0755));
  MUST(mkdir("src/sub", 0755));
  MUST(mkdir("dst", 0755));
  put("src/f");
  put("target");
  MUST(mount("x", "src/sub", "tmpfs", 0, NULL));
  put("src/sub/inner");
  CALL(mount("src", "dst", NULL, MS_BIND, NULL));
  CALL(access("dst/f", F_OK));
  CALL(access("dst/sub/inner", F_OK));
  info("dst");
  CALL(mount(NULL, "dst", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOEXEC, NULL));
  info("dst");
  CALL(open("dst/new", O_CREAT | O_WRONLY, 0644));
  CALL(open("dst/f", O_WRONLY));
  CALL(truncate("dst/f", 0));
  CALL(chmod("dst/f", 0600));
  CALL(link("src/f", "dst/l"));
  CALL(rename("src/f", "dst/l"));
  CALL(unlink("dst/f"));
  CALL(umount("dst"));
  CALL(mount("src", "dst", NULL, MS_BIND | MS_REC, NULL));
  CALL(access("dst/sub/inner", F_OK));
  CALL(umount("dst"));
  CALL(umount2("dst", MNT_DETACH));
  CALL(mount("src/f", "target", NULL, MS_BIND, NULL));
  info("target");
  CALL(unlink("target"));
  CALL(mount("src/f", "dst", NULL, MS_BIND, NULL));
  CALL(mount("src", "target", NULL, MS_BIND, NULL));
  CALL(umount("target"));
  CALL(mount("none", "dst", NULL, MS_BIND, NULL));
  MUST(mount("src", "dst", NULL, MS_BIND, NULL));
  fd = MUST(open("dst/f", O_RDWR));
  CALL(mount(NULL, "dst", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
  CALL(umount("dst"));
  CALL(umount2("dst", MNT_DETACH));
  CALL(write(fd, "still", 5));
  close(fd);

  SECTION("move");
  MUST(mkdir("from", 0755));
  MUST(mkdir("to", 0755));
  MUST(mount("x", "from", "tmpfs", 0, NULL));
  put("from/here");
  CALL(mount("from", "to", NULL, MS_MOVE, NULL));
  CALL(access("from/here", F_OK));
  CALL(access("to/here", F_OK));
  CALL(mount("from", "to", NULL, MS_MOVE, NULL));
  MUST(mkdir("to/in", 0755));
  CALL(mount("to", "to/in", NULL, MS_MOVE, NULL));
  CALL(mount("to", "target", NULL, MS_MOVE, NULL));
  MUST(umount("to"));

  SECTION("propagation");
  MUST(mkdir("sh", 0755));
  MUST(mount("x", "sh", "tmpfs", 0, NULL));
  CALL(mount(NULL, "sh", NULL, MS_SHARED, NULL));
  CALL(mount(NULL, "sh", NULL, MS_SHARED | MS_PRIVATE, NULL));
  info("sh");
  MUST(mkdir("sh/a", 0755));
  MUST(mkdir("sh/fromchild", 0755));
  MUST(mkdir("sh/private", 0755));
  MUST(mkdir("peer", 0755));
  MUST(mkdir("slave", 0755));
  MUST(mkdir("priv", 0755));
  MUST(mount("sh", "peer", NULL, MS_BIND, NULL));
  info("peer");
  MUST(mount("sh", "slave", NULL, MS_BIND, NULL));
  MUST(mount(NULL, "slave", NULL, MS_SLAVE, NULL));
  info("slave");
  MUST(mount("sh", "priv", NULL, MS_BIND, NULL));
  MUST(mount(NULL, "priv", NULL, MS_PRIVATE, NULL));
  MUST(mount("x", "sh/a", "tmpfs", 0, NULL));
  put("sh/a/seen");
  CALL(access("peer/a/seen", F_OK));
  CALL(access("slave/a/seen", F_OK));
  CALL(access("priv/a/seen", F_OK));
  info("peer/a");
  info("slave/a");
  MUST(mkdir("slave/a/up", 0755));
  MUST(mount("x", "slave/a/up", "tmpfs", 0, NULL));
  put("slave/a/up/x");
  CALL(access("sh/a/up/x", F_OK));
  in_child("child", shared_child, NULL);
  info("sh/fromchild");
  info("peer/fromchild");
  info("slave/fromchild");
  info("sh/private");
  CALL(umount("slave/a/up"));
  CALL(umount("peer/a"));
  info("sh/a");
  info("slave/a");
  CALL(mount(NULL, "peer", NULL, MS_UNBINDABLE, NULL));
  info("peer");
  MUST(mkdir("bindit", 0755));
  CALL(mount("peer", "bindit", NULL, MS_BIND, NULL));
  CALL(mount(NULL, "slave", NULL, MS_SHARED, NULL));
  info("slave");
  CALL(mount(NULL, "sh/a", NULL, MS_SHARED, NULL));

  SECTION("a mount point of another namespace");
  mkdir("elsewhere", 0755);
  int go[2], went[2];
  MUST(pipe(go));
  MUST(pipe(went));
  pid_t other = MUST(fork());
  if (other == 0) {
    char byte;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) _exit(1);
    if (mount("x", "elsewhere", "tmpfs", 0, NULL) != 0) _exit(2);
    write(went[1], "m", 1);
    read(go[0], &byte, 1);
    _exit(access("elsewhere", F_OK) == 0 ? 3 : 0);
  }
  char byte;
  MUST(read(went[0], &byte, 1));
  CALL(rmdir("elsewhere"));
  MUST(write(go[1], "g", 1));
  int ended;
  MUST(waitpid(other, &ended, 0));
  CALL(ended);

  SECTION("descriptors");
  int fs = syscall(SYS_fsopen, "tmpfs", 1);
  FAILS(fs);
  CALL(syscall(SYS_fsopen, "nosuchfs", 0));
  CALL(syscall(SYS_fsconfig, fs, 1, "source", "name", 0));
  CALL(syscall(SYS_fsconfig, fs, 1, "mode", "0711", 0));
  CALL(syscall(SYS_fsmount, fs, 0, 0));
  CALL(syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0));
  int mnt = syscall(SYS_fsmount, fs, 1, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
  FAILS(mnt);
  put("plain");
  close(MUST(openat(mnt, "inside", O_CREAT | O_WRONLY, 0644)));
  MUST(mkdir("mp", 0755));
  CALL(syscall(SYS_move_mount, mnt, "", AT_FDCWD, "plain", 4));
  CALL(syscall(SYS_move_mount, mnt, "", AT_FDCWD, "mp", 4));
  info("mp");
  CALL(access("mp/inside", F_OK));
  int tree = syscall(SYS_open_tree, AT_FDCWD, "mp", OPEN_TREE_CLONE);
  FAILS(tree);
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
  CALL(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr));
  CALL(openat(tree, "x", O_CREAT | O_WRONLY, 0644));
  CALL(umount("mp"));
  CALL(faccessat(tree, "inside", F_OK, 0));
  CALL(syscall(SYS_move_mount, tree, "", AT_FDCWD, "mp", 4));
  info("mp");
  attr = (struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME, .attr_set = MOUNT_ATTR_STRICTATIME, .propagation = MS_SHARED};
  CALL(syscall(SYS_mount_setattr, AT_FDCWD, "mp", 0, &attr, sizeof attr));
  info("mp");
  attr.attr_clr = MOUNT_ATTR_NOATIME;
  CALL(syscall(SYS_mount_setattr, AT_FDCWD, "mp", 0, &attr, sizeof attr));
  CALL(syscall(SYS_mount_setattr, AT_FDCWD, "mp", 0, &attr, 8));
  CALL(umount("mp"));
  close(tree);
  CALL(syscall(SYS_open_tree, AT_FDCWD, "mp", 0x4000));

  SECTION("overlay");
  MUST(mkdir("ov", 0755));
  MUST(mount("x", "ov", "tmpfs", 0, NULL));
  MUST(chdir("ov"));
  MUST(mkdir("l1", 0755));
  MUST(mkdir("l2", 0755));
  MUST(mkdir("up", 0755));
  MUST(mkdir("work", 0755));
  MUST(mkdir("merged", 0755));
  put("l1/a");
  put("l2/a");
  put("l2/b");
  MUST(mkdir("l1/d", 0755));
  MUST(mkdir("l2/d", 0755));
  put("l1/d/one");
  put("l2/d/two");
  CALL(mount("ovl", "merged", "overlay", 0, "lowerdir=l1:l2,upperdir=up,workdir=work"));
  CALL(access("merged/b", F_OK));
  CALL(access("merged/d/one", F_OK));
  CALL(access("merged/d/two", F_OK));
  CALL(unlink("merged/b"));
  CALL(lstat("up/b", &st));
  HOLDS(S_ISCHR(st.st_mode) && st.st_rdev == 0);
  fd = MUST(open("merged/a", O_WRONLY));
  CALL(write(fd, "copied", 6));
  close(fd);
  MUST(stat("up/a", &st));
  HOLDS(st.st_size == 6);
  CALL(rename("merged/d", "merged/e"));
  CALL(unlink("merged/d/one"));
  CALL(unlink("merged/d/two"));
  CALL(rmdir("merged/d"));
  CALL(mkdir("merged/d", 0755));
  CALL(access("merged/d/one", F_OK));
  MUST(statfs("merged", &sfs));
  HOLDS(sfs.f_type == 0x794c7630);
  CALL(umount("merged"));
  CALL(mount("ovl", "merged", "overlay", 0, "lowerdir=l1,upperdir=up"));
  CALL(mount("ovl", "merged", "overlay", 0, "upperdir=up,workdir=work"));
  CALL(mount("ovl", "merged", "overlay", 0, "lowerdir=none,upperdir=up,workdir=work"));
  CALL(mount("ovl", "merged", "overlay", 0, "lowerdir=l1:l2"));
  CALL(open("merged/a", O_WRONLY));
  CALL(umount("merged"));
  MUST(chdir(".."));

  SECTION("pivot_root");
  in_child("pivot", pivot, NULL);
  return 0;
}

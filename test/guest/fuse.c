// fuse: a server in the guest, by the bare protocol: names, contents, mappings, signals, a server that dies
// needs: root /dev/fuse
#include "check.h"
#include <dirent.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>

static struct node {
  char name[64];
  mode_t mode;
  uint64_t size;
  char *data;
} nodes[16] = {[1] = {"", S_IFDIR | 0755}};
static int device, stuck;
static char request[1 << 18], answer[1 << 18];

static void reply(uint64_t unique, int error, const void *data, size_t n) {
  struct fuse_out_header *h = (void *)answer;
  *h = (struct fuse_out_header){sizeof *h + n, -error, unique};
  memmove(answer + sizeof *h, data, n);
  write(device, answer, h->len);
}

static struct fuse_attr attr_of(int i) {
  return (struct fuse_attr){.ino = i, .size = nodes[i].size, .mode = nodes[i].mode, .nlink = 1, .blksize = 4096, .mtime = 1000 + nodes[i].size};
}

static int find(const char *name) {
  for (int i = 2; i < 16; i++)
    if (nodes[i].mode && strcmp(nodes[i].name, name) == 0) return i;
  return 0;
}

static int add(const char *name, mode_t mode) {
  int i = 2;
  while (nodes[i].mode) i++;
  strcpy(nodes[i].name, name);
  nodes[i].mode = mode;
  nodes[i].size = 0;
  nodes[i].data = calloc(1, 1 << 20);
  return i;
}

static void entry(uint64_t unique, int i, bool opened) {
  struct {
    struct fuse_entry_out e;
    struct fuse_open_out o;
  } out = {.e = {.nodeid = i, .attr = attr_of(i)}, .o = {.fh = 100 + i}};
  reply(unique, 0, &out, opened ? sizeof out : sizeof out.e);
}

static void serve(void) {
  for (;;) {
    ssize_t n = read(device, request, sizeof request);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) exit(errno == ENODEV ? 0 : 1);
    struct fuse_in_header *h = (void *)request;
    void *in = h + 1;
    int i = h->nodeid;
    switch (h->opcode) {
      case FUSE_INIT: {
        struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = 1 << 17, .flags = ((struct fuse_init_in *)in)->flags & FUSE_BIG_WRITES};
        reply(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_LOOKUP:
        if (strcmp(in, "hang") == 0) stuck = 1;
        else if (strcmp(in, "die") == 0) _exit(7);
        else if (find(in)) entry(h->unique, find(in), false);
        else reply(h->unique, ENOENT, NULL, 0);
        break;
      case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attr_of(i)};
        reply(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_SETATTR: {
        struct fuse_setattr_in *s = in;
        if (s->valid & FATTR_MODE) nodes[i].mode = s->mode;
        if (s->valid & FATTR_SIZE) nodes[i].size = s->size;
        struct fuse_attr_out out = {.attr = attr_of(i)};
        reply(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_CREATE:
        entry(h->unique, add((char *)in + sizeof(struct fuse_create_in), ((struct fuse_create_in *)in)->mode), true);
        break;
      case FUSE_MKDIR:
        entry(h->unique, add((char *)in + sizeof(struct fuse_mkdir_in), S_IFDIR | ((struct fuse_mkdir_in *)in)->mode), false);
        break;
      case FUSE_UNLINK:
      case FUSE_RMDIR:
        nodes[find(in)].mode = 0;
        reply(h->unique, 0, NULL, 0);
        break;
      case FUSE_RENAME: {
        char *from = (char *)in + sizeof(struct fuse_rename_in);
        strcpy(nodes[find(from)].name, from + strlen(from) + 1);
        reply(h->unique, 0, NULL, 0);
        break;
      }
      case FUSE_OPEN:
      case FUSE_OPENDIR: {
        struct fuse_open_out out = {.fh = 100 + i};
        reply(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_READ: {
        struct fuse_read_in *r = in;
        uint64_t left = r->offset < nodes[i].size ? nodes[i].size - r->offset : 0;
        reply(h->unique, 0, nodes[i].data + r->offset, left < r->size ? left : r->size);
        break;
      }
      case FUSE_WRITE: {
        struct fuse_write_in *w = in;
        memcpy(nodes[i].data + w->offset, w + 1, w->size);
        if (w->offset + w->size > nodes[i].size) nodes[i].size = w->offset + w->size;
        struct fuse_write_out out = {w->size};
        reply(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_READDIR: {
        static char list[4096];
        size_t used = 0;
        for (int k = ((struct fuse_read_in *)in)->offset + 1; k < 16; k++) {
          if (k < 2 || !nodes[k].mode) continue;
          struct fuse_dirent *d = (void *)(list + used);
          *d = (struct fuse_dirent){k, k, strlen(nodes[k].name), nodes[k].mode >> 12};
          memcpy(d->name, nodes[k].name, d->namelen);
          used += FUSE_DIRENT_SIZE(d);
          break;
        }
        reply(h->unique, 0, list, used);
        break;
      }
      case FUSE_STATFS: {
        struct fuse_statfs_out out = {.st = {.blocks = 1000, .bfree = 300, .bavail = 200, .files = 50, .ffree = 40, .bsize = 512, .namelen = 60, .frsize = 512}};
        reply(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_INTERRUPT:
        reply(((struct fuse_interrupt_in *)in)->unique, EINTR, NULL, 0);
        break;
      case FUSE_FLUSH:
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
      case FUSE_FSYNC:
        reply(h->unique, h->opcode == FUSE_FLUSH && i == find("bad") ? EDQUOT : 0, NULL, 0);
        break;
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
        break;
      default:
        reply(h->unique, ENOSYS, NULL, 0);
    }
  }
}

static pid_t start(const char *options) {
  device = MUST(open("/dev/fuse", O_RDWR));
  char data[256];
  snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=0,group_id=0%s", device, options);
  CALL(mount("mini", "m", "fuse.mini", 0, data));
  fflush(stdout);
  pid_t server = MUST(fork());
  if (server == 0) serve();
  close(device);
  return server;
}

static void nothing(int signo) {}

static int opens(const char *name, int flags) {
  int fd = open(name, flags, 0644);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}

int main(void) {
  enter_scratch();
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  MUST(mkdir("m", 0755));

  SECTION("device");
  int fd = MUST(open("/dev/fuse", O_RDWR));
  char *buffer = malloc(1 << 20);
  CALL(read(fd, buffer, 100000));
  CALL(write(fd, buffer, 100));
  CALL(mount("x", "m", "fuse", 0, NULL));
  CALL(mount("x", "m", "fuse", 0, "fd=0,rootmode=40000,user_id=0,group_id=0"));
  CALL(mount("x", "m", "ext4.x", 0, NULL));
  close(fd);

  SECTION("names");
  pid_t server = start(",default_permissions");
  char line[4096];
  FILE *f = fopen("/proc/self/mounts", "r");
  while (fgets(line, sizeof line, f))
    if (strncmp(line, "mini ", 5) == 0) printf("%s", strstr(line, " fuse"));
  fclose(f);
  struct stat st;
  CALL(stat("m", &st));
  CALL(stat("m/none", &st));
  CALL(opens("m/none", O_RDWR));
  umask(022);
  CALL(opens("m/file", O_RDWR | O_CREAT | O_EXCL));
  CALL(opens("m/file", O_RDWR | O_CREAT | O_EXCL));
  CALL(stat("m/file", &st));
  printf("%o %ld\n", st.st_mode, (long)st.st_size);
  CALL(mkdir("m/dir", 0777));
  CALL(mkdir("m/dir", 0777));
  CALL(rename("m/file", "m/renamed"));
  CALL(link("m/renamed", "m/linked"));
  CALL(symlink("x", "m/link"));
  CALL(chmod("m/renamed", 0600));
  CALL(stat("m/renamed", &st));
  printf("%o\n", st.st_mode);
  DIR *dir = opendir("m");
  for (struct dirent *d; (d = readdir(dir));) printf("%s %d %ld\n", d->d_name, d->d_type, (long)d->d_off);
  closedir(dir);
  CALL(rmdir("m/dir"));
  struct statfs fs;
  CALL(statfs("m", &fs));
  printf("%lx %ld %ld %ld %ld %ld\n", fs.f_type, fs.f_blocks, fs.f_bfree, fs.f_bavail, fs.f_files, fs.f_namelen);
  CALL(getxattr("m/renamed", "user.x", buffer, 100));
  CALL(setxattr("m/renamed", "user.x", "v", 1, 0));

  SECTION("contents");
  fd = MUST(open("m/data", O_RDWR | O_CREAT, 0644));
  for (int i = 0; i < 300000; i++) buffer[i] = i * 7 >> 3;
  CALL(write(fd, buffer, 300000));
  CALL(lseek(fd, 0, SEEK_END));
  CALL(lseek(fd, 5, SEEK_DATA));
  CALL(lseek(fd, 5, SEEK_HOLE));
  char *back = malloc(300000);
  CALL(pread(fd, back, 300000, 0));
  HOLDS(memcmp(back, buffer, 300000) == 0);
  CALL(pread(fd, back, 100, 299990));
  CALL(pread(fd, back, 100, 400000));
  char *map = mmap(NULL, 300000, PROT_READ, MAP_PRIVATE, fd, 0);
  HOLDS(map != MAP_FAILED && memcmp(map, buffer, 300000) == 0);
  munmap(map, 300000);
  map = mmap(NULL, 300000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  HOLDS(map != MAP_FAILED);
  strcpy(map + 1000, "through the mapping");
  CALL(msync(map, 300000, MS_SYNC));
  munmap(map, 300000);
  CALL(fsync(fd));
  CALL(pread(fd, back, 7, 1000));
  printf("%.7s\n", back);
  CALL(ftruncate(fd, 1003));
  CALL(fstat(fd, &st));
  printf("%ld\n", (long)st.st_size);
  CALL(fallocate(fd, 0, 0, 5000));
  CALL(unlink("m/data"));
  CALL(close(fd));
  fd = MUST(open("m/bad", O_RDWR | O_CREAT, 0644));
  CALL(close(fd));
  fd = MUST(open("m/renamed", O_WRONLY | O_APPEND));
  CALL(write(fd, "one", 3));
  CALL(write(fd, "two", 3));
  CALL(opens("m/renamed", O_WRONLY | O_TRUNC));
  CALL(fstat(fd, &st));
  printf("%ld\n", (long)st.st_size);
  close(fd);

  fd = MUST(open("m/synced", O_RDWR | O_CREAT | O_SYNC, 0644));
  CALL(write(fd, "one", 3));
  CALL(write(fd, "two", 3));
  CALL(lseek(fd, 0, SEEK_CUR));
  CALL(pread(fd, back, 10, 0));
  struct iovec parts[] = {{"x", 1}, {"yz", 2}};
  CALL(pwritev(fd, parts, 2, 6));
  CALL(fstat(fd, &st));
  printf("%ld\n", (long)st.st_size);
  close(fd);

  SECTION("others");
  pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setuid(1000));
    CALL(stat("m", &st));
    CALL(opens("m/renamed", O_RDONLY));
    CALL(chdir("m"));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));

  SECTION("signals");
  struct sigaction action = {.sa_handler = nothing};
  sigaction(SIGALRM, &action, NULL);
  ualarm(200000, 0);
  CALL(stat("m/hang", &st));
  child = MUST(fork());
  if (child == 0) {
    stat("m/hang", &st);
    _exit(0);
  }
  sleep_ms(100);
  kill(child, SIGKILL);
  int status;
  MUST(waitpid(child, &status, 0));
  print_status("killed", status);
  CALL(opens("m/renamed", O_RDONLY));

  SECTION("the end");
  fd = MUST(open("m/renamed", O_RDWR));
  CALL(umount("m"));
  CALL(umount2("m", MNT_DETACH));
  CALL(pread(fd, buffer, 1, 0));
  CALL(close(fd));
  MUST(waitpid(server, &status, 0));
  print_status("server", status);
  server = start("");
  CALL(stat("m/die", &st));
  MUST(waitpid(server, &status, 0));
  print_status("server", status);
  CALL(stat("m", &st));
  CALL(opens("m/x", O_RDWR | O_CREAT));
  CALL(umount("m"));
  CALL(stat("m", &st));
  return 0;
}

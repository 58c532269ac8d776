// fuse: what a server may be asked beyond names and contents, what it may tell, and that nodes are given back last of all
// needs: root /dev/fuse
#include "check.h"
#include <dirent.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#define FILES 6
#define ECHO _IOWR('e', 1, char[16])
#define REFUSED _IO('e', 2)
#define UNKNOWN _IO('e', 3)

// Shared with the server: lookups that the kernel owes us, requests for nodes it has given back, what was asked.
static struct {
  int lookups[16];
  int orphans, plus, access, copied;
  uint64_t poll_handle;
  char text[16][32];
} *seen;
static int device;
static char request[1 << 18], answer[1 << 18];
static const char *names[] = {"", "", "one", "two", "three", "four", "five", "denied"};

static void send_message(uint64_t unique, int error, const void *data, size_t n) {
  struct fuse_out_header *h = (void *)answer;
  *h = (struct fuse_out_header){sizeof *h + n, error, unique};
  memmove(answer + sizeof *h, data, n);
  if (write(device, answer, h->len) < 0 && errno != ENOENT) printf("write: %d\n", errno);
}

static struct fuse_attr attr_of(int i) {
  return (struct fuse_attr){.ino = i, .size = i == 1 ? 0 : strlen(seen->text[i]), .mode = i == 1 ? S_IFDIR | 0777 : S_IFREG | 0666, .nlink = 1, .blksize = 4096};
}

static struct fuse_entry_out entry_of(int i) {
  seen->lookups[i]++;
  return (struct fuse_entry_out){.nodeid = i, .attr = attr_of(i), .entry_valid = 100};
}

static int find(const char *name) {
  for (int i = 2; i < 2 + FILES; i++)
    if (strcmp(names[i], name) == 0) return i;
  return 0;
}

static void serve(void) {
  for (;;) {
    ssize_t n = read(device, request, sizeof request);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) exit(errno == ENODEV ? 0 : 1);
    struct fuse_in_header *h = (void *)request;
    void *in = h + 1;
    int i = h->nodeid;
    if (i > 1 && i < 16 && seen->lookups[i] <= 0) seen->orphans++;
    switch (h->opcode) {
      case FUSE_INIT: {
        struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = 1 << 16, .flags = ((struct fuse_init_in *)in)->flags & FUSE_DO_READDIRPLUS};
        send_message(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_LOOKUP:
        if (find(in)) {
          struct fuse_entry_out out = entry_of(find(in));
          send_message(h->unique, 0, &out, sizeof out);
        } else
          send_message(h->unique, -ENOENT, NULL, 0);
        break;
      case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attr_of(i)};
        send_message(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_OPEN:
      case FUSE_OPENDIR: {
        struct fuse_open_out out = {.fh = 100 + i};
        send_message(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_READ: {
        struct fuse_read_in *r = in;
        size_t size = strlen(seen->text[i]);
        size_t left = r->offset < size ? size - r->offset : 0;
        send_message(h->unique, 0, seen->text[i] + r->offset, left < r->size ? left : r->size);
        break;
      }
      case FUSE_READDIRPLUS: {
        static char list[4096];
        size_t used = 0;
        seen->plus++;
        for (int k = ((struct fuse_read_in *)in)->offset + 2; k < 2 + FILES; k++) {
          struct fuse_direntplus *d = (void *)(list + used);
          d->entry_out = entry_of(k);
          d->dirent = (struct fuse_dirent){k, k - 1, strlen(names[k]), DT_REG};
          memcpy(d->dirent.name, names[k], d->dirent.namelen);
          used += FUSE_DIRENTPLUS_SIZE(d);
        }
        send_message(h->unique, 0, list, used);
        break;
      }
      case FUSE_ACCESS:
        seen->access++;
        send_message(h->unique, i == find("denied") && (((struct fuse_access_in *)in)->mask & W_OK) ? -EROFS : 0, NULL, 0);
        break;
      case FUSE_IOCTL: {
        struct fuse_ioctl_in *c = in;
        struct {
          struct fuse_ioctl_out out;
          char data[16];
        } out = {.out = {.result = c->in_size + (c->flags & FUSE_IOCTL_DIR)}};
        if (c->cmd == REFUSED) out.out.result = -EACCES;
        if (c->cmd == UNKNOWN) {
          send_message(h->unique, -ENOSYS, NULL, 0);
          break;
        }
        for (unsigned k = 0; k < c->in_size; k++) out.data[k] = ((char *)(c + 1))[k] + 1;
        send_message(h->unique, 0, &out, sizeof out.out + c->out_size);
        break;
      }
      case FUSE_COPY_FILE_RANGE: {
        struct fuse_copy_file_range_in *c = in;
        seen->copied++;
        memcpy(seen->text[c->nodeid_out] + c->off_out, seen->text[i] + c->off_in, c->len);
        struct fuse_write_out out = {c->len};
        send_message(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_LSEEK: {
        struct fuse_lseek_out out = {((struct fuse_lseek_in *)in)->offset + 3};
        send_message(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_POLL: {
        struct fuse_poll_in *p = in;
        // Nothing at first; after the notification something can be read.
        struct fuse_poll_out out = {seen->poll_handle == p->kh ? POLLIN : 0};
        seen->poll_handle = p->kh;
        send_message(h->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_FLUSH:
      case FUSE_RELEASE:
        // Long enough for whatever follows to overtake it.
        sleep_ms(20);
        send_message(h->unique, 0, NULL, 0);
        break;
      case FUSE_RELEASEDIR:
        send_message(h->unique, 0, NULL, 0);
        break;
      case FUSE_FORGET:
        seen->lookups[i] -= ((struct fuse_forget_in *)in)->nlookup;
        break;
      case FUSE_BATCH_FORGET: {
        struct fuse_forget_one *f = (void *)((struct fuse_batch_forget_in *)in + 1);
        for (unsigned k = 0; k < ((struct fuse_batch_forget_in *)in)->count; k++) seen->lookups[f[k].nodeid] -= f[k].nlookup;
        break;
      }
      default:
        send_message(h->unique, -ENOSYS, NULL, 0);
    }
  }
}

int main(void) {
  enter_scratch();
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  MUST(mkdir("m", 0755));
  seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 2; i < 16; i++) strcpy(seen->text[i], "contents");
  device = MUST(open("/dev/fuse", O_RDWR));
  char data[256];
  snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
  CALL(mount("mini", "m", "fuse.mini", 0, data));
  fflush(stdout);
  pid_t server = MUST(fork());
  if (server == 0) serve();

  SECTION("reading with attributes");
  struct stat st;
  for (int round = 0; round < 2; round++) {
    DIR *dir = opendir("m");
    for (struct dirent *d; (d = readdir(dir));) {
      char path[300];
      snprintf(path, sizeof path, "m/%s", d->d_name);
      printf("%s %d %ld ", d->d_name, d->d_type, (long)d->d_off);
      CALL(stat(path, &st));
      printf("%ld\n", (long)st.st_ino);
    }
    closedir(dir);
  }
  HOLDS(seen->plus >= 2);

  SECTION("access");
  CALL(access("m/one", R_OK | W_OK));
  CALL(access("m/denied", R_OK));
  CALL(access("m/denied", W_OK));
  CALL(access("m/none", F_OK));
  CALL(chdir("m"));
  CALL(chdir(".."));
  HOLDS(seen->access >= 3);

  SECTION("ioctl");
  int fd = MUST(open("m/one", O_RDWR));
  char sixteen[16] = "abcdefghijklmno";
  CALL(ioctl(fd, ECHO, sixteen));
  printf("%.15s\n", sixteen);
  CALL(ioctl(fd, REFUSED, 0));
  CALL(ioctl(fd, UNKNOWN, 0));
  CALL(ioctl(fd, ECHO, NULL));
  int dirfd = MUST(open("m", O_RDONLY | O_DIRECTORY));
  CALL(ioctl(dirfd, ECHO, sixteen));
  close(dirfd);

  SECTION("copy and seek");
  strcpy(seen->text[2], "from one");
  int to = MUST(open("m/two", O_RDWR));
  loff_t in = 5, out = 0;
  CALL(copy_file_range(fd, &in, to, &out, 3, 0));
  printf("%ld %ld %s\n", (long)in, (long)out, seen->text[3]);
  HOLDS(seen->copied == 1);
  CALL(lseek(fd, 1, SEEK_DATA));
  close(to);

  SECTION("poll");
  struct pollfd p = {.fd = fd, .events = POLLIN};
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child == 0) {
    sleep_ms(200);
    struct fuse_notify_poll_wakeup_out wake = {seen->poll_handle};
    send_message(0, FUSE_NOTIFY_POLL, &wake, sizeof wake);
    _exit(0);
  }
  CALL(poll(&p, 1, 5000));
  printf("%x\n", p.revents);
  MUST(waitpid(child, NULL, 0));

  SECTION("what the server tells");
  strcpy(seen->text[4], "old text");
  int three = MUST(open("m/three", O_RDONLY));
  char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, three, 0);
  HOLDS(map != MAP_FAILED && strcmp(map, "old text") == 0);
  strcpy(seen->text[4], "new text");
  struct fuse_notify_inval_inode_out stale = {4, 0, 0};
  send_message(0, FUSE_NOTIFY_INVAL_INODE, &stale, sizeof stale);
  sleep_ms(200);
  printf("%.8s\n", map);
  munmap(map, 4096);
  stale.ino = 99;
  send_message(0, FUSE_NOTIFY_INVAL_INODE, &stale, sizeof stale);
  struct {
    struct fuse_notify_inval_entry_out e;
    char name[8];
  } gone = {{1, 5}, "three"};
  send_message(0, FUSE_NOTIFY_INVAL_ENTRY, &gone, sizeof gone);
  send_message(0, FUSE_NOTIFY_INVAL_ENTRY, &gone, sizeof gone.e + 6);
  CALL(stat("m/three", &st));
  send_message(0, 77, &gone, sizeof gone);

  SECTION("nodes given back");
  close(three);
  close(fd);
  MUST(umount("m"));
  int status;
  close(device);
  MUST(waitpid(server, &status, 0));
  print_status("server", status);
  printf("orphans: %d\n", seen->orphans);
  return 0;
}

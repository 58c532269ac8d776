// Random changes of mounts by three processes: two mount namespaces that share peers, and one of a user namespace of its own.
// Arguments: SEED OPERATIONS ("-v": all of mountinfo after each). The same seed prints the same on every kernel that is right.
#include "check.h"
#include <sys/mount.h>

static char base[PATH_MAX];
static int verbose;

// Numbers of peer groups, in the order in which they first came up.
static int known_groups[65536], group_count;
static int number(int id) {
  for (int i = 0; i < group_count; i++)
    if (known_groups[i] == id) return i;
  known_groups[group_count] = id;
  return group_count++;
}

struct line {
  int id, parent, depth;
  uint64_t chain;
  char point[512], text[1024];
  char *optional;
};
static struct line lines[20000];
static int line_count;

static struct line *find(int id) {
  for (int i = 0; i < line_count; i++)
    if (lines[i].id == id) return &lines[i];
  return NULL;
}

// How many mounts are above, and what they are.
static void climb(struct line *l) {
  const struct line *at = l;
  for (l->depth = 0, l->chain = 0; at && l->depth < 1000; at = find(at->parent), l->depth++) {
    for (const char *c = at->point; *c; c++) l->chain = l->chain * 31 + (unsigned char)*c;
    for (const char *c = at->text; *c; c++) l->chain = l->chain * 31 + (unsigned char)*c;
  }
}

static int by_place(const void *a, const void *b) {
  const struct line *x = a, *y = b;
  int n = strcmp(x->point, y->point);
  if (n == 0) n = x->depth - y->depth;
  return n ? n : x->chain < y->chain ? -1 : x->chain > y->chain;
}

// Which of two copies was made first is nobody's business: mounts are told in the order of their places, and so are groups.
static unsigned state(const char *who) {
  static char text[4096], rests[20000][256];
  unsigned hash = 5381;
  line_count = group_count = 0;
  FILE *f = fopen("/proc/self/mountinfo", "r");
  while (fgets(text, sizeof text, f) && line_count < 20000) {
    struct line *l = &lines[line_count];
    int n;
    char dev[32], root[512], point[512], options[128];
    if (sscanf(text, "%d %d %31s %511s %511s %127s %n", &l->id, &l->parent, dev, root, point, options, &n) < 6) continue;
    if (strncmp(point, base, strlen(base))) continue;
    strcpy(l->point, point + strlen(base));
    l->optional = rests[line_count];
    snprintf(l->optional, 256, "%s", text + n);
    char *end = strstr(l->optional, "- ");
    char type[64] = "", source[64] = "", super[64] = "";
    sscanf(end + 2, "%63s %63s %63s", type, source, super);
    *end = 0;
    sprintf(l->text, "%s %s %s %s %.2s", root, options, type, source, super);
    line_count++;
  }
  fclose(f);
  for (int i = 0; i < line_count; i++) climb(&lines[i]);
  qsort(lines, line_count, sizeof *lines, by_place);
  for (int i = 0; i < line_count; i++) {
    struct line *up = find(lines[i].parent);
    char *o = text + sprintf(text, "%s in %d: %s", lines[i].point, up ? (int)(up - lines) : -1, lines[i].text);
    for (char *word = strtok(lines[i].optional, " \n"); word; word = strtok(NULL, " \n")) {
      int group;
      char *colon = strchr(word, ':');
      if (colon && sscanf(colon + 1, "%d", &group) == 1) o += sprintf(o, " %.*s:%d", (int)(colon - word), word, number(group));
      else o += sprintf(o, " %s", word);
    }
    for (char *c = text; *c; c++) hash = hash * 33 + (unsigned char)*c;
    if (verbose) printf("    %s %d %s\n", who, i, text);
  }
  return hash;
}

static const char *const paths[] = {".", "a", "b", "c", "a/x", "a/y", "b/x", "b/y", "c/x", "a/x/p", "a/x/q", "b/x/p", "c/x/p", "a/y/p"};
#define PATHS (sizeof paths / sizeof *paths)

struct op { int kind, from, to, flags; };

// All directories that mounts are made on, in a file system that has just been mounted.
static void fill(const char *at) {
  int fd = open(at, O_PATH | O_DIRECTORY);
  static const char *const names[] = {"x", "y", "a", "b", "c", "p", "q", "x/p", "x/q", "y/p", "a/x", "a/y", "b/x", "b/y", "c/x", "a/x/p", "a/x/q", "b/x/p", "c/x/p", "a/y/p"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) mkdirat(fd, names[i], 0755);
  close(fd);
}

static int run(const struct op *op) {
  static const unsigned long kinds[] = {MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE};
  const char *from = paths[op->from], *to = paths[op->to];
  char text[64];
  int error, fd;
  switch (op->kind) {
  case 0:
  case 1:
    sprintf(text, "s%d", op->flags % 50);
    error = mount(text, to, "tmpfs", op->flags & 64 ? MS_RDONLY : op->flags & 128 ? MS_NOSUID : 0, "mode=755");
    if (!error && !(op->flags & 64)) fill(to);
    return error;
  case 2:
  case 3:
    return mount(from, to, NULL, MS_BIND, NULL);
  case 4:
  case 5:
    return mount(from, to, NULL, MS_BIND | MS_REC, NULL);
  case 6:
    return mount(from, to, NULL, MS_MOVE, NULL);
  case 7:
  case 8:
  case 9:
    return mount(NULL, to, NULL, kinds[op->flags & 3] | (op->flags & 4 ? MS_REC : 0), NULL);
  case 10:
    return umount2(to, 0);
  case 11:
  case 12:
    return op->to ? umount2(to, MNT_DETACH) : 0;
  case 13:
    return mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | (op->flags & 1 ? MS_RDONLY : 0) | (op->flags & 2 ? MS_NODEV : 0) | (op->flags & 4 ? MS_NOATIME : 0), NULL);
  case 14: {
    struct { uint64_t set, clear, propagation, userns; } attr = {.set = op->flags & 1 ? 1 : op->flags & 2 ? 8 : 0, .clear = op->flags & 4 ? 1 : 0};
    if (op->flags & 8) attr.propagation = kinds[op->flags >> 4 & 3];
    return syscall(SYS_mount_setattr, AT_FDCWD, to, op->flags & 64 ? AT_RECURSIVE : 0, &attr, sizeof attr);
  }
  case 15:
    // A copy of a tree, put somewhere else later, perhaps beneath what is there.
    fd = syscall(SYS_open_tree, AT_FDCWD, from, 1 | (op->flags & 1 ? AT_RECURSIVE : 0));
    if (fd < 0) return -1;
    error = syscall(SYS_move_mount, fd, "", AT_FDCWD, to, 4 | (op->flags & 2 ? 0x200 : 0));
    int was = errno;
    close(fd);
    errno = was;
    return error;
  case 16:
    return syscall(SYS_move_mount, AT_FDCWD, from, AT_FDCWD, to, op->flags & 1 ? 0x100 : op->flags & 2 ? 0x200 : 0);
  default:
    return umount2(to, MNT_EXPIRE);
  }
}

static void serve(const char *who, int in, int out) {
  struct op op;
  while (read(in, &op, sizeof op) == sizeof op) {
    errno = 0;
    if (op.kind >= 0) {
      int error = run(&op);
      printf("%s %d %s %s %x: %s\n", who, op.kind, paths[op.from], paths[op.to], op.flags, error < 0 ? strerrorname_np(errno) : "ok");
    }
    printf("  %s %08x\n", who, state(who));
    fflush(stdout);
    write(out, "x", 1);
  }
  _exit(0);
}

static int to_child[3], from_child[3];
static void start(int which, const char *who, int flags) {
  int in[2], out[2];
  MUST(pipe(in));
  MUST(pipe(out));
  fflush(stdout);
  if (fork() == 0) {
    if (flags & CLONE_NEWUSER) {
      MUST(unshare(CLONE_NEWUSER));
      int fd = open("/proc/self/setgroups", O_WRONLY);
      write(fd, "deny", 4);
      close(fd);
      fd = open("/proc/self/uid_map", O_WRONLY);
      write(fd, "0 0 1", 5);
      close(fd);
      fd = open("/proc/self/gid_map", O_WRONLY);
      write(fd, "0 0 1", 5);
      close(fd);
    }
    if (flags & CLONE_NEWNS) MUST(unshare(CLONE_NEWNS));
    MUST(chdir(base));
    close(in[1]), close(out[0]);
    write(out[1], "x", 1);
    serve(who, in[0], out[1]);
  }
  close(in[0]), close(out[1]);
  to_child[which] = in[1], from_child[which] = out[0];
  char c;
  read(out[0], &c, 1);
}

static void ask(int which, const struct op *op) {
  char c;
  write(to_child[which], op, sizeof *op);
  if (read(from_child[which], &c, 1) != 1) {
    printf("process %d is gone\n", which);
    exit(1);
  }
}

int main(int argc, char **argv) {
  enter_scratch();
  getcwd(base, sizeof base);
  srandom(atoi(argv[1]));
  int operations = atoi(argv[2]);
  verbose = argc > 3;
  MUST(unshare(CLONE_NEWNS));
  MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  MUST(mount("base", base, "tmpfs", 0, "mode=755"));
  MUST(chdir(base));
  fill(".");
  MUST(mount(NULL, base, NULL, random() % 2 ? MS_SHARED : MS_PRIVATE, NULL));
  start(0, "A", 0);
  start(1, "B", CLONE_NEWNS);
  start(2, "C", CLONE_NEWUSER | CLONE_NEWNS);
  struct op look = {.kind = -1};
  for (int i = 0; i < operations; i++) {
    struct op op = {random() % 18, random() % PATHS, random() % PATHS, random() % 256};
    int who = random() % 8;
    who = who < 4 ? 0 : who < 6 ? 1 : 2;
    ask(who, &op);
    for (int other = 0; other < 3; other++)
      if (other != who) ask(other, &look);
  }
  return 0;
}

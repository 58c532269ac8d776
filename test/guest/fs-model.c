// random operations on one file and on a tree, each result and all contents compared with a model in memory
//
// Alone: a few thousand in an empty folder. `fs-model FOLDER SEED COUNT` in that folder; of FOLDER "tmpfs" one that it mounts itself.
#include "check.h"
#include <dirent.h>
#include <sys/mount.h>

static uint64_t state;
static uint64_t step;

static unsigned rnd(unsigned n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (state >> 20) % n;
}

static void wrong(const char *format, ...) {
  va_list args;
  va_start(args, format);
  printf("operation %llu: ", (unsigned long long)step);
  vprintf(format, args);
  printf("\n");
  fflush(stdout);
  _exit(1);
}

// expect(): a call answers what the model says, which is 0 and more, or an errno as a negative number.
static void expect(const char *what, long got, long want) {
  if (got == -1) got = -errno;
  if (got != want) wrong("%s: %ld in place of %ld", what, got, want);
}

static void fill_random(unsigned char *to, size_t n) {
  unsigned char value = rnd(256);
  for (size_t i = 0; i < n; i++) to[i] = value + i * 7;
}

// ---- one file: reads, writes, mappings, holes

#define FILE_MAX (256 * 1024)

static unsigned char model[FILE_MAX + 1], bytes[FILE_MAX + 1];
static size_t model_size;

static void compare_bytes(const char *what, const unsigned char *got, size_t at, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (got[i] != model[at + i]) wrong("%s: byte %zu of %zu is %d in place of %d", what, at + i, model_size, got[i], model[at + i]);
}

static void grow_to(size_t size) {
  if (size > model_size) {
    memset(model + model_size, 0, size - model_size);
    model_size = size;
  }
}

static void read_some(int fd) {
  size_t at = rnd(FILE_MAX), n = rnd(rnd(4) ? 5000 : 70000);
  size_t want = at >= model_size ? 0 : model_size - at < n ? model_size - at : n;
  expect("pread", pread(fd, bytes, n, at), want);
  compare_bytes("pread", bytes, at, want);
}

static void write_some(int fd) {
  size_t at = rnd(3) ? rnd(model_size + 1) : rnd(FILE_MAX), n = 1 + rnd(rnd(4) ? 5000 : 70000);
  if (at + n > FILE_MAX) n = FILE_MAX - at;
  if (n == 0) return;
  fill_random(bytes, n);
  if (rnd(2)) {
    struct iovec parts[2] = {{bytes, n / 3}, {bytes + n / 3, n - n / 3}};
    expect("pwritev", pwritev(fd, parts, 2, at), n);
  } else expect("pwrite", pwrite(fd, bytes, n, at), n);
  grow_to(at);
  memcpy(model + at, bytes, n);
  if (at + n > model_size) model_size = at + n;
}

static void map_some(int fd, bool writes) {
  if (model_size == 0) return;
  size_t first = rnd(model_size) & ~4095ul, n = 1 + rnd(20000);
  if (n > model_size - first) n = model_size - first;
  unsigned char *map = mmap(NULL, n, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED, fd, first);
  if (map == MAP_FAILED) wrong("mmap: %s", strerrorname_np(errno));
  compare_bytes("mapping", map, first, n);
  if (writes) {
    size_t from = rnd(n), length = 1 + rnd(n - from);
    fill_random(map + from, length);
    memcpy(model + first + from, map + from, length);
  }
  // What lies behind the end in the last page reads as zero.
  for (size_t i = n; first + n == model_size && (i & 4095); i++)
    if (map[i]) wrong("byte %zu behind the end of %zu is %d", first + i, model_size, map[i]);
  munmap(map, n);
}

static void resize(int fd, const char *name) {
  size_t size = rnd(3) ? rnd(model_size + 1) : rnd(FILE_MAX);
  expect("truncate", rnd(2) ? ftruncate(fd, size) : truncate(name, size), 0);
  if (size > model_size) grow_to(size);
  model_size = size;
}

static void punch(int fd) {
  size_t at = rnd(FILE_MAX), n = 1 + rnd(30000);
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n) < 0) {
    if (errno != EOPNOTSUPP) wrong("punching: %s", strerrorname_np(errno));
    return;
  }
  for (size_t i = at; i < at + n && i < model_size; i++) model[i] = 0;
}

static void allocate(int fd) {
  size_t at = rnd(FILE_MAX - 1), n = 1 + rnd(30000);
  if (at + n > FILE_MAX) n = FILE_MAX - at;
  int keep = rnd(2) ? FALLOC_FL_KEEP_SIZE : 0;
  if (fallocate(fd, keep, at, n) < 0) {
    if (errno != EOPNOTSUPP) wrong("fallocate: %s", strerrorname_np(errno));
  } else if (!keep) grow_to(at + n);
}

static void append(const char *name) {
  size_t n = 1 + rnd(3000);
  if (model_size + n > FILE_MAX) return;
  int fd = open(name, O_WRONLY | O_APPEND);
  fill_random(bytes, n);
  expect("append", write(fd, bytes, n), n);
  memcpy(model + model_size, bytes, n);
  model_size += n;
  close(fd);
}

static void one_file(long count) {
  const char *name = "file";
  int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
  model_size = 0;
  for (long i = 0; i < count; i++, step++) {
    switch (rnd(16)) {
      case 0: case 1: case 2: case 3: read_some(fd); break;
      case 4: case 5: case 6: case 7: write_some(fd); break;
      case 8: map_some(fd, false); break;
      case 9: map_some(fd, true); break;
      case 10: resize(fd, name); break;
      case 11: punch(fd); break;
      case 12: allocate(fd); break;
      case 13: append(name); break;
      case 14:
        close(fd);
        fd = MUST(open(name, O_RDWR));
        break;
      default: {
        struct stat st;
        expect("fstat", rnd(2) ? fstat(fd, &st) : stat(name, &st), 0);
        if ((size_t)st.st_size != model_size) wrong("size %ld in place of %zu", (long)st.st_size, model_size);
      }
    }
  }
  expect("read of all", pread(fd, bytes, FILE_MAX, 0), model_size);
  compare_bytes("read of all", bytes, 0, model_size);
  close(fd);
  MUST(unlink(name));
}

// ---- a tree: names, links, renames, files that are open without a name

#define NAMES 12
#define DATA_MAX 9000
#define SLOTS 8

struct node {
  int type;
  int links;
  int opens;
  struct node *parent;
  struct node *children[NAMES];
  int size;
  unsigned char *data;
  char target[16];
  ino_t ino;
};

static struct node *top;
static struct { int fd; struct node *node; } slots[SLOTS];
static unsigned char some[DATA_MAX * 2];

struct place {
  struct node *dir;
  int name;
  char path[256];
};

static void any_place(struct place *p) {
  p->dir = top;
  p->path[0] = 0;
  for (int depth = 0; depth < 4 && rnd(3); depth++) {
    int name = rnd(NAMES);
    struct node *child = p->dir->children[name];
    if (child == NULL || child->type != S_IFDIR) continue;
    p->dir = child;
    sprintf(p->path + strlen(p->path), "n%d/", name);
  }
  p->name = rnd(NAMES);
  sprintf(p->path + strlen(p->path), "n%d", p->name);
}

static struct node *at(struct place *p) { return p->dir->children[p->name]; }

static void put(struct place *p, struct node *node) {
  p->dir->children[p->name] = node;
  if (node->type == S_IFDIR) node->parent = p->dir;
}

static struct node *make(struct place *p, int type) {
  struct node *node = calloc(1, sizeof *node);
  node->type = type;
  node->links = 1;
  put(p, node);
  return node;
}

static void drop(struct node *node) {
  if (node->links > 0 || node->opens > 0) return;
  free(node->data);
  free(node);
}

static void unname(struct place *p) {
  struct node *node = at(p);
  p->dir->children[p->name] = NULL;
  node->links = node->type == S_IFDIR ? 0 : node->links - 1;
  drop(node);
}

static bool is_empty(struct node *dir) {
  for (int i = 0; i < NAMES; i++)
    if (dir->children[i]) return false;
  return true;
}

static bool is_below(struct node *dir, struct node *ancestor) {
  for (; dir; dir = dir->parent)
    if (dir == ancestor) return true;
  return false;
}

static void do_create(void) {
  struct place p;
  any_place(&p);
  struct node *node = at(&p);
  int exclusive = rnd(2) ? O_EXCL : 0;
  int fd = open(p.path, O_RDWR | O_CREAT | O_NOFOLLOW | exclusive, 0644);
  if (node && exclusive) return expect("create", fd, -EEXIST);
  if (node && node->type == S_IFDIR) return expect("create", fd, -EISDIR);
  if (node && node->type == S_IFLNK) return expect("create", fd, -ELOOP);
  if (fd < 0) wrong("creating %s: %s", p.path, strerrorname_np(errno));
  if (!node) node = make(&p, S_IFREG);
  int slot = rnd(SLOTS);
  if (slots[slot].node) {
    close(slots[slot].fd);
    slots[slot].node->opens--;
    drop(slots[slot].node);
  }
  node->opens++;
  slots[slot].fd = fd;
  slots[slot].node = node;
}

static void do_mkdir(void) {
  struct place p;
  any_place(&p);
  expect("mkdir", mkdir(p.path, 0755), at(&p) ? -EEXIST : 0);
  if (!at(&p)) make(&p, S_IFDIR);
}

static void do_symlink(void) {
  struct place p;
  any_place(&p);
  char target[16];
  sprintf(target, "t%u", rnd(1000));
  expect("symlink", symlink(target, p.path), at(&p) ? -EEXIST : 0);
  if (!at(&p)) strcpy(make(&p, S_IFLNK)->target, target);
}

static void do_link(void) {
  struct place from, to;
  any_place(&from);
  any_place(&to);
  struct node *node = at(&from);
  long want = !node ? -ENOENT : at(&to) ? -EEXIST : node->type == S_IFDIR ? -EPERM : 0;
  expect("link", link(from.path, to.path), want);
  if (want < 0) return;
  node->links++;
  put(&to, node);
}

static void do_unlink(void) {
  struct place p;
  any_place(&p);
  struct node *node = at(&p);
  long want = !node ? -ENOENT : node->type == S_IFDIR ? -EISDIR : 0;
  expect("unlink", unlink(p.path), want);
  if (want == 0) unname(&p);
}

static void do_rmdir(void) {
  struct place p;
  any_place(&p);
  struct node *node = at(&p);
  long want = !node ? -ENOENT : node->type != S_IFDIR ? -ENOTDIR : !is_empty(node) ? -ENOTEMPTY : 0;
  expect("rmdir", rmdir(p.path), want);
  if (want == 0) unname(&p);
}

static long rename_result(struct place *from, struct place *to, unsigned flags) {
  struct node *old = at(from), *new = at(to);
  if (!old) return -ENOENT;
  if (flags == RENAME_NOREPLACE && new) return -EEXIST;
  if (flags == RENAME_EXCHANGE && !new) return -ENOENT;
  if (old->type == S_IFDIR && is_below(to->dir, old)) return -EINVAL;
  if (new && new->type == S_IFDIR && is_below(from->dir, new)) return flags == RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
  if (old == new || !new || flags == RENAME_EXCHANGE) return 0;
  if (old->type == S_IFDIR && new->type != S_IFDIR) return -ENOTDIR;
  if (old->type != S_IFDIR && new->type == S_IFDIR) return -EISDIR;
  return new->type == S_IFDIR && !is_empty(new) ? -ENOTEMPTY : 0;
}

static void do_rename(void) {
  struct place from, to;
  any_place(&from);
  any_place(&to);
  unsigned flags = rnd(4) == 0 ? RENAME_NOREPLACE : rnd(4) == 0 ? RENAME_EXCHANGE : 0;
  long want = rename_result(&from, &to, flags);
  expect("rename", renameat2(AT_FDCWD, from.path, AT_FDCWD, to.path, flags), want);
  struct node *old = at(&from), *new = at(&to);
  if (want < 0 || old == new) return;
  if (flags == RENAME_EXCHANGE) {
    put(&from, new);
    put(&to, old);
    return;
  }
  if (new) unname(&to);
  from.dir->children[from.name] = NULL;
  put(&to, old);
}

static void check_data(int fd, struct node *node) {
  expect("read", pread(fd, some, sizeof some, 0), node->size);
  if (node->size && memcmp(some, node->data, node->size)) wrong("contents of %d bytes differ", node->size);
}

static void set_size(struct node *node, int size) {
  if (!node->data) node->data = calloc(1, DATA_MAX);
  if (size > node->size) memset(node->data + node->size, 0, size - node->size);
  node->size = size;
}

static void do_write(void) {
  int slot = rnd(SLOTS);
  struct node *node = slots[slot].node;
  if (!node) return;
  int from = rnd(5000), n = 1 + rnd(4000);
  fill_random(some, n);
  expect("write", pwrite(slots[slot].fd, some, n, from), n);
  if (from + n > node->size) set_size(node, from + n);
  memcpy(node->data + from, some, n);
}

static void do_read(void) {
  int slot = rnd(SLOTS);
  struct node *node = slots[slot].node;
  if (!node) return;
  check_data(slots[slot].fd, node);
  struct stat st;
  expect("fstat", fstat(slots[slot].fd, &st), 0);
  if (st.st_nlink != node->links || st.st_size != node->size)
    wrong("open file: %ld links, %ld bytes in place of %d, %d", (long)st.st_nlink, (long)st.st_size, node->links, node->size);
}

static void do_truncate(void) {
  struct place p;
  any_place(&p);
  struct node *node = at(&p);
  int size = rnd(DATA_MAX);
  if (node && node->type == S_IFLNK) return;
  long want = !node ? -ENOENT : node->type == S_IFDIR ? -EISDIR : 0;
  expect("truncate", truncate(p.path, size), want);
  if (want == 0) set_size(node, size);
}

static void check_node(const char *path, struct node *node) {
  struct stat st;
  if (!node) return expect("lstat", lstat(path, &st), -ENOENT);
  expect(path, lstat(path, &st), 0);
  if ((st.st_mode & S_IFMT) != node->type) wrong("%s: type %o in place of %o", path, st.st_mode, node->type);
  if (node->ino == 0) node->ino = st.st_ino;
  if (node->ino != st.st_ino) wrong("%s: number %lu in place of %lu", path, (long)st.st_ino, (long)node->ino);
  if (node->type == S_IFDIR) return;
  if (st.st_nlink != node->links) wrong("%s: %ld links in place of %d", path, (long)st.st_nlink, node->links);
  if (node->type == S_IFLNK) {
    char text[64] = "";
    expect("readlink", readlink(path, text, sizeof text), strlen(node->target));
    if (strcmp(text, node->target)) wrong("%s: leads to %s in place of %s", path, text, node->target);
  } else if (st.st_size != node->size) wrong("%s: %ld bytes in place of %d", path, (long)st.st_size, node->size);
}

static void check_dir(const char *path, struct node *dir, bool deep) {
  bool seen[NAMES] = {false};
  DIR *stream = opendir(path);
  if (!stream) wrong("opendir %s: %s", path, strerrorname_np(errno));
  for (struct dirent *e; (e = readdir(stream));) {
    if (e->d_name[0] == '.') continue;
    int name = atoi(e->d_name + 1);
    if (e->d_name[0] != 'n' || name >= NAMES || !dir->children[name] || seen[name]) wrong("%s lists %s", path, e->d_name);
    if (e->d_type != DT_UNKNOWN && e->d_type != dir->children[name]->type >> 12) wrong("%s lists %s with type %d", path, e->d_name, e->d_type);
    seen[name] = true;
  }
  closedir(stream);
  for (int i = 0; i < NAMES; i++) {
    struct node *child = dir->children[i];
    if ((child != NULL) != seen[i]) wrong("%s does not list n%d", path, i);
    if (!deep || !child) continue;
    char below[512];
    snprintf(below, sizeof below, "%s/n%d", path, i);
    check_node(below, child);
    if (child->type == S_IFDIR) check_dir(below, child, true);
    if (child->type == S_IFREG) {
      int fd = MUST(open(below, O_RDONLY));
      check_data(fd, child);
      close(fd);
    }
  }
}

static void do_list(void) {
  struct place p;
  any_place(&p);
  char *slash = strrchr(p.path, '/');
  strcpy(slash ? slash : p.path, slash ? "" : ".");
  check_dir(p.path, p.dir, false);
}

static void do_stat(void) {
  struct place p;
  any_place(&p);
  check_node(p.path, at(&p));
}

static void tree(long count) {
  MUST(mkdir("tree", 0755));
  MUST(chdir("tree"));
  top = calloc(1, sizeof *top);
  top->type = S_IFDIR;
  for (long i = 0; i < count; i++, step++) {
    switch (rnd(20)) {
      case 0: case 1: case 2: do_create(); break;
      case 3: do_mkdir(); break;
      case 4: do_symlink(); break;
      case 5: do_link(); break;
      case 6: do_unlink(); break;
      case 7: do_rmdir(); break;
      case 8: case 9: do_rename(); break;
      case 10: case 11: case 12: do_write(); break;
      case 13: do_read(); break;
      case 14: do_truncate(); break;
      case 15: case 16: do_list(); break;
      default: do_stat();
    }
    if (i % 20000 == 19999) check_dir(".", top, true);
  }
  check_dir(".", top, true);
}

int main(int argc, char **argv) {
  umask(022);
  long count = 4000;
  state = 88172645463325252ull;
  if (argc == 4) {
    const char *folder = argv[1];
    state += 7919 * strtoull(argv[2], NULL, 10);
    count = atol(argv[3]);
    if (!strcmp(folder, "tmpfs")) {
      folder = "/mnt";
      MUST(mount("none", folder, "tmpfs", 0, NULL));
    }
    MUST(chdir(folder));
  } else enter_scratch();
  one_file(count / 2);
  tree(count - count / 2);
  printf("%ld operations: no difference\n", count);
  return 0;
}

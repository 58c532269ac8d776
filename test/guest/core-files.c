// Core files: when one is written and where, and what a debugger finds in it
// needs: root core-pattern
#include "check.h"
#include <elf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/procfs.h>
#include <sys/syscall.h>

static char *marked, *hidden, *never;
static char dir[] = "/tmp/core-files-XXXXXX";

static void limit(rlim_t bytes) {
  struct rlimit r = {bytes, RLIM_INFINITY};
  MUST(setrlimit(RLIMIT_CORE, &r));
}

static void *sleeper(void *unused) {
  for (;;) pause();
}

static void *spinner(void *unused) {
  for (volatile long turns = 0;; turns++) {
  }
}

static int faults(void *unused) {
  *(volatile int *)16 = 1;
  return 0;
}

static int aborts(void *unused) { abort(); }

static int faults_with_threads(void *unused) {
  pthread_t thread;
  marked = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(marked + 40960, "found in memory");
  hidden = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(hidden, "not for others");
  madvise(hidden, 65536, MADV_DONTDUMP);
  never = mmap(NULL, 1UL << 36, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  pthread_create(&thread, NULL, sleeper, NULL);
  pthread_create(&thread, NULL, spinner, NULL);
  sleep_ms(50);
  /* The parent looks for these in the file: it has no memory of ours. */
  int fd = MUST(open("addresses", O_CREAT | O_WRONLY | O_TRUNC, 0600));
  char *addresses[3] = {marked, hidden, never};
  write(fd, addresses, sizeof addresses);
  close(fd);
  return faults(NULL);
}

static int undumpable(void *unused) {
  prctl(PR_SET_DUMPABLE, 0);
  return faults(NULL);
}

static int as_another(void *unused) {
  MUST(setresgid(1000, 1000, 1000));
  MUST(setresuid(1000, 1000, 1000));
  prctl(PR_SET_DUMPABLE, 1);
  return faults(NULL);
}

static int filtered(void *unused) {
  struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {4, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
  return (int)syscall(SYS_getppid);
}

static void ends(const char *what, int (*body)(void *)) {
  int status;
  struct stat st;
  pid_t pid = spawn_child(body, NULL);
  waitpid(pid, &status, 0);
  print_status(what, status);
  int has = lstat("core", &st) == 0;
  printf("%s: core flag %d, file %d\n", what, WIFSIGNALED(status) && WCOREDUMP(status) ? 1 : 0, has);
  if (has) printf("%s: mode %o, owner %d, kind %o\n", what, st.st_mode & 07777, st.st_uid, st.st_mode & S_IFMT);
}

static const char *note_name(unsigned type) {
  switch (type) {
    case NT_PRSTATUS: return "PRSTATUS";
    case NT_PRFPREG: return "PRFPREG";
    case NT_PRPSINFO: return "PRPSINFO";
    case NT_AUXV: return "AUXV";
    case NT_SIGINFO: return "SIGINFO";
    case NT_FILE: return "FILE";
    case NT_X86_XSTATE: return "X86_XSTATE";
  }
  return "other";
}

static void show_notes(const char *notes, size_t size, long at_fault) {
  int threads = 0;
  for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= size;) {
    const Elf64_Nhdr *n = (const void *)(notes + at);
    const char *name = notes + at + sizeof *n, *desc = name + ((n->n_namesz + 3) & ~3);
    at = (desc - notes) + ((n->n_descsz + 3) & ~3);
    /* NT_X86_XSAVE_LAYOUT: Linux 6.12. */
    if (n->n_type == 0x205) continue;
    printf("note %s %s\n", name, note_name(n->n_type));
    if (n->n_type == NT_PRSTATUS) {
      const struct elf_prstatus *p = (const void *)desc;
      if (threads++ == 0) {
        printf("of %d bytes: signal %d, floats %d\n", n->n_descsz, p->pr_cursig, p->pr_fpvalid);
        HOLDS(p->pr_ppid == getpid() && p->pr_pgrp == getpgrp() && p->pr_sid == getsid(0));
      }
    } else if (n->n_type == NT_PRPSINFO) {
      const struct elf_prpsinfo *p = (const void *)desc;
      printf("of %d bytes: uid %d, name begins with core-files: %d\n", n->n_descsz, p->pr_uid, strncmp(p->pr_fname, "core-files", 10) == 0);
      HOLDS(strstr(p->pr_psargs, "core-files") != NULL);
    } else if (n->n_type == NT_SIGINFO) {
      const siginfo_t *si = (const void *)desc;
      printf("of %d bytes: signal %d, code %d\n", n->n_descsz, si->si_signo, si->si_code);
      if (at_fault) printf("address %p\n", si->si_addr);
    } else if (n->n_type == NT_FILE) {
      const long *words = (const void *)desc;
      printf("pages of %ld\n", words[1]);
      HOLDS(words[0] >= 3 && strstr((const char *)(words + 2 + 3 * words[0]), "core-files") != NULL);
    } else if (n->n_type == NT_PRFPREG) {
      printf("of %d bytes\n", n->n_descsz);
    }
  }
  printf("threads: %d\n", threads);
}

static void show_core(long at_fault) {
  char *addresses[3] = {0};
  int fd = open("addresses", O_RDONLY);
  read(fd, addresses, sizeof addresses);
  close(fd);
  fd = MUST(open("core", O_RDONLY));
  Elf64_Ehdr e;
  pread(fd, &e, sizeof e, 0);
  printf("magic %d, class %d, type %d, machine %d, version %d\n", memcmp(e.e_ident, ELFMAG, SELFMAG), e.e_ident[EI_CLASS], e.e_type, e.e_machine, e.e_version);
  Elf64_Phdr *p = malloc(sizeof *p * e.e_phnum);
  pread(fd, p, sizeof *p * e.e_phnum, e.e_phoff);
  int ordered = 1, stacks = 0;
  for (int i = 0; i < e.e_phnum; i++) {
    if (p[i].p_type == PT_NOTE) {
      char *notes = malloc(p[i].p_filesz);
      pread(fd, notes, p[i].p_filesz, p[i].p_offset);
      show_notes(notes, p[i].p_filesz, at_fault);
      continue;
    }
    if (i > 1 && p[i].p_vaddr < p[i - 1].p_vaddr + p[i - 1].p_memsz) ordered = 0;
    if (p[i].p_offset % 4096 != 0 || p[i].p_vaddr % 4096 != 0) ordered = 0;
    for (int n = 0; n < 3; n++) {
      unsigned long from = (unsigned long)addresses[n];
      if (from < p[i].p_vaddr || from >= p[i].p_vaddr + p[i].p_memsz) continue;
      char text[32] = "";
      if (n == 0) pread(fd, text, sizeof text - 1, p[i].p_offset + (from - p[i].p_vaddr) + 40960);
      printf("mapping %d: flags %x, in the file %d%s%s\n", n, p[i].p_flags, p[i].p_filesz != 0, text[0] ? ", " : "", text);
    }
  }
  HOLDS(ordered);
  struct stat st;
  fstat(fd, &st);
  HOLDS(st.st_size == p[e.e_phnum - 1].p_offset + p[e.e_phnum - 1].p_filesz);
  HOLDS(st.st_blocks < 8192);
  close(fd);
}

int main(void) {
  MUST((long)mkdtemp(dir) == 0 ? -1 : 0);
  MUST(chdir(dir));
  MUST(chmod(dir, 0777));

  SECTION("no room for one");
  limit(0);
  ends("no limit", faults);
  limit(4095);
  ends("less than a page", faults);
  ends("a filter", filtered);

  SECTION("threads and memory");
  limit(RLIM_INFINITY);
  ends("threads", faults_with_threads);
  show_core(1);

  SECTION("what stood there before");
  MUST(unlink("core"));
  MUST(symlink("elsewhere", "core"));
  ends("a link", aborts);
  CALL(access("elsewhere", F_OK));
  unlink("addresses");
  show_core(0);
  unlink("core");
  MUST(mkdir("core", 0700));
  ends("a folder", faults);
  MUST(rmdir("core"));

  SECTION("a small limit");
  limit(16384);
  ends("16 KiB", faults);
  struct stat st;
  HOLDS(stat("core", &st) == 0 && st.st_size <= 16384);
  unlink("core");
  limit(RLIM_INFINITY);

  SECTION("who may have one");
  ends("not dumpable", undumpable);
  ends("another user", as_another);
  unlink("core");
  MUST(chmod(dir, 0755));
  ends("without the right to write here", as_another);
  ends("a filter", filtered);
  unlink("core");
  MUST(chdir("/"));
  rmdir(dir);
  return 0;
}

// The first code of dist/runsc. Node is linked with libatomic, libstdc++ and libgcc_s, which a small host may lack, and the
// dynamic linker ends the program before any code of it runs. So scripts/carry.ts takes the executable's PT_INTERP away and
// makes this its entry: it does what the kernel would have done (maps the dynamic linker and jumps to it), and where the
// host has not all three libraries, tells the dynamic linker of copies, which lie behind the executable in its own file.
// Before that it does the two commands that need nothing of Node, see front.c.
//
// No C library, no relocations, no data of its own that is written: it is mapped wherever carry.ts puts it.
#include <elf.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "bare.h"
#include "front.h"

#define PAGE 4096UL
#define LIBRARIES 3
#define PROGRAM_HEADERS 32
#define DYNAMIC_ENTRIES 128
#define NAME_BYTES 32
#define VERSION_BYTES 128
/** Descriptors from here on: the low ones are the caller's to hand over (--preserve-fds). */
#define HIGH_DESCRIPTOR 900
#define LOW_DESCRIPTOR 200

/** Filled in by scripts/carry.ts, which has the same layout. */
struct parameters {
  uint64_t entry;           // of Node
  uint64_t interpreter;     // address of the dynamic linker's path
  uint64_t program_headers; // address of a copy with PT_INTERP, as Node was linked
  uint64_t count;           // of them
  struct {
    char name[NAME_BYTES];
    uint64_t offset; // in the file
    uint64_t size;
  } libraries[LIBRARIES];
  char version[VERSION_BYTES]; // what --version prints
};
// The first page of the segment, with the copy of the program headers behind it; the code begins on the next one.
__attribute__((section(".parameters"), used)) const volatile struct parameters parameters = {0};

__attribute__((noreturn)) static void fail(const char *what, const char *about) {
  say("runsc: ");
  say(what);
  say(about);
  say("\n");
  for (;;) call3(SYS_exit_group, 127, 0, 0);
}

/** Whether a folder that the dynamic linker searches in any case has the library. */
static int on_host(const char *name) {
  static const char folders[][32] = {"/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/", "/lib64/", "/usr/lib64/", "/lib/", "/usr/lib/"};
  char path[NAME_BYTES + 40];
  for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) {
    append(append(path, folders[i]), name);
    if (call3(SYS_access, (long)path, 4 /* R_OK */, 0) == 0) return 1;
  }
  return 0;
}

/** Maps an ELF file of type ET_DYN as fs/binfmt_elf.c:load_elf_interp() does; the address that its own ones count from. */
static unsigned long map_interpreter(const char *path, unsigned long *entry) {
  char head[PAGE];
  long fd = call3(SYS_open, (long)path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) fail("the C library (glibc) is needed, and there is no ", path);
  long got = call3(SYS_read, fd, (long)head, sizeof head);
  Elf64_Ehdr *elf = (Elf64_Ehdr *)head;
  if (got < (long)sizeof *elf || elf->e_type != ET_DYN || elf->e_phentsize != sizeof(Elf64_Phdr) ||
      elf->e_phoff + elf->e_phnum * sizeof(Elf64_Phdr) > (unsigned long)got)
    fail("this is no dynamic linker: ", path);
  Elf64_Phdr *headers = (Elf64_Phdr *)(head + elf->e_phoff);

  unsigned long end = 0;
  for (int i = 0; i < elf->e_phnum; i++)
    if (headers[i].p_type == PT_LOAD && headers[i].p_vaddr + headers[i].p_memsz > end) end = headers[i].p_vaddr + headers[i].p_memsz;
  unsigned long base = call6(SYS_mmap, 0, (end + PAGE - 1) & -PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base > -PAGE) fail("there is no memory for ", path);

  for (int i = 0; i < elf->e_phnum; i++) {
    Elf64_Phdr *h = &headers[i];
    if (h->p_type != PT_LOAD) continue;
    int protection = (h->p_flags & PF_R ? PROT_READ : 0) | (h->p_flags & PF_W ? PROT_WRITE : 0) | (h->p_flags & PF_X ? PROT_EXEC : 0);
    unsigned long within = h->p_vaddr & (PAGE - 1), at = base + h->p_vaddr - within, file_end = base + h->p_vaddr + h->p_filesz;
    if (h->p_filesz > 0 && call6(SYS_mmap, at, within + h->p_filesz, protection, MAP_PRIVATE | MAP_FIXED, fd, h->p_offset - within) != (long)at)
      fail("this cannot be mapped: ", path);
    if (h->p_memsz <= h->p_filesz) continue;
    // What is not in the file is zero: the rest of the last page, and whole ones behind it.
    unsigned long whole = (file_end + PAGE - 1) & -PAGE, memory_end = base + h->p_vaddr + h->p_memsz;
    if (h->p_filesz > 0)
      for (char *p = (char *)file_end; p < (char *)whole; p++) *(volatile char *)p = 0;
    if (memory_end > whole &&
        call6(SYS_mmap, whole, memory_end - whole, protection, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) != (long)whole)
      fail("there is no memory for ", path);
  }
  call3(SYS_close, fd, 0, 0);
  *entry = base + elf->e_entry;
  return base;
}

/** Copies a library out of the executable into memory of its own; the path by which the dynamic linker opens it. */
static char *take_out(long executable, int i, char *path) {
  char name[NAME_BYTES];
  for (int j = 0; j < NAME_BYTES; j++) name[j] = parameters.libraries[i].name[j];
  long fd = call3(SYS_memfd_create, (long)name, MFD_CLOEXEC, 0);
  long offset = parameters.libraries[i].offset, left = parameters.libraries[i].size;
  while (fd >= 0 && left > 0) {
    long n = call6(SYS_sendfile, fd, executable, (long)&offset, left, 0, 0);
    if (n <= 0) fail("the host lacks a library, and the copy inside the executable cannot be read: ", name);
    left -= n;
  }
  long high = call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR);
  if (high < 0) high = call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, LOW_DESCRIPTOR);
  if (high < 0) fail("the host lacks a library, and there is no memory or descriptor for a copy of ", name);
  call3(SYS_close, fd, 0, 0);
  return append_number(append(path, "/proc/self/fd/"), high);
}

/**
 * Gives the dynamic linker headers that name a dynamic section of ours, with the carried libraries in front. It knows them
 * again by their DT_SONAME when it comes to Node's own DT_NEEDED.
 */
static unsigned long carried(void) {
  struct {
    Elf64_Dyn dynamic[DYNAMIC_ENTRIES];
    Elf64_Phdr headers[PROGRAM_HEADERS];
    char paths[LIBRARIES][NAME_BYTES];
  } *own = (void *)call6(SYS_mmap, 0, sizeof *own, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if ((unsigned long)own > -PAGE) fail("there is no memory", "");
  long executable = call3(SYS_open, (long)"/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
  if (executable < 0) fail("install libatomic1 and libstdc++6, or mount /proc: copies are taken from ", "/proc/self/exe");
  for (int i = 0; i < LIBRARIES; i++) take_out(executable, i, own->paths[i]);
  call3(SYS_close, executable, 0, 0);

  const Elf64_Phdr *headers = (const Elf64_Phdr *)parameters.program_headers;
  const Elf64_Dyn *dynamic = 0;
  for (unsigned i = 0; i < parameters.count; i++) {
    own->headers[i] = headers[i];
    if (headers[i].p_type == PT_PHDR) own->headers[i].p_vaddr = (unsigned long)own->headers;
    if (headers[i].p_type != PT_DYNAMIC) continue;
    dynamic = (const Elf64_Dyn *)headers[i].p_vaddr;
    own->headers[i].p_vaddr = own->headers[i].p_paddr = (unsigned long)own->dynamic;
    own->headers[i].p_memsz = own->headers[i].p_filesz = sizeof own->dynamic;
  }
  unsigned long strings = 0;
  for (const Elf64_Dyn *d = dynamic; d->d_tag != DT_NULL; d++)
    if (d->d_tag == DT_STRTAB) strings = d->d_un.d_ptr;
  int n = 0;
  for (int i = 0; i < LIBRARIES; i++) own->dynamic[n++] = (Elf64_Dyn){DT_NEEDED, {(unsigned long)own->paths[i] - strings}};
  // carry.ts has seen to it that there is room.
  for (const Elf64_Dyn *d = dynamic; d->d_tag != DT_NULL; d++) own->dynamic[n++] = *d;
  return (unsigned long)own->headers;
}

/** Called with the stack as the kernel made it; the address to jump to with the same stack. */
__attribute__((used)) unsigned long launch(unsigned long *stack) {
  if (*stack > 0) front((int)*stack, (char **)(stack + 1), (const char *)parameters.version);
  unsigned long entry, headers = parameters.program_headers;
  unsigned long base = map_interpreter((const char *)parameters.interpreter, &entry);
  for (int i = 0; i < LIBRARIES; i++) {
    if (on_host((const char *)parameters.libraries[i].name)) continue;
    headers = carried();
    break;
  }
  unsigned long *at = stack + 1 + *stack + 1;
  while (*at != 0) at++;
  for (Elf64_auxv_t *aux = (Elf64_auxv_t *)(at + 1); aux->a_type != AT_NULL; aux++) {
    if (aux->a_type == AT_BASE) aux->a_un.a_val = base;
    if (aux->a_type == AT_ENTRY) aux->a_un.a_val = parameters.entry;
    if (aux->a_type == AT_PHDR) aux->a_un.a_val = headers;
    if (aux->a_type == AT_PHNUM) aux->a_un.a_val = parameters.count;
  }
  return entry;
}

__asm__(".section .entry,\"ax\"\n"
        "  mov %rsp, %rbx\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call launch\n"
        "  mov %rbx, %rsp\n"
        "  xor %edx, %edx\n"
        "  xor %ebp, %ebp\n"
        "  jmp *%rax\n");

// ELF64 as execve(2) reads it: include/uapi/linux/elf.h, and the auxiliary vector.

export const EI_NIDENT = 16;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
export const ET_EXEC = 2;
export const ET_DYN = 3;
export const ET_CORE = 4;
export const EV_CURRENT = 1;
export const EM_X86_64 = 62;

/** struct elf64_hdr. */
export const EHDR_SIZE = 64;
export const EHDR_TYPE = 16;
export const EHDR_MACHINE = 18;
export const EHDR_VERSION = 20;
export const EHDR_ENTRY = 24;
export const EHDR_PHOFF = 32;
export const EHDR_EHSIZE = 52;
export const EHDR_PHENTSIZE = 54;
export const EHDR_PHNUM = 56;

/** struct elf64_phdr. */
export const PHDR_SIZE = 56;
export const PHDR_TYPE = 0;
export const PHDR_FLAGS = 4;
export const PHDR_OFFSET = 8;
export const PHDR_VADDR = 16;
export const PHDR_FILESZ = 32;
export const PHDR_MEMSZ = 40;
export const PHDR_ALIGN = 48;

export const PT_LOAD = 1;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_PHDR = 6;
export const PT_GNU_STACK = 0x6474e551;

export const PF_X = 1;
export const PF_W = 2;
export const PF_R = 4;

export const AT_NULL = 0;
export const AT_PHDR = 3;
export const AT_PHENT = 4;
export const AT_PHNUM = 5;
export const AT_PAGESZ = 6;
export const AT_BASE = 7;
export const AT_FLAGS = 8;
export const AT_ENTRY = 9;
export const AT_UID = 11;
export const AT_EUID = 12;
export const AT_GID = 13;
export const AT_EGID = 14;
export const AT_PLATFORM = 15;
export const AT_HWCAP = 16;
export const AT_CLKTCK = 17;
export const AT_SECURE = 23;
export const AT_RANDOM = 25;
export const AT_HWCAP2 = 26;
export const AT_RSEQ_FEATURE_SIZE = 27;
export const AT_RSEQ_ALIGN = 28;
export const AT_EXECFN = 31;
export const AT_SYSINFO_EHDR = 33;
export const AT_MINSIGSTKSZ = 51;

// Register sets of ptrace(2): include/uapi/linux/elf.h.
export const NT_PRSTATUS = 1;
export const NT_PRFPREG = 2;
export const NT_PRPSINFO = 3;
export const NT_AUXV = 6;
export const NT_FILE = 0x46494c45;
export const NT_SIGINFO = 0x53494749;
export const NT_X86_XSTATE = 0x202;

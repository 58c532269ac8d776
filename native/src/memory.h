#pragma once
#include <sys/types.h>
#include <cstddef>
#include <cstdint>

/** Bytes copied from another process, fewer than n where readable memory ends. */
size_t GuestRead(pid_t pid, uint64_t addr, void* to, size_t n);
size_t GuestWrite(pid_t pid, uint64_t addr, const void* from, size_t n);
/** One message of n bytes with `count` (at most 64) descriptors; bytes sent, or -1 and errno. */
ssize_t SendDescriptors(int sock, const void* bytes, size_t n, const int* fds, size_t count);
/** Past the protections of its pages, as a stopped tracee's: n bytes to or from p, how many were moved. */
size_t MoveForced(pid_t tracee, uint64_t addr, uint8_t* p, size_t n, bool store);

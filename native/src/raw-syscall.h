// System calls without the C library, for processes that were cloned from Node and may rely on nothing of it.
#pragma once

namespace {

/// The result, or -errno.
inline long Raw(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}

/// A pointer as an argument of Raw().
template <typename T>
inline long Ptr(T* p) {
  return reinterpret_cast<long>(p);
}

}  // namespace

// What the launcher's code has in place of a C library.
#pragma once
#include <sys/syscall.h>

static inline long call6(long nr, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}
static inline long call3(long nr, long a, long b, long c) { return call6(nr, a, b, c, 0, 0, 0); }

static inline unsigned long length(const char *text) {
  unsigned long n = 0;
  while (text[n] != 0) n++;
  return n;
}

static inline void say(const char *text) { call3(SYS_write, 2, (long)text, length(text)); }

static inline char *append(char *to, const char *text) {
  while (*text != 0) *to++ = *text++;
  *to = 0;
  return to;
}

static inline char *append_number(char *to, unsigned long n) {
  char digits[20];
  int i = 0;
  do digits[i++] = '0' + n % 10;
  while ((n /= 10) != 0);
  while (i > 0) *to++ = digits[--i];
  *to = 0;
  return to;
}

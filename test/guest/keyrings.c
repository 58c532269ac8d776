// Keys that move between keyrings, keyrings that take no more, persistent keyrings and what keyctl can do
#include "check.h"

#define MOVE 30
#define RESTRICT 29
#define GET_PERSISTENT 22
#define SESSION (-3)

static long add(const char *type, const char *name, const char *payload, int ring) {
  return syscall(SYS_add_key, type, name, payload, payload == NULL ? 0 : strlen(payload), ring);
}

static long keyctl(int op, long a, long b, long c, long d) {
  return syscall(SYS_keyctl, op, a, b, c, d);
}

int main(void) {
  MUST(keyctl(1, 0, 0, 0, 0));
  int one = MUST(add("keyring", "one", NULL, SESSION));
  int two = MUST(add("keyring", "two", NULL, SESSION));
  int key = MUST(add("user", "key", "value", one));
  SECTION("moves");
  CALL(keyctl(MOVE, key, one, two, 0));
  CALL(keyctl(MOVE, key, one, two, 0));
  CALL(keyctl(MOVE, key, two, two, 0));
  CALL(keyctl(MOVE, key, two, one, 8));
  MUST(add("user", "key", "other", one));
  CALL(keyctl(MOVE, key, two, one, 1));
  CALL(keyctl(MOVE, key, two, one, 0));
  CALL(keyctl(MOVE, one, SESSION, one, 0));
  SECTION("restricted");
  CALL(keyctl(RESTRICT, two, 0, (long)"x", 0));
  CALL(keyctl(RESTRICT, key, 0, 0, 0));
  CALL(keyctl(RESTRICT, two, 0, 0, 0));
  CALL(keyctl(RESTRICT, two, 0, 0, 0));
  CALL(add("user", "more", "x", two));
  CALL(keyctl(8, key, two, 0, 0));
  CALL(keyctl(MOVE, key, one, two, 0));
  SECTION("persistent");
  long mine = keyctl(GET_PERSISTENT, -1, SESSION, 0, 0);
  // Not every kernel has them.
  HOLDS(mine > 0 || errno == EOPNOTSUPP);
  SECTION("where asked keys go");
  CALL(keyctl(14, -1, 0, 0, 0));
  CALL(keyctl(14, 3, 0, 0, 0));
  CALL(keyctl(14, -1, 0, 0, 0));
  CALL(keyctl(14, 6, 0, 0, 0));
  CALL(keyctl(31, 0, 0, 0, 0));
  CALL(keyctl(0, -8, 0, 0, 0));
  CALL(keyctl(19, 1, 1, 1, 0));
  return 0;
}

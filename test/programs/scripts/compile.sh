# gcc and make: a small project with a library, threads and parallel make; then run what came out.
. "${BASH_SOURCE[0]%/*}/common.sh" || exit 99
cat > main.c <<'END'
#include <pthread.h>
#include <stdio.h>
long part(long);
static void *work(void *n) { return (void *)part((long)n); }
int main(int argc, char **argv) {
  pthread_t t[4]; long sum = 0; void *r;
  for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, work, (void *)i);
  for (int i = 0; i < 4; i++) { pthread_join(t[i], &r); sum += (long)r; }
  printf("%d argument, sum %ld\n", argc - 1, sum);
  return argc > 1 ? argv[1][0] : 0;
}
END
for i in 1 2 3 4 5 6; do echo "long f$i(long n) { return n * $i; }" > "f$i.c"; done
{ for i in 1 2 3 4 5 6; do echo "long f$i(long);"; done; echo 'long part(long n) { long s = 0; for (int i = 0; i < 1000; i++) s += f1(n) + f2(n) + f3(n) + f4(n) + f5(n) + f6(n); return s; }'; } > part.c
cat > Makefile <<'END'
objects = main.o part.o f1.o f2.o f3.o f4.o f5.o f6.o
all: dynamic linked
dynamic: $(objects)
	$(CC) -o $@ $^ -pthread
libparts.a: $(filter-out main.o,$(objects))
	$(AR) rcs $@ $^
linked: main.o libparts.a
	$(CC) -o $@ main.o -L. -lparts -pthread
%.o: %.c
	$(CC) -O2 -Wall -c -o $@ $<
clean:
	rm -f $(objects) dynamic linked libparts.a
.PHONY: all clean
END
section make
make -j2 2>&1 | sort
make -j2 | sed 's/make\[[0-9]*\]/make/'
touch f3.c; make -j2 -n | wc -l
section run
./dynamic; ./linked A; echo "status $?"
file=$(head -c 4 dynamic | od -An -tx1); echo "$file"
section sanitised
printf 'int main(void) { int a[3]; volatile int i = 2; return a[i] = 0; }\n' > s.c; gcc -Wall -Werror -g -o s s.c && ./s; echo "status $?"
printf 'int main( { }\n' > bad.c; gcc -c bad.c 2>/dev/null; echo "status $?"
printf '#include <stdio.h>\nint main() { puts("piped"); }\n' | gcc -pipe -x c -o piped - && ./piped
gcc -shared -fPIC -o libdyn.so f1.c && printf '#include <dlfcn.h>\n#include <stdio.h>\nint main() { void *h = dlopen("./libdyn.so", RTLD_NOW); long (*f)(long) = dlsym(h, "f1"); printf("%%ld\\n", f(41) + 1); }\n' > dl.c && gcc -o dl dl.c -ldl && ./dl
make clean; ls *.o 2>/dev/null | wc -l

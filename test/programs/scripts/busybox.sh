# A walk through the applets of a static busybox. Run by busybox's own shell.
set -u
mkdir -p "$TMPDIR" && cd "$TMPDIR" || exit 99
section() { echo "== $*"; }
section files
mkdir -p a/b/c
echo one > a/1; echo two > a/b/2; printf 'x\0y' > a/b/c/3
ln -s 1 a/link; ln a/1 a/hard
find a | sort
ls -1F a
cat a/1 a/b/2; readlink a/link; stat -c '%s %h %a %F' a/1
cp -r a copy; diff -r a copy && echo same
mv copy/1 copy/one; test -e copy/1 || echo moved
chmod 640 copy/one; stat -c %a copy/one
touch -d '2020-02-02 02:02:02' copy/one; stat -c %Y copy/one
dd if=/dev/zero of=zeros bs=1k count=64 2>/dev/null; wc -c < zeros; md5sum zeros; sha256sum zeros
truncate -s 10 zeros; hexdump -C zeros
rm -r copy; ls copy 2>/dev/null || echo gone
section text
seq 1 20 | head -n 5 | tail -n 2
seq 1 100 | awk '{ s += $1 } END { print s }'
printf 'b 2\na 1\nc 3\n' | sort | cut -d' ' -f2 | tr '\n' ','; echo
echo hello world | sed 's/o/0/g' | rev | tr a-z A-Z
printf 'apple\nbanana\ncherry\n' | grep -n an
printf 'x\nx\ny\n' | uniq -c
echo 'some text' | od -An -tx1
printf 'a\tb\n' | expand | cat -A
seq 3 | xargs echo; seq 3 | xargs -n1 echo item
expr 6 \* 7; basename /a/b/c.txt .txt; dirname /a/b/c
printf '%05d|%-6s|%x\n' 42 ab 255
section archives
tar cf a.tar a && tar tf a.tar | sort
gzip -c a.tar | gunzip | cmp - a.tar && echo same
mkdir out && tar xf a.tar -C out && diff -r a out/a && echo unpacked
section processes
sleep 0.1 & wait $! && echo waited
(exit 3); echo "status $?"
sh -c 'kill -TERM $$'; echo "status $?"
true && echo true; false || echo false
for i in 1 2 3; do echo "$i"; done | while read -r n; do echo "got $n"; done
trap 'echo trapped' USR1; kill -USR1 $$
trap 'echo exiting' EXIT
f() { local x=$1; [ "$x" -le 1 ] && echo 1 || echo $((x * $(f $((x - 1))))); }
f 6
ps | grep -c busybox >/dev/null && echo 'ps works'
pidof nothing-of-this-name || echo 'no such process'
timeout 1 sleep 5; echo "timeout $?"
cat <<END
here $((1 + 1)) document
END
echo "$(echo nested $(echo substitution))"
env -i A=1 sh -c 'echo "$A"; env | sort | grep -v -e PWD -e SHLVL -e "^_"'
section 'pipes and fifos'
yes | head -n 100000 | wc -l
mkfifo p; cat p & echo 'through the fifo' > p; wait
dd if=/dev/zero bs=64k count=100 2>/dev/null | wc -c
section misc
date -u -d @0 '+%F %T'; cal 2 2024 | head -n 3
id -u; uname -s; nproc >/dev/null && echo nproc
echo abc | base64; echo YWJjCg== | base64 -d
bc <<END 2>/dev/null || echo 8
2^3
END
mount | grep -q ' on / ' && echo 'root is mounted'
df / >/dev/null && echo df
free >/dev/null && echo free
vi -c q </dev/null >/dev/null 2>&1; echo done

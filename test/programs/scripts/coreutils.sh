# coreutils, find, grep, sed, awk, tar and the compressors on a small tree.
. "${BASH_SOURCE[0]%/*}/common.sh" || exit 99
section tree
mkdir -p tree/{a,b}/{c,d}/e
for f in tree/*/*/e; do echo "content of $f" > "$f/file"; done
: > tree/empty; printf 'no newline' > tree/text; ln -s text tree/link; ln tree/text tree/hard; mkfifo tree/fifo
find tree | sort
find tree -type f -size +0 -printf '%p %s %m\n' | sort
find tree -name file -exec wc -c {} + | sort
find tree -type l -delete; find tree -empty | sort
ls -lR --time-style=+ tree | sed 's/^total .*//' | awk '{ print $1, $2, $NF }'
section copy
cp -a tree copy; diff -r --no-dereference tree/a copy/a && echo same
cp -r --reflink=auto tree/text reflinked; cmp tree/text reflinked && echo 'same again'
mv copy moved; [ ! -e copy ] && echo moved
install -D -m 751 tree/text deep/er/file; stat -c '%a %s' deep/er/file
rm -rf moved; ls moved 2>&1
touch -d @1000000000 old; stat -c '%Y %y' old; [ tree/text -nt old ] && echo newer
truncate -s 1M sparse; stat -c '%s' sparse; du --apparent-size -b sparse
dd if=/dev/zero of=sparse bs=4k count=3 seek=5 conv=notrunc status=none; sha1sum sparse
split -b 300k sparse part.; cat part.* | cmp - sparse && ls part.*
tee one two < tree/text > /dev/null; cat one two; echo
shred -u -n 1 one; [ ! -e one ] && echo shredded
chmod -R u=rwX,go= tree; stat -c '%a %n' tree tree/text
mktemp -u XXXX | wc -c; realpath --relative-to=. tree/a/../text; readlink -f tree/./text | sed "s,$TMPDIR,,"
cksum tree/text; b2sum tree/text; sum tree/text; base32 tree/text
section text
seq 1 1000 | shuf | sort -n | md5sum
seq 1 100000 | sort -R | sort -n -S 1M --parallel=2 | tail -n 1
printf 'b\na\nc\n' | sort -r | paste -sd,
join <(printf '1 a\n2 b\n') <(printf '1 x\n2 y\n'); comm -12 <(seq 3) <(seq 2 4)
printf 'a:b:c\n' | cut -d: -f2; printf 'x\ty\n' | expand -t4; fmt -w 20 <<< 'words that will be wrapped at twenty'
nl -ba <<< line; tac <<< $'1\n2'; fold -w 3 <<< abcdef; od -c <<< hi | head -n 1; tr -s a <<< baaad; wc <<< 'two words'
head -c 1000000 /dev/zero | tail -c 5 | od -An -tx1; numfmt --to=iec 1048576; factor 360360; seq -s+ 5; printf '%q\n' 'a b'
csplit -s <(seq 6) 3 5; head xx0*
section grep
grep -rn content tree | sort; grep -c '' tree/a/c/e/file; grep -oE '[aeiou]+' <<< 'beautiful'; grep -v x <<< xyz; echo "status $?"
grep -P '(?<=a)b' <<< cab; grep -q missing tree/text; echo "status $?"; seq 100000 | grep -c 7
section sed
sed -n '2,3p' <(seq 5); sed 's/\(a\)\(b\)/\2\1/' <<< ab; sed -i.bak 's/no/one/' tree/text; cat tree/text; echo; cat tree/text.bak; echo
sed -e '/2/d' -e '$a end' <(seq 3); sed 'N;s/\n/-/' <(seq 4)
section awk
awk 'BEGIN { for (i = 0; i < 5; i++) printf "%d ", i * i; print "" }'
seq 10000 | awk '{ s[$1 % 3] += $1 } END { for (k = 0; k < 3; k++) print k, s[k] }'
awk 'BEGIN { "echo from a command" | getline x; print x; print "sorted" | "sort"; close("sort"); print system("exit 3") }'
section archives
tar --sort=name -cf t.tar tree && tar tvf t.tar | awk '{ print $1, $3, $6 }' | sort
for c in gzip bzip2 xz zstd; do
  command -v $c > /dev/null || { echo "$c: reported elsewhere"; continue; }
  $c -c t.tar > t.$c && $c -dc t.$c | cmp - t.tar && echo "$c round trip"
done
tar czf t.tgz tree && mkdir x && tar xzf t.tgz -C x && diff -r tree/a x/tree/a && echo unpacked
xz -T2 -c sparse | xz -dc | cmp - sparse && echo 'xz with threads'
tar cf - tree | (mkdir y && cd y && tar xf -) && diff -r tree/b y/tree/b && echo piped
section status
sh -c 'exit 7'; echo $?; timeout 0.1 sleep 5; echo $?; timeout -s KILL 0.1 sleep 5; echo $?; expr "$(nice -n 5 nice)" - "$(nice)"; nohup true 2>/dev/null; echo $?
env -i X=1 env; env no-such-program 2>/dev/null; echo $?; env / 2>/dev/null; echo $?
test -t 0; echo $?; tty; id -un; whoami; pwd | sed "s,$TMPDIR,here,"; stdbuf -oL echo buffered; date -u -d @86400 +%FT%T; sleep 0.01
stat -f -c %l . ; sync; arch; nproc > /dev/null; uptime > /dev/null 2>&1; who > /dev/null; df . > /dev/null; echo done

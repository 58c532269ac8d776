# What bash asks of a kernel: job control, pipes, here-documents, substitution, traps, waiting.
. "${BASH_SOURCE[0]%/*}/common.sh" || exit 99
section 'pipes and redirections'
echo one | cat | tr a-z A-Z
seq 1 5 | while read -r n; do echo -n "$n "; done; echo
{ echo out; echo err >&2; } 2>&1 | sort
exec 7> seven; echo to seven >&7; exec 7>&-; cat seven
exec 8<> both; echo rw >&8; cat both; exec 8>&-
echo noclobber > nc; (set -C; echo again > nc) 2>/dev/null || echo refused
cat < missing 2>/dev/null || echo "missing file: $?"
ls missing &> all; wc -l < all
true | false | true; echo "${PIPESTATUS[@]}"
set -o pipefail; false | true; echo "pipefail $?"; set +o pipefail
section 'here-documents'
cat <<END
value $((6 * 7)) $(echo substituted)
END
cat <<'END'
literal $((6 * 7))
END
cat <<-END
	tabs gone
	END
cat <<< "here $(echo string)"
big=$(printf 'x%.0s' {1..100000}); cat <<< "$big" | wc -c
section 'process substitution'
diff <(seq 1 3) <(seq 1 3) && echo same
cat <(echo first) <(echo second)
seq 5 > >(sort -r > sorted); wait; sleep 0.1; cat sorted
while read -r a b; do echo "$b$a"; done < <(printf '1 a\n2 b\n')
coproc UP { tr a-z A-Z; }; echo coprocess >&"${UP[1]}"; eval "exec ${UP[1]}>&-"; cat <&"${UP[0]}"; wait
section jobs
set -m
sleep 0.2 & first=$!; (exit 4) & second=$!
wait "$second"; echo "second $?"
wait "$first"; echo "first $?"
wait; (exit 5) & (sleep 0.2; exit 6) & wait -n; echo "wait -n $?"; wait -n; echo "wait -n $?"; wait -n; echo "none left $?"
# Each state is waited for: bash hears of it by SIGCHLD, some time after the kill.
reaches() { until jobs | grep -q "$1"; do sleep 0.05; done; }
sleep 100 & kill -STOP $!; reaches Stopped; jobs | sed 's/  */ /g'; kill -CONT $!; reaches Running; kill %1; wait $! 2>/dev/null; echo "killed $?"
sleep 100 & disown; kill $!; echo disowned
set +m
section signals
trap 'echo got USR1' USR1; kill -USR1 $$; trap - USR1
(trap 'echo child TERM; exit 9' TERM; kill -TERM $BASHPID; sleep 5); echo "status $?"
bash -c 'kill -KILL $$'; echo "status $?"
bash -c 'kill -SEGV $$' 2>/dev/null; echo "status $?"
bash -c 'trap "" TERM; kill -TERM $$; echo survived'
trap 'echo debug' DEBUG; :; trap - DEBUG
trap 'echo a child ended' CHLD; (exit 0) & wait; trap - CHLD
(trap 'echo leaving' EXIT; exit 3); echo "status $?"
timeout -s INT 1 bash -c 'trap "echo interrupted; exit 7" INT; while :; do sleep 0.05; done'; echo "timeout $?"
section 'read with a timeout'
read -r -t 0.1 line < <(sleep 0.3; echo late); echo "timed out: $(($? > 128))"
printf 'abcdef' | { read -r -n 3 x; echo "$x"; }
mapfile -t lines < <(seq 1 4); echo "${#lines[@]} ${lines[2]}"
section 'variables and functions'
declare -A map=([a]=1 [b]=2); for k in a b; do echo "$k=${map[$k]}"; done
s=hello.tar.gz; echo "${s%%.*} ${s#*.} ${s/l/L} ${s^^} ${#s} ${s:1:3}"
fact() { (($1 < 2)) && echo 1 || echo $(($1 * $(fact $(($1 - 1))))); }; fact 10
for ((i = 0; i < 200; i++)); do (:); done; echo '200 subshells'
x=$(for i in {1..50}; do echo "$(echo $i)"; done | wc -l); echo "$x"
(umask 077; echo > private; stat -c %a private)
ulimit -c 0; (ulimit -f 1; trap '' XFSZ; head -c 100000 /dev/zero > large) 2>/dev/null; stat -c %s large
exec 9< <(echo 'from exec'); cat <&9
echo "$(< seven)"
[[ -p /dev/stdin || -c /dev/stdin ]] && echo 'stdin is a device or a pipe'
cd / && pwd && cd - >/dev/null && [ "$PWD" = "$TMPDIR" ] && echo back
type -t cd; hash -r; command -v ls >/dev/null && echo found
nothing-of-this-name 2>/dev/null; echo "not found $?"
"$TMPDIR/seven" 2>/dev/null; echo "not executable $?"
bash -c 'exit 300'; echo "exit 300 is $?"
printf '%(%Y)T\n' 0
echo done

# Exit codes and fatal signals, as a shell sees them.
for n in 0 1 2 42 126 127 128 130 255; do sh -c "exit $n"; echo "exit $n: $?"; done
for s in HUP INT QUIT ILL ABRT FPE KILL SEGV PIPE ALRM TERM USR1 USR2 BUS SYS; do sh -c "ulimit -c 0; kill -$s \$\$; sleep 1" 2>/dev/null; echo "$s: $?"; done
sh -c 'nothing-of-this-name' 2>/dev/null; echo "not found: $?"
sh -c '/etc/passwd' 2>/dev/null; echo "not executable: $?"
sh -c '/' 2>/dev/null; echo "a folder: $?"

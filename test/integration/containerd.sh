#!/bin/bash
# Containers through containerd's runc shim: `ctr run --runtime io.containerd.runc.v2 --runc-binary runsc`.
# A containerd of its own is started below a temporary folder.

. "$(dirname "$0")/lib.sh"
need_root
need containerd ctr containerd-shim-runc-v2 busybox
find_runsc

work=$(mktemp -d /tmp/runsc-ctr.XXXXXX)
unshare --mount --propagation private -- containerd --address "$work/c.sock" --root "$work/root" --state "$work/state" >"$work/log" 2>&1 &
daemon=$!
finish() {
  ctr_ task ls -q | while read -r task; do ctr_ task rm -f "$task"; done
  kill "$daemon"
  wait "$daemon"
  rm -rf "$work"
} 2>/dev/null
trap finish EXIT

for _ in $(seq 100); do ctr --address "$work/c.sock" version >/dev/null 2>&1 && break; sleep 0.1; done
ctr --address "$work/c.sock" version >/dev/null 2>&1 || skip "containerd does not start: $(tail -n 1 "$work/log")"

mkdir "$work/rootfs"
make_rootfs "$work/rootfs"
mkdir "$work/bin"
PATH=$work/bin:$PATH
cat >"$work/bin/ctr_" <<END
#!/bin/sh
exec ctr --address $work/c.sock --namespace test "\$@"
END
# r ID FLAGS... -- COMMAND...
cat >"$work/bin/r" <<END
#!/bin/bash
id=\$1 flags=()
shift
while [ "\$1" != -- ]; do flags+=("\$1"); shift; done
shift
exec ctr_ run --runtime io.containerd.runc.v2 --runc-binary $RUNSC "\${flags[@]}" --rootfs $work/rootfs "\$id" "\$@"
END
chmod +x "$work/bin/ctr_" "$work/bin/r"

says 'output' hello r a1 --rm -- echo hello
ends 'exit status' 5 r a2 --rm -- sh -c 'exit 5'
says 'environment' V r a3 --rm --env=A=V -- sh -c 'echo $A'
says 'working directory' /tmp r a4 --rm --cwd=/tmp -- pwd
says 'read-only root' 'Read-only' r a5 --rm --read-only -- touch /x
says 'bind mount' c.sock r a6 --rm "--mount=type=bind,src=$work,dst=/tmp,options=rbind:ro" -- ls /tmp
says 'memory limit' 64 r a7 --rm --memory-limit=67108864 -- sh -c 'free -m | sed -n 2p'
says 'privileged' CapEff r a8 --rm --privileged -- grep CapEff /proc/self/status
says 'seccomp profile' $'Seccomp:\t2' r a9 --rm --seccomp -- grep Seccomp: /proc/self/status
ends 'without input and output' 0 r a12 --rm --null-io -- echo x
says 'missing program' 'executable file not found in $PATH' r a10 --rm -- nosuch
says 'cgroup path' /runsc-test/x r a11 --rm --cgroup=/runsc-test/x -- cat /proc/self/cgroup
says 'detached' '' r d -d -- sleep 1000
says 'listed' RUNNING ctr_ task ls
says 'processes' PID ctr_ task ps d
says 'exec' word ctr_ task exec --exec-id e1 d echo word
ends 'exec status' 9 ctr_ task exec --exec-id e2 d sh -c 'exit 9'
says 'exec user' 7 ctr_ task exec --user 7 --exec-id e3 d id -u
says 'exec directory' /tmp ctr_ task exec --cwd /tmp --exec-id e4 d pwd
ctr_ task exec --exec-id e5 d sleep 700 >/dev/null 2>&1 </dev/null &
sleeper=$!
sleep 2
says 'exec killed' '' ctr_ task kill --exec-id e5 -s SIGKILL d
wait "$sleeper"
ends 'exec told of its end' 137 bash -c "exit $?"
says 'pause' '' ctr_ task pause d
says 'paused' PAUSED ctr_ task ls
says 'resume' '' ctr_ task resume d
says 'metrics' memory ctr_ task metrics d
says 'kill' '' ctr_ task kill -s SIGKILL d
sleep 1
says 'stopped' STOPPED ctr_ task ls
says 'deleted with its status' 'exit code 137' ctr_ task delete d
summary

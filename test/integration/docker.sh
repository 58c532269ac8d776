#!/bin/bash
# Containers through dockerd. A daemon of its own is started in namespaces of its own, with its data in a temporary
# folder and the image made here of busybox.

. "$(dirname "$0")/lib.sh"
need_root
need dockerd docker containerd busybox unshare
find_runsc

work=$(mktemp -d /tmp/runsc-docker.XXXXXX)
export DOCKER_HOST=unix://$work/d.sock DOCKER_BUILDKIT=0 RUNSC work
unshare --mount --net --propagation private -- sh -c "ip link set lo up 2>/dev/null
  exec dockerd --data-root $work/data --exec-root $work/exec --pidfile $work/pid --host $DOCKER_HOST --storage-driver vfs --add-runtime runsc=$RUNSC" >"$work/log" 2>&1 &
daemon=$!
finish() {
  docker ps -aq | xargs -r docker rm -f
  kill "$daemon"
  wait "$daemon"
  rm -rf "$work"
} >/dev/null 2>&1
trap finish EXIT
for _ in $(seq 150); do docker info >/dev/null 2>&1 && break; sleep 0.2; done
docker info >/dev/null 2>&1 || skip "dockerd does not start: $(tail -n 1 "$work/log")"

make_rootfs "$work/rootfs"
tar -C "$work/rootfs" -c . | docker import - box >/dev/null || skip 'docker import does not work'
mkdir "$work/shared"
echo shared >"$work/shared/file"
mkdir "$work/bin"
PATH=$work/bin:$PATH
printf '#!/bin/sh\nexec docker run --runtime runsc "$@"\n' >"$work/bin/r"
chmod +x "$work/bin/r"

says 'output' hello r --rm box echo hello
ends 'exit status' 7 r --rm box sh -c 'exit 7'
ends 'missing program' 127 r --rm box nosuch
ends 'not a program' 126 r --rm box /etc/passwd
says 'environment' BAR r --rm -e FOO=BAR box sh -c 'echo $FOO'
says 'working directory' /tmp r --rm -w /tmp box pwd
says 'user' 'uid=1000 gid=1000' r --rm -u 1000:1000 box id
says 'further group' 777 r --rm --group-add 777 box id
says 'host name' abc r --rm -h abc box hostname
says 'domain name' example.org r --rm --domainname example.org box cat /proc/sys/kernel/domainname
says 'read-only root' 'Read-only' r --rm --read-only box touch /x
says 'tmpfs' tmpfs r --rm --tmpfs /scratch:size=1m box grep ' /scratch ' /proc/mounts
says 'no capabilities' $'CapEff:\t0000000000000000' r --rm --cap-drop ALL box grep CapEff /proc/self/status
says 'no new privileges' $'NoNewPrivs:\t1' r --rm --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status
says 'seccomp profile' $'Seccomp:\t2' r --rm box grep Seccomp: /proc/self/status
says 'without a profile' $'Seccomp:\t0' r --rm --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status
says 'limit on files' 1234 r --rm --ulimit nofile=1234:1234 box sh -c 'ulimit -n'
says 'sysctl' 65000 r --rm --sysctl kernel.msgmax=65000 box cat /proc/sys/kernel/msgmax
says 'memory' 64 r --rm -m 64m box sh -c 'free -m | sed -n 2p'
says 'limit on processes' fork r --rm --pids-limit 20 box sh -c 'for i in $(seq 40); do sleep 2 & done; wait'
ends 'out of memory' 137 r --name oom -m 32m --memory-swap 32m box sh -c 'x=a; while :; do x=$x$x; done'
says 'told as such' true docker inspect -f '{{.State.OOMKilled}}' oom
says 'bind mount' shared r --rm -v "$work/shared:/v" box cat /v/file
says 'read-only bind mount' 'Read-only' r --rm -v "$work/shared:/v:ro" box touch /v/new
says 'volume' data r --rm -v vol:/d box sh -c 'echo data > /d/x; cat /d/x'
says 'device' crw r --rm --device /dev/null:/dev/mynull box ls -l /dev/mynull
says 'detached' '' r -d --name dd box sleep 1000
says 'exec' word docker exec dd echo word
ends 'exec status' 3 docker exec dd sh -c 'exit 3'
says 'exec environment' Z docker exec -e Q=Z dd sh -c 'echo $Q'
says 'exec user' uid=5 docker exec -u 5 dd id
says 'top' 'sleep 1000' docker top dd
echo content >"$work/in"
says 'copy in' '' docker cp "$work/in" dd:/tmp/in
says 'copied in' content docker exec dd cat /tmp/in
docker exec dd sh -c 'echo guest > /tmp/out'
says 'copy out' guest bash -c 'docker cp dd:/tmp/out - | tar -xO'
says 'diff' /tmp/out docker diff dd
says 'commit' sha256 docker commit dd made
says 'committed' guest r --rm made cat /tmp/out
says 'pause' dd docker pause dd
says 'unpause' dd docker unpause dd
says 'stats' MEM docker stats --no-stream dd
says 'update' dd docker update -m 128m --memory-swap 256m dd
says 'updated' 128 docker exec dd sh -c 'free -m | sed -n 2p'
says 'restart' dd docker restart -t 1 dd
says 'kept its files' guest docker exec dd cat /tmp/out
says 'stop' dd docker stop -t 1 dd
says 'killed after the grace' 137 docker inspect -f '{{.State.ExitCode}}' dd
r -d --name tt box sh -c 'trap "echo got; exit 5" TERM; while :; do sleep 0.1; done' >/dev/null
sleep 1
says 'kill by signal' tt docker kill -s TERM tt
says 'wait' 5 docker wait tt
says 'logs' got docker logs tt
says 'stdin' piped bash -c 'echo piped | r --rm -i box cat'
says 'no network' lo r --rm --network none box ip addr
says 'network' eth0 r --rm box ip addr
says 'restart policy' 2 bash -c 'r -d --name again --restart on-failure:2 box false >/dev/null; sleep 8; docker inspect -f "{{.RestartCount}}" again'
says 'health' healthy bash -c 'r -d --name well --health-cmd true --health-interval 1s box sleep 100 >/dev/null; sleep 4; docker inspect -f "{{.State.Health.Status}}" well'
summary

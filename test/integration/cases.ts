// What podman does with containers on runc, told as shell scripts ($P is podman, $N a fresh name) and their output.

export interface Case {
  readonly title: string;
  readonly script: string;
  /** Standard output, without the spaces around it. */
  readonly output: string;
  /** Part of `npm test`, which has little time. */
  readonly quick?: true;
  /** An ordinary user's podman does the same. */
  readonly rootless?: true;
}

export const cases: readonly Case[] = [
  {
    title: 'exit codes: the program’s, 125, 126, 127, by signals',
    script: `$P run --rm bb sh -c 'echo out; exit 3'; echo $?; $P run --rm bb nosuch 2>/dev/null; echo $?; $P run --rm bb /no/such 2>/dev/null; echo $?; $P run --rm bb '' 2>/dev/null; echo $?
      $P run --rm bb /etc/text 2>/dev/null; echo $?; $P run --rm --nosuchflag bb true 2>/dev/null; echo $?`,
    output: 'out\n3\n127\n127\n127\n126\n125',
    quick: true,
    rootless: true,
  },
  {
    title: 'a running container: exec, cp both ways, top, diff, commit, logs, stop',
    script: `$P run -d --name $N bb sh -c 'trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done' >/dev/null
      $P exec $N sh -c 'test -e /tmp/f; echo $?; exit 9'; echo $?; $P exec $N nosuch 2>/dev/null; echo $?; echo in | $P exec -i $N cat
      $P exec -u alice -w /tmp -e A=b $N sh -c 'id -u; pwd; echo $A'
      echo copied >f; $P cp f $N:/tmp/f; $P exec $N cat /tmp/f; $P exec $N sh -c 'echo inside >/root/o'; $P cp $N:/root/o o; cat o
      echo longer than it was >f; $P cp f $N:/etc/text; $P exec $N cat /etc/text
      $P top $N pid user args | grep -c 'sh -c trap'; $P diff $N | grep /root/o
      $P commit -q --change 'CMD ["cat","/root/o"]' $N made >/dev/null; $P run --rm made; $P rmi made >/dev/null
      $P stop -t 10 $N >/dev/null; $P logs $N; $P inspect -f '{{.State.Status}} {{.State.ExitCode}}' $N; $P rm $N >/dev/null`,
    output: '1\n9\n127\nin\n1000\n/tmp\nb\ncopied\ninside\nlonger than it was\n1\nA /root/o\ninside\nup\nbye\nexited 5',
    quick: true,
    rootless: true,
  },
  {
    title: 'a terminal: size, changes of it, keys, signals to the foreground',
    script: `script -qec "$P run --rm -it bb sh -c 'tty; test -t 0 && test -t 1 && echo terminal'" /dev/null </dev/null | tr -d '\\r' | sed 's/\\^@//'
      $P run -dt --name $N bb sh -c 'trap "stty size" WINCH; while :; do sleep 0.1; done' >/dev/null
      pid=$($P inspect -f '{{.State.Pid}}' $N); sleep 1; stty -F $(readlink /proc/$pid/fd/4) rows 40 cols 100; sleep 1; $P logs $N | tr -d '\\r'; $P rm -f -t 0 $N >/dev/null`,
    output: '/dev/pts/0\nterminal\n40 100',
    quick: true,
  },
  {
    title: 'what a container may: users, capabilities, limits, read-only roots',
    script: `$P run --rm -u 1000 --group-add staff bb id; $P run --rm --cap-drop all bb grep CapEff /proc/self/status
      $P run --rm -u 1000 --cap-add net_bind_service bb grep CapAmb /proc/self/status; $P run --rm --read-only bb sh -c 'touch /x 2>/dev/null || touch /tmp/x && echo ro'
      $P run --rm --security-opt no-new-privileges --umask 077 --ulimit nofile=100:200 bb sh -c 'grep NoNewPrivs /proc/self/status; umask; ulimit -n'`,
    output:
      'uid=1000(alice) gid=1000(alice) groups=50(staff),1000(alice)\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000400\nro\nNoNewPrivs:\t1\n0077\n100',
    rootless: true,
  },
  {
    title: 'volumes and mounts: named, bound, read-only, overlays, images, tmpfs, secrets',
    script: `$P volume create $N >/dev/null; $P run --rm -v $N:/v bb sh -c 'echo kept >/v/f'; $P run --rm -v $N:/v:ro bb sh -c 'cat /v/f; touch /v/x 2>/dev/null || echo ro'
      mkdir -p d; echo host >d/h; $P run --rm -v ./d:/v bb sh -c 'cat /v/h; echo guest >/v/g'; cat d/g; $P run --rm -v ./d/h:/etc/one:ro bb cat /etc/one
      $P run --rm --tmpfs /t:size=1m,mode=1770 bb sh -c 'stat -c %a /t; dd if=/dev/zero of=/t/f bs=1M count=2 2>/dev/null || echo full'
      echo hidden | $P secret create $N - >/dev/null; $P run --rm --secret $N bb cat /run/secrets/$N; $P secret rm $N >/dev/null
      $P run -d --name $N -v /data bb sh -c 'echo from >/data/f; sleep 60' >/dev/null; sleep 1; $P run --rm --volumes-from $N bb cat /data/f; $P rm -f -v -t 0 $N >/dev/null; $P volume rm $N >/dev/null`,
    output: 'kept\nro\nhost\nguest\nhost\n1770\nfull\nhidden\nfrom',
    rootless: true,
  },
  {
    title: 'overlay volumes and images as mounts',
    script: `mkdir -p od; echo host >od/h; $P run --rm -v ./od:/v:O bb sh -c 'touch /v/x; ls /v'; ls od | grep -c x; $P run --rm --mount type=image,source=bb,destination=/i bb cat /i/etc/text`,
    output: 'h\nx\n0\ntext',
  },
  {
    title: 'names, environment, directories, entry points',
    script: `$P run --rm --hostname name bb hostname; printf 'A=1\\nB=two words\\n' >env; $P run --rm --env-file env bb sh -c 'echo $A $B'; $P run --rm -w /tmp bb pwd
      $P run --rm --entrypoint '["echo","x"]' bb y; test "$($P run --rm --uts host bb hostname)" = "$(hostname)" && echo same`,
    output: 'name\n1 two words\n/tmp\nx y\nsame',
    rootless: true,
  },
  {
    title: 'life: restart, pause, kill, wait, rename, start again, restart policies',
    script: `$P run -d --name $N bb sh -c 'echo run; while :; do sleep 0.1; done' >/dev/null; $P pause $N >/dev/null; $P inspect -f '{{.State.Status}}' $N; $P unpause $N >/dev/null
      $P restart -t 0 $N >/dev/null; sleep 1; $P logs $N; $P rename $N $N-x; $P kill $N-x >/dev/null; $P wait $N-x; $P rm $N-x >/dev/null
      $P run -d --restart on-failure:1 --name $N bb sh -c 'echo again; exit 1' >/dev/null; sleep 6; $P logs $N; $P rm -f -t 0 $N >/dev/null
      $P create --name $N bb sh -c 'exit 4' >/dev/null; $P start -a $N; echo $?; $P rm $N >/dev/null`,
    output: 'paused\nrun\nrun\n137\nagain\nagain\n4',
  },
  {
    title: 'limits: memory, with an OOM kill, processes, processors',
    script: `$P run --rm --memory 128m bb cat /sys/fs/cgroup/memory/memory.limit_in_bytes; $P run --rm --pids-limit 20 bb sh -c 'for i in $(seq 40); do sleep 2 & done; wait' 2>&1 | grep -c "can't fork"
      $P run --name $N --memory 64m --memory-swap 64m bb sh -c 'x=$(head -c 200000000 /dev/zero | tr "\\0" x)' >/dev/null 2>&1; $P inspect -f '{{.State.ExitCode}}' $N; $P rm $N >/dev/null`,
    output: '134217728\n1\n137',
  },
  {
    title: 'a pod: network, name and shared memory of one are the others’',
    script: `$P pod create --name $N --hostname pod >/dev/null; $P run -d --pod $N bb sh -c 'echo shared >/dev/shm/f; nc -l -p 8000 -e echo hello; sleep 60' >/dev/null; sleep 2
      $P run --rm --pod $N bb sh -c 'nc 127.0.0.1 8000; hostname; cat /dev/shm/f'; $P pod stop -t 0 $N >/dev/null 2>&1; $P pod rm -f -t 0 $N >/dev/null 2>&1`,
    output: 'hello\npod\nshared',
  },
  {
    title: 'a pod with shared processes: each sees, and may signal, the other’s; queues are shared, files are not',
    script: `$P pod create --name $N --share pid,ipc,net,uts --hostname pod >/dev/null; $P run -d --name $N-a --pod $N bb sleep 111 >/dev/null; $P run -d --name $N-b --pod $N bb sleep 222 >/dev/null
      $P exec $N-a ps -o args | grep -c 'sleep [12]'; $P exec $N-a sh -c 'touch /dev/mqueue/q /mine'; $P exec $N-b sh -c 'ls /dev/mqueue; ls /mine 2>&1; hostname; kill $(ps -o pid,args | grep "[s]leep 111" | cut -c1-6)'; $P wait $N-a
      $P exec $N-b sh -c 'ps -o args | grep -c "^sleep"'; $P start $N-a >/dev/null; $P pause $N-b >/dev/null; $P exec $N-a echo well; $P unpause $N-b >/dev/null; $P exec $N-b echo well; $P run --rm --pod $N bb nothing 2>/dev/null; echo $?
      $P pod stop -t 0 $N >/dev/null 2>&1; $P ps -a --filter pod=$N --filter status=exited --format x | wc -l; $P pod rm -f -t 0 $N >/dev/null 2>&1`,
    output: '2\nq\nls: /mine: No such file or directory\npod\n143\n1\nwell\nwell\n127\n3',
  },
  {
    title: 'the processes of another container by --pid, with its network or another',
    script: `$P run -d --name $N bb sleep 111 >/dev/null; $P run --rm --pid container:$N --network container:$N bb ps -o args | grep -c 'sleep 111'
      $P run --rm --pid container:$N bb ps -o args | grep -c 'sleep 111'; $P exec $N ps -o args | grep -c '^sleep'; $P rm -f -t 0 $N >/dev/null`,
    output: '1\n1\n1',
    rootless: true,
  },
  {
    title: 'cp: into and out of a tmpfs, refused by a read-only root; the kinds of mounts',
    script: `$P run -d --name $N --read-only --tmpfs /t:size=1m,mode=1770 -v /data bb sh -c 'echo early >/t/e; sleep 60' >/dev/null; echo copied >f; sleep 1
      $P cp f $N:/t/f; $P exec $N cat /t/f; $P exec $N sh -c 'echo out >/t/o'; $P cp $N:/t/o o; cat o; $P cp $N:/t/e - | tar xO; $P cp f $N:/tmp/f; $P cp f $N:/data/f; $P exec $N cat /tmp/f /data/f
      $P cp f $N:/f 2>/dev/null || echo refused; $P exec $N sh -c 'grep " /t " /proc/mounts | cut -d" " -f1-3; stat -c "%a %u" /t; df -k /t | tail -1 | tr -s " " | cut -d" " -f2'
      $P restart -t 0 $N >/dev/null; sleep 1; $P exec $N ls /t; $P rm -f -t 0 $N >/dev/null`,
    output: 'copied\nout\nearly\ncopied\ncopied\nrefused\ntmpfs /t tmpfs\n1770 0\n1024\ne',
    rootless: true,
  },
  {
    title: 'top: names of users, and nobody who has ended; --systemd; ids that are not mapped',
    script: `$P run -d --name $N -u 8 bb sleep 100 >/dev/null; sleep 1; $P top $N -eo pid,args >/dev/null; $P top $N user group pid args | tail -n +2 | tr -s ' ' | sed 's, $,,'; $P rm -f -t 0 $N >/dev/null
      $P run --rm --systemd=always bb sh -c 'grep -cE " /run | /tmp " /proc/mounts; echo $container; test -d /sys/fs/cgroup/systemd -o ! -e /sys/fs/cgroup/memory && echo cgroups'; $P run --rm --uidmap 0:0:1000 -u 4000000 bb id >/dev/null 2>&1 || echo refused`,
    output: '8 root 1 sleep 100\n2\npodman\ncgroups\nrefused',
    rootless: true,
  },
  {
    title: 'device nodes of a container that may make some',
    script: `$P run --rm --name $N --cap-add mknod bb sh -c 'mknod /tmp/n c 1 3 && echo x >/tmp/n && stat -c "%F %t %T" /tmp/n'; $P run --rm --cap-drop mknod bb mknod /tmp/n c 1 3 2>/dev/null || echo refused`,
    output: 'character special file 1 3\nrefused',
  },
  {
    title: 'building images',
    script: `mkdir -p b; printf 'FROM localhost/bb\\nRUN echo built >/b && touch /x && rm /x\\nRUN mkdir /d && ln /b /d/hard && ln -s /b /d/soft\\nUSER 1000\\nRUN id -u >/tmp/id\\nCMD ["cat","/d/hard","/d/soft","/tmp/id"]\\n' >b/Dockerfile
      $P build -q --network host --no-cache -t $N b >/dev/null; $P run --rm $N; printf 'FROM localhost/bb\\nRUN exit 3\\n' >b/D; $P build --network host --no-cache -f b/D b >/dev/null 2>&1; echo $?; $P rmi -f $N >/dev/null`,
    output: 'built\nbuilt\n1000\n3',
    rootless: true,
  },
  {
    title: 'odd names, hard links, sparse files and attributes through export and import',
    script: `$P run --name $N bb sh -c 'mkdir /o; cd /o; touch "$(printf "a\\nb")" "$(printf "\\377\\376")" "$(printf %255s | tr " " n)"; echo x >h; ln h i; truncate -s 1000000000 s; mkfifo p; chown 5:6 h'
      $P export $N | $P import -q - $N-i >/dev/null; $P run --rm $N-i sh -c 'ls /o | wc -l; ls /o | wc -c; stat -c "%h %u:%g" /o/i; stat -c %s /o/s; test -p /o/p && echo fifo'; $P rm $N >/dev/null; $P rmi $N-i >/dev/null`,
    output: '7\n271\n2 5:6\n1000000000\nfifo',
  },
  {
    title: 'output: a hundred megabytes in the log, a closed and a half-closed stdin',
    script: `$P run --name $N bb sh -c 'head -c 100000000 /dev/zero | tr "\\0" a | fold -w 99' | wc -c; $P logs $N | wc -c; $P rm $N >/dev/null
      printf 'one\\n' | $P run --rm -i bb sh -c 'read a; echo $a; read b || echo end'; $P run --rm bb wc -c; head -c 3000000 /dev/zero | $P run --rm -i bb wc -c`,
    output: '101010101\n101010101\none\nend\n0\n3000000',
  },
  {
    title: 'user namespaces',
    script: `$P run --rm --uidmap 0:100000:5000 --gidmap 0:200000:5000 bb sh -c 'cat /proc/self/uid_map | tr -s " "; touch /x; stat -c %u /x'`,
    output: '0 100000 5000\n0',
  },
  {
    title: 'top in a user namespace: names of the ids inside',
    script: `$P run -d --name $N --uidmap 0:100000:5000 --gidmap 0:200000:5000 -u 7:8 bb sleep 100 >/dev/null; sleep 1
      $P top $N user group pid args | tail -n +2 | tr -s ' ' | sed 's, $,,'; $P rm -f -t 0 $N >/dev/null`,
    output: '7 mail 1 sleep 100',
  },
  {
    title: 'user namespaces of other containers, and files of one from outside',
    script: `$P run -d --name $N --uidmap 0:100000:5000 bb sleep 100 >/dev/null; $P run --rm --userns container:$N bb sh -c 'cat /proc/self/uid_map | tr -s " "; touch /x; stat -c %u /x'
      echo in >f; $P cp f $N:/tmp/f; $P exec $N cat /tmp/f; $P exec $N sh -c 'echo out >/tmp/o'; $P cp $N:/tmp/o o; cat o; $P rm -f -t 0 $N >/dev/null`,
    output: '0 100000 5000\n0\nin\nout',
  },
];

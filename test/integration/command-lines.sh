#!/bin/bash
# Command lines of an OCI runtime, good and bad, side by side with the runc and crun that are installed: a line passes if the exit
# status is of the same class and the container is left in the same state as with one of the two (they differ between themselves),
# and, where we refuse, the message names what is wrong.
#
#   STATE | change of config.json, for jq | words after the global flags | what our message has
#
# c is the container, B its bundle with the changed config.json, W a folder. A state is made anew only when a line has changed it.

. "$(dirname "$0")/lib.sh"
need_root
for program in runc crun jq busybox; do
  command -v "$program" >/dev/null || apt-get install -y -qq "${program/busybox/busybox-static}" >/dev/null 2>&1
done
need runc jq busybox
find_runsc

work=$(mktemp -d /tmp/runsc-lines.XXXXXX)
others=(runc)
command -v crun >/dev/null && others+=(crun)
trap 'for one in ours "${others[@]}"; do runtime "$one" delete --force c; done >/dev/null 2>&1; rm -rf "$work"' EXIT

mkdir -p "$work/rootfs" "$work/folder" "$work/bundle"
make_rootfs "$work/rootfs"
touch "$work/rootfs/etc/plain" "$work/file"
echo '{' >"$work/bad.json"
echo '{"args":["sh","-c","exit 4"],"cwd":"/","user":{"uid":0,"gid":0}}' >"$work/process.json"
(cd "$work/bundle" && runc spec)
keeps='trap "exit 0" TERM; sleep 1000 & wait'
jq --arg root "$work/rootfs" --arg keeps "$keeps" \
  'del(.process.capabilities.ambient) | .process.terminal = false | .root = {path: $root} | .process.args = ["sh", "-c", $keeps] | .linux.namespaces -= [{type: "cgroup"}]' \
  "$work/bundle/config.json" >"$work/base.json"

# runtime NAME WORDS...: runs it with a state folder of its own, its output in $work/out, its messages in $work/err
runtime() {
  local name=$1 program=$1
  shift
  [ "$name" = ours ] && program=$RUNSC
  timeout -k 2 20 "$program" --root "$work/$name" "$@" <"${INPUT:-/dev/null}" >"$work/out" 2>"$work/err"
}

# configure NAME CHANGE: config.json; a cgroup for each, since all have containers of one name
configure() {
  jq "$2" "$work/base.json" | jq --arg path "/runsc-lines-$1-$$" 'if type == "object" then .linux.cgroupsPath = $path else . end' \
    >"$work/bundle/config.json"
}

state_of() {
  timeout -k 2 20 "$([ "$1" = ours ] && echo "$RUNSC" || echo "$1")" --root "$work/$1" state c 2>/dev/null | jq -r .status 2>/dev/null || true
}

# reach NAME STATE: brings the container into it, at the second try where a busy machine let the first one fail
reach() {
  local now
  for _ in 1 2; do
    now=$(state_of "$1")
    [ "${now:-none}" = "$2" ] && return
    make_state "$1" "$2"
  done
}

make_state() {
  runtime "$1" delete --force c
  configure "$1" .
  [ "$2" = none ] && return
  runtime "$1" create -b "$work/bundle" c || { echo "cannot create: $(cat "$work/err")"; return; }
  [ "$2" = created ] && return
  runtime "$1" start c
  case $2 in
    paused) runtime "$1" pause c ;;
    stopped) runtime "$1" kill c KILL; settle "$1" ;;
  esac
}

# What has been killed is gone a moment later.
settle() {
  local i now before=
  for ((i = 0; i < 20; i++)); do
    now=$(state_of "$1")
    [ "$now" = stopped ] && return
    [ "$i" -gt 6 ] && [ "$now" = "$before" ] && return
    before=$now
    sleep 0.1
  done
}

# An error of the runtime's own is 1, or 255 of exec; 126 and 127 are a shell's codes for a program that cannot be run, and runtimes
# differ in which they have for it.
class() {
  case $1 in
    1 | 126 | 127 | 255) echo refused ;;
    *) echo "$1" ;;
  esac
}

# one NAME STATE CHANGE WORDS: prints class and the state afterwards
one() {
  local name=$1 code words
  reach "$name" "$2"
  configure "$name" "${3:-.}"
  words=${4//B/$work/bundle}
  words=${words//W/$work}
  eval "set -- $words"
  runtime "$name" "$@"
  code=$?
  [[ " $words " == *" kill "* || " $words " == *" pause "* || " $words " == *" start "* ]] && settle "$name"
  echo "$(class "$code") $(state_of "$name")"
}

check_line() {
  local state=$1 change=$2 words=$3 names=$4 ours message theirs other
  ours=$(one ours "$state" "$change" "$words")
  message=$(cat "$work/err")
  if [[ $ours == refused* ]] && ! grep -qiE -- "$names" <<<"$message"; then
    note_failure "$state | $change | $words" "a message with $names" "$ours" "$message"
    return
  fi
  for other in "${others[@]}"; do
    theirs+="$other: $(one "$other" "$state" "$change" "$words"), "
    [[ $theirs == *": $ours, " ]] && { passed=$((passed + 1)); return; }
  done
  note_failure "$state | $change | $words" "${theirs%, }" "$ours" "$message"
}

trim() { sed 's/^ *//; s/ *$//' <<<"$1"; }

while IFS='!' read -r state change words names; do
  state=$(trim "$state")
  case $state in '' | '#'*) continue ;; esac
  [ -n "${ONLY:-}" ] && [[ "$state!$change!$words" != *$ONLY* ]] && continue
  check_line "$state" "$(trim "$change")" "$(trim "$words")" "$(trim "$names")"
done <"$(dirname "$0")/command-lines.txt"

# ---- Races: whatever the order, each command ends, and what is left is one of the states that an order leads to.

race() {
  local name=$1 first=$2 second=$3 wanted=$4 a b codes now
  reach ours "$5"
  (eval "set -- $first"; timeout -k 2 20 "$RUNSC" --root "$work/ours" "$@" </dev/null >/dev/null 2>&1) & a=$!
  (eval "set -- $second"; timeout -k 2 20 "$RUNSC" --root "$work/ours" "$@" </dev/null >/dev/null 2>&1) & b=$!
  wait "$a"; codes=$?
  wait "$b"; codes="$codes $?"
  settle ours
  now=$(state_of ours)
  if [[ "$codes ${now:-none}" =~ ^($wanted)$ ]]; then passed=$((passed + 1)); else note_failure "race: $name" "$wanted" "$codes" "${now:-none}"; fi
}

if [ -z "${ONLY:-}" ]; then
  configure ours .
  for _ in 1 2 3; do
    race 'two deletes' 'delete c' 'delete c' '(0 [01]|1 0) none' stopped
    race 'two forced deletes' 'delete -f c' 'delete -f c' '0 0 none' running
    race 'start during kill' 'start c' 'kill c KILL' '([01] [01]) stopped' created
    race 'two starts' 'start c' 'start c' '(0 1|1 0) running' created
    race 'two creates' "create -b $work/bundle c" "create -b $work/bundle c" '(0 1|1 0) created' none
    race 'delete during start' 'delete -f c' 'start c' '0 [01] none' created
    race 'two pauses' 'pause c' 'pause c' '(0 1|1 0) paused' running
  done
fi

summary

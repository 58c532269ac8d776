# Sourced by the scripts beside it: checks with one line for each that fails, and a line of counts at the end.
# A script that cannot run here prints why, begins the line with "skip:", and ends with 0.

passed=0
failed=0

skip() {
  echo "skip: $*"
  exit 0
}

# The Debian package that has a program.
package_of() {
  case $1 in
    dockerd | docker) echo docker.io ;;
    containerd | ctr | containerd-shim-runc-v2) echo containerd ;;
    busybox) echo busybox-static ;;
    *) echo util-linux ;;
  esac
}

# What is missing comes by apt where the whole suite is asked for.
need() {
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    [ "${RUNSC_TEST_INTEGRATION:-}" = 1 ] &&
      DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq -y --no-install-recommends install "$(package_of "$program")" >/dev/null 2>&1
    command -v "$program" >/dev/null || skip "$program is not installed"
  done
}

need_root() { [ "$(id -u)" = 0 ] || skip 'root is needed'; }

note_failure() {
  failed=$((failed + 1))
  echo "not ok: $1: wanted $2, got status $3: ${4:0:300}"
}

# says NAME TEXT COMMAND...: the output has the text
says() {
  local name=$1 want=$2 out status
  shift 2
  out=$(timeout -k 2 "${LIMIT:-60}" "$@" 2>&1 </dev/null)
  status=$?
  if [[ $out == *"$want"* ]]; then passed=$((passed + 1)); else note_failure "$name" "\"$want\"" "$status" "$out"; fi
}

# ends NAME STATUS COMMAND...: the exit status is that
ends() {
  local name=$1 want=$2 out status
  shift 2
  out=$(timeout -k 2 "${LIMIT:-60}" "$@" 2>&1 </dev/null)
  status=$?
  if [ "$status" = "$want" ]; then passed=$((passed + 1)); else note_failure "$name" "status $want" "$status" "$out"; fi
}

summary() {
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}

# The executable under test: RUNSC, or the built one, or that of the checkout.
find_runsc() {
  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  if [ -z "${RUNSC:-}" ]; then
    RUNSC=$root/dist/runsc
    [ -x "$RUNSC" ] || RUNSC=$root/bin/runsc
  fi
  RUNSC=$(readlink -f "$RUNSC")
}

# make_rootfs DIR: busybox and its links, an /etc, empty folders
make_rootfs() {
  local busybox applet
  busybox=$(command -v busybox)
  mkdir -p "$1"/{bin,dev,etc,proc,root,sys,tmp,home,var}
  chmod 1777 "$1/tmp"
  cp "$busybox" "$1/bin/busybox"
  for applet in $("$busybox" --list); do [ -e "$1/bin/$applet" ] || ln -s busybox "$1/bin/$applet"; done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
  echo 'root:x:0:' >"$1/etc/group"
}

# What the scripts of this folder share: each starts a server on 127.0.0.1, works with it, and prints what a machine's speed does not change.
set -u
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; cd /; rm -rf "$folder"' EXIT
cd "$folder" || exit 1
chmod 755 .

# Waits until somebody listens at the port.
listening() {
  for _ in $(seq 300); do
    if grep -q "$(printf ':%04X 0*:0000 0A' "$1")" /proc/net/tcp; then return; fi
    sleep 0.1
  done
  echo "nobody listens at port $1"
  exit 1
}

certificate() {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2>/dev/null || echo 'no certificate'
}

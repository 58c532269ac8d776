# Sourced by the shell scripts of this folder: an empty working folder, and sections that name what failed.
set -u
mkdir -p "$TMPDIR" && cd "$TMPDIR" || exit 99
section() { echo "== $*"; }

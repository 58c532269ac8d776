# Node's own servers. Arguments: node.
here=$(dirname "$0")
. "$here/lib.sh"
certificate
"$1" "$here/node.cjs" key.pem cert.pem

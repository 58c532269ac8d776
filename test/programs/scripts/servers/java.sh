# OpenJDK's own server and client.
here=$(dirname "$0")
. "$here/lib.sh"
# The server closes what it has more of, at the same moment as the client may take it for a next post.
java -XX:TieredStopAtLevel=1 -Dsun.net.httpserver.maxIdleConnections=2000 "$here/Posts.java" 500

# nginx with two workers: http, https with http/2, many connections, none of which may fail.
. "$(dirname "$0")/lib.sh"
certificate
mkdir html
head -c 700 /dev/zero | tr '\0' x > html/small
head -c 9000000 /dev/urandom > html/large
cat > nginx.conf <<CONF
daemon off; worker_processes 2; user root; pid $folder/pid; error_log $folder/errors;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; root $folder/html;
  server { listen 127.0.0.1:7780; }
  server { listen 127.0.0.1:7781 ssl http2; ssl_certificate $folder/cert.pem; ssl_certificate_key $folder/key.pem; }
}
CONF
nginx -c "$folder/nginx.conf" 2> /dev/null &
listening 7781
curl -s http://127.0.0.1:7780/large | cmp - html/large && echo 'the same by http'
curl -sk --http2 https://127.0.0.1:7781/large | cmp - html/large && echo 'the same by http/2'
curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:7780/nothing
wrk -t2 -c200 -d2s http://127.0.0.1:7780/small | grep -E 'Socket errors|Non-2xx'
wrk -t2 -c20 -d2s -H 'Connection: close' http://127.0.0.1:7780/small | grep -E 'Socket errors|Non-2xx'
kill -QUIT "$(cat pid)"
wait
grep -E 'alert|crit|emerg' errors || echo 'no errors'
echo ended

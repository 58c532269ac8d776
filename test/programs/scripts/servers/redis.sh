# redis with its own benchmark as the client.
. "$(dirname "$0")/lib.sh"
redis-server --port 6399 --save '' > redis.log 2>&1 &
listening 6399
redis-benchmark -p 6399 -n 3000 -c 50 --csv -t set,get,incr,lpush,rpop,sadd,hset,mset 2>&1 | cut -d, -f1
redis-benchmark -p 6399 -n 20000 -P 16 -c 50 --csv -t set,get 2>&1 | cut -d, -f1
redis-cli -p 6399 get counter:__rand_int__
redis-cli -p 6399 shutdown nosave
wait
tail -1 redis.log | sed 's/.*[#*] //'

# PostgreSQL as a user without rights, with pgbench as the client.
. "$(dirname "$0")/lib.sh"
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | tail -1)")
chmod 777 .
as() {
  setpriv --reuid=1000 --regid=1000 --clear-groups env HOME="$folder" PGHOST=127.0.0.1 PGPORT=5499 PGUSER=postgres "$@"
}
as "$bin/initdb" -D "$folder/data" -U postgres -A trust > init.log 2>&1 || cat init.log
as "$bin/pg_ctl" -D "$folder/data" -o "-p 5499 -k $folder" -l "$folder/pg.log" -w start > /dev/null || cat pg.log
as "$bin/pgbench" -i -s 1 -q postgres > /dev/null 2>&1 || echo 'pgbench -i failed'
as "$bin/pgbench" -c 8 -j 2 -t 50 postgres 2>/dev/null | grep -E 'transactions'
as "$bin/psql" -Atc 'select count(*), (select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches) from pgbench_accounts' postgres
as "$bin/pg_ctl" -D "$folder/data" -m fast -w stop > /dev/null
grep -E 'PANIC|FATAL' pg.log || echo stopped

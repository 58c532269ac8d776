// A database whose writer is killed in the middle stays whole, wherever it lies.
import { mkdtempSync, rmSync } from 'node:fs';
import { baseEnv, run } from '../support/processes.ts';
import { describe, launcher, platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const ROUNDS = 10;
const script = `
cd "$1"
sqlite3 db 'CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);'
i=0
while [ $i -lt 20000 ]; do echo "INSERT INTO t(b) VALUES('row $i');"; i=$((i + 1)); done > inserts.sql
for round in $(seq ${ROUNDS}); do
  sqlite3 db < inserts.sql & pid=$!
  sleep 0.$((round % 7 + 2))
  kill -9 $pid
  wait $pid 2> /dev/null
  sqlite3 db 'PRAGMA integrity_check; SELECT count(*) = max(a) OR count(*) = 0 FROM t;'
done
`;

const lacks = missing(['sqlite3']);
for (const platform of platforms) {
  for (const where of ['an overlay', 'a folder of the host']) {
    const declare = unless(lacks);
    declare(`sqlite on ${where} survives ${ROUNDS} kills${lacks === undefined ? '' : ` (${lacks})`} (${platform})`, async (t) => {
      t.timeout(300_000);
      const folder = mkdtempSync('/var/tmp/runsc-sqlite-');
      t.teardown(() => rmSync(folder, { recursive: true, force: true }));
      const bound = where === 'an overlay' ? [] : ['-v', `${folder}:/mnt`];
      const at = where === 'an overlay' ? folder : '/mnt';
      const argv = [launcher, `--platform=${platform}`, 'do', ...bound, '--', 'sh', '-c', script, 'sh', at];
      const result = await run(argv, { env: baseEnv(), timeoutMs: 290_000 });
      t.is(result.stdout, 'ok\n1\n'.repeat(ROUNDS), describe('in the sandbox', argv, result));
    });
  }
}

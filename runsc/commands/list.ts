// `runsc list`: what runc prints, so that tools which read it go on working.

import { userInfo } from 'node:os';
import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { describe } from '../errors.ts';
import { print } from '../output.ts';
import { listIds } from '../state-file.ts';
import { table } from './ps.ts';

export function run({ config, flags }: Invocation): number {
  const containers: Container[] = [];
  for (const id of listIds(config.root)) {
    try {
      containers.push(Container.load(config, id));
    } catch (error) {
      // One that is being made or removed just now.
      if (config.debug) process.stderr.write(`runsc: debug: ${describe(error)}\n`);
    }
  }
  if (flags.on('quiet')) {
    for (const c of containers) print(`${c.state.id}\n`);
    return 0;
  }
  const rows = containers.map((c) => {
    const { ociVersion, id, pid, status, bundle, annotations } = c.ociState();
    const { rootfs, created, owner } = c.state;
    return { ociVersion, id, pid, status, bundle, rootfs, created, annotations, owner: ownerName(owner) };
  });
  if (flags.string('format') === 'json') {
    print(`${JSON.stringify(rows.length === 0 ? null : rows)}\n`);
    return 0;
  }
  const lines = rows.map((r) => [r.id, String(r.pid), r.status, r.bundle, r.created, r.owner]);
  print(table([['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'], ...lines]));
  return 0;
}

function ownerName(uid: number): string {
  const me = userInfo();
  return uid === me.uid ? me.username : uid === 0 ? 'root' : `#${uid}`;
}

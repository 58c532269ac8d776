// /proc/net of network namespaces that guests have made: the host's tables of the networks behind them.

import { registerNetText } from '../fs/proc-net.ts';
import { readHostTable } from '../fs/proc-net-host.ts';
import { close } from '../host/host-net.ts';
import { NETWORK_TABLES } from '../host/net-broker.ts';
import { networkOf } from './network.ts';

export function registerNetworkTables(): void {
  NETWORK_TABLES.forEach((name, index) => {
    const other = registerNetText(name, (ns, t) => {
      const network = ns.isolated ? networkOf(t.kernel, ns) : null;
      const fd = network === null ? -1 : network.table(index);
      if (fd < 0) return other?.(ns, t) ?? '';
      try {
        return readHostTable(fd);
      } finally {
        close(fd);
      }
    });
  });
}

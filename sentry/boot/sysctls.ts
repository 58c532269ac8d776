// Parameters of config.json. Those of the network are the host's in the sandbox's own namespace: sockets are its sockets.

import { EPERM } from '../abi/errno.ts';
import { warn } from '../base/log.ts';
import { setNetSysctl } from '../fs/proc-sys-net.ts';
import type { Kernel } from '../kernel/kernel.ts';

/** Names have dots or slashes; one that nobody knows is told in the log. isOtherNetwork: those of the network are left out. */
export function setSysctls(kernel: Kernel, values: Readonly<Record<string, string>>, isOtherNetwork = false): void {
  for (const [given, value] of Object.entries(values)) {
    const name = given.replaceAll('/', '.');
    if (isOtherNetwork && name.startsWith('net.')) continue;
    const onHost = name.startsWith('net.') ? setNetSysctl(name, value) : -EPERM;
    if (kernel.sysctls.set(name, value) < 0 && onHost < 0) warn(`sysctl ${name}=${value} is not supported`);
  }
}

// Parameters of config.json. Those of the network are the host's in the sandbox's own namespace: sockets are its sockets.

import { EPERM } from '../abi/errno.ts';
import { setNetSysctl } from '../fs/proc-sys-net.ts';
import type { Kernel } from '../kernel/kernel.ts';

/** Names have dots or slashes; throws for one that nobody knows. isOtherNetwork: those of the network are left out. */
export function setSysctls(kernel: Kernel, values: Readonly<Record<string, string>>, isOtherNetwork = false): void {
  for (const [given, value] of Object.entries(values)) {
    const name = given.replaceAll('/', '.');
    if (isOtherNetwork && name.startsWith('net.')) continue;
    const onHost = name.startsWith('net.') ? setNetSysctl(name, value) : -EPERM;
    if (kernel.sysctls.set(name, value) < 0 && onHost < 0)
      throw new Error(`config.json: linux.sysctl.${given}: there is no such parameter, or "${value}" is no value of it`);
  }
}

// SIOCETHTOOL: the requests that only look and answer a struct of one size. A struct ifreq points at it, so it is copied
// both ways; whatever else ethtool(8) may ask gets EOPNOTSUPP, which drivers answer too.

import { EFAULT, EOPNOTSUPP } from '../abi/errno.ts';
import { getU64 } from '../base/int64.ts';
import { ethtool } from '../host/host-net.ts';
import type { Task } from '../kernel/task.ts';

const IFREQ_DATA = 16;

// include/uapi/linux/ethtool.h: request to size of its struct.
const sizes: ReadonlyMap<number, number> = new Map([
  [0x01, 44], // ETHTOOL_GSET, struct ethtool_cmd
  [0x03, 196], // ETHTOOL_GDRVINFO
  [0x0a, 8], // ETHTOOL_GLINK, struct ethtool_value
  [0x0e, 92], // ETHTOOL_GCOALESCE
  [0x10, 36], // ETHTOOL_GRINGPARAM
  [0x14, 8], // ETHTOOL_GRXCSUM
  [0x16, 8], // ETHTOOL_GTXCSUM
  [0x18, 8], // ETHTOOL_GSG
  [0x1e, 8], // ETHTOOL_GTSO
  [0x23, 8], // ETHTOOL_GGSO
  [0x25, 8], // ETHTOOL_GFLAGS
  [0x2b, 8], // ETHTOOL_GGRO
  [0x3c, 36], // ETHTOOL_GCHANNELS
  [0x41, 44], // ETHTOOL_GET_TS_INFO
]);

const data = new Uint8Array(256);
const view = new DataView(data.buffer);

/** ifreq has been copied in. */
export function ethtoolIoctl(t: Task, hostFd: number, ifreq: Uint8Array): number {
  const addr = getU64(new DataView(ifreq.buffer, ifreq.byteOffset, ifreq.byteLength), IFREQ_DATA);
  if (t.mm.copyIn(addr, data, 0, 4) < 0) return -EFAULT;
  const size = sizes.get(view.getUint32(0, true));
  if (size === undefined) return -EOPNOTSUPP;
  data.fill(0, 4, size);
  const n = ethtool(hostFd, ifreq, data);
  if (n < 0) return n;
  return t.mm.copyOut(addr, data, 0, size) < 0 ? -EFAULT : 0;
}

// The socket families of the guest: what boot registers.

import { AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX } from '../abi/socket.ts';
import { registerNetText } from '../fs/proc-net.ts';
import { newInetSocket } from './inet.ts';
import { newNetlinkSocket } from './netlink.ts';
import { registerNetworkTables } from './network-tables.ts';
import { newPacketSocket } from './packet.ts';
import { registerFamily } from './socket.ts';
import { newUnixSocket, unixSocketsText } from './unix.ts';

export function registerSocketFamilies(): void {
  registerFamily(AF_UNIX, newUnixSocket);
  registerFamily(AF_INET, newInetSocket);
  registerFamily(AF_INET6, newInetSocket);
  registerFamily(AF_NETLINK, newNetlinkSocket);
  registerFamily(AF_PACKET, newPacketSocket);
  registerNetText('unix', unixSocketsText);
  registerNetworkTables();
}

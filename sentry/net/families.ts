// The socket families of the guest: what boot registers.

import { AF_UNIX } from '../abi/socket.ts';
import { registerFamily } from './socket.ts';
import { newUnixSocket } from './unix.ts';

export function registerSocketFamilies(): void {
  registerFamily(AF_UNIX, newUnixSocket);
}

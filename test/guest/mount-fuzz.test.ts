// Random changes of mounts, with propagation between namespaces: after each, all mounts are as on the host.
import { buildGuest } from '../support/guest.ts';
import { alike } from '../support/sandbox.ts';

for (const seed of [1, 2, 3, 5, 8]) {
  alike(`100 random changes of mounts, seed ${seed}`, {
    argv: async () => [await buildGuest('helper-mountfuzz'), String(seed), '100'],
    needs: ['root', 'static-libc'],
  });
}

// The programs of this folder on the host's kernel and in the sandbox: each prints one line a check.
import { buildGuest, guestPrograms } from '../support/guest.ts';
import { alike } from '../support/sandbox.ts';

for (const program of guestPrograms()) {
  alike(`${program.name}: ${program.title}`, {
    argv: async () => [await buildGuest(program.name)],
    needs: ['static-libc', ...program.needs],
  });
}

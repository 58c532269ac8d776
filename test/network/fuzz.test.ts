// Malformed addresses, control messages, netlink messages and vectors: the sandbox answers what the host answers.
import { sameAnswers } from '../support/network-fuzz.ts';
import { platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const declare = unless(missing(['static-libc', 'root', 'unshare', 'ip']));

for (const platform of platforms) {
  declare(`malformed network calls get the host's answers (${platform})`, async (t) => {
    t.timeout(120_000);
    await sameAnswers(t, platform, 1, 3000, false);
  });
}

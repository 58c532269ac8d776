// Malformed addresses, control messages, netlink messages and vectors: the sandbox answers what the host answers.
import test from 'ava';
import { sameAnswers } from '../support/network-fuzz.ts';
import { platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';

const declare = missing(['static-libc', 'root', 'unshare', 'ip']) === undefined ? test.serial : test.skip;

for (const platform of platforms) {
  declare(`malformed network calls get the host's answers (${platform})`, async (t) => {
    t.timeout(120_000);
    await sameAnswers(t, platform, 1, 3000, false);
  });
}

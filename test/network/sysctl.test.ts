// Network parameters are those of the sandbox's own namespace, and sockets obey them.
import { run } from '../support/processes.ts';
import { launcher, platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const reason = missing(['root']);
const declare = unless(reason);

for (const platform of platforms) {
  declare(`a guest changes the parameters of its own network, and sees them obeyed (${platform})`, async (t) => {
    t.timeout(60_000);
    const file = '/proc/sys/net/ipv4/ip_unprivileged_port_start';
    const script = `cat ${file}; echo 81 > ${file}; cat ${file}; sysctl=$(cat /proc/sys/net/ipv4/tcp_available_congestion_control); test -n "$sysctl" && echo listed`;
    const result = await run([launcher, `--platform=${platform}`, '--network=none', 'do', '--', 'sh', '-c', script], { timeoutMs: 30_000 });
    t.is(result.stdout, '1024\n81\nlisted\n', result.stderr);
  });
}

declare('the network that others use as well is not changed', async (t) => {
  t.timeout(60_000);
  const script =
    'for f in ipv4/ip_forward ipv4/ip_default_ttl core/somaxconn; do echo 7 2>/dev/null > /proc/sys/net/$f && echo changed; done; echo end';
  const result = await run([launcher, 'do', '--', 'sh', '-c', script], { timeoutMs: 30_000 });
  t.is(result.stdout, 'end\n');
});

// The connection to a sandbox, from the side of the command line.
import test from 'ava';
import { ControlClient, SandboxGone } from '../../runsc/control-client.ts';
import { closeFd, sendFds, socketPair } from '../../runsc/host.ts';
import { SOCK_SEQPACKET } from '../../sentry/abi/socket.ts';

test('what a sandbox has said last is heard though it ended without reading all requests', (t) => {
  const ends = new Int32Array(2);
  t.is(socketPair(SOCK_SEQPACKET, ends), 0);
  const client = new ControlClient(ends[0]!);
  client.send({ method: 'resize', pid: 1, rows: 24, columns: 80 });
  const last = new TextEncoder().encode(JSON.stringify({ event: 'exit', status: 0x700 }));
  t.is(sendFds(ends[1]!, last, last.length, []), last.length);
  closeFd(ends[1]!);
  t.true(client.receive(1000));
  t.deepEqual(client.takeEvent(), { event: 'exit', status: 0x700 });
  t.throws(() => client.receive(1000), { instanceOf: SandboxGone });
  client.close();
});

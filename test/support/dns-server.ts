// A DNS server for tests: fixed answers, over UDP and TCP on one port of 127.0.0.1.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

export interface Answer {
  readonly name: string;
  readonly ttl: number;
  /** One of the two. */
  readonly alias?: string;
  readonly address?: string;
}

export function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

/** The answer to a query, or a made-up one for `name`. */
export function encodeAnswer(id: number, name: string, answers: readonly Answer[]): Buffer {
  const header = Buffer.from([id >> 8, id & 0xff, 0x81, 0x80, 0, 1, 0, answers.length, 0, 0, 0, 0]);
  const question = Buffer.concat([encodeName(name), Buffer.from([0, 1, 0, 1])]);
  const records = answers.map((answer) => {
    const data = answer.alias === undefined ? Buffer.from((answer.address ?? '').split('.').map(Number)) : encodeName(answer.alias);
    const fixed = Buffer.alloc(10);
    fixed.writeUInt16BE(answer.alias === undefined ? 1 : 5, 0);
    fixed.writeUInt16BE(1, 2);
    fixed.writeUInt32BE(answer.ttl, 4);
    fixed.writeUInt16BE(data.length, 8);
    // The name of the question is written as a pointer to it, as servers do.
    const owner = answer.name === name ? Buffer.from([0xc0, 12]) : encodeName(answer.name);
    return Buffer.concat([owner, fixed, data]);
  });
  return Buffer.concat([header, question, ...records]);
}

function askedName(query: Buffer): string {
  const labels: string[] = [];
  for (let at = 12; query[at] !== 0; at += query[at]! + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
  return labels.join('.');
}

export interface DnsServer {
  readonly port: number;
  close(): void;
}

/** Serves the answers by the name that is asked for. */
export async function serveDns(zone: Readonly<Record<string, readonly Answer[]>>): Promise<DnsServer> {
  const reply = (query: Buffer): Buffer => encodeAnswer(query.readUInt16BE(0), askedName(query), zone[askedName(query)] ?? []);
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => udp.send(reply(query), from.port, from.address));
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
  const { port } = udp.address();
  const tcp = createServer((connection) => {
    connection.on('error', () => {});
    connection.on('data', (bytes: Buffer) => {
      const answer = reply(bytes.subarray(2));
      connection.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 0xff]), answer]));
    });
  });
  await new Promise<void>((resolve) => tcp.listen(port, '127.0.0.1', resolve));
  return {
    port,
    close: () => {
      udp.close();
      tcp.close();
    },
  };
}

// IP addresses as 16 bytes: IPv4 ones are mapped (::ffff:a.b.c.d), so that one form serves both.

export const ADDRESS_SIZE = 16;
/** Where an IPv4 address starts in the mapped form, and how many bits stand before it. */
export const MAPPED_AT = 12;
export const MAPPED_BITS = 96;

export function isMapped(bytes: ArrayLike<number>): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** "10.0.0.1" or "fe80::1" as 16 bytes, or undefined for anything else. */
export function parseAddress(text: string): number[] | undefined {
  return text.includes(':') ? parseV6(text) : mapped(parseV4(text));
}

function mapped(v4: number[] | undefined): number[] | undefined {
  return v4 === undefined ? undefined : [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...v4];
}

function parseV4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes: number[] = [];
  for (const part of parts) {
    // A leading zero is octal to some and decimal to others.
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bytes.push(Number(part));
  }
  return bytes;
}

function parseV6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const front = groups(halves[0]!, halves.length === 1);
  const back = halves.length === 2 ? groups(halves[1]!, true) : [];
  if (front === undefined || back === undefined) return undefined;
  const missing = ADDRESS_SIZE - front.length - back.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return [...front, ...new Array<number>(missing).fill(0), ...back];
}

/** Groups of 16 bits; the last one may be an IPv4 address. */
function groups(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (part.includes('.')) {
      const v4 = isEnd && i === parts.length - 1 ? parseV4(part) : undefined;
      if (v4 === undefined) return undefined;
      bytes.push(...v4);
      continue;
    }
    if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
    const n = Number.parseInt(part, 16);
    bytes.push(n >> 8, n & 0xff);
  }
  return bytes;
}

/** For people: dotted when it is IPv4, else eight groups with the longest run of zeros left out. */
export function formatAddress(bytes: ArrayLike<number>): string {
  if (isMapped(bytes)) return `${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  const words: number[] = [];
  for (let i = 0; i < ADDRESS_SIZE; i += 2) words.push((bytes[i]! << 8) | bytes[i + 1]!);
  let [from, length] = [-1, 1];
  for (let i = 0; i < words.length; i++) {
    let end = i;
    while (end < words.length && words[end] === 0) end++;
    if (end - i > length) [from, length] = [i, end - i];
  }
  const hex = (part: number[]): string => part.map((word) => word.toString(16)).join(':');
  return from < 0 ? hex(words) : `${hex(words.slice(0, from))}::${hex(words.slice(from + length))}`;
}

/** Whether the first `bits` bits are the same. */
export function inNetwork(address: ArrayLike<number>, network: ArrayLike<number>, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== network[i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((address[whole]! ^ network[whole]!) & (0xff00 >> rest) & 0xff) === 0;
}

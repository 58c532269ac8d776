// Bytes as strings of one char each, so that no file name or text is ever damaged by UTF-8.

/** What Buffer.toString('latin1') comes to: a string of one allocation, from any bytes. */
const { latin1Slice } = Buffer.prototype as unknown as { latin1Slice: (this: Uint8Array, from: number, to: number) => string };
/** Fewer bytes are not worth a call of native code. */
const SHORT = 12;

/** bytes[from, to) as a string. */
export function latin1(bytes: Uint8Array, from: number, to: number): string {
  // A string that grows char by char is a tree of them, of 32 bytes each.
  if (to - from > SHORT) return latin1Slice.call(bytes, from, to);
  let text = '';
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

/** The twin of latin1; returns the bytes written. */
export function putLatin1(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  return text.length;
}

/** Strings that were asked for lately, by the hash of their chars. */
const KNOWN = 1024;
/** Longer ones are not kept: guests choose them. */
const LONGEST_KNOWN = 256;
const known: string[] = new Array<string>(KNOWN).fill('');

function slotOf(hash: number): number {
  return (hash ^ (hash >>> 10) ^ (hash >>> 20)) & (KNOWN - 1);
}

/** latin1(bytes, 0, length), without an allocation when the same was asked for a while ago: programs use the same paths again and again. */
export function knownLatin1(bytes: Uint8Array, length: number): string {
  if (length > LONGEST_KNOWN) return latin1(bytes, 0, length);
  let hash = length;
  for (let i = 0; i < length; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
  const slot = slotOf(hash);
  const text = known[slot]!;
  if (text.length === length) {
    let i = 0;
    while (i < length && text.charCodeAt(i) === bytes[i]) i++;
    if (i === length) return text;
  }
  const made = latin1(bytes, 0, length);
  known[slot] = made;
  return made;
}

/** text.slice(from, to), in the same way. */
export function knownPart(text: string, from: number, to: number): string {
  const length = to - from;
  if (length > LONGEST_KNOWN) return text.slice(from, to);
  let hash = length;
  for (let i = from; i < to; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  const slot = slotOf(hash);
  const part = known[slot]!;
  if (part.length === length) {
    let i = 0;
    while (i < length && part.charCodeAt(i) === text.charCodeAt(from + i)) i++;
    if (i === length) return part;
  }
  const made = text.slice(from, to);
  known[slot] = made;
  return made;
}

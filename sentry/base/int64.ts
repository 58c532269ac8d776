// 64-bit values as two 32-bit words, little endian, joined as a double: exact below 2^53.
// A value outside ±2^53 keeps its high bits and loses low ones; bit sets stay two words.
//
// What fits into the low word is that word: a product makes a double of it, and gives objects that keep it another shape.

const TWO32 = 4294967296;

/** Unsigned 64-bit at byte offset `at`. */
export function getU64(v: DataView, at: number): number {
  const hi = v.getUint32(at + 4, true);
  const lo = v.getUint32(at, true);
  return hi === 0 ? lo : lo + hi * TWO32;
}

/** Signed 64-bit at byte offset `at`. */
export function getI64(v: DataView, at: number): number {
  const hi = v.getInt32(at + 4, true);
  const lo = v.getUint32(at, true);
  return hi === 0 ? lo : lo + hi * TWO32;
}

/** Stores a signed or unsigned integer below 2^53 in size as 64 bits. */
export function put64(v: DataView, at: number, value: number): void {
  v.setUint32(at, value % TWO32, true);
  v.setInt32(at + 4, Math.floor(value / TWO32), true);
}

/** Joins an unsigned low and a signed high word. */
export function join(lo: number, hi: number): number {
  return hi === 0 ? lo >>> 0 : (lo >>> 0) + hi * TWO32;
}

// LZ4 blocks, decompressed up to a given length: lib/lz4/lz4_decompress.c:LZ4_decompress_safe_partial().

const MIN_MATCH = 4;

/** Decompresses src[from, to) into the first n bytes of dst. Whether there were so many and all made sense. */
export function decompressLz4(src: Uint8Array, from: number, to: number, dst: Uint8Array, n: number): boolean {
  let at = from;
  let out = 0;
  while (out < n) {
    if (at >= to) return false;
    const token = src[at++]!;
    let literals = token >> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (at >= to) return false;
        more = src[at++]!;
        literals += more;
      } while (more === 255);
    }
    const copied = Math.min(literals, n - out);
    if (at + copied > to) return false;
    dst.set(src.subarray(at, at + copied), out);
    out += copied;
    at += literals;
    if (out >= n) return true;
    if (at + 2 > to) return false;
    const distance = src[at]! | (src[at + 1]! << 8);
    at += 2;
    if (distance === 0 || distance > out) return false;
    let length = (token & 15) + MIN_MATCH;
    if ((token & 15) === 15) {
      let more: number;
      do {
        if (at >= to) return false;
        more = src[at++]!;
        length += more;
      } while (more === 255);
    }
    const end = Math.min(n, out + length);
    if (distance >= end - out) {
      dst.copyWithin(out, out - distance, end - distance);
      out = end;
    } else for (; out < end; out++) dst[out] = dst[out - distance]!;
  }
  return true;
}

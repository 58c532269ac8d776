// A thread's extended state (x87, SSE, AVX and on) as a signal frame holds it, and as ptrace(2)'s NT_X86_XSTATE does.

/** struct _fpstate_64 of a signal frame: arch/x86/include/uapi/asm/sigcontext.h. */
const MXCSR = 24;
const XSTATE_SW = 464;
const XSTATE_SW_SIZE = 48;
const FRAME_FEATURES = 472;
const XSTATE_HEADER = 512;
const XSTATE_HEADER_SIZE = 64;
const FP_MAGIC1 = 0x46505853;
const FP_MAGIC2 = 0x46505845;
export const FP_MAGIC2_SIZE = 4;

/** The register set of `size` bytes, out of the frame's at bytes[at]. */
export function regsetFromFrame(dst: Uint8Array, bytes: Uint8Array, at: number, size: number): void {
  dst.set(bytes.subarray(at, at + size));
  // A frame has the features among its own words, the register set has them first: fx_sw_bytes, xstate_regs.
  dst.fill(0, XSTATE_SW, XSTATE_SW + XSTATE_SW_SIZE);
  for (let i = 0; i < 8; i++) dst[XSTATE_SW + i] = bytes[at + FRAME_FEATURES + i]!;
}

/** Whether the host would take it. */
export function isValidRegset(src: Uint8Array, size: number): boolean {
  // The last 16 bits of mxcsr, and all of the header but its first word, are reserved.
  if (src[MXCSR + 2] !== 0 || src[MXCSR + 3] !== 0) return false;
  if (size > XSTATE_HEADER) for (let i = 8; i < XSTATE_HEADER_SIZE; i++) if (src[XSTATE_HEADER + i] !== 0) return false;
  return true;
}

/** The frame of `size` bytes and its final magic at bytes[at], which has the features already. words: the same memory. */
export function frameFromRegset(bytes: Uint8Array, words: Int32Array, at: number, src: Uint8Array, size: number): void {
  for (let i = 0; i < size; i++) if (i < XSTATE_SW || i >= XSTATE_SW + XSTATE_SW_SIZE) bytes[at + i] = src[i]!;
  if (size <= XSTATE_HEADER) return;
  words[(at + XSTATE_SW) >> 2] = FP_MAGIC1;
  words[(at + XSTATE_SW + 4) >> 2] = size + FP_MAGIC2_SIZE;
  words[(at + XSTATE_SW + 16) >> 2] = size;
  words[(at + size) >> 2] = FP_MAGIC2;
}

// The one region that Sentry and platform share: typed views made once, offsets stay small integers.

const TWO32 = 4294967296;

export class Region {
  readonly buffer: ArrayBuffer;
  readonly i32: Int32Array;
  readonly u8: Uint8Array;

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
    this.i32 = new Int32Array(buffer);
    this.u8 = new Uint8Array(buffer);
  }

  load64(at: number): number {
    return (this.i32[at >> 2]! >>> 0) + (this.i32[(at >> 2) + 1]! >>> 0) * TWO32;
  }

  loadSigned64(at: number): number {
    return (this.i32[at >> 2]! >>> 0) + this.i32[(at >> 2) + 1]! * TWO32;
  }

  store64(at: number, value: number): void {
    this.i32[at >> 2] = value | 0;
    this.i32[(at >> 2) + 1] = Math.floor(value / TWO32) | 0;
  }
}

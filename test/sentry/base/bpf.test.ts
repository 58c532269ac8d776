import test from 'ava';
import { SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS, seccompErrno, seccompFilter } from '../../../sentry/base/bpf.ts';

const X86_64 = 0xc000003e;

/** What the kernel would do with a call: runs the four instructions that a filter is made of. */
function verdict(filter: Uint8Array, arch: number, nr: number, ...args: number[]): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, nr, true);
  data.setUint32(4, arch, true);
  args.forEach((arg, i) => {
    data.setUint32(16 + i * 8, arg % 2 ** 32, true);
    data.setUint32(20 + i * 8, Math.floor(arg / 2 ** 32), true);
  });
  const view = new DataView(filter.buffer);
  let acc = 0;
  for (let pc = 0; ; pc++) {
    const k = view.getUint32(pc * 8 + 4, true);
    const code = view.getUint16(pc * 8, true);
    if (code === 0x06) return k;
    if (code === 0x20) acc = data.getUint32(k, true);
    else if (code === 0x54) acc = (acc & k) >>> 0;
    else if (code === 0x15) pc += view.getUint8(pc * 8 + (acc === k ? 2 : 3));
    else throw new Error(`instruction ${code}`);
  }
}

const REFUSED = seccompErrno(1);
const filter = seccompFilter(
  [
    { nr: 0 },
    {
      nr: 9,
      when: [
        [{ arg: 2, mask: 4, value: 0 }],
        [
          { arg: 0, value: 7, high: 0 },
          { arg: 1, value: 8 },
        ],
      ],
    },
    { nr: 1 },
  ],
  REFUSED,
);

test('a filter allows what is listed and refuses the rest', (t) => {
  t.is(verdict(filter, X86_64, 0), SECCOMP_RET_ALLOW);
  t.is(verdict(filter, X86_64, 1), SECCOMP_RET_ALLOW);
  t.is(verdict(filter, X86_64, 2), REFUSED);
  t.is(verdict(filter, X86_64, 0x40000000), REFUSED);
});

test('a filter kills callers of another architecture', (t) => {
  t.is(verdict(filter, 0x40000003, 0), SECCOMP_RET_KILL_PROCESS);
});

test('a call with conditions is allowed when all of one alternative hold', (t) => {
  t.is(verdict(filter, X86_64, 9, 0, 0, 3), SECCOMP_RET_ALLOW);
  t.is(verdict(filter, X86_64, 9, 0, 0, 4), REFUSED);
  t.is(verdict(filter, X86_64, 9, 7, 8, 4), SECCOMP_RET_ALLOW);
  t.is(verdict(filter, X86_64, 9, 7 + 2 ** 32, 8, 4), REFUSED);
  t.is(verdict(filter, X86_64, 9, 7, 9, 4), REFUSED);
});

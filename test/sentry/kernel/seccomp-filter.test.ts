import test from 'ava';
import { EINVAL } from '../../../sentry/abi/errno.ts';
import { BPF_MAXINSNS, INSTRUCTION_SIZE, SeccompFilter } from '../../../sentry/kernel/seccomp-filter.ts';

type Instruction = readonly [code: number, jt: number, jf: number, k: number];

const LD_W_ABS = 0x20;
const LD_IMM = 0x00;
const LD_LEN = 0x80;
const LDX_IMM = 0x01;
const ST = 0x02;
const LDX_MEM = 0x61;
const TAX = 0x07;
const TXA = 0x87;
const RET_K = 0x06;
const RET_A = 0x16;
const JA = 0x05;
const JEQ = 0x15;
const JGT = 0x25;
const JGE = 0x35;
const JSET = 0x45;
const X = 0x08;
const ALU = { add: 0x04, sub: 0x14, mul: 0x24, div: 0x34, or: 0x44, and: 0x54, lsh: 0x64, rsh: 0x74, neg: 0x84, mod: 0x94, xor: 0xa4 };

function create(...program: Instruction[]): SeccompFilter | number {
  const v = new DataView(new ArrayBuffer(program.length * INSTRUCTION_SIZE));
  program.forEach(([code, jt, jf, k], i) => {
    v.setUint16(i * 8, code, true);
    v.setUint8(i * 8 + 2, jt);
    v.setUint8(i * 8 + 3, jf);
    v.setUint32(i * 8 + 4, k >>> 0, true);
  });
  return SeccompFilter.create(v, program.length);
}

function run(data: number[], ...program: Instruction[]): number {
  const filter = create(...program);
  if (typeof filter === 'number') throw new Error(`refused: ${filter}`);
  const words = new Uint32Array(16);
  words.set(data);
  return filter.run(words);
}

/** a OP b, with b as a constant and as the index register. */
function alu(operation: number, a: number, b: number): [number, number] {
  return [
    run([], [LD_IMM, 0, 0, a], [operation, 0, 0, b], [RET_A, 0, 0, 0]),
    run([], [LD_IMM, 0, 0, a], [LDX_IMM, 0, 0, b], [operation | X, 0, 0, 0], [RET_A, 0, 0, 0]),
  ];
}

test('arithmetic is that of unsigned 32-bit words', (t) => {
  t.deepEqual(alu(ALU.add, 0xffffffff, 2), [1, 1]);
  t.deepEqual(alu(ALU.sub, 1, 2), [0xffffffff, 0xffffffff]);
  t.deepEqual(alu(ALU.mul, 0x10001, 0x10001), [0x20001, 0x20001]);
  t.deepEqual(alu(ALU.div, 0xfffffffe, 2), [0x7fffffff, 0x7fffffff]);
  t.deepEqual(alu(ALU.or, 0x80000000, 1), [0x80000001, 0x80000001]);
  t.deepEqual(alu(ALU.and, 0xf0f0f0f0, 0x80000010), [0x80000010, 0x80000010]);
  t.deepEqual(alu(ALU.xor, 0xffffffff, 0x7fffffff), [0x80000000, 0x80000000]);
  t.deepEqual(alu(ALU.lsh, 1, 31), [0x80000000, 0x80000000]);
  t.deepEqual(alu(ALU.rsh, 0x80000000, 31), [1, 1]);
  t.is(run([], [LD_IMM, 0, 0, 5], [ALU.neg, 0, 0, 0], [RET_A, 0, 0, 0]), 0xfffffffb);
});

test('a division by an index register of zero ends the program with 0, which kills', (t) => {
  t.is(run([], [LD_IMM, 0, 0, 5], [ALU.div | X, 0, 0, 0], [RET_K, 0, 0, 7]), 0);
});

test('the call is read by words, and its size by LD LEN', (t) => {
  t.is(run([39, 0xc000003e, 0x1000], [LD_W_ABS, 0, 0, 0], [RET_A, 0, 0, 0]), 39);
  t.is(run([39, 0xc000003e, 0x1000], [LD_W_ABS, 0, 0, 4], [RET_A, 0, 0, 0]), 0xc000003e);
  t.is(run([], [LD_LEN, 0, 0, 0], [RET_A, 0, 0, 0]), 64);
});

test('jumps compare unsigned and count from the next instruction', (t) => {
  const decide = (operation: number, a: number, k: number): number =>
    run([a], [LD_W_ABS, 0, 0, 0], [operation, 1, 0, k], [RET_K, 0, 0, 0], [RET_K, 0, 0, 1]);
  t.is(decide(JEQ, 5, 5), 1);
  t.is(decide(JEQ, 5, 6), 0);
  t.is(decide(JGT, 0x80000000, 0x7fffffff), 1);
  t.is(decide(JGT, 5, 5), 0);
  t.is(decide(JGE, 5, 5), 1);
  t.is(decide(JSET, 0x80000001, 0x80000000), 1);
  t.is(decide(JSET, 1, 2), 0);
  t.is(run([], [JA, 0, 0, 1], [RET_K, 0, 0, 0], [RET_K, 0, 0, 9]), 9);
});

test('memory and the index register keep values, and start at zero in each run', (t) => {
  t.is(run([], [LD_IMM, 0, 0, 7], [ST, 0, 0, 15], [LDX_MEM, 0, 0, 15], [TXA, 0, 0, 0], [RET_A, 0, 0, 0]), 7);
  t.is(run([], [LDX_MEM, 0, 0, 15], [TXA, 0, 0, 0], [RET_A, 0, 0, 0]), 0);
  t.is(run([], [LD_IMM, 0, 0, 3], [TAX, 0, 0, 0], [LD_IMM, 0, 0, 4], [ALU.add | X, 0, 0, 0], [RET_A, 0, 0, 0]), 7);
});

test('what the checker of Linux refuses is refused', (t) => {
  const end: Instruction = [RET_K, 0, 0, 0];
  const refused: Record<string, Instruction[]> = {
    'no return at the end': [[LD_IMM, 0, 0, 1]],
    'a load beyond the call': [[LD_W_ABS, 0, 0, 64], end],
    'a load between words': [[LD_W_ABS, 0, 0, 2], end],
    'a load of a byte': [[0x30, 0, 0, 0], end],
    'a load of a half word': [[0x28, 0, 0, 0], end],
    'an indirect load': [[0x40, 0, 0, 0], end],
    'memory word 16': [[ST, 0, 0, 16], end],
    'a jump over the end': [[JA, 0, 0, 1], end],
    'a far jump': [[JA, 0, 0, 0xffffffff], end],
    'a branch over the end': [[JEQ, 0, 1, 0], end],
    'division by zero': [[ALU.div, 0, 0, 0], end],
    remainder: [[ALU.mod, 0, 0, 3], end],
    'a shift by 32': [[ALU.lsh, 0, 0, 32], end],
    'an unknown code': [[0xffff, 0, 0, 0], end],
  };
  for (const [what, program] of Object.entries(refused)) t.is(create(...program), -EINVAL, what);
});

test('a program may be as long as Linux takes it, and encodes to what was loaded', (t) => {
  const program: Instruction[] = Array.from({ length: BPF_MAXINSNS - 1 }, (_, i): Instruction => [LD_IMM, 0, 0, i]);
  program.push([RET_K, 0, 0, 0x7fff0000]);
  const filter = create(...program);
  if (typeof filter === 'number') return t.fail();
  t.is(filter.length, BPF_MAXINSNS);
  const v = new DataView(new ArrayBuffer(BPF_MAXINSNS * INSTRUCTION_SIZE));
  filter.encode(v);
  t.is(v.getUint32(100 * INSTRUCTION_SIZE + 4, true), 100);
  t.is(v.getUint16((BPF_MAXINSNS - 1) * INSTRUCTION_SIZE, true), RET_K);
});

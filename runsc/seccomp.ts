// linux.seccomp of config.json as a program for the guest's seccomp(2): classic BPF over struct seccomp_data, as
// libseccomp would make it. Calls are found by halving, since a profile names hundreds and each call of the guest runs
// the program:
//
//   architecture -> calls newer than the profile -> halving by number -> the rules of one call, in order -> default

import {
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_TSYNC,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
  SECCOMP_RET_KILL_THREAD,
  SECCOMP_RET_LOG,
  SECCOMP_RET_TRACE,
  SECCOMP_RET_TRAP,
} from '../sentry/abi/sched.ts';
import * as sysno from '../sentry/abi/sysno-x64.ts';
import type { Field } from './field.ts';

export interface Seccomp {
  /** Instructions of eight bytes each, base64. */
  readonly program: string;
  /** SECCOMP_FILTER_FLAG_*, as runc would set them. */
  readonly flags: number;
}

const AUDIT_ARCH_X86_64 = 0xc000003e;
/** Call numbers from here on are x32's. */
const X32_BIT = 0x40000000;
const EPERM = 1;
const ENOSYS = 38;
const U32 = 2 ** 32;
const U64 = 2 ** 64;

const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_THREAD: SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_PROCESS: SECCOMP_RET_KILL_PROCESS,
  SCMP_ACT_TRAP: SECCOMP_RET_TRAP,
  SCMP_ACT_ERRNO: SECCOMP_RET_ERRNO,
  SCMP_ACT_TRACE: SECCOMP_RET_TRACE,
  SCMP_ACT_ALLOW: SECCOMP_RET_ALLOW,
  SCMP_ACT_LOG: SECCOMP_RET_LOG,
};

const OPERATORS = ['SCMP_CMP_NE', 'SCMP_CMP_LT', 'SCMP_CMP_LE', 'SCMP_CMP_EQ', 'SCMP_CMP_GE', 'SCMP_CMP_GT', 'SCMP_CMP_MASKED_EQ'] as const;
type Operator = (typeof OPERATORS)[number];

const FLAGS: Readonly<Record<string, number>> = {
  // All threads of a container's first process: there is one.
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: SECCOMP_FILTER_FLAG_SPEC_ALLOW,
};

const ARCHITECTURES = [
  'X86',
  'X86_64',
  'X32',
  'ARM',
  'AARCH64',
  'MIPS',
  'MIPS64',
  'MIPS64N32',
  'MIPSEL',
  'MIPSEL64',
  'MIPSEL64N32',
  'PPC',
  'PPC64',
  'PPC64LE',
  'S390',
  'S390X',
  'PARISC',
  'PARISC64',
  'RISCV64',
  'LOONGARCH64',
  'M68K',
  'SH',
  'SHEB',
].map((name) => `SCMP_ARCH_${name}`);

/** For `features`. */
export const seccompFeatures = {
  enabled: true,
  actions: Object.keys(ACTIONS).sort(),
  operators: [...OPERATORS].sort(),
  archs: ['SCMP_ARCH_X86_64'],
  knownFlags: Object.keys(FLAGS).sort(),
  supportedFlags: Object.keys(FLAGS).sort(),
};

interface Condition {
  readonly index: number;
  readonly op: Operator;
  readonly value: number;
  readonly valueTwo: number;
}

interface Rule {
  readonly verdict: number;
  readonly conditions: readonly Condition[];
}

/** Checks and compiles; undefined without a field, or with a profile that allows everything. */
export function checkSeccomp(field: Field): Seccomp | undefined {
  if (!field.exists) return undefined;
  const defaultAction = field.get('defaultAction').required();
  const defaultVerdict = verdictOf(defaultAction, field.get('defaultErrnoRet'));
  for (const arch of field.get('architectures').array())
    if (!ARCHITECTURES.includes(arch.string())) arch.fail(`"${arch.string()}" is not the name of an architecture`);
  // An agent is asked about nothing without SCMP_ACT_NOTIFY.
  field.get('listenerPath').optionalString();
  field.get('listenerMetadata').optionalString();
  const flags = flagsOf(field.get('flags'));
  const rules = new Map<number, Rule[]>();
  let newest = -1;
  for (const call of field.get('syscalls').array()) {
    const verdict = verdictOf(call.get('action').required(), call.get('errnoRet'));
    const alternatives = conditionsOf(call.get('args'));
    const names = call.get('names').required().strings();
    if (names.length === 0) call.get('names').fail('must not be empty');
    for (const name of names) {
      const number = (sysno as unknown as Readonly<Record<string, number>>)[`SYS_${name}`];
      // A profile is written for many kernels and architectures: what is no call here cannot be called.
      if (number === undefined) continue;
      newest = Math.max(newest, number);
      let list = rules.get(number);
      if (list === undefined) rules.set(number, (list = []));
      for (const conditions of alternatives) list.push({ verdict, conditions });
    }
  }
  // runc: a call that is newer than all that the profile knows answers ENOSYS, so that programs fall back, unless the
  // profile lets everything pass anyway.
  const permissive = [SECCOMP_RET_ALLOW, SECCOMP_RET_LOG, SECCOMP_RET_TRACE].includes((defaultVerdict & 0xffff0000) >>> 0);
  return { program: compile(rules, defaultVerdict, permissive ? undefined : newest), flags };
}

function verdictOf(action: Field, errnoRet: Field): number {
  const name = action.string();
  if (name === 'SCMP_ACT_NOTIFY') return action.fail('calls of a guest cannot be handed to an agent on the host');
  const known = ACTIONS[name] ?? action.fail(`"${name}" is not a seccomp action`);
  if (known !== SECCOMP_RET_ERRNO && known !== SECCOMP_RET_TRACE) {
    if (errnoRet.exists) errnoRet.fail(`has no meaning beside ${name}`);
    return known;
  }
  return (known | (errnoRet.optionalInteger(0, 0xffff) ?? EPERM)) >>> 0;
}

function flagsOf(field: Field): number {
  // Without the field runc asks for no mitigation of speculation: libcontainer/specconv/spec_linux.go.
  if (!field.exists) return SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  let flags = 0;
  for (const flag of field.array()) {
    const bit = FLAGS[flag.string()];
    if (bit === undefined) flag.fail(`"${flag.string()}" is not supported`);
    else flags |= bit;
  }
  return flags & ~SECCOMP_FILTER_FLAG_TSYNC;
}

/** Alternatives of conditions that must hold together. Two on one argument are alternatives: runc's rule. */
function conditionsOf(field: Field): Condition[][] {
  const all = field.array().map((arg): Condition => {
    const op = arg.get('op').required().string() as Operator;
    if (!OPERATORS.includes(op)) arg.get('op').fail(`"${op}" is not an operator`);
    return {
      index: arg.get('index').integer(0, 5),
      op,
      value: wide(arg.get('value').required()),
      valueTwo: arg.get('valueTwo').exists ? wide(arg.get('valueTwo')) : 0,
    };
  });
  const seen = new Set(all.map((c) => c.index));
  return seen.size < all.length ? all.map((c) => [c]) : [all];
}

/** 64 bits without a sign; JSON has the largest ones rounded up. */
function wide(field: Field): number {
  const { value } = field;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > U64) field.fail('must be a whole number of 64 bits');
  return value as number;
}

const high = (value: number): number => (value >= U64 ? 0xffffffff : Math.floor(value / U32));
const low = (value: number): number => (value >= U64 ? 0xffffffff : value % U32);

// BPF: class | size | mode, class | operation | source.
const LD_W_ABS = 0x20;
const ALU_AND_K = 0x54;
const JA = 0x05;
const JEQ = 0x15;
const JGT = 0x25;
const JGE = 0x35;
const RET = 0x06;

const NR_AT = 0;
const ARCH_AT = 4;
const ARGS_AT = 16;

/** A place in the program, known once it has been reached. */
class Label {
  at = -1;
}

/** Instructions with jumps to labels: conditional ones reach 255 far only, so each goes through two unconditional ones. */
class Program {
  private readonly code: number[] = [];
  private readonly k: number[] = [];
  private readonly jumps: number[] = [];
  private readonly open: { readonly at: number; readonly to: Label }[] = [];

  put(code: number, k: number, jump = 0): void {
    this.code.push(code);
    this.k.push(k);
    this.jumps.push(jump);
  }

  place(label: Label): void {
    label.at = this.code.length;
  }

  goto(to: Label): void {
    this.open.push({ at: this.code.length, to });
    this.put(JA, 0);
  }

  /** Compares the accumulator; undefined goes on behind. */
  branch(code: number, k: number, yes: Label | undefined, no: Label | undefined): void {
    if (yes !== undefined && no !== undefined) {
      this.put(code, k, 0x0100);
      this.goto(yes);
      this.goto(no);
    } else if (yes !== undefined) {
      this.put(code, k, 0x0100);
      this.goto(yes);
    } else if (no !== undefined) {
      this.put(code, k, 0x0001);
      this.goto(no);
    }
  }

  bytes(): Uint8Array {
    for (const { at, to } of this.open) this.k[at] = to.at - at - 1;
    const view = new DataView(new ArrayBuffer(this.code.length * 8));
    for (let i = 0; i < this.code.length; i++) {
      view.setUint16(i * 8, this.code[i]!, true);
      view.setUint8(i * 8 + 2, this.jumps[i]! & 0xff);
      view.setUint8(i * 8 + 3, this.jumps[i]! >> 8);
      view.setUint32(i * 8 + 4, this.k[i]! >>> 0, true);
    }
    return new Uint8Array(view.buffer);
  }
}

/** Calls with one verdict whatever their arguments, by the number they begin with; null is a call with conditions. */
interface Range {
  readonly from: number;
  readonly verdict: number | null;
}

function compile(rules: ReadonlyMap<number, readonly Rule[]>, defaultVerdict: number, newest: number | undefined): string {
  const p = new Program();
  const native = new Label();
  const killed = new Label();
  p.put(LD_W_ABS, ARCH_AT);
  p.branch(JEQ, AUDIT_ARCH_X86_64, native, killed);
  p.place(killed);
  p.put(RET, SECCOMP_RET_KILL_PROCESS);
  p.place(native);
  p.put(LD_W_ABS, NR_AT);
  const newer = new Label();
  const known = new Label();
  if (newest === undefined) p.branch(JGE, X32_BIT, newer, known);
  else p.branch(JGT, newest, newer, known);
  p.place(newer);
  p.put(RET, newest === undefined ? defaultVerdict : (SECCOMP_RET_ERRNO | ENOSYS) >>> 0);
  p.place(known);
  const ranges = rangesOf(rules, defaultVerdict);
  halve(p, ranges, 0, ranges.length - 1, rules, defaultVerdict);
  return Buffer.from(p.bytes()).toString('base64');
}

function rangesOf(rules: ReadonlyMap<number, readonly Rule[]>, defaultVerdict: number): Range[] {
  const ranges: Range[] = [];
  const add = (from: number, verdict: number | null): void => {
    const last = ranges.at(-1);
    if (last !== undefined && last.verdict === verdict && verdict !== null) return;
    ranges.push({ from, verdict });
  };
  let next = 0;
  for (const number of [...rules.keys()].sort((a, b) => a - b)) {
    if (number > next) add(next, defaultVerdict);
    const list = rules.get(number)!;
    const conditional = list.some((rule) => rule.conditions.length > 0);
    add(number, conditional ? null : list[0]!.verdict);
    next = number + 1;
  }
  add(next, defaultVerdict);
  return ranges;
}

function halve(
  p: Program,
  ranges: readonly Range[],
  first: number,
  last: number,
  rules: ReadonlyMap<number, readonly Rule[]>,
  defaultVerdict: number,
): void {
  const range = ranges[first]!;
  if (first === last) {
    if (range.verdict === null) ruleChain(p, rules.get(range.from)!, defaultVerdict);
    else p.put(RET, range.verdict);
    return;
  }
  const middle = first + Math.ceil((last - first) / 2);
  const above = new Label();
  p.branch(JGE, ranges[middle]!.from, above, undefined);
  halve(p, ranges, first, middle - 1, rules, defaultVerdict);
  p.place(above);
  halve(p, ranges, middle, last, rules, defaultVerdict);
}

/** What has conditions is asked first, in its order; a rule without holds for the rest. */
function ruleChain(p: Program, list: readonly Rule[], defaultVerdict: number): void {
  for (const rule of list) {
    if (rule.conditions.length === 0) continue;
    const next = new Label();
    for (const condition of rule.conditions) compare(p, condition, next);
    p.put(RET, rule.verdict);
    p.place(next);
  }
  p.put(RET, list.find((rule) => rule.conditions.length === 0)?.verdict ?? defaultVerdict);
}

/** Goes on behind when the condition holds, else to `no`. The high word decides first. */
function compare(p: Program, c: Condition, no: Label): void {
  const at = ARGS_AT + 8 * c.index;
  const yes = new Label();
  if (c.op === 'SCMP_CMP_MASKED_EQ') {
    p.put(LD_W_ABS, at + 4);
    p.put(ALU_AND_K, high(c.value));
    p.branch(JEQ, high(c.valueTwo), undefined, no);
    p.put(LD_W_ABS, at);
    p.put(ALU_AND_K, low(c.value));
    p.branch(JEQ, low(c.valueTwo), undefined, no);
    return;
  }
  p.put(LD_W_ABS, at + 4);
  const low32 = new Label();
  switch (c.op) {
    case 'SCMP_CMP_EQ':
      p.branch(JEQ, high(c.value), undefined, no);
      p.put(LD_W_ABS, at);
      p.branch(JEQ, low(c.value), undefined, no);
      break;
    case 'SCMP_CMP_NE':
      p.branch(JEQ, high(c.value), undefined, yes);
      p.put(LD_W_ABS, at);
      p.branch(JEQ, low(c.value), no, undefined);
      break;
    case 'SCMP_CMP_GT':
    case 'SCMP_CMP_GE':
      p.branch(JGT, high(c.value), yes, undefined);
      p.branch(JEQ, high(c.value), low32, no);
      p.place(low32);
      p.put(LD_W_ABS, at);
      p.branch(c.op === 'SCMP_CMP_GT' ? JGT : JGE, low(c.value), undefined, no);
      break;
    case 'SCMP_CMP_LT':
    case 'SCMP_CMP_LE':
      p.branch(JGT, high(c.value), no, undefined);
      p.branch(JEQ, high(c.value), low32, yes);
      p.place(low32);
      p.put(LD_W_ABS, at);
      p.branch(c.op === 'SCMP_CMP_LE' ? JGT : JGE, low(c.value), no, undefined);
      break;
  }
  p.place(yes);
}

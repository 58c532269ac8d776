// linux.resources of config.json, or of `update --resources`: checked, in the specification's own units.

import { type Field, MAX_SAFE, MAX_U32, stringMap } from './field.ts';
import { warning } from './messages.ts';

export interface BlockDevice {
  readonly major: number;
  readonly minor: number;
  /** A weight, or bytes or operations a second. */
  readonly value: number;
  readonly leaf?: number;
}

export interface DeviceRule {
  readonly allow: boolean;
  readonly type: 'a' | 'b' | 'c';
  /** undefined is any. */
  readonly major: number | undefined;
  readonly minor: number | undefined;
  /** Of r, w and m. */
  readonly access: string;
}

/** linux.resources, in the specification's own units; undefined is "leave it". */
export interface Resources {
  readonly memory: {
    readonly limit?: number;
    readonly reservation?: number;
    readonly swap?: number;
    readonly swappiness?: number;
    readonly kernelTCP?: number;
    readonly disableOOMKiller?: boolean;
    readonly checkBeforeUpdate?: boolean;
  };
  readonly cpu: {
    readonly shares?: number;
    readonly quota?: number;
    readonly period?: number;
    readonly burst?: number;
    readonly idle?: number;
    readonly realtimeRuntime?: number;
    readonly realtimePeriod?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
  readonly pids: { readonly limit?: number };
  readonly blockIO: {
    readonly weight?: number;
    readonly leafWeight?: number;
    readonly weightDevice: readonly BlockDevice[];
    readonly readBps: readonly BlockDevice[];
    readonly writeBps: readonly BlockDevice[];
    readonly readIops: readonly BlockDevice[];
    readonly writeIops: readonly BlockDevice[];
  };
  readonly hugepages: readonly { readonly size: string; readonly limit: number }[];
  readonly network: { readonly classID?: number; readonly priorities: readonly { readonly name: string; readonly priority: number }[] };
  readonly rdma: readonly { readonly device: string; readonly hcaHandles: number | undefined; readonly hcaObjects: number | undefined }[];
  readonly devices: readonly DeviceRule[];
  /** cgroup v2 files as they are. */
  readonly unified: Readonly<Record<string, string>>;
}

/** linux.resources, of config.json or of `update --resources`. */
export function checkResources(field: Field): Resources {
  const get = (name: string): Field => field.get(name);
  const integer = (of: Field, name: string): number | undefined => of.get(name).optionalInteger(-MAX_SAFE, MAX_SAFE);
  const memory = get('memory');
  const cpu = get('cpu');
  const io = get('blockIO');
  const network = get('network');
  return {
    memory: {
      limit: integer(memory, 'limit'),
      reservation: integer(memory, 'reservation'),
      swap: integer(memory, 'swap'),
      swappiness: memory.get('swappiness').exists ? wideInteger(memory.get('swappiness')) : undefined,
      kernelTCP: integer(memory, 'kernelTCP'),
      disableOOMKiller: memory.get('disableOOMKiller').exists ? memory.get('disableOOMKiller').boolean() : undefined,
      checkBeforeUpdate: memory.get('checkBeforeUpdate').exists ? memory.get('checkBeforeUpdate').boolean() : undefined,
    },
    cpu: {
      shares: integer(cpu, 'shares'),
      quota: integer(cpu, 'quota'),
      period: integer(cpu, 'period'),
      burst: integer(cpu, 'burst'),
      idle: integer(cpu, 'idle'),
      realtimeRuntime: integer(cpu, 'realtimeRuntime'),
      realtimePeriod: integer(cpu, 'realtimePeriod'),
      cpus: cpu.get('cpus').optionalString(),
      mems: cpu.get('mems').optionalString(),
    },
    pids: { limit: integer(get('pids'), 'limit') },
    blockIO: {
      weight: integer(io, 'weight'),
      leafWeight: integer(io, 'leafWeight'),
      weightDevice: io
        .get('weightDevice')
        .array()
        .map((d) => ({ ...blockDevice(d), value: integer(d, 'weight') ?? 0, leaf: integer(d, 'leafWeight') })),
      readBps: throttled(io.get('throttleReadBpsDevice')),
      writeBps: throttled(io.get('throttleWriteBpsDevice')),
      readIops: throttled(io.get('throttleReadIOPSDevice')),
      writeIops: throttled(io.get('throttleWriteIOPSDevice')),
    },
    hugepages: get('hugepageLimits')
      .array()
      .map((page) => ({
        size: pageSize(page.get(page.get('pageSize').exists ? 'pageSize' : 'pagesize')),
        limit: wideInteger(page.get('limit').required()),
      })),
    network: {
      classID: network.get('classID').optionalInteger(0, MAX_U32),
      priorities: network
        .get('priorities')
        .array()
        .map((p) => ({ name: p.get('name').string(), priority: p.get('priority').integer(0, MAX_U32) })),
    },
    rdma: get('rdma')
      .entries()
      .map(([device, entry]) => ({
        device,
        hcaHandles: entry.get('hcaHandles').optionalInteger(0, MAX_U32),
        hcaObjects: entry.get('hcaObjects').optionalInteger(0, MAX_U32),
      })),
    devices: get('devices').array().map(checkDeviceRule),
    unified: checkUnified(get('unified')),
  };
}

/** uint64 in the specification: what JSON has rounded up to 2^64 is the largest there is. */
function wideInteger(field: Field): number {
  const { value } = field;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < -1) return field.fail('must be a whole number');
  return value;
}

function blockDevice(d: Field): { major: number; minor: number } {
  return { major: d.get('major').integer(0, MAX_U32), minor: d.get('minor').integer(0, MAX_U32) };
}

function throttled(field: Field): BlockDevice[] {
  return field.array().map((d) => ({ ...blockDevice(d), value: wideInteger(d.get('rate').required()) }));
}

function pageSize(field: Field): string {
  const text = field.string();
  if (!/^[1-9][0-9]*[KMGTPE]B$/.test(text)) field.fail('must be a size such as 2MB');
  return text;
}

function checkDeviceRule(rule: Field): DeviceRule {
  const type = rule.get('type').optionalString() ?? 'a';
  if (type !== 'a' && type !== 'b' && type !== 'c') return rule.get('type').fail('must be one of a, b, c');
  const access = rule.get('access').optionalString() ?? 'rwm';
  // runc's way with other letters.
  if (!/^[rwm]*$/.test(access)) warning(`ignoring what is not of r, w and m in "${access}" (${rule.get('access').path})`);
  const number = (name: string): number | undefined => {
    const n = rule.get(name).optionalInteger(-1, MAX_U32);
    return n === -1 ? undefined : n;
  };
  return {
    allow: rule.get('allow').boolean(),
    type,
    major: number('major'),
    minor: number('minor'),
    access: access.replace(/[^rwm]/g, ''),
  };
}

function checkUnified(field: Field): Record<string, string> {
  const map = stringMap(field);
  for (const file of Object.keys(map))
    if (file.includes('/') || !file.includes('.')) field.get(file).fail('is not the name of a cgroup file');
  return map;
}

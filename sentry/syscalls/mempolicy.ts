// numa(7): mm/mempolicy.c, mm/migrate.c, for a machine with the one node 0. Policies are checked and
// remembered; there is nowhere else for memory to be.

import { E2BIG, EFAULT, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, EPERM, ESRCH } from '../abi/errno.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { CAP_SYS_NICE } from '../abi/sched.ts';
import {
  SYS_get_mempolicy,
  SYS_mbind,
  SYS_migrate_pages,
  SYS_move_pages,
  SYS_set_mempolicy,
  SYS_set_mempolicy_home_node,
} from '../abi/sysno-x64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const MPOL_DEFAULT = 0;
const MPOL_PREFERRED = 1;
const MPOL_BIND = 2;
const MPOL_INTERLEAVE = 3;
const MPOL_LOCAL = 4;
const MPOL_PREFERRED_MANY = 5;
const MPOL_WEIGHTED_INTERLEAVE = 6;
const MPOL_MAX = 7;
const F_NUMA_BALANCING = 1 << 13;
const F_RELATIVE_NODES = 1 << 14;
const F_STATIC_NODES = 1 << 15;
const MODE_FLAGS = F_NUMA_BALANCING | F_RELATIVE_NODES | F_STATIC_NODES;

const MPOL_F_NODE = 1;
const MPOL_F_ADDR = 2;
const MPOL_F_MEMS_ALLOWED = 4;

const MPOL_MF_STRICT = 1;
const MPOL_MF_MOVE = 2;
const MPOL_MF_MOVE_ALL = 4;

/** A longer mask is refused: get_nodes(). */
const MAX_NODE_BITS = PAGE_SIZE * 8;
/** MAX_NUMNODES of a distribution's kernel: bits from there on must be clear. */
const NODE_BITS = 1024;

/** The nodes named by a mask: 0 for none, 1 for node 0; -errno for what does not exist. */
function readNodes(t: Task, maskAddr: number, maxNode: number): number {
  const bits = maxNode - 1;
  if (bits === 0 || maskAddr === 0) return 0;
  if (bits < 0 || bits > MAX_NODE_BITS) return -EINVAL;
  const bytes = Math.ceil(bits / 64) * 8;
  if (t.mm.copyIn(maskAddr, scratch.u8, 0, bytes) < 0) return -EFAULT;
  let nodes = 0;
  for (let bit = 0; bit < bits; bit++) {
    if ((scratch.u8[bit >> 3]! & (1 << (bit & 7))) === 0) continue;
    if (bit >= NODE_BITS) return -EINVAL;
    // Nodes that are not there are left out; naming only such is refused by checkPolicy().
    if (bit === 0) nodes |= 1;
    else nodes |= 2;
  }
  return nodes;
}

/** sanitize_mpol_flags(), mpol_new() and mpol_set_nodemask(): 0 or -EINVAL. nodes: bit 0 is node 0, bit 1 stands for others. */
function checkPolicy(modeWord: number, nodes: number): number {
  const flags = modeWord & MODE_FLAGS;
  const mode = modeWord & ~MODE_FLAGS;
  if (mode < 0 || mode >= MPOL_MAX) return -EINVAL;
  if ((flags & F_STATIC_NODES) !== 0 && (flags & F_RELATIVE_NODES) !== 0) return -EINVAL;
  if ((flags & F_NUMA_BALANCING) !== 0 && mode !== MPOL_BIND && mode !== MPOL_PREFERRED_MANY) return -EINVAL;
  switch (mode) {
    case MPOL_DEFAULT:
      return nodes === 0 ? 0 : -EINVAL;
    case MPOL_PREFERRED:
      if (nodes === 0) return (flags & (F_STATIC_NODES | F_RELATIVE_NODES)) === 0 ? 0 : -EINVAL;
      break;
    case MPOL_LOCAL:
      return nodes === 0 && (flags & (F_STATIC_NODES | F_RELATIVE_NODES)) === 0 ? 0 : -EINVAL;
    case MPOL_INTERLEAVE:
    case MPOL_WEIGHTED_INTERLEAVE:
    default:
      if (nodes === 0) return -EINVAL;
  }
  return (nodes & 1) !== 0 || (flags & F_RELATIVE_NODES) !== 0 ? 0 : -EINVAL;
}

/** set_mempolicy(2). */
export function set_mempolicy(t: Task, a: SyscallArgs): number {
  const mode = a.int(0);
  const nodes = readNodes(t, a.addr(1), a.addr(2));
  if (nodes < 0) return nodes;
  const error = checkPolicy(mode, nodes);
  if (error < 0) return error;
  const local = (mode & ~MODE_FLAGS) === MPOL_PREFERRED && nodes === 0;
  t.sched.memoryPolicy = local ? MPOL_LOCAL : mode;
  t.sched.memoryNodes = nodes & 1;
  return 0;
}

/** copy_nodes_to_user(): the mask as long as the caller has said. */
function writeNodes(t: Task, maskAddr: number, maxNode: number, nodes: number): number {
  const bytes = Math.ceil((maxNode - 1) / 64) * 8;
  if (bytes > PAGE_SIZE) return -EINVAL;
  scratch.u8.fill(0, 0, Math.max(bytes, 8));
  scratch.u8[0] = nodes;
  return t.mm.copyOut(maskAddr, scratch.u8, 0, bytes);
}

/** get_mempolicy(2). */
export function get_mempolicy(t: Task, a: SyscallArgs): number {
  const policyAddr = a.addr(0);
  const maskAddr = a.addr(1);
  const maxNode = a.addr(2);
  const addr = a.addr(3);
  const flags = a.addr(4);
  if (maskAddr !== 0 && maxNode < 1) return -EINVAL;
  if (flags > 7) return -EINVAL;
  let policy: number = t.sched.memoryPolicy;
  let nodes: number = t.sched.memoryNodes;
  if ((flags & MPOL_F_MEMS_ALLOWED) !== 0) {
    if ((flags & (MPOL_F_NODE | MPOL_F_ADDR)) !== 0) return -EINVAL;
    policy = 0;
    nodes = 1;
  } else if ((flags & MPOL_F_ADDR) !== 0) {
    if (t.mm.vmas.find(addr) === undefined) return -EFAULT;
    // The range's own policy, not what the task's would add: do_get_mempolicy().
    const own = ranges.get(t.mm)?.findLast((range) => range.start <= addr && addr < range.end);
    policy = (flags & MPOL_F_NODE) !== 0 || own === undefined ? 0 : own.mode;
    nodes = own === undefined ? 0 : own.nodes;
  } else {
    if (addr !== 0) return -EINVAL;
    if ((flags & MPOL_F_NODE) !== 0) {
      const mode = policy & ~MODE_FLAGS;
      if (mode !== MPOL_INTERLEAVE && mode !== MPOL_WEIGHTED_INTERLEAVE) return -EINVAL;
      policy = 0;
    }
  }
  if (policyAddr !== 0 && t.mm.storeU32(policyAddr, policy) < 0) return -EFAULT;
  return maskAddr === 0 ? 0 : writeNodes(t, maskAddr, maxNode, nodes);
}

/** What mbind(2) has said of ranges of an address space, the latest last. */
interface RangePolicy {
  readonly start: number;
  readonly end: number;
  readonly mode: number;
  readonly nodes: number;
}

const ranges = new WeakMap<MemoryManager, RangePolicy[]>();

/** mbind(2). */
export function mbind(t: Task, a: SyscallArgs): number {
  const start = a.addr(0);
  const mode = a.int(2);
  const flags = a.uint(5);
  if ((flags & ~(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) !== 0) return -EINVAL;
  if ((flags & MPOL_MF_MOVE_ALL) !== 0 && !t.creds.capable(CAP_SYS_NICE)) return -EPERM;
  const nodes = readNodes(t, a.addr(3), a.addr(4));
  if (nodes < 0) return nodes;
  if (start % PAGE_SIZE !== 0) return -EINVAL;
  const length = Math.ceil(a.addr(1) / PAGE_SIZE) * PAGE_SIZE;
  if (start + length > 2 ** 47) return -EINVAL;
  if (length === 0) return 0;
  const error = checkPolicy(mode, nodes);
  if (error < 0) return error;
  const end = start + length;
  if (!t.mm.vmas.covers(start, end)) return -EFAULT;
  const others = (ranges.get(t.mm) ?? []).filter((range) => range.start < start || range.end > end);
  others.push({ start, end, mode, nodes: nodes & 1 });
  ranges.set(t.mm, others);
  return 0;
}

/** set_mempolicy_home_node(2): checked alone, since there is one node. */
export function set_mempolicy_home_node(t: Task, a: SyscallArgs): number {
  const start = a.addr(0);
  if (start % PAGE_SIZE !== 0 || a.addr(3) !== 0 || a.addr(2) !== 0) return -EINVAL;
  const length = Math.ceil(a.addr(1) / PAGE_SIZE) * PAGE_SIZE;
  if (start + length >= 2 ** 64) return -EINVAL;
  if (length === 0) return 0;
  let result = -ENOENT;
  for (const range of ranges.get(t.mm) ?? []) {
    if (range.start >= start + length || range.end <= start || range.mode === MPOL_DEFAULT) continue;
    const mode = range.mode & ~MODE_FLAGS;
    if (mode !== MPOL_BIND && mode !== MPOL_PREFERRED_MANY) return -EOPNOTSUPP;
    result = 0;
  }
  return result;
}

function findTarget(t: Task, pid: number): Task | number {
  const target = pid === 0 ? t : t.pidns.task(pid);
  if (target === undefined) return -ESRCH;
  const mine = t.creds;
  const theirs = target.creds;
  const same = mine.euid === theirs.suid || mine.euid === theirs.uid || mine.uid === theirs.suid || mine.uid === theirs.uid;
  return same || mine.capable(CAP_SYS_NICE) ? target : -EPERM;
}

/** migrate_pages(2): 0 pages could not be moved. */
export function migrate_pages(t: Task, a: SyscallArgs): number {
  const from = readNodes(t, a.addr(2), a.addr(1));
  if (from < 0) return from;
  const to = readNodes(t, a.addr(3), a.addr(1));
  if (to < 0) return to;
  const target = findTarget(t, a.int(0));
  if (typeof target === 'number') return target;
  return (to & 1) === 0 ? -EINVAL : 0;
}

/** move_pages(2): every page that is mapped is on node 0. */
export function move_pages(t: Task, a: SyscallArgs): number {
  const count = a.addr(1);
  const flags = a.uint(5);
  if ((flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) !== 0) return -EINVAL;
  if ((flags & MPOL_MF_MOVE_ALL) !== 0 && !t.creds.capable(CAP_SYS_NICE)) return -EPERM;
  const target = findTarget(t, a.int(0));
  if (typeof target === 'number') return target;
  if (count > 2 ** 31) return -E2BIG;
  for (let i = 0; i < count; i++) {
    const page = t.mm.loadU64(a.addr(2) + i * 8);
    if (page < 0) return -EFAULT;
    let status = target.mm.vmas.find(page) === undefined ? -EFAULT : 0;
    if (a.addr(3) !== 0) {
      const node = t.mm.loadU32(a.addr(3) + i * 4);
      if (node < 0) return -EFAULT;
      if (node !== 0) return -ENODEV;
    } else if (status < 0) {
      status = -ENOENT;
    }
    if (t.mm.storeU32(a.addr(4) + i * 4, status) < 0) return -EFAULT;
  }
  return 0;
}

const ONE_NODE = 'one node; the policy is remembered';

export const mempolicyCalls: readonly SyscallLine[] = [
  call(
    SYS_mbind,
    'mbind',
    'addr:addr len:size mode:int nodemask:addr maxnode:size flags:uint',
    mbind,
    'partial',
    'one node; the policy is remembered until the address space ends',
  ),
  call(SYS_set_mempolicy, 'set_mempolicy', 'mode:int nodemask:addr maxnode:size', set_mempolicy, 'partial', ONE_NODE),
  call(
    SYS_get_mempolicy,
    'get_mempolicy',
    'policy:addr nodemask:addr maxnode:size addr:addr flags:long',
    get_mempolicy,
    'partial',
    ONE_NODE,
  ),
  call(
    SYS_set_mempolicy_home_node,
    'set_mempolicy_home_node',
    'addr:addr len:size node:ulong flags:ulong',
    set_mempolicy_home_node,
    'partial',
    'one node',
  ),
  call(SYS_migrate_pages, 'migrate_pages', 'pid:pid maxnode:size old:addr new:addr', migrate_pages, 'partial', 'one node'),
  call(SYS_move_pages, 'move_pages', 'pid:pid count:size pages:addr nodes:addr status:addr flags:int', move_pages, 'partial', 'one node'),
];

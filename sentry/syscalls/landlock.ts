// landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2): security/landlock/syscalls.c.
// What the rules mean is in vfs/landlock.ts.

import { E2BIG, EBADF, EBADFD, EFAULT, EINVAL, ENOMSG, EPERM } from '../abi/errno.ts';
import {
  LANDLOCK_CREATE_RULESET_ERRATA,
  LANDLOCK_CREATE_RULESET_VERSION,
  LANDLOCK_MASK_ACCESS_FS,
  LANDLOCK_MASK_ACCESS_NET,
  LANDLOCK_MASK_SCOPE,
  LANDLOCK_MAX_NUM_LAYERS,
  LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON,
  LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF,
  LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF,
  LANDLOCK_RULE_NET_PORT,
  LANDLOCK_RULE_PATH_BENEATH,
} from '../abi/landlock.ts';
import { layout, u64 } from '../abi/layout.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { CAP_SYS_ADMIN } from '../abi/sched.ts';
import { SYS_landlock_add_rule, SYS_landlock_create_ruleset, SYS_landlock_restrict_self } from '../abi/sysno-x64.ts';
import { assert } from '../base/assert.ts';
import { getU64 } from '../base/int64.ts';
import { RulesetFile } from '../fs/landlock-file.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { ACCESS_FILE, Domain, Rules } from '../vfs/landlock.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** That of Linux 6.15 to 6.18. */
const ABI_VERSION = 7;
/** Errata of which we are free: TCP sockets told from others (1), scoped signals among threads (2), renames of disconnected directories (3). */
const ERRATA = 0b111;

// struct landlock_ruleset_attr.
const RULESET = layout({ handledFs: u64, handledNet: u64, scoped: u64 });
assert(RULESET.size === 24);
/** The part that ABI 1 has. */
const RULESET_MIN = 8;
// struct landlock_path_beneath_attr is packed: { u64 allowed_access; s32 parent_fd }.
const PATH_BENEATH_SIZE = 12;
// struct landlock_net_port_attr: { u64 allowed_access; u64 port }.
const NET_PORT_SIZE = 16;

/** A bit set of 64 bits that is within `mask`, or -EINVAL. */
function bits(at: number, mask: number): number {
  const value = getU64(scratch.view, at);
  return value > mask || (value & ~mask) !== 0 ? -EINVAL : value;
}

/** landlock_create_ruleset(2). */
export function landlockCreateRuleset(t: Task, a: SyscallArgs): number {
  const size = a.addr(1);
  const flags = a.uint(2);
  if (flags !== 0) {
    if (a.addr(0) !== 0 || size !== 0) return -EINVAL;
    if (flags === LANDLOCK_CREATE_RULESET_VERSION) return ABI_VERSION;
    return flags === LANDLOCK_CREATE_RULESET_ERRATA ? ERRATA : -EINVAL;
  }
  if (a.addr(0) === 0) return -EFAULT;
  if (size < RULESET_MIN) return -EINVAL;
  if (size > PAGE_SIZE) return -E2BIG;
  scratch.u8.fill(0, 0, RULESET.size);
  if (t.mm.copyIn(a.addr(0), scratch.u8, 0, size) < 0) return -EFAULT;
  for (let i = RULESET.size; i < size; i++) if (scratch.u8[i] !== 0) return -E2BIG;
  const handledFs = bits(RULESET.handledFs, LANDLOCK_MASK_ACCESS_FS);
  const handledNet = bits(RULESET.handledNet, LANDLOCK_MASK_ACCESS_NET);
  const scoped = bits(RULESET.scoped, LANDLOCK_MASK_SCOPE);
  if (handledFs < 0 || handledNet < 0 || scoped < 0) return -EINVAL;
  if (handledFs === 0 && handledNet === 0 && scoped === 0) return -ENOMSG;
  const file = new RulesetFile(new Rules(handledFs, handledNet, scoped));
  const fd = t.fds.add(file, true, t.fdLimit);
  if (fd < 0) file.decRef(t);
  return fd;
}

/** landlock_add_rule(2). */
export function landlockAddRule(t: Task, a: SyscallArgs): number {
  if (a.uint(3) !== 0) return -EINVAL;
  const file = t.fds.get(a.int(0));
  if (file === undefined) return -EBADF;
  if (!(file instanceof RulesetFile)) return -EBADFD;
  switch (a.int(1)) {
    case LANDLOCK_RULE_PATH_BENEATH:
      return addPath(t, file.rules, a.addr(2));
    case LANDLOCK_RULE_NET_PORT:
      return addPort(t, file.rules, a.addr(2));
    default:
      return -EINVAL;
  }
}

function addPath(t: Task, rules: Rules, addr: number): number {
  if (t.mm.copyIn(addr, scratch.u8, 0, PATH_BENEATH_SIZE) < 0) return -EFAULT;
  const access = bits(0, rules.handledFs);
  // "Informs about useless rule: empty allowed_access (i.e. deny rules) are ignored in path walks."
  if (access === 0) return -ENOMSG;
  if (access < 0) return -EINVAL;
  const file = t.fds.get(scratch.view.getInt32(8, true));
  if (file === undefined) return -EBADF;
  const { path } = file;
  if (path === undefined || path.mount.internal) return -EBADFD;
  const inode = file.inode();
  if (!inode.isDir() && (access & ~ACCESS_FILE) !== 0) return -EINVAL;
  rules.allowBeneath(inode, access);
  return 0;
}

function addPort(t: Task, rules: Rules, addr: number): number {
  if (t.mm.copyIn(addr, scratch.u8, 0, NET_PORT_SIZE) < 0) return -EFAULT;
  const access = bits(0, rules.handledNet);
  if (access === 0) return -ENOMSG;
  const port = getU64(scratch.view, 8);
  if (access < 0 || port > 0xffff) return -EINVAL;
  rules.allowPort(port, access);
  return 0;
}

const RESTRICT_FLAGS =
  LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF | LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON | LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF;

/** landlock_restrict_self(2). The flags tell an audit log, which we have none of, what to leave out. */
export function landlockRestrictSelf(t: Task, a: SyscallArgs): number {
  if (!t.creds.noNewPrivs && !t.creds.capable(CAP_SYS_ADMIN)) return -EPERM;
  const flags = a.uint(1);
  if ((flags & ~RESTRICT_FLAGS) !== 0) return -EINVAL;
  const fd = a.int(0);
  if (fd === -1 && flags === LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF) return 0;
  const file = t.fds.get(fd);
  if (file === undefined) return -EBADF;
  if (!(file instanceof RulesetFile)) return -EBADFD;
  const parent = t.landlock;
  if (parent !== null && parent.depth >= LANDLOCK_MAX_NUM_LAYERS) return -E2BIG;
  t.landlock = new Domain(parent, file.rules.copy());
  parent?.decRef();
  return 0;
}

export const landlockCalls: readonly SyscallLine[] = [
  call(SYS_landlock_create_ruleset, 'landlock_create_ruleset', 'attr:buf:1 size:size flags:flags', landlockCreateRuleset),
  call(SYS_landlock_add_rule, 'landlock_add_rule', 'ruleset_fd:fd rule_type:int rule_attr:addr flags:flags', landlockAddRule),
  call(SYS_landlock_restrict_self, 'landlock_restrict_self', 'ruleset_fd:fd flags:flags', landlockRestrictSelf),
];

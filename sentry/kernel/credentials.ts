// Who a task is: struct cred. Immutable once a task or an open file holds it; a change makes a
// copy (prepare_creds) and installs it. Capability sets are two 32-bit words, bit n is capability n.

import { CAP_LAST_CAP } from '../abi/sched.ts';
import type { MountIdmap } from '../vfs/mount-idmap.ts';
import type { Key } from './keys.ts';
import type { UserNamespace } from './user-namespace.ts';

/** A capability set: 41 bits in two words. */
export interface CapSet {
  lo: number;
  hi: number;
}

const ALL_HI = 2 ** (CAP_LAST_CAP - 31) - 1;

export function fullCaps(): CapSet {
  return { lo: -1, hi: ALL_HI };
}

export function noCaps(): CapSet {
  return { lo: 0, hi: 0 };
}

export function hasCap(set: CapSet, cap: number): boolean {
  return cap < 32 ? (set.lo & (1 << cap)) !== 0 : (set.hi & (1 << (cap - 32))) !== 0;
}

/** Whether every capability of `a` is in `b`. */
export function capsSubset(a: CapSet, b: CapSet): boolean {
  return (a.lo & ~b.lo) === 0 && (a.hi & ~b.hi) === 0;
}

export class Credentials {
  uid = 0;
  gid = 0;
  euid = 0;
  egid = 0;
  suid = 0;
  sgid = 0;
  fsuid = 0;
  fsgid = 0;
  /** Supplementary groups, sorted. */
  groups: readonly number[] = [];
  permitted: CapSet = noCaps();
  effective: CapSet = noCaps();
  inheritable: CapSet = noCaps();
  bounding: CapSet = fullCaps();
  ambient: CapSet = noCaps();
  securebits = 0;
  noNewPrivs = false;
  /** keyctl(2): the session keyring; null until one is joined. */
  sessionKeyring: Key | null = null;
  /** Of credentials that vfs/mount-idmap.ts has made: the file-system ids are those of files below such a mount. */
  idmap: MountIdmap | null = null;
  readonly userns: UserNamespace;

  constructor(userns: UserNamespace) {
    this.userns = userns;
  }

  /** A copy to change and install. */
  clone(userns: UserNamespace = this.userns): Credentials {
    const c = new Credentials(userns);
    c.uid = this.uid;
    c.gid = this.gid;
    c.euid = this.euid;
    c.egid = this.egid;
    c.suid = this.suid;
    c.sgid = this.sgid;
    c.fsuid = this.fsuid;
    c.fsgid = this.fsgid;
    c.groups = this.groups;
    c.permitted = { lo: this.permitted.lo, hi: this.permitted.hi };
    c.effective = { lo: this.effective.lo, hi: this.effective.hi };
    c.inheritable = { lo: this.inheritable.lo, hi: this.inheritable.hi };
    c.bounding = { lo: this.bounding.lo, hi: this.bounding.hi };
    c.ambient = { lo: this.ambient.lo, hi: this.ambient.hi };
    c.securebits = this.securebits;
    c.noNewPrivs = this.noNewPrivs;
    c.sessionKeyring = this.sessionKeyring;
    return c;
  }

  /** capable(): effective over what belongs to the machine as a whole, in the initial user namespace. */
  capable(cap: number): boolean {
    return this.userns.parent === null && hasCap(this.effective, cap);
  }

  /** ns_capable(current_user_ns()): effective in the task's own user namespace, whichever that is. */
  capableHere(cap: number): boolean {
    return hasCap(this.effective, cap);
  }

  /** ns_capable(): effective in `target`, security/commoncap.c:cap_capable(). */
  capableIn(target: UserNamespace, cap: number): boolean {
    for (let ns: UserNamespace | null = target; ns !== null; ns = ns.parent) {
      if (ns === this.userns) return hasCap(this.effective, cap);
      // The creator of a namespace, in its parent, has all capabilities over it.
      if (ns.parent === this.userns && ns.owner === this.euid) return true;
    }
    return false;
  }

  inGroup(gid: number): boolean {
    return this.fsgid === gid || this.groups.includes(gid);
  }

  /** Root with every capability. */
  static root(userns: UserNamespace): Credentials {
    const c = new Credentials(userns);
    c.permitted = fullCaps();
    c.effective = fullCaps();
    return c;
  }
}

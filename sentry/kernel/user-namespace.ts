// struct user_namespace. Ids everywhere in the Sentry are those of the root namespace (kuid_t);
// mapping happens where a number crosses to or from the guest.

import { type Namespace, nextNamespaceIno } from './namespace.ts';

/** One line of uid_map: `count` ids from `inside` on stand for `outside` on, in the parent. */
export interface IdRange {
  inside: number;
  outside: number;
  count: number;
}

/** What an id without a mapping is shown as: /proc/sys/kernel/overflowuid. */
export const OVERFLOW_ID = 65534;
const INT_MAX = 2147483647;

export class UserNamespace implements Namespace {
  readonly kind = 'user';
  readonly ino: number = nextNamespaceIno();
  readonly parent: UserNamespace | null;
  /** Euid of the creator, as a root-namespace id. */
  readonly owner: number;
  readonly ownerGid: number;
  readonly level: number;
  /** null until uid_map has been written; the root namespace maps everything to itself. */
  uidMap: readonly IdRange[] | null = null;
  gidMap: readonly IdRange[] | null = null;
  setgroupsAllowed = true;
  /** /proc/sys/user/max_KIND_namespaces as far as they have been written. */
  readonly maxNamespaces: Map<string, number> = new Map();
  /**
   * Of the root namespace: what its ids are on the host, where the container has a user namespace there. Ids without
   * an entry do not exist; nothing is translated, since the gofer's namespace does that. null: all ids, as they are.
   */
  hostUids: readonly IdRange[] | null = null;
  hostGids: readonly IdRange[] | null = null;
  /** That namespace is also that of who started the sandbox, and looks at it from outside. */
  isCallers = false;

  constructor(parent: UserNamespace | null, owner: number, ownerGid: number) {
    this.parent = parent;
    this.owner = owner;
    this.ownerGid = ownerGid;
    this.level = parent === null ? 0 : parent.level + 1;
    this.setgroupsAllowed = parent === null || parent.setgroupsAllowed;
  }

  /** The highest number of namespaces of a kind; `first` is that of the root namespace while nothing is written. A new one begins with the highest. */
  namespaceLimit(kind: string, first: number): number {
    return this.maxNamespaces.get(kind) ?? (this.parent === null ? first : INT_MAX);
  }

  get userns(): UserNamespace | null {
    return this.parent;
  }

  /** make_kuid(): the root-namespace id for `id` in this namespace, or -1. */
  uidToKernel(id: number): number {
    return toKernel(this, id, true);
  }

  gidToKernel(id: number): number {
    return toKernel(this, id, false);
  }

  /** from_kuid_munged(): the id shown in this namespace, OVERFLOW_ID when it has none. */
  uidFromKernel(id: number): number {
    const shown = fromKernel(this, id, true);
    return shown < 0 ? OVERFLOW_ID : shown;
  }

  gidFromKernel(id: number): number {
    const shown = fromKernel(this, id, false);
    return shown < 0 ? OVERFLOW_ID : shown;
  }

  /** Whether the id has a mapping here: kuid_has_mapping(). */
  hasUid(id: number): boolean {
    return fromKernel(this, id, true) >= 0;
  }

  /** Of the root namespace: what the host calls an id of ours; -1 for one that does not exist there. */
  onHost(id: number, isUid: boolean): number {
    const map = isUid ? this.hostUids : this.hostGids;
    return map === null ? id : mapped(map, id, false);
  }

  hasGid(id: number): boolean {
    return fromKernel(this, id, false) >= 0;
  }
}

function toKernel(ns: UserNamespace, id: number, isUid: boolean): number {
  // INVALID_UID stands for "none" everywhere.
  if (id === 0xffffffff) return -1;
  let at: UserNamespace = ns;
  for (; at.parent !== null; at = at.parent) {
    id = mapped(isUid ? at.uidMap : at.gidMap, id, false);
    if (id < 0) return -1;
  }
  const onHost = isUid ? at.hostUids : at.hostGids;
  return onHost !== null && mapped(onHost, id, false) < 0 ? -1 : id;
}

function fromKernel(ns: UserNamespace, id: number, isUid: boolean): number {
  if (ns.parent === null) return id;
  const above = fromKernel(ns.parent, id, isUid);
  return above < 0 ? -1 : mapped(isUid ? ns.uidMap : ns.gidMap, above, true);
}

function mapped(map: readonly IdRange[] | null, id: number, inward: boolean): number {
  if (map === null) return -1;
  for (const range of map) {
    const from = inward ? range.outside : range.inside;
    if (id >= from && id < from + range.count) return (inward ? range.inside : range.outside) + (id - from);
  }
  return -1;
}

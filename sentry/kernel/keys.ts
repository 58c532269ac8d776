// keyrings(7): security/keys. Keys are found by serial, by walking the caller's own keyrings, or,
// for keyrings to join, by name. Possession (being reachable from one's own keyrings) grants the
// first byte of the permission mask beside what owner, group and others get.

import { EACCES, EDQUOT, EINVAL, EKEYEXPIRED, EKEYREVOKED, ENOKEY } from '../abi/errno.ts';
import type { Credentials } from './credentials.ts';
import type { Kernel } from './kernel.ts';
import type { Task } from './task.ts';
import type { ThreadGroup } from './thread-group.ts';

// What an operation needs: KEY_NEED_*, the same bits in each byte of the mask.
export const NEED_NOTHING = 0;
export const NEED_VIEW = 1;
export const NEED_READ = 2;
export const NEED_WRITE = 4;
export const NEED_SEARCH = 8;
export const NEED_LINK = 16;
export const NEED_SETATTR = 32;
const ALL = 0x3f;

const POSSESSOR = 24;
const OWNER = 16;
const GROUP = 8;

const POSSESSOR_ALL = ALL << POSSESSOR;
const OWNER_READS = (NEED_VIEW | NEED_READ) << OWNER;

// Special ids: include/uapi/linux/keyctl.h.
const SPEC_THREAD = -1;
const SPEC_PROCESS = -2;
const SPEC_SESSION = -3;
const SPEC_USER = -4;
const SPEC_USER_SESSION = -5;
const SPEC_REQKEY_AUTH = -7;
const SPEC_REQUESTOR = -8;

/** /proc/sys/kernel/keys/persistent_keyring_expiry: three days. */
const PERSISTENT_EXPIRY_SEC = 3 * 24 * 3600;
/** Nesting that a search follows: KEYRING_SEARCH_MAX_DEPTH. */
const MAX_DEPTH = 6;

export class Key {
  readonly serial: number;
  /** "user", "logon", "keyring", "big_key". */
  readonly type: string;
  readonly description: string;
  uid: number;
  gid: number;
  perm: number;
  payload: Uint8Array = new Uint8Array(0);
  /** Of a keyring. */
  readonly links: Key[] = [];
  /** KEYCTL_RESTRICT_KEYRING: it takes no more links. */
  restricted = false;
  revoked = false;
  /** Wall time in seconds; 0 for never. */
  expirySec = 0;

  constructor(serial: number, type: string, description: string, creds: Credentials, perm: number) {
    this.serial = serial;
    this.type = type;
    this.description = description;
    this.uid = creds.fsuid;
    this.gid = creds.fsgid;
    this.perm = perm;
  }

  get isKeyring(): boolean {
    return this.type === 'keyring';
  }

  /** The link with this type and description. */
  find(type: string, description: string): Key | undefined {
    return this.links.find((key) => key.type === type && key.description === description);
  }

  /** Adds a link; one with the same name is displaced. */
  link(key: Key): void {
    const at = this.links.findIndex((other) => other.type === key.type && other.description === key.description);
    if (at >= 0) this.links[at] = key;
    else this.links.push(key);
  }
}

/** What is left of a key that the collector has taken. */
interface Collected {
  readonly serial: number;
  readonly uid: number;
}

export class KeyTable {
  private readonly kernel: Kernel;
  /** Credentials, keyrings, threads and processes keep keys alive, and nothing else does: the garbage collector is key_gc. */
  private readonly bySerial: Map<number, WeakRef<Key>> = new Map();
  /** Keys of each user, for the quota; a key counts for who has made it. */
  private readonly owned: Map<number, number> = new Map();
  private readonly collected: FinalizationRegistry<Collected> = new FinalizationRegistry((gone) => this.uncount(gone));
  private readonly processKeyrings: WeakMap<ThreadGroup, Key> = new WeakMap();
  private readonly threadKeyrings: WeakMap<Task, Key> = new WeakMap();
  private readonly userKeyrings: Map<number, Key> = new Map();
  private readonly userSessions: Map<number, Key> = new Map();
  private readonly persistent: Map<number, Key> = new Map();
  /** KEYCTL_SET_REQKEY_KEYRING: where a thread wants keys that it asks for; nobody is ever asked. */
  readonly requestTargets: WeakMap<Task, number> = new WeakMap();

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  /** A new key, linked nowhere; -EDQUOT when its owner has too many. */
  create(type: string, description: string, creds: Credentials, perm: number): Key | number {
    const owned = this.owned.get(creds.fsuid) ?? 0;
    const limit = creds.fsuid === 0 ? 'kernel.keys.root_maxkeys' : 'kernel.keys.maxkeys';
    if (owned >= this.kernel.sysctls.int(limit)) return -EDQUOT;
    let serial: number;
    do serial = 3 + Math.floor(Math.random() * 0x3ffffff0);
    while (this.bySerial.has(serial));
    const key = new Key(serial, type, description, creds, perm);
    this.bySerial.set(serial, new WeakRef(key));
    this.owned.set(creds.fsuid, owned + 1);
    this.collected.register(key, { serial, uid: creds.fsuid }, key);
    return key;
  }

  /** All keys that are alive, in the order of their numbers. */
  all(): Key[] {
    const out: Key[] = [];
    for (const ref of this.bySerial.values()) {
      const key = ref.deref();
      if (key !== undefined) out.push(key);
    }
    return out.sort((a, b) => a.serial - b.serial);
  }

  private uncount(gone: Collected): void {
    this.bySerial.delete(gone.serial);
    this.owned.set(gone.uid, this.owned.get(gone.uid)! - 1);
  }

  /** KEYCTL_INVALIDATE: the key is in no keyring any more. */
  forget(key: Key): void {
    this.bySerial.delete(key.serial);
    for (const ref of this.bySerial.values()) {
      const other = ref.deref();
      const at = other === undefined ? -1 : other.links.indexOf(key);
      if (at >= 0) other!.links.splice(at, 1);
    }
  }

  /** lookup_user_key(): the key with a serial or special id, if the caller has what `need` says. `create` makes a missing keyring of one's own. */
  lookup(t: Task, id: number, create: boolean, need: number): Key | number {
    const key = id > 0 ? (this.bySerial.get(id)?.deref() ?? -ENOKEY) : this.special(t, id, create);
    if (typeof key === 'number') return key;
    const denied = this.checkState(key);
    if (denied < 0 && need !== NEED_NOTHING) return denied;
    return this.permits(t, key, id < 0 || this.isPossessed(t, key), need) ? key : -EACCES;
  }

  private special(t: Task, id: number, create: boolean): Key | number {
    const { creds } = t;
    switch (id) {
      case SPEC_THREAD:
        return this.own(this.threadKeyrings, t, '_tid', creds, create);
      case SPEC_PROCESS:
        return this.own(this.processKeyrings, t.group, '_pid', creds, create);
      case SPEC_SESSION: {
        if (creds.sessionKeyring !== null) return creds.sessionKeyring;
        return create ? this.joinNew(t) : this.userSession(creds);
      }
      case SPEC_USER:
        return this.userKeyring(creds);
      case SPEC_USER_SESSION:
        return this.userSession(creds);
      case SPEC_REQKEY_AUTH:
      case SPEC_REQUESTOR:
        return -ENOKEY;
      default:
        return -EINVAL;
    }
  }

  private own<K extends object>(table: WeakMap<K, Key>, owner: K, name: string, creds: Credentials, create: boolean): Key | number {
    const there = table.get(owner);
    if (there !== undefined) return there;
    if (!create) return -ENOKEY;
    const made = this.create('keyring', name, creds, POSSESSOR_ALL | (NEED_VIEW << OWNER));
    if (typeof made !== 'number') table.set(owner, made);
    return made;
  }

  private userKeyring(creds: Credentials): Key | number {
    return this.ofUser(this.userKeyrings, `_uid.${creds.uid}`, creds);
  }

  /** install_user_keyrings(): a user's session keyring holds the user's keyring. */
  private userSession(creds: Credentials): Key | number {
    const session = this.ofUser(this.userSessions, `_uid_ses.${creds.uid}`, creds);
    const user = this.userKeyring(creds);
    if (typeof session !== 'number' && typeof user !== 'number') session.link(user);
    return session;
  }

  /** KEYCTL_GET_PERSISTENT: a keyring of a user that outlives its sessions, and expires when nobody asks for it. security/keys/persistent.c. */
  persistentOf(t: Task, uid: number): Key | number {
    let keyring = this.persistent.get(uid);
    if (keyring === undefined) {
      const reads = NEED_VIEW | NEED_READ;
      const perm = ((reads | NEED_WRITE | NEED_SEARCH | NEED_LINK) << POSSESSOR) | (reads << OWNER);
      const made = this.create('keyring', `_persistent.${uid}`, t.creds, perm);
      if (typeof made === 'number') return made;
      made.uid = uid;
      this.persistent.set(uid, made);
      keyring = made;
    }
    keyring.expirySec = t.kernel.clock.realtimeSec() + PERSISTENT_EXPIRY_SEC;
    return keyring;
  }

  private ofUser(table: Map<number, Key>, name: string, creds: Credentials): Key | number {
    const there = table.get(creds.uid);
    if (there !== undefined) return there;
    const made = this.create('keyring', name, creds, ((ALL & ~NEED_SETATTR) << POSSESSOR) | (ALL << OWNER));
    if (typeof made !== 'number') table.set(creds.uid, made);
    return made;
  }

  /** A new anonymous session keyring for the calling thread: install_session_keyring_to_cred(). */
  joinNew(t: Task): Key | number {
    const made = this.create('keyring', '_ses', t.creds, POSSESSOR_ALL | OWNER_READS);
    if (typeof made !== 'number') this.install(t, made);
    return made;
  }

  /** join_session_keyring() by name: one that others have made and let us search, or a new one. */
  joinNamed(t: Task, name: string): Key | number {
    for (const ref of this.bySerial.values()) {
      const key = ref.deref();
      if (!key?.isKeyring || key.description !== name || key.revoked) continue;
      if (!this.permits(t, key, false, NEED_SEARCH)) continue;
      if (t.creds.sessionKeyring !== key) this.install(t, key);
      return key;
    }
    const made = this.create('keyring', name, t.creds, POSSESSOR_ALL | OWNER_READS | (NEED_LINK << OWNER));
    if (typeof made !== 'number') this.install(t, made);
    return made;
  }

  /** The session keyring of a container's programs, which others of its user may search too: what runc's init joins. null beyond the quota. */
  ofContainer(id: string, creds: Credentials): Key | null {
    const name = `_ses.${id}`;
    for (const ref of this.bySerial.values()) {
      const key = ref.deref();
      if (key?.isKeyring === true && key.description === name && !key.revoked) return key;
    }
    const made = this.create('keyring', name, creds, POSSESSOR_ALL | OWNER_READS | ((NEED_LINK | NEED_SEARCH) << OWNER));
    return typeof made === 'number' ? null : made;
  }

  private install(t: Task, keyring: Key): void {
    const creds = t.creds.clone();
    creds.sessionKeyring = keyring;
    t.creds = creds;
  }

  /** key_validate(). */
  private checkState(key: Key): number {
    if (key.revoked) return -EKEYREVOKED;
    return key.expirySec !== 0 && this.kernel.clock.realtimeSec() >= key.expirySec ? -EKEYEXPIRED : 0;
  }

  /** key_task_permission(). */
  permits(t: Task, key: Key, possessed: boolean, need: number): boolean {
    const { creds } = t;
    let bits: number;
    if (key.uid === creds.fsuid) bits = key.perm >>> OWNER;
    else if (creds.inGroup(key.gid) && ((key.perm >>> GROUP) & ALL) !== 0) bits = key.perm >>> GROUP;
    else bits = key.perm;
    if (possessed) bits |= key.perm >>> POSSESSOR;
    return (bits & need & ALL) === need;
  }

  private roots(t: Task): Key[] {
    const out: Key[] = [];
    const thread = this.threadKeyrings.get(t);
    const process = this.processKeyrings.get(t.group);
    if (thread !== undefined) out.push(thread);
    if (process !== undefined) out.push(process);
    const session = t.creds.sessionKeyring ?? this.userSessions.get(t.creds.uid);
    if (session !== undefined && session !== null) out.push(session);
    return out;
  }

  isPossessed(t: Task, key: Key): boolean {
    return this.roots(t).some((root) => this.reaches(t, root, key, 0));
  }

  private reaches(t: Task, from: Key, key: Key, depth: number): boolean {
    if (from === key) return true;
    if (depth >= MAX_DEPTH || !this.permits(t, from, true, NEED_SEARCH)) return false;
    return from.links.some((link) => this.reaches(t, link, key, depth + 1));
  }

  /** keyring_search(): the first key of that name below `root` that may be searched for. */
  search(t: Task, root: Key, type: string, description: string, depth = 0): Key | number {
    for (const key of root.links) {
      if (key.type === type && key.description === description && this.permits(t, key, true, NEED_SEARCH)) {
        const denied = this.checkState(key);
        return denied < 0 ? denied : key;
      }
    }
    if (depth < MAX_DEPTH) {
      for (const key of root.links) {
        if (!key.isKeyring || !this.permits(t, key, true, NEED_SEARCH)) continue;
        const found = this.search(t, key, type, description, depth + 1);
        if (typeof found !== 'number') return found;
      }
    }
    return -ENOKEY;
  }

  /** request_key(2)'s search: thread, process, session. */
  searchOwn(t: Task, type: string, description: string): Key | number {
    for (const root of this.roots(t)) {
      const found = this.search(t, root, type, description);
      if (found !== -ENOKEY) return found;
    }
    return -ENOKEY;
  }
}

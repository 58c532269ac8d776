// add_key(2), request_key(2), keyctl(2): security/keys/keyctl.c. Nothing asks user space for a key
// that is not there.

import { EACCES, EDEADLK, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, ENOKEY, ENOTDIR, EOPNOTSUPP, EPERM } from '../abi/errno.ts';
import { CAP_SETUID, CAP_SYS_ADMIN } from '../abi/sched.ts';
import { SYS_add_key, SYS_keyctl, SYS_request_key } from '../abi/sysno-x64.ts';
import { type Key, NEED_LINK, NEED_NOTHING, NEED_READ, NEED_SEARCH, NEED_SETATTR, NEED_VIEW, NEED_WRITE } from '../kernel/keys.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { putLatin1, scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const KEY_MAX_DESC = 4096;
const TYPE_MAX = 32;
const USER_PAYLOAD_MAX = 32767;
const PAYLOAD_MAX = 1024 * 1024 - 1;
const PERM_MASK = 0x3f3f3f3f;

/** "by default, POS_VIEW, SEARCH, LINK, SETATTR and USR_VIEW", and what the type can do: __key_create_or_update(). */
const DEFAULT_PERM = ((NEED_VIEW | NEED_SEARCH | NEED_LINK | NEED_SETATTR) << 24) | (NEED_VIEW << 16);

const TYPES: readonly string[] = ['user', 'logon', 'keyring', 'big_key'];

function copyType(t: Task, addr: number): string | number {
  const type = t.mm.copyInString(addr, TYPE_MAX);
  if (typeof type === 'number') return type === -EFAULT ? type : -EINVAL;
  if (type === '') return -EINVAL;
  return type[0] === '.' ? -EPERM : type;
}

function copyPayload(t: Task, type: string, addr: number, length: number): Uint8Array | number {
  if (length > PAYLOAD_MAX) return -EINVAL;
  if (type === 'keyring' ? length !== 0 : length === 0 || (type !== 'big_key' && length > USER_PAYLOAD_MAX)) return -EINVAL;
  const payload = new Uint8Array(length);
  return t.mm.copyIn(addr, payload, 0, length) < 0 ? -EFAULT : payload;
}

/** add_key(2). */
export function add_key(t: Task, a: SyscallArgs): number {
  const length = a.addr(3);
  if (length > PAYLOAD_MAX) return -EINVAL;
  const type = copyType(t, a.addr(0));
  if (typeof type === 'number') return type;
  const description = a.addr(1) === 0 ? '' : t.mm.copyInString(a.addr(1), KEY_MAX_DESC);
  if (typeof description === 'number') return description;
  if (description[0] === '.' && type === 'keyring') return -EPERM;
  const { keys } = t.kernel;
  const keyring = keys.lookup(t, a.int(4), true, NEED_WRITE);
  if (typeof keyring === 'number') return keyring;
  if (!TYPES.includes(type)) return -ENODEV;
  if (description === '' || (type === 'logon' && !/^[^:]+:/.test(description))) return -EINVAL;
  if (!keyring.isKeyring) return -ENOTDIR;
  if (keyring.restricted) return -EPERM;
  const payload = copyPayload(t, type, a.addr(2), length);
  if (typeof payload === 'number') return payload;
  const old = type === 'keyring' ? undefined : keyring.find(type, description);
  if (old !== undefined && !old.revoked) {
    if (!keys.permits(t, old, true, NEED_WRITE)) return -EACCES;
    old.payload = payload;
    return old.serial;
  }
  const readable = type !== 'logon' ? NEED_READ << 24 : 0;
  const made = keys.create(type, description, t.creds, DEFAULT_PERM | readable | (NEED_WRITE << 24));
  if (typeof made === 'number') return made;
  made.payload = payload;
  keyring.link(made);
  return made.serial;
}

/** request_key(2). */
export function request_key(t: Task, a: SyscallArgs): number {
  const type = copyType(t, a.addr(0));
  if (typeof type === 'number') return type;
  const description = t.mm.copyInString(a.addr(1), KEY_MAX_DESC);
  if (typeof description === 'number') return description;
  let destination: Key | number = 0;
  if (a.int(3) !== 0) {
    destination = t.kernel.keys.lookup(t, a.int(3), true, NEED_WRITE);
    if (typeof destination === 'number') return destination;
  }
  if (!TYPES.includes(type)) return -ENOKEY;
  const found = t.kernel.keys.searchOwn(t, type, description);
  if (typeof found === 'number') return found;
  if (typeof destination !== 'number') destination.link(found);
  return found.serial;
}

// ---- keyctl(2)

function joinSession(t: Task, nameAddr: number): number {
  let key: Key | number;
  if (nameAddr === 0) key = t.kernel.keys.joinNew(t);
  else {
    const name = t.mm.copyInString(nameAddr, KEY_MAX_DESC);
    if (typeof name === 'number') return name;
    if (name[0] === '.') return -EPERM;
    key = t.kernel.keys.joinNamed(t, name);
  }
  return typeof key === 'number' ? key : key.serial;
}

function getKeyringId(t: Task, id: number, create: boolean): number {
  const key = t.kernel.keys.lookup(t, id, create, NEED_SEARCH);
  return typeof key === 'number' ? key : key.serial;
}

/** "type;uid;gid;perm;description" and its NUL; the whole length, whatever of it fits. */
function describe(t: Task, id: number, bufAddr: number, size: number): number {
  const key = t.kernel.keys.lookup(t, id, false, NEED_VIEW);
  if (typeof key === 'number') return key;
  const { userns } = t.creds;
  const perm = (key.perm >>> 0).toString(16).padStart(8, '0');
  const text = `${key.type};${userns.uidFromKernel(key.uid)};${userns.gidFromKernel(key.gid)};${perm};${key.description}\0`;
  if (bufAddr === 0 || size < text.length) return text.length;
  putLatin1(scratch.u8, 0, text);
  return t.mm.copyOut(bufAddr, scratch.u8, 0, text.length) < 0 ? -EFAULT : text.length;
}

function setPermissions(t: Task, id: number, perm: number): number {
  if ((perm & ~PERM_MASK) !== 0) return -EINVAL;
  const key = t.kernel.keys.lookup(t, id, true, NEED_SETATTR);
  if (typeof key === 'number') return key;
  if (key.uid !== t.creds.fsuid && !t.creds.capable(CAP_SYS_ADMIN)) return -EACCES;
  key.perm = perm;
  return 0;
}

function chown(t: Task, id: number, uid: number, gid: number): number {
  const key = t.kernel.keys.lookup(t, id, true, NEED_SETATTR);
  if (typeof key === 'number') return key;
  const { creds } = t;
  const admin = creds.capable(CAP_SYS_ADMIN);
  if (uid !== 0xffffffff) {
    const mapped = creds.userns.uidToKernel(uid);
    if (mapped < 0) return -EINVAL;
    if (mapped !== key.uid && !admin) return -EACCES;
    key.uid = mapped;
  }
  if (gid !== 0xffffffff) {
    const mapped = creds.userns.gidToKernel(gid);
    if (mapped < 0) return -EINVAL;
    if (mapped !== key.gid && !creds.inGroup(mapped) && !admin) return -EACCES;
    key.gid = mapped;
  }
  return 0;
}

function update(t: Task, id: number, addr: number, length: number): number {
  const key = t.kernel.keys.lookup(t, id, false, NEED_WRITE);
  if (typeof key === 'number') return key;
  if (key.isKeyring) return -EOPNOTSUPP;
  const payload = copyPayload(t, key.type, addr, length);
  if (typeof payload === 'number') return payload;
  key.payload = payload;
  return 0;
}

/** Its owner, or who may write or change it. */
function revoke(t: Task, id: number): number {
  const { keys } = t.kernel;
  let key = keys.lookup(t, id, false, NEED_WRITE);
  if (key === -EACCES) key = keys.lookup(t, id, false, NEED_SETATTR);
  if (typeof key === 'number') return key;
  key.revoked = true;
  key.links.length = 0;
  return 0;
}

function clear(t: Task, id: number): number {
  const key = t.kernel.keys.lookup(t, id, true, NEED_WRITE);
  if (typeof key === 'number') return key;
  if (!key.isKeyring) return -ENOTDIR;
  key.links.length = 0;
  return 0;
}

function link(t: Task, id: number, ringId: number): number {
  const ring = t.kernel.keys.lookup(t, ringId, true, NEED_WRITE);
  if (typeof ring === 'number') return ring;
  const key = t.kernel.keys.lookup(t, id, true, NEED_LINK);
  if (typeof key === 'number') return key;
  if (!ring.isKeyring) return -ENOTDIR;
  if (key.isKeyring && (key === ring || contains(key, ring))) return -EDEADLK;
  if (ring.restricted) return -EPERM;
  ring.link(key);
  return 0;
}

function contains(ring: Key, key: Key): boolean {
  return ring.links.some((other) => other === key || (other.isKeyring && contains(other, key)));
}

function unlink(t: Task, id: number, ringId: number): number {
  const ring = t.kernel.keys.lookup(t, ringId, false, NEED_WRITE);
  if (typeof ring === 'number') return ring;
  const key = t.kernel.keys.lookup(t, id, false, NEED_NOTHING);
  if (typeof key === 'number') return key;
  if (!ring.isKeyring) return -ENOTDIR;
  const at = ring.links.indexOf(key);
  if (at < 0) return -ENOENT;
  ring.links.splice(at, 1);
  return 0;
}

/** keyctl_keyring_move(): from one keyring to another, with KEYCTL_MOVE_EXCL only where it displaces nothing. */
function move(t: Task, id: number, fromId: number, toId: number, flags: number): number {
  const { keys } = t.kernel;
  if ((flags & ~MOVE_EXCL) !== 0) return -EINVAL;
  const key = keys.lookup(t, id, true, NEED_LINK);
  if (typeof key === 'number') return key;
  const from = keys.lookup(t, fromId, false, NEED_WRITE);
  if (typeof from === 'number') return from;
  const to = keys.lookup(t, toId, true, NEED_WRITE);
  if (typeof to === 'number') return to;
  if (!from.isKeyring || !to.isKeyring) return -ENOTDIR;
  if (from === to) return 0;
  const at = from.links.indexOf(key);
  if (at < 0) return -ENOENT;
  if (key.isKeyring && (key === to || contains(key, to))) return -EDEADLK;
  if ((flags & MOVE_EXCL) !== 0 && to.find(key.type, key.description) !== undefined) return -EEXIST;
  if (to.restricted) return -EPERM;
  from.links.splice(at, 1);
  to.link(key);
  return 0;
}

/** keyctl_restrict_keyring(): without a type all links are refused. Only the asymmetric type, which is not there, knows other ways. */
function restrict(t: Task, id: number, typeAddr: number, schemeAddr: number): number {
  const ring = t.kernel.keys.lookup(t, id, true, NEED_SETATTR);
  if (typeof ring === 'number') return ring;
  if (typeAddr !== 0) {
    const type = copyType(t, typeAddr);
    if (typeof type === 'number') return type;
    return TYPES.includes(type) ? -ENOENT : -ENOKEY;
  }
  if (schemeAddr !== 0) return -EINVAL;
  if (!ring.isKeyring) return -ENOTDIR;
  if (ring.restricted) return -EEXIST;
  ring.restricted = true;
  return 0;
}

/** keyctl_get_persistent(): one's own, or anybody's with CAP_SETUID; linked to a keyring of the caller's. */
function getPersistent(t: Task, user: number, ringId: number): number {
  const { creds } = t;
  const uid = user === 0xffffffff ? creds.uid : creds.userns.uidToKernel(user);
  if (uid < 0) return -EINVAL;
  if (uid !== creds.uid && uid !== creds.euid && !creds.capableHere(CAP_SETUID)) return -EPERM;
  const ring = t.kernel.keys.lookup(t, ringId, true, NEED_WRITE);
  if (typeof ring === 'number') return ring;
  if (!ring.isKeyring) return -ENOTDIR;
  const key = t.kernel.keys.persistentOf(t, uid);
  if (typeof key === 'number') return key;
  if (ring.restricted) return -EPERM;
  ring.link(key);
  return key.serial;
}

/** keyctl_capabilities(): what there is of keyctl(2), as bits. */
function capabilities(t: Task, addr: number, size: number): number {
  const n = Math.min(size, scratch.u8.length);
  scratch.u8.fill(0, 0, n);
  scratch.u8[0] = CAPS0_CAPABILITIES | CAPS0_PERSISTENT | CAPS0_BIG_KEY | CAPS0_INVALIDATE | CAPS0_RESTRICT | CAPS0_MOVE;
  if (n > 1) scratch.u8[1] = 0;
  return n > 0 && t.mm.copyOut(addr, scratch.u8, 0, n) < 0 ? -EFAULT : CAPS_SIZE;
}

/** keyctl_set_reqkey_keyring(): the one before. There are no group keyrings. */
function setRequestTarget(t: Task, target: number): number {
  const { requestTargets } = t.kernel.keys;
  const before = requestTargets.get(t) ?? 0;
  if (target === REQKEY_NO_CHANGE) return before;
  if (target < 0 || target > REQKEY_REQUESTOR || target === REQKEY_GROUP) return -EINVAL;
  requestTargets.set(t, target);
  return before;
}

function search(t: Task, a: SyscallArgs): number {
  const { keys } = t.kernel;
  const type = copyType(t, a.addr(2));
  if (typeof type === 'number') return type;
  const description = t.mm.copyInString(a.addr(3), KEY_MAX_DESC);
  if (typeof description === 'number') return description;
  const ring = keys.lookup(t, a.int(1), false, NEED_SEARCH);
  if (typeof ring === 'number') return ring;
  if (!ring.isKeyring) return -ENOTDIR;
  let destination: Key | number = 0;
  if (a.int(4) !== 0) {
    destination = keys.lookup(t, a.int(4), true, NEED_WRITE);
    if (typeof destination === 'number') return destination;
  }
  const found = keys.search(t, ring, type, description);
  if (typeof found === 'number') return found;
  if (typeof destination !== 'number') {
    if (!keys.permits(t, found, true, NEED_LINK)) return -EACCES;
    destination.link(found);
  }
  return found.serial;
}

/** The payload, or a keyring's serials; the whole length, whatever of it fits. */
function read(t: Task, id: number, bufAddr: number, size: number): number {
  const { keys } = t.kernel;
  let key = keys.lookup(t, id, false, NEED_READ);
  if (key === -EACCES) {
    // "we can't; see if it's searchable from this process's keyrings"
    key = keys.lookup(t, id, false, NEED_SEARCH);
    if (typeof key !== 'number' && !keys.isPossessed(t, key)) return -EACCES;
  }
  if (typeof key === 'number') return key;
  if (key.type === 'logon') return -EOPNOTSUPP;
  let bytes = key.payload;
  if (key.isKeyring) {
    bytes = new Uint8Array(key.links.length * 4);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < key.links.length; i++) view.setInt32(i * 4, key.links[i]!.serial, true);
  }
  const n = key.isKeyring ? Math.min(size - (size % 4), bytes.length) : Math.min(size, bytes.length);
  if (bufAddr === 0 || n === 0) return bytes.length;
  return t.mm.copyOut(bufAddr, bytes, 0, n) < 0 ? -EFAULT : bytes.length;
}

function setTimeout(t: Task, id: number, seconds: number): number {
  const key = t.kernel.keys.lookup(t, id, true, NEED_SETATTR);
  if (typeof key === 'number') return key;
  key.expirySec = seconds === 0 ? 0 : t.kernel.clock.realtimeSec() + seconds;
  return 0;
}

function invalidate(t: Task, id: number): number {
  const key = t.kernel.keys.lookup(t, id, false, NEED_SEARCH);
  if (typeof key === 'number') return key;
  t.kernel.keys.forget(key);
  return 0;
}

// Operations: include/uapi/linux/keyctl.h.
const GET_KEYRING_ID = 0;
const JOIN_SESSION_KEYRING = 1;
const UPDATE = 2;
const REVOKE = 3;
const CHOWN = 4;
const SETPERM = 5;
const DESCRIBE = 6;
const CLEAR = 7;
const LINK = 8;
const UNLINK = 9;
const SEARCH = 10;
const READ = 11;
const INSTANTIATE = 12;
const NEGATE = 13;
const SET_REQKEY_KEYRING = 14;
const SET_TIMEOUT = 15;
const ASSUME_AUTHORITY = 16;
const GET_SECURITY = 17;
const REJECT = 19;
const INSTANTIATE_IOV = 20;
const INVALIDATE = 21;
const GET_PERSISTENT = 22;
const RESTRICT_KEYRING = 29;
const MOVE = 30;
const CAPABILITIES = 31;
const MOVE_EXCL = 1;
const REQKEY_NO_CHANGE = -1;
const REQKEY_GROUP = 6;
const REQKEY_REQUESTOR = 7;
const CAPS0_CAPABILITIES = 0x01;
const CAPS0_PERSISTENT = 0x02;
const CAPS0_BIG_KEY = 0x10;
const CAPS0_INVALIDATE = 0x20;
const CAPS0_RESTRICT = 0x40;
const CAPS0_MOVE = 0x80;
const CAPS_SIZE = 2;

/** keyctl(2). */
export function keyctl(t: Task, a: SyscallArgs): number {
  switch (a.int(0)) {
    case GET_KEYRING_ID:
      return getKeyringId(t, a.int(1), a.int(2) !== 0);
    case JOIN_SESSION_KEYRING:
      return joinSession(t, a.addr(1));
    case UPDATE:
      return update(t, a.int(1), a.addr(2), a.addr(3));
    case REVOKE:
      return revoke(t, a.int(1));
    case CHOWN:
      return chown(t, a.int(1), a.uint(2), a.uint(3));
    case SETPERM:
      return setPermissions(t, a.int(1), a.int(2));
    case DESCRIBE:
      return describe(t, a.int(1), a.addr(2), a.addr(3));
    case CLEAR:
      return clear(t, a.int(1));
    case LINK:
      return link(t, a.int(1), a.int(2));
    case UNLINK:
      return unlink(t, a.int(1), a.int(2));
    case SEARCH:
      return search(t, a);
    case READ:
      return read(t, a.int(1), a.addr(2), a.addr(3));
    case INSTANTIATE:
    case NEGATE:
    case REJECT:
    case INSTANTIATE_IOV:
      // Only who was asked for a key may give it; nobody is asked.
      return -EPERM;
    case SET_REQKEY_KEYRING:
      return setRequestTarget(t, a.int(1));
    case GET_PERSISTENT:
      return getPersistent(t, a.uint(1), a.int(2));
    case RESTRICT_KEYRING:
      return restrict(t, a.int(1), a.addr(2), a.addr(3));
    case MOVE:
      return move(t, a.int(1), a.int(2), a.int(3), a.int(4));
    case CAPABILITIES:
      return capabilities(t, a.addr(1), a.addr(2));
    case SET_TIMEOUT:
      return setTimeout(t, a.int(1), a.uint(2));
    case ASSUME_AUTHORITY:
      return a.int(1) < 0 ? -EINVAL : a.int(1) === 0 ? 0 : -ENOKEY;
    case GET_SECURITY: {
      const key = t.kernel.keys.lookup(t, a.int(1), false, NEED_VIEW);
      if (typeof key === 'number') return key;
      scratch.u8[0] = 0;
      return a.addr(2) !== 0 && a.addr(3) > 0 && t.mm.copyOut(a.addr(2), scratch.u8, 0, 1) < 0 ? -EFAULT : 1;
    }
    case INVALIDATE:
      return invalidate(t, a.int(1));
    default:
      return -EOPNOTSUPP;
  }
}

export const keyCalls: readonly SyscallLine[] = [
  call(
    SYS_add_key,
    'add_key',
    'type:str description:str payload:addr len:size keyring:int',
    add_key,
    'partial',
    'types user, logon, keyring and big_key',
  ),
  call(
    SYS_request_key,
    'request_key',
    'type:str description:str callout:str dest:int',
    request_key,
    'partial',
    'user space is never asked for a missing key',
  ),
  call(
    SYS_keyctl,
    'keyctl',
    'op:int arg2:addr arg3:addr arg4:addr arg5:addr',
    keyctl,
    'partial',
    'no asymmetric keys or notifications; a session keyring is not given to the parent',
  ),
];

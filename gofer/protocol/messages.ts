// What Sentry and gofer say to each other: per message a put function (the sender's side) and a get function (the
// receiver's, which checks). README.md beside this file tells the meaning and the rules; frames and doorbell are
// channel.ts's. A handle is the gofer's index of a control descriptor; 0 is never one.

import { PATH_MAX, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX } from '../../sentry/abi/limits.ts';
import { ProtocolError } from '../../sentry/base/errors.ts';
import { type Attributes, getAttributes } from './attributes.ts';
import type { Reader, Writer } from './buffer.ts';

export const OP_CLOSE = 0;
export const OP_ATTACH = 1;
export const OP_WALK = 2;
export const OP_STAT = 3;
export const OP_SETSTAT = 4;
export const OP_OPEN = 5;
export const OP_CREATE = 6;
export const OP_MKDIR = 7;
export const OP_MKNOD = 8;
export const OP_SYMLINK = 9;
export const OP_LINK = 10;
export const OP_UNLINK = 11;
export const OP_RENAME = 12;
export const OP_READLINK = 13;
export const OP_READDIR = 14;
export const OP_STATFS = 15;
export const OP_GETXATTR = 16;
export const OP_SETXATTR = 17;
export const OP_LISTXATTR = 18;
export const OP_REMOVEXATTR = 19;
export const OP_SYNC = 20;
export const OP_TMPFILE = 21;
export const OP_BIND = 22;
export const OP_CONNECT = 23;
export const OP_WALKOPEN = 24;
export const OP_STATS = 25;
export const OP_WATCH = 26;
export const OP_UNWATCH = 27;
export const OP_CONTENTS = 28;
export const OP_COUNT = 29;

/** Names in one walk. */
export const WALK_MAX = 64;
/** Handles closed with one request. */
export const CLOSE_MAX = 256;

// ---- ATTACH: the root of a tree

/** The tree refuses changes. */
export const TREE_READ_ONLY = 1;
/** Others change the tree too: attributes must be asked for again. */
export const TREE_SHARED = 2;
/** FIFOs may be opened on the host. */
export const TREE_HOST_FIFO = 4;
/** Sockets of the host may be connected to. */
export const TREE_UDS_OPEN = 8;
/** Sockets may be bound on the host. */
export const TREE_UDS_CREATE = 16;
/** Host devices may be opened. */
export const TREE_DEVICES = 32;
/** Device nodes may be made: they are opened by the guest, which has devices of its own. */
export const TREE_NODES = 64;

export function putAttach(w: Writer, tree: number): void {
  w.u32(tree);
}

export function getAttach(r: Reader): number {
  const tree = r.u32();
  r.done();
  return tree;
}

export class AttachReply {
  handle = 0;
  /** TREE_*. */
  flags = 0;
  /** How many handles the gofer can have open, for all trees of the connection. */
  handleLimit = 0;
  readonly attributes: Attributes;

  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }
}

export function getAttachReply(r: Reader, out: AttachReply): void {
  out.handle = getNewHandle(r);
  out.flags = r.u32();
  out.handleLimit = r.u32();
  getAttributes(r, out.attributes);
  r.done();
}

function getNewHandle(r: Reader): number {
  const handle = r.u32();
  if (handle === 0) throw new ProtocolError('handle 0');
  return handle;
}

// ---- WALK: down from a directory, one name after the other

/** Only look: no handle is made for what is reached. */
export const WALK_LOOK = 1;
/** A descriptor that reads comes along, if the last name is a regular file that can be opened. */
export const WALK_OPEN = 2;

export class WalkRequest {
  handle = 0;
  /** WALK_*. */
  flags = 0;
  readonly names: string[] = [];
}

export function putWalk(w: Writer, handle: number, flags: number, names: readonly string[]): void {
  w.u32(handle);
  w.u32(flags);
  w.u32(names.length);
  for (let i = 0; i < names.length; i++) w.text(names[i]);
}

export function getWalk(r: Reader, out: WalkRequest): void {
  out.handle = r.u32();
  out.flags = r.u32();
  if (out.flags > WALK_OPEN) throw new ProtocolError(`walk flags ${out.flags}`);
  const count = r.count(WALK_MAX, 5);
  out.names.length = 0;
  for (let i = 0; i < count; i++) out.names.push(r.name());
  r.done();
}

/** The head of the answer; `reached` pairs of handle (0 when only looking) and attributes follow. */
export class WalkReply {
  reached = 0;
  /** Why it ended: 0 all names or at something that is no directory, or -errno for the next name. */
  status = 0;
}

export function getWalkReply(r: Reader, asked: number, out: WalkReply): void {
  out.reached = r.u32();
  out.status = r.i32();
  if (out.reached > asked || out.status > 0) throw new ProtocolError('a walk beyond its end');
}

export function getWalkStep(r: Reader, attributes: Attributes): number {
  const handle = r.u32();
  getAttributes(r, attributes);
  return handle;
}

// ---- messages that are one handle: STAT, READLINK, STATFS, SYNC, LISTXATTR

export function putHandle(w: Writer, handle: number): void {
  w.u32(handle);
}

export function getHandle(r: Reader): number {
  const handle = r.u32();
  r.done();
  return handle;
}

export function getStatReply(r: Reader, attributes: Attributes): void {
  getAttributes(r, attributes);
  r.done();
}

export function getReadlinkReply(r: Reader): string {
  const target = r.text(PATH_MAX);
  r.done();
  return target;
}

/** struct statfs as the host fills it. */
export const STATFS_BYTES = 120;

export function getStatfsReply(r: Reader): number {
  const at = r.skip(STATFS_BYTES);
  r.done();
  return at;
}

// ---- SETSTAT

// Which fields count: include/linux/fs.h ATTR_*, the same bits as the Sentry's SetAttr.
export const SET_MODE = 1;
export const SET_UID = 2;
export const SET_GID = 4;
export const SET_SIZE = 8;
export const SET_ATIME = 16;
export const SET_MTIME = 32;
export const SET_ATIME_NOW = 64;
export const SET_MTIME_NOW = 128;

export class SetStatRequest {
  handle = 0;
  mask = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  size = 0;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
}

/** What putSetStat takes: the request's fields but the handle. */
export type SetStatFields = Omit<SetStatRequest, 'handle'>;

export function putSetStat(w: Writer, handle: number, s: SetStatFields): void {
  w.u32(handle);
  w.u32(s.mask);
  w.u32(s.mode);
  w.u32(s.uid);
  w.u32(s.gid);
  w.i64(s.size);
  w.i64(s.atimeSec);
  w.u32(s.atimeNsec);
  w.i64(s.mtimeSec);
  w.u32(s.mtimeNsec);
}

export function getSetStat(r: Reader, out: SetStatRequest): void {
  out.handle = r.u32();
  out.mask = r.u32();
  out.mode = r.u32();
  out.uid = r.u32();
  out.gid = r.u32();
  out.size = r.i64();
  out.atimeSec = r.i64();
  out.atimeNsec = r.u32();
  out.mtimeSec = r.i64();
  out.mtimeNsec = r.u32();
  r.done();
  if (out.mask > 0xff || out.mode > 0o7777 || out.size < 0) throw new ProtocolError('attributes that are none');
  // UTIME_NOW and UTIME_OMIT are said by the mask, never by a value.
  if (out.atimeNsec > 999_999_999 || out.mtimeNsec > 999_999_999) throw new ProtocolError('a time that is none');
}

// ---- OPEN: a descriptor is donated

export class OpenRequest {
  handle = 0;
  /** O_ACCMODE and what the server lets through of the rest. */
  flags = 0;
}

export function putOpen(w: Writer, handle: number, flags: number): void {
  w.u32(handle);
  w.u32(flags);
}

export function getOpen(r: Reader, out: OpenRequest): void {
  out.handle = r.u32();
  out.flags = r.u32();
  r.done();
}

// ---- WALKOPEN: one name further, and what is there opened at once

export class WalkOpenRequest {
  directory = 0;
  flags = 0;
  name = '';
}

export function putWalkOpen(w: Writer, directory: number, name: string, flags: number): void {
  w.u32(directory);
  w.u32(flags);
  w.text(name);
}

export function getWalkOpen(r: Reader, out: WalkOpenRequest): void {
  out.directory = r.u32();
  out.flags = r.u32();
  out.name = r.name();
  r.done();
}

/** The handle; its attributes. */
export function getWalkOpenReply(r: Reader, attributes: Attributes): number {
  const handle = getNewHandle(r);
  getAttributes(r, attributes);
  r.done();
  return handle;
}

// ---- CREATE, MKDIR, MKNOD, SYMLINK, TMPFILE, BIND: something new in a directory

export class MakeRequest {
  directory = 0;
  name = '';
  mode = 0;
  uid = 0;
  gid = 0;
  /** MKNOD: the device; BIND: the socket type in rdevMajor. */
  rdevMajor = 0;
  rdevMinor = 0;
  /** SYMLINK. */
  target = '';
}

export function putMake(
  w: Writer,
  directory: number,
  name: string,
  mode: number,
  uid: number,
  gid: number,
  rdevMajor: number,
  rdevMinor: number,
  target: string,
): void {
  w.u32(directory);
  w.u32(mode);
  w.u32(uid);
  w.u32(gid);
  w.u32(rdevMajor);
  w.u32(rdevMinor);
  w.text(name);
  w.text(target);
}

/** named: false for TMPFILE, whose name is empty. */
export function getMake(r: Reader, named: boolean, out: MakeRequest): void {
  out.directory = r.u32();
  out.mode = r.u32();
  out.uid = r.u32();
  out.gid = r.u32();
  out.rdevMajor = r.u32();
  out.rdevMinor = r.u32();
  out.name = named ? r.name() : r.text(0);
  out.target = r.text(PATH_MAX - 1);
  r.done();
  if (out.mode > 0o177777) throw new ProtocolError(`mode ${out.mode}`);
}

/** The new handle; then its attributes, then the directory's. */
export function getMakeReply(r: Reader, attributes: Attributes, directory: Attributes): number {
  const handle = getNewHandle(r);
  getAttributes(r, attributes);
  getAttributes(r, directory);
  r.done();
  return handle;
}

// ---- LINK

export class LinkRequest {
  handle = 0;
  directory = 0;
  name = '';
}

export function putLink(w: Writer, handle: number, directory: number, name: string): void {
  w.u32(handle);
  w.u32(directory);
  w.text(name);
}

export function getLink(r: Reader, out: LinkRequest): void {
  out.handle = r.u32();
  out.directory = r.u32();
  out.name = r.name();
  r.done();
}

/** LINK's answer: the linked file's attributes, then the directory's. */
export function getTwoAttributes(r: Reader, first: Attributes, second: Attributes): void {
  getAttributes(r, first);
  getAttributes(r, second);
  r.done();
}

// ---- UNLINK

export class UnlinkRequest {
  directory = 0;
  /** The victim's handle, to learn its new link count, or 0. */
  child = 0;
  isDirectory = false;
  name = '';
}

export function putUnlink(w: Writer, directory: number, child: number, isDirectory: boolean, name: string): void {
  w.u32(directory);
  w.u32(child);
  w.u32(isDirectory ? 1 : 0);
  w.text(name);
}

export function getUnlink(r: Reader, out: UnlinkRequest): void {
  out.directory = r.u32();
  out.child = r.u32();
  const flags = r.u32();
  if (flags > 1) throw new ProtocolError(`unlink flags ${flags}`);
  out.isDirectory = flags === 1;
  out.name = r.name();
  r.done();
}

/** The directory's attributes, then the child's; false when the request named no child. */
export function getUnlinkReply(r: Reader, directory: Attributes, child: Attributes): boolean {
  getAttributes(r, directory);
  const hasChild = r.at < r.end;
  if (hasChild) getAttributes(r, child);
  r.done();
  return hasChild;
}

// ---- RENAME

export class RenameRequest {
  oldDirectory = 0;
  newDirectory = 0;
  /** RENAME_*. */
  flags = 0;
  oldName = '';
  newName = '';
}

export function putRename(w: Writer, oldDirectory: number, oldName: string, newDirectory: number, newName: string, flags: number): void {
  w.u32(oldDirectory);
  w.u32(newDirectory);
  w.u32(flags);
  w.text(oldName);
  w.text(newName);
}

export function getRename(r: Reader, out: RenameRequest): void {
  out.oldDirectory = r.u32();
  out.newDirectory = r.u32();
  out.flags = r.u32();
  out.oldName = r.name();
  out.newName = r.name();
  r.done();
}

// ---- READDIR: of a handle, or of a directory by name in it

/** Each entry comes with its attributes. */
export const READDIR_ATTRIBUTES = 1;
/** Those that are directories do. */
export const READDIR_DIRECTORIES = 2;

export class ReaddirRequest {
  handle = 0;
  flags = 0;
  /** d_off from where to go on, opaque, in two words; 0 0 is the beginning. */
  cookieLo = 0;
  cookieHi = 0;
  /** A directory in the handle's, which is given a handle of its own; empty: the handle's. */
  name = '';
}

export function putReaddir(w: Writer, handle: number, flags: number, cookieLo: number, cookieHi: number, name: string): void {
  w.u32(handle);
  w.u32(flags);
  w.u32(cookieLo);
  w.u32(cookieHi);
  w.text(name);
}

export function getReaddir(r: Reader, out: ReaddirRequest): void {
  out.handle = r.u32();
  out.flags = r.u32();
  if (out.flags > (READDIR_ATTRIBUTES | READDIR_DIRECTORIES)) throw new ProtocolError(`readdir flags ${out.flags}`);
  out.cookieLo = r.u32();
  out.cookieHi = r.u32();
  out.name = r.at + 4 < r.end ? r.name() : r.text(0);
  r.done();
}

/** The head of the answer; the directory's attributes and `count` entries follow. "." and ".." are not among them. */
export class ReaddirReply {
  count = 0;
  atEnd = false;
  cookieLo = 0;
  cookieHi = 0;
  /** Of the directory, if it was named. */
  handle = 0;
}

export function getReaddirReply(r: Reader, out: ReaddirReply): void {
  out.count = r.u32();
  out.atEnd = r.u32() !== 0;
  out.cookieLo = r.u32();
  out.cookieHi = r.u32();
  out.handle = r.u32();
}

/** Bytes of an entry besides its name and attributes; native/src/hostcalls.cc:ListEntries() writes them. */
const ENTRY_HEAD = 11;
const SLASH = 47;
const DOT = 46;

/** One entry of an answer: where its name lies in the message, and what is said of it. */
export class DirEntry {
  nameAt = 0;
  nameLength = 0;
  /** DT_*. */
  type = 0;
  inoLo = 0;
  inoHi = 0;
  /** Whether attributes came with it. */
  hasAttributes = false;
}

export function getDirEntry(r: Reader, out: DirEntry, attributes: Attributes): void {
  const at = r.skip(ENTRY_HEAD);
  const { u8, view } = r;
  out.inoLo = view.getUint32(at, true);
  out.inoHi = view.getUint32(at + 4, true);
  out.type = u8[at + 8];
  const has = u8[at + 9];
  const length = u8[at + 10];
  const name = r.skip(length);
  if (has > 1 || !isName(u8, name, length)) throw new ProtocolError('a broken directory entry');
  out.hasAttributes = has === 1;
  out.nameAt = name;
  out.nameLength = length;
  if (out.hasAttributes) getAttributes(r, attributes);
}

function isName(u8: Uint8Array, at: number, length: number): boolean {
  if (length === 0 || (u8[at] === DOT && (length === 1 || (length === 2 && u8[at + 1] === DOT)))) return false;
  for (let i = at; i < at + length; i++) if (u8[i] === 0 || u8[i] === SLASH) return false;
  return true;
}

// ---- STATS: attributes of several names in a directory

/** Names in one request. */
export const STATS_MAX = 256;

export class StatsRequest {
  directory = 0;
  readonly names: string[] = [];
}

export function putStats(w: Writer, directory: number, names: readonly string[]): void {
  w.u32(directory);
  w.u32(names.length);
  for (let i = 0; i < names.length; i++) w.text(names[i]);
}

export function getStats(r: Reader, out: StatsRequest): void {
  out.directory = r.u32();
  const count = r.count(STATS_MAX, 5);
  out.names.length = 0;
  for (let i = 0; i < count; i++) out.names.push(r.name());
  r.done();
}

/** Of the answer's next name: 0 with its attributes, or -errno. */
export function getStatsStep(r: Reader, attributes: Attributes): number {
  const status = r.i32();
  if (status > 0) throw new ProtocolError(`status ${status}`);
  if (status === 0) getAttributes(r, attributes);
  return status;
}

// ---- CONTENTS: attributes and bytes of several small files in a directory; the request is STATS's

/** The largest file whose contents travel in a message. */
export const SMALL_FILE: number = 16 * 1024;

/** Of the answer's next name: the count of its bytes, which end where the reader then stands, with its attributes; or -errno. */
export function getContentsStep(r: Reader, attributes: Attributes): number {
  const status = r.i32();
  if (status > 0) throw new ProtocolError(`status ${status}`);
  if (status < 0) return status;
  getAttributes(r, attributes);
  r.bytes(SMALL_FILE);
  return r.lastLength;
}

// ---- extended attributes

export class XattrRequest {
  handle = 0;
  /** XATTR_CREATE, XATTR_REPLACE. */
  flags = 0;
  name = '';
  /** Where the value lies in the message. */
  valueAt = 0;
  valueLength = 0;
}

/** GETXATTR and REMOVEXATTR. */
export function putXattrName(w: Writer, handle: number, name: string): void {
  w.u32(handle);
  w.text(name);
}

export function getXattrName(r: Reader, out: XattrRequest): void {
  out.handle = r.u32();
  out.name = r.text(XATTR_NAME_MAX);
  r.done();
}

export function putSetXattr(w: Writer, handle: number, flags: number, name: string, value: Uint8Array): void {
  w.u32(handle);
  w.u32(flags);
  w.text(name);
  w.bytes(value, value.length);
}

export function getSetXattr(r: Reader, out: XattrRequest): void {
  out.handle = r.u32();
  out.flags = r.u32();
  out.name = r.text(XATTR_NAME_MAX);
  out.valueAt = r.bytes(XATTR_SIZE_MAX);
  out.valueLength = r.lastLength;
  r.done();
}

/** A copy of the value. */
export function getXattrReply(r: Reader): Uint8Array {
  const at = r.bytes(XATTR_SIZE_MAX);
  const value = r.u8.slice(at, at + r.lastLength);
  r.done();
  return value;
}

export function getListXattrReply(r: Reader): string[] {
  const at = r.bytes(XATTR_LIST_MAX);
  const end = at + r.lastLength;
  r.done();
  const names: string[] = [];
  let name = '';
  for (let i = at; i < end; i++) {
    if (r.u8[i] !== 0) {
      name += String.fromCharCode(r.u8[i]);
    } else {
      names.push(name);
      name = '';
    }
  }
  if (name !== '') throw new ProtocolError('a name without its end');
  return names;
}

// ---- CONNECT: a connected socket is donated

export function putConnect(w: Writer, handle: number, type: number): void {
  w.u32(handle);
  w.u32(type);
}

/** flags of the request holds SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET. */
export function getConnect(r: Reader, out: OpenRequest): void {
  getOpen(r, out);
}

// ---- WATCH, UNWATCH: changes that others make to a file, or in a directory, as inotify(7) tells them

/** What may be asked for: changes, not reads. IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF. */
export const WATCH_EVENTS = 0xfce;

export function putWatch(w: Writer, handle: number): void {
  w.u32(handle);
}

export const getWatch: (r: Reader) => number = getHandle;

/** The watch's number is the result of WATCH; the first one brings the descriptor that tells of all. */
export function putUnwatch(w: Writer, wd: number): void {
  w.u32(wd);
}

export const getUnwatch: (r: Reader) => number = getHandle;

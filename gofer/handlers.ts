// One handler a message: decode (which checks), one or two host calls, encode. A handler answers ≥ 0 or the host's
// -errno; it throws ProtocolError for what an honest client never sends. Names are single components, checked by the
// Reader, and always relative to a control descriptor.

import {
  bindUnix,
  close,
  connectUnix,
  dup,
  fchmodat,
  fchownat,
  fstatfs,
  fsync,
  ftruncate,
  getxattr,
  inotifyAddWatch,
  inotifyInit,
  inotifyRmWatch,
  linkat,
  listEntries,
  listxattr,
  mkdirat,
  mknodat,
  openat2,
  readlinkat,
  readSmall,
  removexattr,
  renameat2,
  seekDir,
  setxattr,
  symlinkat,
  syncfs,
  unixSocket,
  unlinkat,
  utimensat,
} from 'ptrace-napi';
import { EACCES, EINVAL, EISDIR, EMFILE, ENOTDIR, EOPNOTSUPP, EPERM, EROFS, ESTALE, EXDEV } from '../sentry/abi/errno.ts';
import {
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
} from '../sentry/abi/fcntl.ts';
import { PATH_MAX, XATTR_LIST_MAX, XATTR_SIZE_MAX } from '../sentry/abi/limits.ts';
import { SOCK_DGRAM, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM } from '../sentry/abi/socket.ts';
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  S_ISUID,
  UTIME_NOW,
  UTIME_OMIT,
} from '../sentry/abi/stat.ts';
import { ProtocolError } from '../sentry/base/errors.ts';
import { type ControlFd, openPath, RESOLVE_STEP } from './control-fd.ts';
import { guardedMode, isGuarded, isGuardedFile } from './device-nodes.ts';
import { openDirectory, openForClient, pathOf, reopen } from './open-fd.ts';
import { ATTRIBUTES } from './protocol/attributes.ts';
import type { Reader, Writer } from './protocol/buffer.ts';
import {
  getAttach,
  getConnect,
  getHandle,
  getLink,
  getMake,
  getOpen,
  getReaddir,
  getRename,
  getSetStat,
  getSetXattr,
  getStats,
  getUnlink,
  getUnwatch,
  getWalk,
  getWalkOpen,
  getWatch,
  getXattrName,
  LinkRequest,
  MakeRequest,
  OP_ATTACH,
  OP_BIND,
  OP_CLOSE,
  OP_CONNECT,
  OP_CONTENTS,
  OP_COUNT,
  OP_CREATE,
  OP_GETXATTR,
  OP_LINK,
  OP_LISTXATTR,
  OP_MKDIR,
  OP_MKNOD,
  OP_OPEN,
  OP_READDIR,
  OP_READLINK,
  OP_REMOVEXATTR,
  OP_RENAME,
  OP_SETSTAT,
  OP_SETXATTR,
  OP_STAT,
  OP_STATFS,
  OP_STATS,
  OP_SYMLINK,
  OP_SYNC,
  OP_TMPFILE,
  OP_UNLINK,
  OP_UNWATCH,
  OP_WALK,
  OP_WALKOPEN,
  OP_WATCH,
  OpenRequest,
  ReaddirRequest,
  RenameRequest,
  SET_ATIME,
  SET_ATIME_NOW,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
  SetStatRequest,
  SMALL_FILE,
  STATFS_BYTES,
  StatsRequest,
  TREE_DEVICES,
  TREE_NODES,
  TREE_UDS_CREATE,
  TREE_UDS_OPEN,
  UnlinkRequest,
  WALK_LOOK,
  WALK_OPEN,
  WATCH_EVENTS,
  WalkOpenRequest,
  WalkRequest,
  XattrRequest,
} from './protocol/messages.ts';
import type { Connection } from './server.ts';

export type Handler = (c: Connection, r: Reader, w: Writer) => number;

/** chown(2): leave this id. */
const KEEP_ID = 0xffffffff;

// Requests are decoded into these: handlers do not overlap.
const walkRequest = new WalkRequest();
const setStatRequest = new SetStatRequest();
const openRequest = new OpenRequest();
const walkOpenRequest = new WalkOpenRequest();
const makeRequest = new MakeRequest();
const linkRequest = new LinkRequest();
const unlinkRequest = new UnlinkRequest();
const renameRequest = new RenameRequest();
const statsRequest = new StatsRequest();
const readdirRequest = new ReaddirRequest();
const xattrRequest = new XattrRequest();

/** Puts attributes of a descriptor's file; 0 or -errno. */
function putAttributes(c: Connection, w: Writer, fd: number): number {
  const result = c.attributes.ofFd(fd);
  if (result < 0) return result;
  c.attributes.put(w);
  return 0;
}

/** Nothing to do but the closes that came with it. */
function handleClose(_c: Connection, r: Reader, _w: Writer): number {
  r.done();
  return 0;
}

function handleAttach(c: Connection, r: Reader, w: Writer): number {
  const index = getAttach(r);
  if (index >= c.trees.length) throw new ProtocolError(`tree ${index}`);
  const tree = c.trees[index];
  const stat = c.attributes.ofFd(tree.rootFd);
  if (stat < 0) return stat;
  const fd = dup(tree.rootFd);
  if (fd < 0) return fd;
  const handle = c.handles.add(fd, c.attributes.type, tree);
  if (handle < 0) return handle;
  w.u32(handle);
  w.u32(tree.flags);
  w.u32(c.handleLimit);
  c.attributes.put(w);
  return 0;
}

function handleWalk(c: Connection, r: Reader, w: Writer): number {
  const q = walkRequest;
  getWalk(r, q);
  const start = c.handles.get(q.handle);
  const head = w.skip(8);
  let directory = start;
  let status = 0;
  let reached = 0;
  for (const name of q.names) {
    // It ends at a link or a file: what that means for the rest of the path is the Sentry's to say.
    if (!directory.isDirectory) {
      if (reached === 0) status = -ENOTDIR;
      break;
    }
    status = walkStep(c, w, directory, name, (q.flags & WALK_LOOK) !== 0 && reached + 1 === q.names.length);
    if (status < 0) break;
    reached++;
    if (status === 0) break;
    directory = c.handles.get(status);
    status = 0;
  }
  w.view.setUint32(head, reached, true);
  w.view.setInt32(head + 4, status, true);
  if ((q.flags & WALK_OPEN) !== 0 && status === 0 && reached > 0 && reached === q.names.length) openReached(c, directory);
  return 0;
}

/** Gives the file at the end of a walk away as well; what cannot be opened for reading is just walked to. */
function openReached(c: Connection, file: ControlFd): void {
  if (file.type !== S_IFREG) return;
  const fd = openForClient(c.own, file, O_RDONLY);
  if (fd >= 0) c.donated = fd;
}

/** One name further: its handle (0 when only looking), having put the step; or -errno with nothing put. */
function walkStep(c: Connection, w: Writer, directory: ControlFd, name: string, look: boolean): number {
  if (look) {
    const found = c.attributes.ofName(directory.fd, name);
    if (found < 0) return found;
    w.u32(0);
    c.attributes.put(w);
    return 0;
  }
  const fd = openPath(directory, name);
  if (fd < 0) return fd;
  const handle = addHandle(c, fd, directory);
  if (handle < 0) return handle;
  w.u32(handle);
  c.attributes.put(w);
  return handle;
}

/** A handle for a descriptor in the directory's tree, with its attributes loaded; the descriptor is closed on -errno. */
function addHandle(c: Connection, fd: number, directory: ControlFd): number {
  const stat = c.attributes.ofFd(fd);
  if (stat < 0) {
    close(fd);
    return stat;
  }
  return c.handles.add(fd, c.attributes.type, directory.tree);
}

function handleStat(c: Connection, r: Reader, w: Writer): number {
  return putAttributes(c, w, c.handles.get(getHandle(r)).fd);
}

function handleSetStat(c: Connection, r: Reader, w: Writer): number {
  const q = setStatRequest;
  getSetStat(r, q);
  const file = c.handles.get(q.handle);
  if (file.tree.readOnly) return -EROFS;
  const result = applySetStat(c, file, q);
  return result < 0 ? result : putAttributes(c, w, file.fd);
}

function applySetStat(c: Connection, file: ControlFd, q: SetStatRequest): number {
  if ((q.mask & SET_SIZE) !== 0) {
    const result = truncate(c, file, q.size);
    if (result < 0) return result;
  }
  const guarded = isGuardedFile(file, c.attributes);
  if (guarded && (q.mask & SET_UID) !== 0 && q.uid !== c.uid) return -EPERM;
  // The owner before the mode: chown(2) clears the set-id bits.
  if ((q.mask & (SET_UID | SET_GID)) !== 0) {
    const uid = (q.mask & SET_UID) !== 0 ? q.uid : KEEP_ID;
    const gid = (q.mask & SET_GID) !== 0 ? q.gid : KEEP_ID;
    const result = fchownat(file.fd, '', uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    if (result < 0) return result;
  }
  if ((q.mask & SET_MODE) !== 0) {
    const result = chmod(c, file, guarded ? guardedMode(q.mode) : q.mode);
    if (result < 0) return result;
  }
  if ((q.mask & (SET_ATIME | SET_MTIME | SET_ATIME_NOW | SET_MTIME_NOW)) === 0) return 0;
  const atimeNsec = (q.mask & SET_ATIME_NOW) !== 0 ? UTIME_NOW : (q.mask & SET_ATIME) !== 0 ? q.atimeNsec : UTIME_OMIT;
  const mtimeNsec = (q.mask & SET_MTIME_NOW) !== 0 ? UTIME_NOW : (q.mask & SET_MTIME) !== 0 ? q.mtimeNsec : UTIME_OMIT;
  return utimensat(file.fd, '', q.atimeSec, atimeNsec, q.mtimeSec, mtimeNsec, AT_EMPTY_PATH);
}

function truncate(c: Connection, file: ControlFd, size: number): number {
  if (file.isDirectory) return -EISDIR;
  if (file.type !== S_IFREG) return -EINVAL;
  const fd = reopen(c.own, file.fd, O_WRONLY);
  if (fd < 0) return fd;
  const result = ftruncate(fd, size);
  close(fd);
  return result;
}

// By way of our descriptor directory, as fchmodat2(2) with AT_EMPTY_PATH is too young for many hosts.
function chmod(c: Connection, file: ControlFd, mode: number): number {
  return file.type === S_IFLNK ? -EOPNOTSUPP : fchmodat(c.own.fd, String(file.fd), mode);
}

function handleOpen(c: Connection, r: Reader, _w: Writer): number {
  getOpen(r, openRequest);
  const fd = openForClient(c.own, c.handles.get(openRequest.handle), openRequest.flags);
  if (fd < 0) return fd;
  c.donated = fd;
  return 0;
}

function handleWalkOpen(c: Connection, r: Reader, w: Writer): number {
  const q = walkOpenRequest;
  getWalkOpen(r, q);
  const directory = c.handles.get(q.directory);
  if (!directory.isDirectory) return -ENOTDIR;
  const pathFd = openPath(directory, q.name);
  if (pathFd < 0) return pathFd;
  const handle = addHandle(c, pathFd, directory);
  if (handle < 0) return handle;
  w.u32(handle);
  c.attributes.put(w);
  const fd = openForClient(c.own, c.handles.get(handle), q.flags);
  if (fd < 0) {
    c.handles.remove(handle);
    return fd;
  }
  c.donated = fd;
  return 0;
}

/** The directory of a request that makes, removes or renames something, or -errno. */
function writable(c: Connection, handle: number): ControlFd | number {
  const directory = c.handles.get(handle);
  if (!directory.isDirectory) return -ENOTDIR;
  return directory.tree.readOnly ? -EROFS : directory;
}

function handleCreate(c: Connection, r: Reader, w: Writer): number {
  const q = makeRequest;
  getMake(r, true, q);
  const directory = writable(c, q.directory);
  if (typeof directory === 'number') return directory;
  const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  const fd = openat2(directory.fd, q.name, flags, q.mode & 0o7777, RESOLVE_STEP);
  return fd < 0 ? fd : newFile(c, w, directory, fd, q);
}

function handleTmpfile(c: Connection, r: Reader, w: Writer): number {
  const q = makeRequest;
  getMake(r, false, q);
  const directory = writable(c, q.directory);
  if (typeof directory === 'number') return directory;
  const fd = openat2(directory.fd, '.', O_RDWR | O_TMPFILE | O_CLOEXEC, q.mode & 0o7777, RESOLVE_STEP);
  return fd < 0 ? fd : newFile(c, w, directory, fd, q);
}

/** The answer for an open new file: its descriptor is donated, its handle is a second, O_PATH one. */
function newFile(c: Connection, w: Writer, directory: ControlFd, fd: number, q: MakeRequest): number {
  const pathFd = pathOf(c.own, fd);
  const result = pathFd < 0 ? pathFd : finishNew(c, w, directory, pathFd, S_IFREG, q);
  if (result < 0) {
    close(fd);
    if (q.name !== '') unlinkat(directory.fd, q.name, 0);
    return result;
  }
  c.donated = fd;
  return 0;
}

/**
 * Gives something new to its owner and answers it. We made it by name and opened it by name: whoever may write the
 * directory on the host could have put another file there, and would have it given away, so the type and the owner
 * must be those of something that we have made.
 */
function finishNew(c: Connection, w: Writer, directory: ControlFd, fd: number, type: number, q: MakeRequest): number {
  const stat = c.attributes.ofFd(fd);
  if (stat < 0 || c.attributes.type !== type || c.attributes.uid !== c.uid) {
    close(fd);
    return stat < 0 ? stat : -ESTALE;
  }
  const handle = c.handles.add(fd, type, directory.tree);
  if (handle < 0) return handle;
  let result = giveAway(c, c.handles.get(handle), q);
  if (result >= 0) {
    w.u32(handle);
    result = putAttributes(c, w, fd);
  }
  if (result >= 0) result = putAttributes(c, w, directory.fd);
  if (result < 0) c.handles.remove(handle);
  return result;
}

function giveAway(c: Connection, file: ControlFd, q: MakeRequest): number {
  const uid = c.attributes.uid === q.uid ? KEEP_ID : q.uid;
  const gid = c.attributes.gid === q.gid ? KEEP_ID : q.gid;
  if (uid !== KEEP_ID || gid !== KEEP_ID) {
    const result = fchownat(file.fd, '', uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    if (result < 0) return result;
  }
  // chown(2) has cleared them, and mkdir(2) never sets them.
  if ((q.mode & (S_ISUID | S_ISGID)) === 0 || file.type === S_IFLNK) return 0;
  return chmod(c, file, q.mode & 0o7777);
}

/** Opens what was just made and answers it; takes it away again when that fails. */
function finishMade(c: Connection, w: Writer, directory: ControlFd, type: number, q: MakeRequest): number {
  const fd = openPath(directory, q.name);
  const result = fd < 0 ? fd : finishNew(c, w, directory, fd, type, q);
  if (result < 0 && result !== -ESTALE) unlinkat(directory.fd, q.name, type === S_IFDIR ? AT_REMOVEDIR : 0);
  return result;
}

function handleMkdir(c: Connection, r: Reader, w: Writer): number {
  const q = makeRequest;
  getMake(r, true, q);
  const directory = writable(c, q.directory);
  if (typeof directory === 'number') return directory;
  const result = mkdirat(directory.fd, q.name, q.mode & 0o7777);
  return result < 0 ? result : finishMade(c, w, directory, S_IFDIR, q);
}

function handleMknod(c: Connection, r: Reader, w: Writer): number {
  const q = makeRequest;
  getMake(r, true, q);
  const directory = writable(c, q.directory);
  if (typeof directory === 'number') return directory;
  const type = q.mode & S_IFMT;
  const isWhiteout = type === S_IFCHR && q.rdevMajor === 0 && q.rdevMinor === 0;
  const isDevice = (type === S_IFCHR || type === S_IFBLK) && !isWhiteout;
  // "the filesystem containing pathname does not support the type of node requested" - mknod(2). A device node of the
  // guest's choice in a host directory is a door for others on the host.
  if (isDevice && (directory.tree.flags & (TREE_DEVICES | TREE_NODES)) === 0) return -EPERM;
  if (isDevice && (directory.tree.flags & TREE_DEVICES) === 0 && isGuarded(type, q.rdevMajor, q.rdevMinor)) {
    if (q.uid !== c.uid) return -EPERM;
    q.mode = guardedMode(q.mode);
  }
  if (!isDevice && !isWhiteout && type !== S_IFREG && type !== S_IFIFO && type !== S_IFSOCK) return -EINVAL;
  const result = mknodat(directory.fd, q.name, q.mode, q.rdevMajor, q.rdevMinor);
  return result < 0 ? result : finishMade(c, w, directory, type, q);
}

function handleSymlink(c: Connection, r: Reader, w: Writer): number {
  const q = makeRequest;
  getMake(r, true, q);
  const directory = writable(c, q.directory);
  if (typeof directory === 'number') return directory;
  const result = symlinkat(q.target, directory.fd, q.name);
  return result < 0 ? result : finishMade(c, w, directory, S_IFLNK, q);
}

function handleLink(c: Connection, r: Reader, w: Writer): number {
  const q = linkRequest;
  getLink(r, q);
  const file = c.handles.get(q.handle);
  const directory = writable(c, q.directory);
  if (typeof directory === 'number') return directory;
  if (file.tree !== directory.tree) return -EXDEV;
  if (file.isDirectory) return -EPERM;
  // AT_EMPTY_PATH would take CAP_DAC_READ_SEARCH in the first user namespace: fs/namei.c:do_linkat().
  const result = linkat(c.own.fd, String(file.fd), directory.fd, q.name, AT_SYMLINK_FOLLOW);
  if (result < 0) return result;
  const put = putAttributes(c, w, file.fd);
  return put < 0 ? put : putAttributes(c, w, directory.fd);
}

function handleUnlink(c: Connection, r: Reader, w: Writer): number {
  const q = unlinkRequest;
  getUnlink(r, q);
  const directory = writable(c, q.directory);
  const child = q.child === 0 ? undefined : c.handles.get(q.child);
  if (typeof directory === 'number') return directory;
  const result = unlinkat(directory.fd, q.name, q.isDirectory ? AT_REMOVEDIR : 0);
  if (result < 0) return result;
  const put = putAttributes(c, w, directory.fd);
  if (put < 0 || child === undefined) return put;
  return putAttributes(c, w, child.fd);
}

const RENAME_FLAGS: number = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

function handleRename(c: Connection, r: Reader, w: Writer): number {
  const q = renameRequest;
  getRename(r, q);
  if ((q.flags & ~RENAME_FLAGS) !== 0) throw new ProtocolError(`rename flags ${q.flags}`);
  const from = writable(c, q.oldDirectory);
  if (typeof from === 'number') return from;
  const to = writable(c, q.newDirectory);
  if (typeof to === 'number') return to;
  if (from.tree !== to.tree) return -EXDEV;
  const result = renameat2(from.fd, q.oldName, to.fd, q.newName, q.flags);
  if (result < 0) return result;
  const put = putAttributes(c, w, from.fd);
  return put < 0 ? put : putAttributes(c, w, to.fd);
}

function handleReadlink(c: Connection, r: Reader, w: Writer): number {
  const file = c.handles.get(getHandle(r));
  if (file.type !== S_IFLNK) return -EINVAL;
  const head = w.skip(4);
  const n = readlinkat(file.fd, '', w.u8, w.at, PATH_MAX);
  if (n < 0) return n;
  w.skip(n);
  w.view.setUint32(head, n, true);
  return 0;
}

function handleReaddir(c: Connection, r: Reader, w: Writer): number {
  const q = readdirRequest;
  getReaddir(r, q);
  let directory = c.handles.get(q.handle);
  if (!directory.isDirectory) return -ENOTDIR;
  const head = w.skip(READDIR_HEAD);
  let handle = 0;
  if (q.name !== '') {
    const pathFd = openPath(directory, q.name);
    if (pathFd < 0) return pathFd;
    handle = addHandle(c, pathFd, directory);
    if (handle < 0) return handle;
    directory = c.handles.get(handle);
  }
  const attributes = w.skip(ATTRIBUTES.size);
  let result = directory.isDirectory ? putEntries(c, w, directory, q, head) : -ENOTDIR;
  // Reading moves the access time: these are the attributes as it has left them.
  if (result >= 0) result = c.attributes.ofFd(directory.fd);
  if (result >= 0) c.attributes.putAt(w, attributes);
  if (handle !== 0 && result < 0) c.handles.remove(handle);
  w.view.setUint32(head + 16, handle, true);
  return result;
}

/** count, at the end?, where to go on (two words), handle. */
const READDIR_HEAD = 20;
/** Of listEntries() in native/src/hostcalls.cc; the lower bits are READDIR_*. */
const LIST_SINGLE_ID = 4;

function putEntries(c: Connection, w: Writer, directory: ControlFd, q: ReaddirRequest, head: number): number {
  const fd = openDirectory(directory);
  if (fd < 0) return fd;
  const words = c.listWords;
  words[1] = q.cookieLo;
  words[2] = q.cookieHi;
  let n = q.cookieLo === 0 && q.cookieHi === 0 ? 0 : seekDir(fd, q.cookieLo, q.cookieHi);
  const flags = q.flags | (c.singleId ? LIST_SINGLE_ID : 0);
  if (n >= 0) n = listEntries(fd, w.u8, w.at, w.u8.length, flags, words);
  close(fd);
  if (n < 0) return n;
  w.skip(n);
  w.view.setUint32(head, words[0], true);
  w.view.setUint32(head + 4, words[3], true);
  w.view.setUint32(head + 8, words[1], true);
  w.view.setUint32(head + 12, words[2], true);
  return 0;
}

function handleStats(c: Connection, r: Reader, w: Writer): number {
  const q = statsRequest;
  getStats(r, q);
  const directory = c.handles.get(q.directory);
  if (!directory.isDirectory) return -ENOTDIR;
  for (const name of q.names) {
    const found = c.attributes.ofName(directory.fd, name);
    w.i32(Math.min(found, 0));
    if (found >= 0) c.attributes.put(w);
  }
  return 0;
}

/** Of readSmall() in native/src/hostcalls.cc. */
const SMALL_SINGLE_ID = 1;

/** Small files, as far as the host has them at hand: what would wait for a disk is left to who can wait. */
function handleContents(c: Connection, r: Reader, w: Writer): number {
  const q = statsRequest;
  getStats(r, q);
  const directory = c.handles.get(q.directory);
  if (!directory.isDirectory) return -ENOTDIR;
  for (let i = 0; i < q.names.length; i++) {
    const status = w.skip(4);
    // Each name that follows has its status.
    const end = w.u8.length - (q.names.length - i - 1) * 4;
    const n = readSmall(directory.fd, q.names[i], c.own.fd, w.u8, w.at, end, SMALL_FILE, c.singleId ? SMALL_SINGLE_ID : 0);
    w.view.setInt32(status, Math.min(n, 0), true);
    if (n > 0) w.skip(n);
  }
  return 0;
}

function handleStatfs(c: Connection, r: Reader, w: Writer): number {
  const file = c.handles.get(getHandle(r));
  return fstatfs(file.fd, w.u8, w.skip(STATFS_BYTES));
}

/** fsync of a directory, syncfs of a tree's file system: what the Sentry has no descriptor for. */
function handleSync(c: Connection, r: Reader, _w: Writer): number {
  getOpen(r, openRequest);
  const file = c.handles.get(openRequest.handle);
  if (file.type !== S_IFDIR && file.type !== S_IFREG) return -EINVAL;
  const fd = file.isDirectory ? openDirectory(file) : reopen(c.own, file.fd, O_RDONLY);
  if (fd < 0) return fd;
  const result = openRequest.flags === 0 ? fsync(fd) : syncfs(fd);
  close(fd);
  return result;
}

/** What the calls take that know no O_PATH descriptors. */
function ownPath(c: Connection, file: ControlFd): string {
  return `${c.own.path}/${file.fd}`;
}

function handleGetXattr(c: Connection, r: Reader, w: Writer): number {
  const q = xattrRequest;
  getXattrName(r, q);
  const file = c.handles.get(q.handle);
  const head = w.skip(4);
  const n = getxattr(ownPath(c, file), q.name, w.u8, w.at, XATTR_SIZE_MAX);
  if (n < 0) return n;
  w.skip(n);
  w.view.setUint32(head, n, true);
  return 0;
}

function handleSetXattr(c: Connection, r: Reader, w: Writer): number {
  const q = xattrRequest;
  getSetXattr(r, q);
  const file = c.handles.get(q.handle);
  if (file.tree.readOnly) return -EROFS;
  // An access control list opens it to others as a mode does.
  if (isGuardedFile(file, c.attributes)) return -EPERM;
  const result = setxattr(ownPath(c, file), q.name, r.u8, q.valueAt, q.valueLength, q.flags);
  return result < 0 ? result : putAttributes(c, w, file.fd);
}

function handleListXattr(c: Connection, r: Reader, w: Writer): number {
  const file = c.handles.get(getHandle(r));
  const head = w.skip(4);
  const n = listxattr(ownPath(c, file), w.u8, w.at, XATTR_LIST_MAX);
  if (n < 0) return n;
  w.skip(n);
  w.view.setUint32(head, n, true);
  return 0;
}

function handleRemoveXattr(c: Connection, r: Reader, w: Writer): number {
  const q = xattrRequest;
  getXattrName(r, q);
  const file = c.handles.get(q.handle);
  if (file.tree.readOnly) return -EROFS;
  const result = removexattr(ownPath(c, file), q.name);
  return result < 0 ? result : putAttributes(c, w, file.fd);
}

function isSocketType(type: number): boolean {
  return type === SOCK_STREAM || type === SOCK_DGRAM || type === SOCK_SEQPACKET;
}

/** A socket bound at a name of the tree, for the Sentry to listen on. */
function handleBind(c: Connection, r: Reader, w: Writer): number {
  const q = makeRequest;
  getMake(r, true, q);
  const directory = writable(c, q.directory);
  if (typeof directory === 'number') return directory;
  if (!isSocketType(q.rdevMajor)) throw new ProtocolError(`socket type ${q.rdevMajor}`);
  if ((directory.tree.flags & TREE_UDS_CREATE) === 0) return -EPERM;
  const socket = unixSocket(q.rdevMajor | SOCK_NONBLOCK);
  if (socket < 0) return socket;
  const bound = bindUnix(socket, `${ownPath(c, directory)}/${q.name}`);
  // bind(2) says EADDRINUSE for any file that is there already.
  const result = bound < 0 ? bound : finishMade(c, w, directory, S_IFSOCK, q);
  if (result < 0) {
    close(socket);
    return result;
  }
  c.donated = socket;
  return 0;
}

function handleConnect(c: Connection, r: Reader, _w: Writer): number {
  const q = openRequest;
  getConnect(r, q);
  const file = c.handles.get(q.handle);
  if (!isSocketType(q.flags)) throw new ProtocolError(`socket type ${q.flags}`);
  if (file.type !== S_IFSOCK || (file.tree.flags & TREE_UDS_OPEN) === 0) return -EACCES;
  const socket = unixSocket(q.flags | SOCK_NONBLOCK);
  if (socket < 0) return socket;
  const result = connectUnix(socket, ownPath(c, file));
  if (result < 0) {
    close(socket);
    return result;
  }
  c.donated = socket;
  return 0;
}

/** Puts the file under watch: the watch's number. All watches of a connection tell their events through one descriptor. */
function handleWatch(c: Connection, r: Reader, _w: Writer): number {
  const file = c.handles.get(getWatch(r));
  const isFirst = c.inotifyFd < 0;
  if (isFirst) {
    const fd = inotifyInit(O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return fd;
    c.inotifyFd = fd;
  }
  const wd = inotifyAddWatch(c.inotifyFd, ownPath(c, file), WATCH_EVENTS);
  if (isFirst && wd >= 0) {
    const donated = dup(c.inotifyFd);
    if (donated >= 0) c.donated = donated;
  }
  if (c.donated < 0 && isFirst) {
    close(c.inotifyFd);
    c.inotifyFd = -1;
    return wd < 0 ? wd : -EMFILE;
  }
  return wd;
}

function handleUnwatch(c: Connection, r: Reader, _w: Writer): number {
  const wd = getUnwatch(r);
  return c.inotifyFd < 0 ? -EINVAL : inotifyRmWatch(c.inotifyFd, wd);
}

/** By OP_*. */
export const HANDLERS: readonly Handler[] = table([
  [OP_CLOSE, handleClose],
  [OP_ATTACH, handleAttach],
  [OP_WALK, handleWalk],
  [OP_STAT, handleStat],
  [OP_SETSTAT, handleSetStat],
  [OP_OPEN, handleOpen],
  [OP_CREATE, handleCreate],
  [OP_MKDIR, handleMkdir],
  [OP_MKNOD, handleMknod],
  [OP_SYMLINK, handleSymlink],
  [OP_LINK, handleLink],
  [OP_UNLINK, handleUnlink],
  [OP_RENAME, handleRename],
  [OP_READLINK, handleReadlink],
  [OP_READDIR, handleReaddir],
  [OP_STATFS, handleStatfs],
  [OP_GETXATTR, handleGetXattr],
  [OP_SETXATTR, handleSetXattr],
  [OP_LISTXATTR, handleListXattr],
  [OP_REMOVEXATTR, handleRemoveXattr],
  [OP_SYNC, handleSync],
  [OP_TMPFILE, handleTmpfile],
  [OP_BIND, handleBind],
  [OP_CONNECT, handleConnect],
  [OP_WALKOPEN, handleWalkOpen],
  [OP_STATS, handleStats],
  [OP_CONTENTS, handleContents],
  [OP_WATCH, handleWatch],
  [OP_UNWATCH, handleUnwatch],
]);

function table(lines: readonly (readonly [number, Handler])[]): Handler[] {
  const handlers = new Array<Handler>(OP_COUNT);
  for (const [op, handler] of lines) handlers[op] = handler;
  return handlers;
}

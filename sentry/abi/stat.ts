// stat(2), statx(2), statfs(2), mode bits: include/uapi/linux/stat.h.

import { assert } from '../base/assert.ts';
import { put64 } from '../base/int64.ts';
import { major, minor } from './device.ts';
import { array, i32, i64, layout, u16, u32, u64 } from './layout.ts';

export const AAFS_MAGIC = 0x5a3c69f0;

export const ADFS_SUPER_MAGIC = 0xadf5;

export const AFFS_SUPER_MAGIC = 0xadff;

export const AFS_SUPER_MAGIC = 0x5346414f;
export const AFS_FS_MAGIC = 0x6b414653;

export const ANON_INODE_FS_MAGIC = 0x9041934;

export const AUTOFS_SUPER_MAGIC = 0x187;

export const BDEVFS_MAGIC = 0x62646576;

export const BINDERFS_SUPER_MAGIC = 0x6c6f6f70;

export const BINFMTFS_MAGIC = 0x42494e4d;

export const BPF_FS_MAGIC = 0xcafe4a11;

export const BTRFS_TEST_MAGIC = 0x73727279;
export const BTRFS_SUPER_MAGIC = 0x9123683e;

export const CEPH_SUPER_MAGIC = 0xc36400;

export const CGROUP2_SUPER_MAGIC = 0x63677270;

export const CGROUP_SUPER_MAGIC = 0x27e0eb;

export const CIFS_SUPER_MAGIC = 0xff534d42;

export const CODA_SUPER_MAGIC = 0x73757245;

export const CRAMFS_MAGIC = 0x28cd3d45;

export const DAXFS_MAGIC = 0x64646178;

export const DEBUGFS_MAGIC = 0x64626720;

export const DEVMEM_MAGIC = 0x454d444d;

export const DEVPTS_SUPER_MAGIC = 0x1cd1;

export const DMA_BUF_MAGIC = 0x444d4142;

export const ECRYPTFS_SUPER_MAGIC = 0xf15f;

export const EFIVARFS_MAGIC = 0xde5e81e4;

export const EFS_SUPER_MAGIC = 0x414a53;

export const EXFAT_SUPER_MAGIC = 0x2011bab0;

export const EXT2_SUPER_MAGIC = 0xef53;

export const EXT3_SUPER_MAGIC = 0xef53;

export const EXT4_SUPER_MAGIC = 0xef53;

export const F2FS_SUPER_MAGIC = 0xf2f52010;

export const FUSE_SUPER_MAGIC = 0x65735546;

export const FUTEXFS_SUPER_MAGIC = 0xbad1dea;

export const HOSTFS_SUPER_MAGIC = 0xc0ffee;

export const HPFS_SUPER_MAGIC = 0xf995e849;

export const HUGETLBFS_MAGIC = 0x958458f6;

export const ISOFS_SUPER_MAGIC = 0x9660;

export const JFFS2_SUPER_MAGIC = 0x72b6;

export const MINIX2_SUPER_MAGIC = 0x2468;

export const MINIX3_SUPER_MAGIC = 0x4d5a;

export const MINIX_SUPER_MAGIC = 0x137f;

export const MSDOS_SUPER_MAGIC = 0x4d44;

export const MTD_INODE_FS_MAGIC = 0x11307854;

export const NCP_SUPER_MAGIC = 0x564c;

export const NFS_SUPER_MAGIC = 0x6969;

export const NILFS_SUPER_MAGIC = 0x3434;

export const NSFS_MAGIC = 0x6e736673;
export const PIDFS_MAGIC = 0x50494446;

export const OCFS2_SUPER_MAGIC = 0x7461636f;

export const OPENPROM_SUPER_MAGIC = 0x9fa1;

export const OVERLAYFS_SUPER_MAGIC = 0x794c7630;

export const PIPEFS_MAGIC = 0x50495045;

export const PROC_SUPER_MAGIC = 0x9fa0;

export const PSTOREFS_MAGIC = 0x6165676c;

export const QNX4_SUPER_MAGIC = 47;

export const QNX6_SUPER_MAGIC = 0x68191122;

export const RAMFS_MAGIC = 0x858458f6;

export const RDTGROUP_SUPER_MAGIC = 0x7655821;

export const REISERFS_SUPER_MAGIC = 0x52654973;

export const SECRETMEM_MAGIC = 0x5345434d;

export const SECURITYFS_MAGIC = 0x73636673;

export const SELINUX_MAGIC = 0xf97cff8c;

export const SMACK_MAGIC = 0x43415d53;

export const SMB2_SUPER_MAGIC = 0xfe534d42;

export const SMB_SUPER_MAGIC = 0x517b;

export const SOCKFS_MAGIC = 0x534f434b;

export const SQUASHFS_MAGIC = 0x73717368;

export const STACK_END_MAGIC = 0x57ac6e9d;

export const STATX_TYPE = 1;
export const STATX_MODE = 2;
export const STATX_ATTR_COMPRESSED = 4;
export const STATX_NLINK = 4;
export const STATX_UID = 8;
export const STATX_ATTR_IMMUTABLE = 16;
export const STATX_GID = 16;
export const STATX_ATIME = 32;
export const STATX_ATTR_APPEND = 32;
export const STATX_ATTR_NODUMP = 64;
export const STATX_MTIME = 64;
export const STATX_CTIME = 128;
export const STATX_INO = 0x100;
export const STATX_SIZE = 0x200;
export const STATX_BLOCKS = 0x400;
export const STATX_BASIC_STATS = 0x7ff;
export const STATX_ATTR_ENCRYPTED = 0x800;
export const STATX_BTIME = 0x800;
export const STATX_ALL = 0xfff;
export const STATX_ATTR_AUTOMOUNT = 0x1000;
export const STATX_MNT_ID = 0x1000;
export const STATX_ATTR_MOUNT_ROOT = 0x2000;
export const STATX_DIOALIGN = 0x2000;
export const STATX_MNT_ID_UNIQUE = 0x4000;
export const STATX_ATTR_VERITY = 0x100000;
export const STATX_ATTR_DAX = 0x200000;
export const STATX__RESERVED = 0x80000000;

export const SYSFS_MAGIC = 0x62656572;

export const S_IXOTH = 1;
export const S_IWOTH = 2;
export const S_IROTH = 4;
export const S_IRWXO = 7;
export const S_IXGRP = 0o10;
export const S_IWGRP = 0o20;
export const S_IRGRP = 0o40;
export const S_IRWXG = 0o70;
export const S_IEXEC = 0o100;
export const S_IXUSR = 0o100;
export const S_IWRITE = 0o200;
export const S_IWUSR = 0o200;
export const S_IREAD = 0o400;
export const S_IRUSR = 0o400;
export const S_IRWXU = 0o700;
export const S_ISVTX = 0o1000;
export const S_ISGID = 0o2000;
export const S_ISUID = 0o4000;
export const S_IFIFO = 0o10000;
export const S_IFCHR = 0o20000;
export const S_IFDIR = 0o40000;
export const S_IFBLK = 0o60000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFSOCK = 0o140000;
export const S_IFMT = 0o170000;

export const TMPFS_MAGIC = 0x1021994;

export const TRACEFS_MAGIC = 0x74726163;

export const UDF_SUPER_MAGIC = 0x15013346;

export const USBDEVICE_SUPER_MAGIC = 0x9fa2;

export const UTIME_OMIT = 0x3ffffffe;
export const UTIME_NOW = 0x3fffffff;

export const V9FS_MAGIC = 0x1021997;

export const XENFS_SUPER_MAGIC = 0xabba1974;

export const XFS_SUPER_MAGIC = 0x58465342;

export const ZONEFS_MAGIC = 0x5a4f4653;

export const S_IALLUGO = 0o7777;
export const S_IRWXUGO = 0o777;
export const S_IXUGO = 0o111;
export const S_IRUGO = 0o444;
export const S_IWUGO = 0o222;

/** What stat(2) and statx(2) tell of an inode. Ids are mapped by the caller. */
export interface StatSource {
  readonly dev: number;
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly rdev: number;
  readonly size: number;
  readonly blocks: number;
  readonly blockSize: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  readonly btimeSec: number;
  readonly btimeNsec: number;
}

// struct stat, arch/x86/include/uapi/asm/stat.h.
export const STAT = layout({
  dev: u64,
  ino: u64,
  nlink: u64,
  mode: u32,
  uid: u32,
  gid: u32,
  pad0: u32,
  rdev: u64,
  fileSize: i64,
  blksize: i64,
  blocks: i64,
  atime: i64,
  atimeNsec: u64,
  mtime: i64,
  mtimeNsec: u64,
  ctime: i64,
  ctimeNsec: u64,
  unused: array(i64, 3),
});
assert(STAT.size === 144);

export function putStat(v: DataView, at: number, s: StatSource, uid: number, gid: number): void {
  put64(v, at + STAT.dev, s.dev);
  put64(v, at + STAT.ino, s.ino);
  put64(v, at + STAT.nlink, s.nlink);
  v.setUint32(at + STAT.mode, s.mode, true);
  v.setUint32(at + STAT.uid, uid, true);
  v.setUint32(at + STAT.gid, gid, true);
  v.setUint32(at + STAT.pad0, 0, true);
  put64(v, at + STAT.rdev, s.rdev);
  put64(v, at + STAT.fileSize, s.size);
  put64(v, at + STAT.blksize, s.blockSize);
  put64(v, at + STAT.blocks, s.blocks);
  put64(v, at + STAT.atime, s.atimeSec);
  put64(v, at + STAT.atimeNsec, s.atimeNsec);
  put64(v, at + STAT.mtime, s.mtimeSec);
  put64(v, at + STAT.mtimeNsec, s.mtimeNsec);
  put64(v, at + STAT.ctime, s.ctimeSec);
  put64(v, at + STAT.ctimeNsec, s.ctimeNsec);
  put64(v, at + STAT.unused, 0);
  put64(v, at + STAT.unused + 8, 0);
  put64(v, at + STAT.unused + 16, 0);
}

// struct statx, include/uapi/linux/stat.h. Timestamps are { i64 sec; u32 nsec; i32 reserved }.
const statxTime = { size: 16, align: 8 };
export const STATX = layout({
  mask: u32,
  blksize: u32,
  attributes: u64,
  nlink: u32,
  uid: u32,
  gid: u32,
  mode: u16,
  spare0: u16,
  ino: u64,
  fileSize: u64,
  blocks: u64,
  attributesMask: u64,
  atime: statxTime,
  btime: statxTime,
  ctime: statxTime,
  mtime: statxTime,
  rdevMajor: u32,
  rdevMinor: u32,
  devMajor: u32,
  devMinor: u32,
  mntId: u64,
  dioMemAlign: u32,
  dioOffsetAlign: u32,
  spare: array(u64, 12),
});
assert(STATX.size === 256);

/** mask and attributes: what the caller knows to be valid and set. */
export function putStatx(
  v: DataView,
  at: number,
  s: StatSource,
  uid: number,
  gid: number,
  mask: number,
  attributes: number,
  attributesMask: number,
  mountId: number,
): void {
  for (let i = 0; i < STATX.size; i += 4) v.setUint32(at + i, 0, true);
  v.setUint32(at + STATX.mask, mask, true);
  v.setUint32(at + STATX.blksize, s.blockSize, true);
  put64(v, at + STATX.attributes, attributes);
  v.setUint32(at + STATX.nlink, s.nlink, true);
  v.setUint32(at + STATX.uid, uid, true);
  v.setUint32(at + STATX.gid, gid, true);
  v.setUint16(at + STATX.mode, s.mode, true);
  put64(v, at + STATX.ino, s.ino);
  put64(v, at + STATX.fileSize, s.size);
  put64(v, at + STATX.blocks, s.blocks);
  put64(v, at + STATX.attributesMask, attributesMask);
  put64(v, at + STATX.atime, s.atimeSec);
  v.setUint32(at + STATX.atime + 8, s.atimeNsec, true);
  put64(v, at + STATX.btime, s.btimeSec);
  v.setUint32(at + STATX.btime + 8, s.btimeNsec, true);
  put64(v, at + STATX.ctime, s.ctimeSec);
  v.setUint32(at + STATX.ctime + 8, s.ctimeNsec, true);
  put64(v, at + STATX.mtime, s.mtimeSec);
  v.setUint32(at + STATX.mtime + 8, s.mtimeNsec, true);
  v.setUint32(at + STATX.rdevMajor, major(s.rdev), true);
  v.setUint32(at + STATX.rdevMinor, minor(s.rdev), true);
  v.setUint32(at + STATX.devMajor, major(s.dev), true);
  v.setUint32(at + STATX.devMinor, minor(s.dev), true);
  put64(v, at + STATX.mntId, mountId);
}

/** What statfs(2) tells of a file system. */
export interface StatfsSource {
  readonly type: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameLength: number;
  readonly flags: number;
}

// struct statfs, include/uapi/asm-generic/statfs.h.
export const STATFS = layout({
  type: i64,
  bsize: i64,
  blocks: u64,
  bfree: u64,
  bavail: u64,
  files: u64,
  ffree: u64,
  fsid: array(i32, 2),
  namelen: i64,
  frsize: i64,
  flags: i64,
  spare: array(i64, 4),
});
assert(STATFS.size === 120);

// f_flags: include/linux/statfs.h.
export const ST_RDONLY = 1;
export const ST_NOSUID = 2;
export const ST_NODEV = 4;
export const ST_NOEXEC = 8;
export const ST_VALID = 0x20;
export const ST_NOATIME = 0x400;
export const ST_NODIRATIME = 0x800;
export const ST_RELATIME = 0x1000;
export const ST_NOSYMFOLLOW = 0x2000;

/** fsid is what stands for the file system: its device number. */
export function putStatfs(v: DataView, at: number, s: StatfsSource, fsid: number): void {
  put64(v, at + STATFS.type, s.type);
  put64(v, at + STATFS.bsize, s.blockSize);
  put64(v, at + STATFS.blocks, s.blocks);
  put64(v, at + STATFS.bfree, s.blocksFree);
  put64(v, at + STATFS.bavail, s.blocksAvailable);
  put64(v, at + STATFS.files, s.files);
  put64(v, at + STATFS.ffree, s.filesFree);
  v.setUint32(at + STATFS.fsid, fsid, true);
  v.setUint32(at + STATFS.fsid + 4, 0, true);
  put64(v, at + STATFS.namelen, s.nameLength);
  put64(v, at + STATFS.frsize, s.blockSize);
  put64(v, at + STATFS.flags, s.flags);
  for (let i = 0; i < 4; i++) put64(v, at + STATFS.spare + i * 8, 0);
}

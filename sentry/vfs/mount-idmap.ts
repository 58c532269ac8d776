// Id-mapped mounts: struct mnt_idmap, fs/mnt_idmapping.c.
//
// Where Linux hands the mapping to every check and every operation of a file system, we hand on
// credentials that are already mapped: ids of the caller as the files have them. What compares them
// with a file's ids, or gives them to a new file, is right without knowing of it; only where a file's
// ids are looked at in the other direction (stat, "has this id a mapping here?") is the map asked.

import type { Credentials } from '../kernel/credentials.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import type { Mount } from './mount.ts';

export class MountIdmap {
  /** Whose maps it uses; they can be written only once. */
  private readonly maps: UserNamespace;
  /** What the ids in the files are counted in: s_user_ns; null for the initial one. */
  private readonly fsUserns: UserNamespace | null;
  private readonly mappedCreds = new WeakMap<Credentials, Credentials>();

  constructor(maps: UserNamespace, fsUserns: UserNamespace | null) {
    this.maps = maps;
    this.fsUserns = fsUserns;
  }

  /** What the mount shows for a file's owner, or -1: make_vfsuid(). Both are ids of the root namespace. */
  uidInto(uid: number): number {
    const fs = this.fsUserns;
    if (uid < 0 || (fs !== null && !fs.hasUid(uid))) return -1;
    return this.maps.uidToKernel(fs === null ? uid : fs.uidFromKernel(uid));
  }

  gidInto(gid: number): number {
    const fs = this.fsUserns;
    if (gid < 0 || (fs !== null && !fs.hasGid(gid))) return -1;
    return this.maps.gidToKernel(fs === null ? gid : fs.gidFromKernel(gid));
  }

  /** What a file has for an id seen through the mount, or -1: from_vfsuid(). */
  uidFrom(uid: number): number {
    if (uid < 0 || !this.maps.hasUid(uid)) return -1;
    const raw = this.maps.uidFromKernel(uid);
    return this.fsUserns === null ? raw : this.fsUserns.uidToKernel(raw);
  }

  gidFrom(gid: number): number {
    if (gid < 0 || !this.maps.hasGid(gid)) return -1;
    const raw = this.maps.gidFromKernel(gid);
    return this.fsUserns === null ? raw : this.fsUserns.gidToKernel(raw);
  }

  /** The caller as the files below the mount see it. */
  credentials(creds: Credentials): Credentials {
    const known = this.mappedCreds.get(creds);
    if (known !== undefined) return known;
    const mapped = creds.clone();
    mapped.fsuid = this.uidFrom(creds.fsuid);
    mapped.fsgid = this.gidFrom(creds.fsgid);
    mapped.groups = creds.groups.map((gid) => this.gidFrom(gid)).filter((gid) => gid >= 0);
    mapped.idmap = this;
    this.mappedCreds.set(creds, mapped);
    return mapped;
  }

  /** The lines of statmount(2): "inside outside count", with ids of the reader's namespace; ranges that it cannot name are left out. */
  lines(reader: UserNamespace, isUid: boolean): string[] {
    const out: string[] = [];
    for (const { inside, count } of (isUid ? this.maps.uidMap : this.maps.gidMap) ?? []) {
      const outside = isUid ? this.maps.uidToKernel(inside) : this.maps.gidToKernel(inside);
      if (!(isUid ? reader.hasUid(outside) : reader.hasGid(outside))) continue;
      out.push(`${inside} ${isUid ? reader.uidFromKernel(outside) : reader.gidFromKernel(outside)} ${count}`);
    }
    return out;
  }
}

/** The credentials that count for files of a mount. */
export function credsOn(mount: Mount | null, creds: Credentials): Credentials {
  return mount === null || mount.idmap === null ? creds : mount.idmap.credentials(creds);
}

/** A file's owner as seen through a mount, or -1. */
export function uidOn(mount: Mount | null, uid: number): number {
  return mount === null || mount.idmap === null ? uid : mount.idmap.uidInto(uid);
}

export function gidOn(mount: Mount | null, gid: number): number {
  return mount === null || mount.idmap === null ? gid : mount.idmap.gidInto(gid);
}

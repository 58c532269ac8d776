import { makedev } from '../abi/device.ts';

// The first few are those of pipefs, sockfs and the like (fs/anon.ts).
let nextMinor = 20;

/** st_dev for a file system without a device: major 0 and a minor of its own. fs/super.c:get_anon_bdev(). */
export function allocateAnonDev(): number {
  return makedev(0, nextMinor++);
}

// Device numbers as st_dev and st_rdev carry them: include/linux/kdev_t.h:new_encode_dev().

/** A device number from its parts: 12 bits of major, 20 of minor. */
export function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

export function major(dev: number): number {
  return (dev >>> 8) & 0xfff;
}

export function minor(dev: number): number {
  return (dev & 0xff) | ((dev >>> 12) & 0xfff00);
}

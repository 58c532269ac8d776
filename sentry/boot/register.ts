// What the VFS knows of by name and by number: the arrow of imports ends here, since vfs and kernel know no file system.

import { cgroupTypes } from '../fs/cgroupfs.ts';
import { registerMemoryDevices } from '../fs/devices.ts';
import { devptsType, registerTerminals } from '../fs/devpts.ts';
import { devtmpfsType } from '../fs/devtmpfs.ts';
import { erofsType } from '../fs/erofs/filesystem.ts';
import { registerFuseDevice } from '../fs/fuse/device.ts';
import { fuseType } from '../fs/fuse/filesystem.ts';
import { mqueueType } from '../fs/mqueue.ts';
import { overlayType } from '../fs/overlay.ts';
import { openFifo } from '../fs/pipe.ts';
import { procType } from '../fs/proc.ts';
import { registerHostNetworkFiles } from '../fs/proc-net-host.ts';
import { sysfsType } from '../fs/sysfs.ts';
import { tmpfsType } from '../fs/tmpfs.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { SYSCTLS } from '../kernel/sysctl.ts';
import { registerSocketFamilies } from '../net/families.ts';
import { registerTun } from '../net/tun.ts';

/** /proc/cmdline. */
const COMMAND_LINE = 'BOOT_IMAGE=/vmlinuz-runsc quiet';

export function registerFilesystems(kernel: Kernel): void {
  const { vfs } = kernel;
  vfs.registerFilesystem(tmpfsType);
  vfs.registerFilesystem(overlayType(vfs));
  vfs.registerFilesystem(procType(kernel, { cmdline: COMMAND_LINE, sysctls: SYSCTLS }));
  vfs.registerFilesystem(sysfsType(kernel));
  vfs.registerFilesystem(devtmpfsType(kernel));
  for (const type of cgroupTypes(kernel)) vfs.registerFilesystem(type);
  vfs.registerFilesystem(devptsType(kernel));
  vfs.registerFilesystem(mqueueType(kernel));
  vfs.registerFilesystem(fuseType);
  vfs.registerFilesystem(erofsType(vfs));
  registerMemoryDevices(vfs);
  registerFuseDevice(vfs);
  registerTerminals(vfs);
  registerTun(vfs);
  vfs.registerFifo(openFifo);
  registerSocketFamilies();
  registerHostNetworkFiles();
}

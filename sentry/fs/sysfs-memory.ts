// /sys/devices/system/memory: a folder for each block of memory, which lsmem and memory hotplug look at. drivers/base/memory.c.
// A machine has hundreds, so they are made when somebody looks.

import type { Task } from '../kernel/task.ts';
import type { DirSink, Filesystem, Inode } from '../vfs/filesystem.ts';
import { FixedText, StaticDir, Symlink } from './kernfs.ts';

/** memory_block_size_bytes(): 128 MiB on x86 with less than 64 GiB. */
const BLOCK_BYTES = 128 * 1024 * 1024;

/** A directory that is filled when it is first looked into. */
export class LateDir extends StaticDir {
  private fill: ((dir: StaticDir) => void) | null;

  constructor(fs: Filesystem, ino: number, permissions: number, fill: (dir: StaticDir) => void) {
    super(fs, ino, permissions);
    this.fill = fill;
  }

  private filled(): void {
    const { fill } = this;
    this.fill = null;
    fill?.(this);
  }

  override lookup(name: string): Inode | number {
    this.filled();
    return super.lookup(name);
  }

  override iterate(t: Task, pos: number, sink: DirSink): number {
    this.filled();
    return super.iterate(t, pos, sink);
  }
}

/** How many blocks a memory of so many bytes has. */
function blockCount(memoryBytes: number): number {
  return Math.max(1, Math.ceil(memoryBytes / BLOCK_BYTES));
}

/** devices/system/memory. */
export function memoryDir(fs: Filesystem, newIno: () => number, memoryBytes: number): LateDir {
  return new LateDir(fs, newIno(), 0o755, (dir) => {
    const text = (to: StaticDir, name: string, content: string, permissions = 0o444): StaticDir =>
      to.add(name, new FixedText(fs, newIno(), permissions, `${content}\n`));
    text(dir, 'block_size_bytes', BLOCK_BYTES.toString(16));
    text(dir, 'auto_online_blocks', 'offline', 0o644);
    for (let i = 0; i < blockCount(memoryBytes); i++) {
      const block = new StaticDir(fs, newIno(), 0o755);
      text(block, 'online', '1', 0o644);
      text(block, 'phys_device', '0');
      text(block, 'phys_index', i.toString(16).padStart(8, '0'));
      text(block, 'removable', '1');
      text(block, 'state', 'online', 0o644);
      text(block, 'valid_zones', 'none');
      block.add('node0', new Symlink(fs, newIno(), '../../node/node0'));
      block.add('subsystem', new Symlink(fs, newIno(), '../../../../bus/memory'));
      dir.add(`memory${i}`, block);
    }
  });
}

/** bus/memory/devices. */
export function memoryBusDir(fs: Filesystem, newIno: () => number, memoryBytes: number): LateDir {
  return new LateDir(fs, newIno(), 0o755, (dir) => {
    for (let i = 0; i < blockCount(memoryBytes); i++)
      dir.add(`memory${i}`, new Symlink(fs, newIno(), `../../../devices/system/memory/memory${i}`));
  });
}

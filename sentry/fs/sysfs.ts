// sysfs: the machine's processors and memory, and the empty folders that programs expect. One tree
// a sandbox, however often it is mounted.

import { SYSFS_MAGIC } from '../abi/stat.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { CpuCache, Machine } from '../kernel/machine.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import type { VfsContext } from '../vfs/context.ts';
import type { Filesystem, Inode } from '../vfs/filesystem.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { FixedText, GeneratedText, KernfsFilesystem, StaticDir, Symlink } from './kernfs.ts';
import { meminfoText } from './proc-files.ts';
import { memoryBusDir, memoryDir } from './sysfs-memory.ts';

/** CONFIG_NR_CPUS of a distribution's kernel, less one. */
const KERNEL_MAX = '8191';

class SysFilesystem extends KernfsFilesystem {
  private readonly top: StaticDir;

  constructor(machine: Machine) {
    super('sysfs', allocateAnonDev(), SYSFS_MAGIC);
    this.source = 'sysfs';
    this.top = new StaticDir(this, this.newIno(), 0o555);
    for (const path of EMPTY_DIRS) this.dir(path);
    const newIno = (): number => this.newIno();
    fillCpus(this, machine);
    fillNode(this, machine);
    this.dir('devices/system').add('memory', memoryDir(this, newIno, machine.memoryBytes));
    this.dir('bus/memory').add('devices', memoryBusDir(this, newIno, machine.memoryBytes));
    fillKernel(this);
    fillDevices(this);
    fillNet(this);
  }

  override root(): Inode {
    return this.top;
  }

  /** The directory at a path, made with all above it. */
  dir(path: string): StaticDir {
    let at = this.top;
    for (const part of path.split('/')) {
      let next = at.children.get(part) as StaticDir | undefined;
      if (next === undefined) {
        next = new StaticDir(this, this.newIno(), 0o755);
        at.add(part, next);
      }
      at = next;
    }
    return at;
  }

  /** Fixed text with its newline, at a path. */
  text(path: string, content: string, permissions = 0o444): void {
    const slash = path.lastIndexOf('/');
    this.dir(path.slice(0, slash)).add(path.slice(slash + 1), new FixedText(this, this.newIno(), permissions, `${content}\n`));
  }

  link(path: string, target: string): void {
    const slash = path.lastIndexOf('/');
    this.dir(path.slice(0, slash)).add(path.slice(slash + 1), new Symlink(this, this.newIno(), target));
  }
}

const EMPTY_DIRS: readonly string[] = [
  'block',
  'bus/cpu/devices',
  'bus/pci/devices',
  'bus/pci/drivers',
  'bus/usb',
  'class/block',
  'class/mem',
  'class/misc',
  'class/net',
  'class/power_supply',
  'class/thermal',
  'class/tty',
  'dev/block',
  'dev/char',
  'devices/system/cpu',
  'devices/system/node',
  'devices/virtual/dmi/id',
  'devices/virtual/net',
  'firmware',
  'fs/bpf',
  'fs/cgroup',
  'fs/fuse/connections',
  'hypervisor',
  'kernel/debug',
  'kernel/security',
  'kernel/tracing',
  'module',
  'power',
];

/** "0-1" and its hexadecimal mask for processors [0, count). */
function cpuMask(count: number): string {
  const words: string[] = [];
  for (let left = count; left > 0; left -= 32) words.unshift((2 ** Math.min(left, 32) - 1).toString(16));
  return words.map((word, i) => (i === 0 ? word : word.padStart(8, '0'))).join(',');
}

function oneCpuMask(cpu: number): string {
  let mask = (2 ** (cpu % 32)).toString(16);
  for (let i = 0; i < Math.floor(cpu / 32); i++) mask += ',00000000';
  return mask;
}

function fillCpus(fs: SysFilesystem, machine: Machine): void {
  const base = 'devices/system/cpu';
  for (const name of ['online', 'possible', 'present']) fs.text(`${base}/${name}`, machine.cpuList);
  fs.text(`${base}/offline`, '');
  fs.text(`${base}/isolated`, '');
  fs.text(`${base}/kernel_max`, KERNEL_MAX);
  fs.text(`${base}/smt/active`, '0');
  fs.text(`${base}/smt/control`, 'notsupported');
  fs.text(`${base}/cpufreq/boost`, '1', 0o644);
  for (const [name, state] of machine.vulnerabilities) fs.text(`${base}/vulnerabilities/${name}`, state);
  fs.text(`${base}/modalias`, 'cpu:type:x86');
  const all = cpuMask(machine.cpuCount);
  for (let cpu = 0; cpu < machine.cpuCount; cpu++) {
    const folder = `${base}/cpu${cpu}`;
    fs.text(`${folder}/online`, '1', 0o644);
    fs.link(`${folder}/node0`, '../../node/node0');
    fs.link(`${folder}/subsystem`, '../../../../bus/cpu');
    fs.link(`bus/cpu/devices/cpu${cpu}`, `../../../devices/system/cpu/cpu${cpu}`);
    const topology = `${folder}/topology`;
    fs.text(`${topology}/physical_package_id`, '0');
    fs.text(`${topology}/die_id`, '0');
    fs.text(`${topology}/cluster_id`, '65535');
    fs.text(`${topology}/core_id`, String(cpu));
    for (const name of ['core_cpus', 'thread_siblings', 'cluster_cpus']) {
      fs.text(`${topology}/${name}`, oneCpuMask(cpu));
      fs.text(`${topology}/${name}_list`, String(cpu));
    }
    for (const name of ['core_siblings', 'package_cpus', 'die_cpus']) {
      fs.text(`${topology}/${name}`, all);
      fs.text(`${topology}/${name}_list`, machine.cpuList);
    }
    for (let index = 0; index < machine.caches.length; index++) fillCache(fs, machine, cpu, index, machine.caches[index]!);
  }
}

function fillCache(fs: SysFilesystem, machine: Machine, cpu: number, index: number, cache: CpuCache): void {
  const folder = `devices/system/cpu/cpu${cpu}/cache/index${index}`;
  const shared = cache.level >= 3;
  fs.text(`${folder}/id`, shared ? '0' : String(cpu));
  fs.text(`${folder}/level`, String(cache.level));
  fs.text(`${folder}/type`, cache.type);
  fs.text(`${folder}/size`, `${cache.sizeKib}K`);
  fs.text(`${folder}/coherency_line_size`, String(cache.lineSize));
  fs.text(`${folder}/ways_of_associativity`, String(cache.ways));
  fs.text(`${folder}/number_of_sets`, String(cache.sets));
  fs.text(`${folder}/physical_line_partition`, '1');
  fs.text(`${folder}/shared_cpu_map`, shared ? cpuMask(machine.cpuCount) : oneCpuMask(cpu));
  fs.text(`${folder}/shared_cpu_list`, shared ? machine.cpuList : String(cpu));
}

function fillNode(fs: SysFilesystem, machine: Machine): void {
  const base = 'devices/system/node';
  for (const name of ['online', 'possible', 'has_cpu', 'has_memory', 'has_normal_memory']) fs.text(`${base}/${name}`, '0');
  fs.text(`${base}/node0/cpulist`, machine.cpuList);
  fs.text(`${base}/node0/cpumap`, cpuMask(machine.cpuCount));
  fs.text(`${base}/node0/distance`, '10');
  fs.text(`${base}/node0/numastat`, 'numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0');
  for (let cpu = 0; cpu < machine.cpuCount; cpu++) fs.link(`${base}/node0/cpu${cpu}`, `../../cpu/cpu${cpu}`);
  fs.dir(`${base}/node0`).add(
    'meminfo',
    new GeneratedText(fs, fs.newIno(), 0o444, (t) => meminfoText(t).replace(/^(.*:) {2}/gm, (_line, name: string) => `Node 0 ${name} `)),
  );
  fs.link('bus/node/devices/node0', '../../../devices/system/node/node0');
  fs.link(`${base}/node0/subsystem`, '../../../../bus/node');
  fs.text(`${base}/node0/vmstat`, 'nr_free_pages 0');
}

function fillKernel(fs: SysFilesystem): void {
  const thp = 'kernel/mm/transparent_hugepage';
  fs.text(`${thp}/enabled`, 'always [madvise] never', 0o644);
  fs.text(`${thp}/defrag`, 'always defer defer+madvise [madvise] never', 0o644);
  fs.text(`${thp}/shmem_enabled`, 'always within_size advise [never] deny force', 0o644);
  fs.text(`${thp}/hpage_pmd_size`, '2097152');
  fs.text(`${thp}/use_zero_page`, '1', 0o644);
  fs.text(`${thp}/khugepaged/defrag`, '1', 0o644);
  fs.text(`${thp}/khugepaged/max_ptes_none`, '511', 0o644);
  for (const name of ['nr_hugepages', 'free_hugepages', 'resv_hugepages', 'surplus_hugepages', 'nr_overcommit_hugepages']) {
    fs.text(`kernel/mm/hugepages/hugepages-2048kB/${name}`, '0');
  }
  fs.text('kernel/mm/ksm/run', '0', 0o644);
  fs.text('kernel/cpu_byteorder', 'little');
  fs.text('kernel/address_bits', '64');
  fs.text('kernel/uevent_seqnum', '0');
  fs.text('kernel/profiling', '0', 0o644);
  fs.text('kernel/cgroup/delegate', 'cgroup.procs\ncgroup.threads\ncgroup.subtree_control\nmemory.oom.group');
  fs.text('kernel/cgroup/features', 'nsdelegate\nfavordynmods\nmemory_localevents\nmemory_recursiveprot');
  fs.text('power/state', '', 0o644);
  fs.text('module/kernel/version', 'runsc');
  fs.text('devices/virtual/dmi/id/product_name', 'runsc');
  fs.text('devices/virtual/dmi/id/sys_vendor', 'runsc');
  fs.link('class/dmi', '../devices/virtual/dmi');
}

/** The character devices of the memory driver and of misc, as udev finds them: class, name, numbers. */
const DEVICES: readonly (readonly [string, string, string])[] = [
  ['mem', 'null', '1:3'],
  ['mem', 'zero', '1:5'],
  ['mem', 'full', '1:7'],
  ['mem', 'random', '1:8'],
  ['mem', 'urandom', '1:9'],
  ['misc', 'tun', '10:200'],
  ['misc', 'fuse', '10:229'],
  ['tty', 'tty', '5:0'],
  ['tty', 'console', '5:1'],
  ['tty', 'ptmx', '5:2'],
];

function fillDevices(fs: SysFilesystem): void {
  for (const [kind, name, numbers] of DEVICES) {
    const folder = `devices/virtual/${kind}/${name}`;
    const [major, minor] = numbers.split(':');
    fs.text(`${folder}/dev`, numbers);
    fs.text(`${folder}/uevent`, `MAJOR=${major}\nMINOR=${minor}\nDEVNAME=${name === 'tun' ? 'net/tun' : name}`, 0o644);
    fs.link(`${folder}/subsystem`, `../../../../class/${kind}`);
    fs.link(`class/${kind}/${name}`, `../../devices/virtual/${kind}/${name}`);
    fs.link(`dev/char/${numbers}`, `../../devices/virtual/${kind}/${name}`);
  }
}

function fillNet(fs: SysFilesystem): void {
  const lo = 'devices/virtual/net/lo';
  const values: Record<string, string> = {
    address: '00:00:00:00:00:00',
    addr_len: '6',
    carrier: '1',
    flags: '0x9',
    ifindex: '1',
    iflink: '1',
    mtu: '65536',
    operstate: 'unknown',
    tx_queue_len: '1000',
    type: '772',
  };
  for (const [name, value] of Object.entries(values)) fs.text(`${lo}/${name}`, value);
  for (const name of ['rx_bytes', 'rx_packets', 'tx_bytes', 'tx_packets', 'rx_errors', 'tx_errors'])
    fs.text(`${lo}/statistics/${name}`, '0');
  fs.link('class/net/lo', '../../devices/virtual/net/lo');
}

/** The type for mount(2): one tree for all mounts. */
export function sysfsType(kernel: Kernel): FilesystemType {
  let only: SysFilesystem | null = null;
  return {
    name: 'sysfs',
    nodev: true,
    userMount: true,
    mount(_ctx: VfsContext, _source: string, _flags: number, _options: string): Filesystem {
      if (only === null) only = new SysFilesystem(kernel.machine);
      return only;
    },
  };
}

// Kernel parameters: what /proc/sys shows and the OCI configuration sets. Those that the Sentry
// acts on are read here by name; the others are remembered.

import { EINVAL } from '../abi/errno.ts';

/** include/linux/ipc_namespace.h: (ULONG_MAX - 2^24). */
const HUGE = '18446744073692774399';
const INT_MAX = 2147483647;

/** One parameter: kind of values, default, bounds of each value. */
export interface SysctlSpec {
  readonly name: string;
  readonly mode: number;
  /** int: whitespace-separated integers; text: a line; live: the value comes from elsewhere (proc-sys.ts). */
  readonly kind: 'int' | 'text' | 'live';
  readonly value: string;
  readonly min: number;
  readonly max: number;
}

function int(name: string, value: number | string, min = -INT_MAX - 1, max = INT_MAX, mode = 0o644): SysctlSpec {
  return { name, mode, kind: 'int', value: String(value), min, max };
}

function text(name: string, value: string, mode = 0o644): SysctlSpec {
  return { name, mode, kind: 'text', value, min: 0, max: 0 };
}

function live(name: string, mode = 0o444): SysctlSpec {
  return { name, mode, kind: 'live', value: '', min: 0, max: 0 };
}

const BOOL = [0, 1] as const;

export const SYSCTLS: readonly SysctlSpec[] = [
  // kernel
  int('kernel.acct', '4\t2\t30'),
  int('kernel.auto_msgmni', 0, ...BOOL),
  int('kernel.bootloader_type', 0, 0, INT_MAX, 0o444),
  int('kernel.bootloader_version', 0, 0, INT_MAX, 0o444),
  int('kernel.cad_pid', 1, 1, INT_MAX, 0o600),
  live('kernel.cap_last_cap'),
  text('kernel.core_pattern', 'core'),
  int('kernel.core_pipe_limit', 0),
  int('kernel.core_uses_pid', 0),
  int('kernel.ctrl-alt-del', 0),
  int('kernel.dmesg_restrict', 0, ...BOOL),
  live('kernel.domainname', 0o644),
  live('kernel.hostname', 0o644),
  int('kernel.hung_task_timeout_secs', 120, 0),
  int('kernel.keys.gc_delay', 300),
  int('kernel.keys.maxbytes', 20000, 0),
  int('kernel.keys.maxkeys', 200, 0),
  int('kernel.keys.root_maxbytes', 25000000),
  int('kernel.keys.root_maxkeys', 1000000),
  int('kernel.kptr_restrict', 1, 0, 2),
  int('kernel.msg_next_id', -1, -1),
  int('kernel.msgmax', 8192, 0),
  int('kernel.msgmnb', 16384, 0),
  int('kernel.msgmni', 32000, 0, 32768),
  int('kernel.ngroups_max', 65536, 0, INT_MAX, 0o444),
  live('kernel.ns_last_pid'),
  int('kernel.nmi_watchdog', 0, 0, INT_MAX, 0o444),
  int('kernel.numa_balancing', 0),
  live('kernel.osrelease'),
  live('kernel.ostype'),
  int('kernel.overflowgid', 65534, 0, 65535),
  int('kernel.overflowuid', 65534, 0, 65535),
  int('kernel.panic', 0),
  int('kernel.panic_on_oops', 0),
  int('kernel.perf_event_max_sample_rate', 100000),
  int('kernel.perf_event_mlock_kb', 516),
  int('kernel.perf_event_paranoid', 2, -1),
  int('kernel.pid_max', 32768, 301, 4194304),
  text('kernel.poweroff_cmd', '/sbin/poweroff'),
  int('kernel.print-fatal-signals', 0),
  int('kernel.printk', '4\t4\t1\t7'),
  int('kernel.printk_ratelimit', 5),
  int('kernel.printk_ratelimit_burst', 10),
  int('kernel.pty.max', 4096, 0),
  live('kernel.pty.nr'),
  int('kernel.pty.reserve', 1024, 0),
  live('kernel.random.boot_id'),
  int('kernel.random.entropy_avail', 256, 0, 256, 0o444),
  int('kernel.random.poolsize', 256, 0, 256, 0o444),
  int('kernel.random.urandom_min_reseed_secs', 60),
  live('kernel.random.uuid'),
  int('kernel.random.write_wakeup_threshold', 256),
  int('kernel.randomize_va_space', 2, 0, 2),
  int('kernel.sched_autogroup_enabled', 0, ...BOOL),
  int('kernel.sched_child_runs_first', 0),
  int('kernel.sched_rr_timeslice_ms', 100),
  int('kernel.sched_rt_period_us', 1000000, 1),
  int('kernel.sched_rt_runtime_us', 950000, -1),
  text('kernel.seccomp.actions_avail', 'kill_process kill_thread trap errno user_notif trace log allow', 0o444),
  text('kernel.seccomp.actions_logged', 'kill_process kill_thread trap errno user_notif trace log'),
  int('kernel.sem', '32000\t1024000000\t500\t32000', 0),
  int('kernel.shm_next_id', -1, -1),
  int('kernel.shm_rmid_forced', 0, ...BOOL),
  text('kernel.shmall', HUGE),
  text('kernel.shmmax', HUGE),
  int('kernel.shmmni', 4096, 0, 32768),
  int('kernel.soft_watchdog', 1, ...BOOL),
  int('kernel.softlockup_panic', 0, ...BOOL),
  int('kernel.sysctl_writes_strict', 1, -1, 1),
  int('kernel.sysrq', 0),
  int('kernel.tainted', 0),
  int('kernel.threads-max', 192730, 1),
  int('kernel.timer_migration', 1, ...BOOL),
  int('kernel.unprivileged_bpf_disabled', 2, 0, 2),
  int('kernel.unprivileged_userns_clone', 1, ...BOOL),
  live('kernel.version'),
  int('kernel.watchdog', 1, ...BOOL),
  int('kernel.watchdog_thresh', 10, 0, 60),
  int('kernel.yama.ptrace_scope', 0, 0, 3),
  // dev
  int('dev.tty.ldisc_autoload', 1, ...BOOL),
  int('dev.tty.legacy_tiocsti', 1, ...BOOL),
  // fs
  int('fs.aio-max-nr', 65536, 0),
  int('fs.aio-nr', 0, 0, INT_MAX, 0o444),
  int('fs.dentry-state', '0\t0\t45\t0\t0\t0', 0, INT_MAX, 0o444),
  int('fs.dir-notify-enable', 1, ...BOOL),
  int('fs.epoll.max_user_watches', 1048576, 0),
  text('fs.file-max', '9223372036854775807'),
  text('fs.file-nr', '0\t0\t9223372036854775807', 0o444),
  int('fs.inode-nr', '0\t0', 0, INT_MAX, 0o444),
  int('fs.inode-state', '0\t0\t0\t0\t0\t0\t0', 0, INT_MAX, 0o444),
  int('fs.inotify.max_queued_events', 16384, 0),
  int('fs.inotify.max_user_instances', 128, 0),
  int('fs.inotify.max_user_watches', 1048576, 0),
  int('fs.lease-break-time', 45, 0),
  int('fs.leases-enable', 1, ...BOOL),
  int('fs.mount-max', 100000, 1),
  int('fs.mqueue.msg_default', 10, 1, 65536),
  int('fs.mqueue.msg_max', 10, 1, 65536),
  int('fs.mqueue.msgsize_default', 8192, 128, 16777216),
  int('fs.mqueue.msgsize_max', 8192, 128, 16777216),
  int('fs.mqueue.queues_max', 256, 0),
  int('fs.nr_open', 1048576, 64, 2147483584),
  int('fs.overflowgid', 65534, 0, 65535),
  int('fs.overflowuid', 65534, 0, 65535),
  int('fs.pipe-max-size', 1048576, 4096),
  int('fs.pipe-user-pages-hard', 0, 0),
  int('fs.pipe-user-pages-soft', 16384, 0),
  int('fs.protected_fifos', 0, 0, 2),
  int('fs.protected_hardlinks', 1, ...BOOL),
  int('fs.protected_regular', 0, 0, 2),
  int('fs.protected_symlinks', 0, ...BOOL),
  int('fs.suid_dumpable', 0, 0, 2),
  // vm
  int('vm.admin_reserve_kbytes', 8192, 0),
  int('vm.compact_memory', 0, 1, 1, 0o200),
  int('vm.compaction_proactiveness', 20, 0, 100),
  int('vm.dirty_background_bytes', 0, 0),
  int('vm.dirty_background_ratio', 10, 0, 100),
  int('vm.dirty_bytes', 0, 0),
  int('vm.dirty_expire_centisecs', 3000, 0),
  int('vm.dirty_ratio', 20, 0, 100),
  int('vm.dirty_writeback_centisecs', 500, 0),
  int('vm.drop_caches', 0, 1, 4, 0o200),
  int('vm.hugetlb_shm_group', 0),
  int('vm.laptop_mode', 0, 0),
  int('vm.legacy_va_layout', 0),
  int('vm.max_map_count', 65530, 0),
  int('vm.memfd_noexec', 0, 0, 2),
  int('vm.min_free_kbytes', 67584, 0),
  int('vm.mmap_min_addr', 65536, 0),
  int('vm.mmap_rnd_bits', 28, 28, 32, 0o600),
  int('vm.nr_hugepages', 0, 0),
  int('vm.nr_overcommit_hugepages', 0, 0),
  int('vm.oom_dump_tasks', 1),
  int('vm.oom_kill_allocating_task', 0),
  int('vm.overcommit_kbytes', 0, 0),
  int('vm.overcommit_memory', 0, 0, 2),
  int('vm.overcommit_ratio', 50, 0),
  int('vm.page-cluster', 3, 0, 31),
  int('vm.panic_on_oom', 0, 0, 2),
  int('vm.stat_interval', 1, 0),
  int('vm.swappiness', 60, 0, 200),
  int('vm.unprivileged_userfaultfd', 0, ...BOOL),
  int('vm.user_reserve_kbytes', 131072, 0),
  int('vm.vfs_cache_pressure', 100, 0),
  int('vm.watermark_scale_factor', 10, 1, 3000),
  int('vm.zone_reclaim_mode', 0, 0),
  // user
  int('user.max_cgroup_namespaces', 31512, 0),
  int('user.max_inotify_instances', 128, 0),
  int('user.max_inotify_watches', 1048576, 0),
  int('user.max_ipc_namespaces', 31512, 0),
  int('user.max_mnt_namespaces', 31512, 0),
  int('user.max_net_namespaces', 31512, 0),
  int('user.max_pid_namespaces', 31512, 0),
  int('user.max_time_namespaces', 31512, 0),
  int('user.max_user_namespaces', 31512, 0),
  int('user.max_uts_namespaces', 31512, 0),
  // net
  text('net.core.default_qdisc', 'pfifo_fast'),
  int('net.core.netdev_max_backlog', 1000),
  int('net.core.optmem_max', 131072),
  int('net.core.rmem_default', 212992, 2304),
  int('net.core.rmem_max', 4194304, 2304),
  int('net.core.somaxconn', 4096, 0, 65535),
  int('net.core.wmem_default', 212992, 4608),
  int('net.core.wmem_max', 4194304, 4608),
  int('net.unix.max_dgram_qlen', 10),
  ...ipv4Defaults(),
  ...ipv6Defaults(),
];

function ipv4Defaults(): SysctlSpec[] {
  const values: [string, number | string][] = [
    ['icmp_echo_ignore_all', 0],
    ['icmp_echo_ignore_broadcasts', 1],
    ['ip_default_ttl', 64],
    ['ip_dynaddr', 0],
    ['ip_early_demux', 1],
    ['ip_forward', 0],
    ['ip_local_port_range', '32768\t60999'],
    ['ip_no_pmtu_disc', 0],
    ['ip_nonlocal_bind', 0],
    ['ip_unprivileged_port_start', 1024],
    ['ipfrag_high_thresh', 4194304],
    ['ipfrag_time', 30],
    ['ping_group_range', '1\t0'],
    ['tcp_abort_on_overflow', 0],
    ['tcp_dsack', 1],
    ['tcp_ecn', 2],
    ['tcp_fack', 0],
    ['tcp_fastopen', 1],
    ['tcp_fin_timeout', 60],
    ['tcp_keepalive_intvl', 75],
    ['tcp_keepalive_probes', 9],
    ['tcp_keepalive_time', 7200],
    ['tcp_max_syn_backlog', 1024],
    ['tcp_max_tw_buckets', 65536],
    ['tcp_mem', '287898\t383867\t575796'],
    ['tcp_moderate_rcvbuf', 1],
    ['tcp_mtu_probing', 0],
    ['tcp_no_metrics_save', 0],
    ['tcp_notsent_lowat', -1],
    ['tcp_orphan_retries', 0],
    ['tcp_recovery', 1],
    ['tcp_retries1', 3],
    ['tcp_retries2', 15],
    ['tcp_rfc1337', 0],
    ['tcp_rmem', '4096\t131072\t6291456'],
    ['tcp_sack', 1],
    ['tcp_slow_start_after_idle', 1],
    ['tcp_syn_retries', 6],
    ['tcp_synack_retries', 5],
    ['tcp_syncookies', 1],
    ['tcp_timestamps', 1],
    ['tcp_tw_reuse', 2],
    ['tcp_window_scaling', 1],
    ['tcp_wmem', '4096\t16384\t4194304'],
    ['udp_mem', '575796\t767735\t1151592'],
    ['udp_rmem_min', 4096],
    ['udp_wmem_min', 4096],
  ];
  const specs = values.map(([name, value]) => int(`net.ipv4.${name}`, value));
  for (const scope of ['all', 'default', 'lo']) {
    for (const [name, value] of [
      ['accept_local', 0],
      ['accept_redirects', 1],
      ['accept_source_route', 0],
      ['arp_announce', 0],
      ['arp_ignore', 0],
      ['forwarding', 0],
      ['proxy_arp', 0],
      ['route_localnet', 0],
      ['rp_filter', 0],
      ['send_redirects', 1],
    ] as const) {
      specs.push(int(`net.ipv4.conf.${scope}.${name}`, value));
    }
  }
  specs.push(text('net.ipv4.tcp_congestion_control', 'cubic'), text('net.ipv4.tcp_available_congestion_control', 'reno cubic', 0o444));
  specs.push(text('net.ipv4.tcp_allowed_congestion_control', 'reno cubic'));
  return specs;
}

function ipv6Defaults(): SysctlSpec[] {
  const specs = [
    int('net.ipv6.auto_flowlabels', 1, 0, 3),
    int('net.ipv6.bindv6only', 0, ...BOOL),
    int('net.ipv6.ip6frag_high_thresh', 4194304),
    int('net.ipv6.ip6frag_low_thresh', 3145728),
    int('net.ipv6.ip6frag_time', 60),
    int('net.ipv6.ip_nonlocal_bind', 0),
  ];
  for (const scope of ['all', 'default', 'lo']) {
    for (const [name, value] of [
      ['accept_dad', 1],
      ['accept_ra', 1],
      ['disable_ipv6', 0],
      ['forwarding', 0],
      ['hop_limit', 64],
      ['mtu', 1280],
      ['use_tempaddr', 0],
    ] as const) {
      specs.push(int(`net.ipv6.conf.${scope}.${name}`, value));
    }
  }
  return specs;
}

const BY_NAME: ReadonlyMap<string, SysctlSpec> = new Map(SYSCTLS.map((spec) => [spec.name, spec]));

/** The values of one sandbox. */
export class Sysctls {
  private readonly changed: Map<string, string> = new Map();

  /** The text of a parameter without its newline, or undefined. */
  get(name: string): string | undefined {
    return this.changed.get(name) ?? BY_NAME.get(name)?.value;
  }

  /** The first integer of a parameter. */
  int(name: string): number {
    return Number.parseInt(this.get(name) ?? '0', 10);
  }

  /** Sets a parameter from text as written to its file: 0, or -EINVAL for what does not parse or is out of bounds. */
  set(name: string, value: string): number {
    const spec = BY_NAME.get(name);
    if (spec === undefined) return -EINVAL;
    if (spec.kind !== 'int') {
      this.changed.set(name, value.replace(/[\0\n].*$/s, ''));
      return 0;
    }
    // A vector takes as many values as are given; the rest stay: proc_dointvec().
    const words = value.replace(/\0.*$/s, '').trim().split(/\s+/);
    const current = this.get(name)!.split('\t');
    if (words.length > current.length) return -EINVAL;
    for (let i = 0; i < words.length; i++) {
      if (!/^[+-]?\d+$/.test(words[i]!)) return -EINVAL;
      const n = Number(words[i]);
      if (n < spec.min || n > spec.max) return -EINVAL;
      current[i] = String(n);
    }
    this.changed.set(name, current.join('\t'));
    return 0;
  }
}

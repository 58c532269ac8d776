// /proc/[pid]/net: the network that a task sees. The files that the network code fills register
// their text here; until then a name shows Linux's header for an empty table.

import type { NetNamespace } from '../kernel/namespaces.ts';
import type { Task } from '../kernel/task.ts';
import { type KernfsFilesystem, StaticDir, TextFile } from './kernfs.ts';

/** The text of a file for a network namespace. */
export type NetText = (ns: NetNamespace, t: Task) => string;

const SOCKET_HEADER = 'sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const SOCKET6_HEADER =
  '  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const LO_DEV = '    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0';
const ROW_WIDTH = 127;

const texts: Map<string, NetText> = new Map();

/** Makes `text` what /proc/net/`name` shows: for net/. Answers what it was until now. */
export function registerNetText(name: string, text: NetText): NetText | undefined {
  const before = texts.get(name);
  texts.set(name, text);
  return before;
}

function header(name: string, text: string): void {
  registerNetText(name, () => text);
}

const IP_NAMES =
  'Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits';
const ICMP_NAMES =
  'InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps';
const TCP_NAMES =
  'RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors';
const UDP_NAMES = 'InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors';
const IP_EXT_NAMES =
  'InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts ReasmOverlaps';

function counters(prefix: string, names: string, first: string = ''): string {
  const list = names.split(' ');
  const given = first === '' ? [] : first.split(' ');
  return `${prefix}: ${names}\n${prefix}: ${list.map((_name, i) => given[i] ?? '0').join(' ')}\n`;
}

header('anycast6', '');
header('arp', 'IP address       HW type     Flags       HW address            Mask     Device\n');
header(
  'dev',
  `Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n${LO_DEV}\n`,
);
header('dev_mcast', '');
header('fib_trie', '');
header('icmp', `   ${SOCKET_HEADER} ref pointer drops             \n`);
header('if_inet6', '00000000000000000000000000000001 01 80 10 80       lo\n');
header('igmp', 'Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n');
header('ipv6_route', '');
header('netlink', 'sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n');
header('netstat', counters('IpExt', IP_EXT_NAMES));
header('packet', 'sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n');
header('protocols', 'protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em\n');
header('psched', '000003e8 00000040 000f4240 3b9aca00\n');
header('ptype', 'Type Device      Function\n');
header('raw', `  ${SOCKET_HEADER} ref pointer drops\n`);
header('raw6', `${SOCKET6_HEADER} ref pointer drops\n`);
header('route', `${'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT'.padEnd(ROW_WIDTH)}\n`);
header(
  'snmp',
  counters('Ip', IP_NAMES, '2 64') +
    counters('Icmp', ICMP_NAMES) +
    'IcmpMsg: \nIcmpMsg: \n' +
    counters('Tcp', TCP_NAMES, '1 200 120000 -1') +
    counters('Udp', UDP_NAMES) +
    counters('UdpLite', UDP_NAMES),
);
header('snmp6', '');
header(
  'sockstat',
  'sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n',
);
header('sockstat6', 'TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n');
header('softnet_stat', `${Array.from({ length: 15 }, () => '00000000').join(' ')}\n`);
header('tcp', `${`  ${SOCKET_HEADER}`.padEnd(149)}\n`);
header('tcp6', `${SOCKET6_HEADER}\n`);
header('udp', `   ${SOCKET_HEADER} ref pointer drops             \n`);
header('udp6', `${SOCKET6_HEADER} ref pointer drops\n`);
header('unix', 'Num       RefCount Protocol Flags    Type St Inode Path\n');

class NetFile extends TextFile {
  private readonly name: string;

  constructor(fs: KernfsFilesystem, name: string) {
    super(fs, fs.newIno(), 0o444);
    this.name = name;
  }

  override text(t: Task): string {
    return texts.get(this.name)!(t.ns.net, t);
  }
}

export function netDir(fs: KernfsFilesystem): StaticDir {
  const dir = new StaticDir(fs, fs.newIno(), 0o555);
  for (const name of [...texts.keys()].sort()) dir.add(name, new NetFile(fs, name));
  return dir;
}

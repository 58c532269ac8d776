import { POLLERR, POLLPRI } from '../abi/poll.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import { type Namespace, nextNamespaceIno } from './namespace.ts';
import type { UserNamespace } from './user-namespace.ts';

/** Host and domain name: struct uts_namespace. */
export class UtsNamespace implements Namespace {
  readonly kind = 'uts';
  readonly ino: number = nextNamespaceIno();
  readonly userns: UserNamespace;
  /** Pollers of /proc/sys/kernel/hostname and domainname: POLLERR | POLLPRI after a change. */
  readonly waiters: WaitQueue = new WaitQueue();
  /** Changes so far, by which a poller knows that it has missed one. */
  hostnameChanges = 0;
  domainnameChanges = 0;
  private host: string;
  private domain: string;

  constructor(userns: UserNamespace, hostname: string, domainname = '(none)') {
    this.userns = userns;
    this.host = hostname;
    this.domain = domainname;
  }

  get hostname(): string {
    return this.host;
  }

  set hostname(name: string) {
    this.host = name;
    this.hostnameChanges++;
    this.waiters.notify(POLLERR | POLLPRI);
  }

  get domainname(): string {
    return this.domain;
  }

  set domainname(name: string) {
    this.domain = name;
    this.domainnameChanges++;
    this.waiters.notify(POLLERR | POLLPRI);
  }
}

// What uname(2) and /proc/version tell of the kernel itself. The release says which Linux we follow.
export const UTS_SYSNAME = 'Linux';
export const UTS_RELEASE = '6.18.0-runsc';
export const UTS_VERSION = '#1 SMP runsc';
export const UTS_MACHINE = 'x86_64';

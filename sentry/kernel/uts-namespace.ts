import { type Namespace, nextNamespaceIno } from './namespace.ts';
import type { UserNamespace } from './user-namespace.ts';

/** Host and domain name: struct uts_namespace. */
export class UtsNamespace implements Namespace {
  readonly kind = 'uts';
  readonly ino: number = nextNamespaceIno();
  hostname: string;
  domainname: string;
  readonly userns: UserNamespace;

  constructor(userns: UserNamespace, hostname: string, domainname = '(none)') {
    this.userns = userns;
    this.hostname = hostname;
    this.domainname = domainname;
  }
}

// What uname(2) and /proc/version tell of the kernel itself. The release says which Linux we follow.
export const UTS_SYSNAME = 'Linux';
export const UTS_RELEASE = '6.18.0-runsc';
export const UTS_VERSION = '#1 SMP runsc';
export const UTS_MACHINE = 'x86_64';

import type { UserNamespace } from './user-namespace.ts';

/** What /proc/[pid]/ns/* names: "uts:[4026531838]". struct ns_common. */
export interface Namespace {
  readonly kind: string;
  readonly ino: number;
  /** The user namespace whose capabilities rule this one; a user namespace's own parent. */
  readonly userns: UserNamespace | null;
}

// fs/proc/generic.c:PROC_DYNAMIC_FIRST.
let nextIno = 0xf0000000;

/** Inode numbers of nsfs, unique in the sandbox. */
export function nextNamespaceIno(): number {
  return nextIno++;
}

// What the CLI tells a gofer when it starts it: the configuration travels as one line of JSON, everything it names is
// an inherited descriptor or a path in the mount namespace that the gofer starts in.

/** One tree of files: a container's rootfs or a bind mount's source, which may be a single file. */
export interface GoferTree {
  /** Absolute path of the root, resolved by the caller. */
  hostPath: string;
  /**
   * The tree is an overlay of host directories that the gofer is to mount: these are its options. hostPath names it
   * for messages only.
   */
  overlay?: string;
  /** The tree as open_tree(2) has cloned it, to be used instead of hostPath: where our ids cannot reach that, or are mapped. */
  mountFd?: number;
  /** An O_PATH descriptor of the root to be used instead of hostPath. Only without confinement: pivoted trees are mounts. */
  dirFd?: number;
  readOnly: boolean;
  /** Others change it too: the Sentry asks again instead of trusting its cache. */
  shared: boolean;
  /** FIFOs of the host may be opened. */
  hostFifo?: boolean;
  /** "open": sockets of the host may be connected to; "create": bound; "all": both. */
  hostUds?: 'none' | 'open' | 'create' | 'all';
  /** Character devices of the host may be opened, device nodes made. */
  devices?: boolean;
  /** Device nodes may be made, and never opened: device-nodes.ts. */
  nodes?: boolean;
}

export interface GoferConfig {
  trees: GoferTree[];
  /** A memfd of at least REGION_SIZE bytes: the channel. */
  regionFd: number;
  /** Our end of the unix socket (SOCK_SEQPACKET) beside it. */
  socketFd: number;
  /** Where log lines go, or -1. */
  logFd: number;
  debug?: boolean;
  /**
   * The user namespace maps a single id (an unprivileged caller): files of everybody else show the overflow ids, and
   * are presented as root's.
   */
  singleId: boolean;
  /**
   * Where to put the new root: an empty directory, in the gofer's own mount namespace, which the trees are mounted
   * below before pivot_root(2). Absent: not confined (tests).
   */
  newRoot?: string;
  /** Load the seccomp filter. */
  seccomp: boolean;
}

// include/uapi/linux/if_tun.h.

export const TUNSETNOCSUM = 0x400454c8;
export const TUNSETDEBUG = 0x400454c9;
export const TUNSETIFF = 0x400454ca;
export const TUNSETPERSIST = 0x400454cb;
export const TUNSETOWNER = 0x400454cc;
export const TUNSETLINK = 0x400454cd;
export const TUNSETGROUP = 0x400454ce;
export const TUNGETFEATURES = 0x800454cf;
export const TUNSETOFFLOAD = 0x400454d0;
export const TUNGETIFF = 0x800454d2;
export const TUNGETSNDBUF = 0x800454d3;
export const TUNSETSNDBUF = 0x400454d4;
export const TUNGETVNETHDRSZ = 0x800454d7;
export const TUNSETVNETHDRSZ = 0x400454d8;
export const TUNSETQUEUE = 0x400454d9;
export const TUNSETVNETLE = 0x400454dc;
export const TUNGETVNETLE = 0x800454dd;
export const TUNSETVNETBE = 0x400454de;
export const TUNGETVNETBE = 0x800454df;

/** What TUNGETFEATURES tells: IFF_TUN, TAP, NAPI, NAPI_FRAGS, NO_CARRIER, MULTI_QUEUE, NO_PI, ONE_QUEUE, VNET_HDR. */
export const TUN_FEATURES = 0x7173;

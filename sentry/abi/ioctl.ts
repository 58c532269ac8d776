// Numbers for ioctl(2): terminals, files, sockets, pipes.

export const FICLONE = 0x40049409;
export const FICLONERANGE = 0x4020940d;

export const FS_IOC_FIEMAP = 0xc020660b;
export const FIDEDUPERANGE = 0xc0189436;

export const FIONREAD = 0x541b;
export const FIONBIO = 0x5421;
export const FIONCLEX = 0x5450;
export const FIOCLEX = 0x5451;
export const FIOASYNC = 0x5452;
export const FIOQSIZE = 0x5460;
export const FIOSETOWN = 0x8901;
export const FIOGETOWN = 0x8903;

export const FS_IOC_SETFLAGS = 0x40086602;
export const FS_IOC_SETVERSION = 0x40087602;
export const FS_IOC_GET_ENCRYPTION_POLICY = 0x400c6615;
export const FS_IOC_GET_ENCRYPTION_PWSALT = 0x40106614;
export const FS_IOC_SETFSLABEL = 0x41009432;
export const FS_IOC_GETFLAGS = 0x80086601;
export const FS_IOC_GETVERSION = 0x80087601;
export const FS_IOC_SET_ENCRYPTION_POLICY = 0x800c6613;
export const FS_IOC_GET_ENCRYPTION_NONCE = 0x8010661b;
export const FS_IOC_GETFSLABEL = 0x81009431;
export const FS_IOC_GET_ENCRYPTION_POLICY_EX = 0xc0096616;
export const FS_IOC_GET_ENCRYPTION_KEY_STATUS = 0xc080661a;

export const TCFLSH = 0x540b;

export const TCGETS = 0x5401;
export const TCGETA = 0x5405;
export const TCGETX = 0x5432;

export const TCSETS = 0x5402;
export const TCSETSW = 0x5403;
export const TCSETSF = 0x5404;
export const TCSETA = 0x5406;
export const TCSETAW = 0x5407;
export const TCSETAF = 0x5408;
export const TCSBRK = 0x5409;
export const TCSBRKP = 0x5425;
export const TCSETX = 0x5433;
export const TCSETXF = 0x5434;
export const TCSETXW = 0x5435;

export const TCXONC = 0x540a;

export const TIOCEXCL = 0x540c;
export const TIOCNXCL = 0x540d;
export const TIOCSCTTY = 0x540e;
export const TIOCGPGRP = 0x540f;
export const TIOCSPGRP = 0x5410;
export const TIOCOUTQ = 0x5411;
export const TIOCSTI = 0x5412;
export const TIOCGWINSZ = 0x5413;
export const TIOCSWINSZ = 0x5414;
export const TIOCMGET = 0x5415;
export const TIOCMBIS = 0x5416;
export const TIOCMBIC = 0x5417;
export const TIOCMSET = 0x5418;
export const TIOCGSOFTCAR = 0x5419;
export const TIOCSSOFTCAR = 0x541a;
export const TIOCINQ = 0x541b;
export const TIOCLINUX = 0x541c;
export const TIOCCONS = 0x541d;
export const TIOCGSERIAL = 0x541e;
export const TIOCSSERIAL = 0x541f;
export const TIOCPKT = 0x5420;
export const TIOCNOTTY = 0x5422;
export const TIOCSETD = 0x5423;
export const TIOCGETD = 0x5424;
export const TIOCSBRK = 0x5427;
export const TIOCCBRK = 0x5428;
export const TIOCGSID = 0x5429;
export const TIOCGRS485 = 0x542e;
export const TIOCSRS485 = 0x542f;
export const TIOCVHANGUP = 0x5437;
export const TIOCGPTPEER = 0x5441;
export const TIOCSERCONFIG = 0x5453;
export const TIOCSERGWILD = 0x5454;
export const TIOCSERSWILD = 0x5455;
export const TIOCGLCKTRMIOS = 0x5456;
export const TIOCSLCKTRMIOS = 0x5457;
export const TIOCSERGSTRUCT = 0x5458;
export const TIOCSERGETLSR = 0x5459;
export const TIOCSERGETMULTI = 0x545a;
export const TIOCSERSETMULTI = 0x545b;
export const TIOCMIWAIT = 0x545c;
export const TIOCGICOUNT = 0x545d;
export const TIOCSPTLCK = 0x40045431;
export const TIOCSIG = 0x40045436;
export const TIOCGPTN = 0x80045430;
export const TIOCGDEV = 0x80045432;
export const TIOCGPKT = 0x80045438;
export const TIOCGPTLCK = 0x80045439;
export const TIOCGEXCL = 0x80045440;

export const TIOCM_LE = 1;
export const TIOCM_DTR = 2;
export const TIOCM_RTS = 4;
export const TIOCM_ST = 8;
export const TIOCM_SR = 16;
export const TIOCM_CTS = 32;
export const TIOCM_CAR = 64;
export const TIOCM_CD = 64;
export const TIOCM_RI = 128;
export const TIOCM_RNG = 128;
export const TIOCM_DSR = 0x100;

export const TIOCPKT_DATA = 0;
export const TIOCPKT_FLUSHREAD = 1;
export const TIOCPKT_FLUSHWRITE = 2;
export const TIOCPKT_STOP = 4;
export const TIOCPKT_START = 8;
export const TIOCPKT_NOSTOP = 16;
export const TIOCPKT_DOSTOP = 32;
export const TIOCPKT_IOCTL = 64;

export const TIOCSER_TEMT = 1;

// drivers/char/random.c: include/uapi/linux/random.h.
export const RNDGETENTCNT = 0x80045200;
export const RNDADDTOENTCNT = 0x40045201;
export const RNDADDENTROPY = 0x40085203;
export const RNDZAPENTCNT = 0x5204;
export const RNDCLEARPOOL = 0x5206;
export const RNDRESEEDCRNG = 0x5207;

// struct termios2, with arbitrary speeds: asm-generic/ioctls.h.
export const TCGETS2 = 0x802c542a;
export const TCSETS2 = 0x402c542b;
export const TCSETSW2 = 0x402c542c;
export const TCSETSF2 = 0x402c542d;

// Namespaces: include/uapi/linux/nsfs.h.
export const NS_GET_USERNS = 0xb701;
export const NS_GET_PARENT = 0xb702;
export const NS_GET_NSTYPE = 0xb703;
export const NS_GET_OWNER_UID = 0xb704;
export const NS_GET_MNTNS_ID = 0x8008b705;
export const NS_GET_PID_FROM_PIDNS = 0x8004b706;
export const NS_GET_TGID_FROM_PIDNS = 0x8004b707;
export const NS_GET_PID_IN_PIDNS = 0x8004b708;
export const NS_GET_TGID_IN_PIDNS = 0x8004b709;

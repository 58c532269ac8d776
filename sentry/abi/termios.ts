// termios(3) as the kernel has it: include/uapi/asm-generic/termbits.h, ioctls.h, and the
// defaults of include/linux/tty.h. Numbers and encoders only.

import { assert } from '../base/assert.ts';
import { array, layout, u8, u16, u32 } from './layout.ts';

// c_cc.
export const VINTR = 0;
export const VQUIT = 1;
export const VERASE = 2;
export const VKILL = 3;
export const VEOF = 4;
export const VTIME = 5;
export const VMIN = 6;
export const VSWTC = 7;
export const VSTART = 8;
export const VSTOP = 9;
export const VSUSP = 10;
export const VEOL = 11;
export const VREPRINT = 12;
export const VDISCARD = 13;
export const VWERASE = 14;
export const VLNEXT = 15;
export const VEOL2 = 16;
/** A control character that is switched off. */
export const DISABLED_CHAR = 0;
export const NCCS = 19;
/** struct termio has fewer. */
export const NCC = 8;

// c_iflag.
export const IGNBRK = 0o1;
export const BRKINT = 0o2;
export const IGNPAR = 0o4;
export const PARMRK = 0o10;
export const INPCK = 0o20;
export const ISTRIP = 0o40;
export const INLCR = 0o100;
export const IGNCR = 0o200;
export const ICRNL = 0o400;
export const IUCLC = 0o1000;
export const IXON = 0o2000;
export const IXANY = 0o4000;
export const IXOFF = 0o10000;
export const IMAXBEL = 0o20000;
export const IUTF8 = 0o40000;

// c_oflag.
export const OPOST = 0o1;
export const OLCUC = 0o2;
export const ONLCR = 0o4;
export const OCRNL = 0o10;
export const ONOCR = 0o20;
export const ONLRET = 0o40;
export const TABDLY = 0o14000;
/** XTABS: tabs become spaces. */
export const TAB3 = 0o14000;

// c_cflag.
export const CBAUD = 0o10017;
export const B0 = 0;
export const B38400 = 0o17;
export const BOTHER = 0o10000;
export const CSIZE = 0o60;
export const CS8 = 0o60;
export const CREAD = 0o200;
export const PARENB = 0o400;
export const HUPCL = 0o2000;
export const CLOCAL = 0o4000;
/** Bits of CBAUD shifted up here are the input speed. */
export const IBSHIFT = 16;

// c_lflag.
export const ISIG = 0o1;
export const ICANON = 0o2;
export const XCASE = 0o4;
export const ECHO = 0o10;
export const ECHOE = 0o20;
export const ECHOK = 0o40;
export const ECHONL = 0o100;
export const NOFLSH = 0o200;
export const TOSTOP = 0o400;
export const ECHOCTL = 0o1000;
export const ECHOPRT = 0o2000;
export const ECHOKE = 0o4000;
export const FLUSHO = 0o10000;
export const PENDIN = 0o40000;
export const IEXTEN = 0o100000;
export const EXTPROC = 0o200000;

// tcflow(3), tcflush(3).
export const TCOOFF = 0;
export const TCOON = 1;
export const TCIOFF = 2;
export const TCION = 3;
export const TCIFLUSH = 0;
export const TCOFLUSH = 1;
export const TCIOFLUSH = 2;

/** The line discipline of all our terminals. */
export const N_TTY = 0;

// struct termios, the kernel's own; termios2 appends the speeds.
export const TERMIOS = layout({ iflag: u32, oflag: u32, cflag: u32, lflag: u32, line: u8, cc: array(u8, NCCS) });
assert(TERMIOS.size === 36);
export const TERMIOS2 = layout({ iflag: u32, oflag: u32, cflag: u32, lflag: u32, line: u8, cc: array(u8, NCCS), ispeed: u32, ospeed: u32 });
assert(TERMIOS2.size === 44);
// struct termio: include/uapi/asm-generic/termios.h.
export const TERMIO = layout({ iflag: u16, oflag: u16, cflag: u16, lflag: u16, line: u8, cc: array(u8, NCC) });
assert(TERMIO.size === 18);
export const WINSIZE = layout({ rows: u16, cols: u16, xpixel: u16, ypixel: u16 });
assert(WINSIZE.size === 8);

/** Speeds of the B* values by code: 0–15, then BOTHER|1 on. drivers/tty/tty_baudrate.c. */
const SPEEDS: readonly number[] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
const HIGH_SPEEDS: readonly number[] = [
  57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
];

function speedOf(code: number, other: number): number {
  if (code === BOTHER) return other;
  return (code & BOTHER) !== 0 ? HIGH_SPEEDS[(code & 0o17) - 1]! : SPEEDS[code & 0o17]!;
}

export class Termios {
  iflag = ICRNL | IXON;
  oflag = OPOST | ONLCR;
  cflag = B38400 | CS8 | CREAD;
  lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  line = N_TTY;
  /** INIT_C_CC, include/linux/termios_internal.h. */
  readonly cc: Uint8Array = Uint8Array.from([3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0]);
  ispeed = 38400;
  ospeed = 38400;

  copyFrom(from: Termios): void {
    this.iflag = from.iflag;
    this.oflag = from.oflag;
    this.cflag = from.cflag;
    this.lflag = from.lflag;
    this.line = from.line;
    this.cc.set(from.cc);
    this.ispeed = from.ispeed;
    this.ospeed = from.ospeed;
  }

  /** The speed fields follow c_cflag: tty_termios_baud_rate(), tty_termios_input_baud_rate(). */
  updateSpeeds(): void {
    this.ospeed = speedOf(this.cflag & CBAUD, this.ospeed);
    const input = (this.cflag >>> IBSHIFT) & CBAUD;
    this.ispeed = input === B0 ? this.ospeed : speedOf(input, this.ispeed);
  }
}

export function putTermios(v: DataView, t: Termios, withSpeeds: boolean): void {
  v.setUint32(TERMIOS.iflag, t.iflag, true);
  v.setUint32(TERMIOS.oflag, t.oflag, true);
  v.setUint32(TERMIOS.cflag, t.cflag, true);
  v.setUint32(TERMIOS.lflag, t.lflag, true);
  v.setUint8(TERMIOS.line, t.line);
  for (let i = 0; i < NCCS; i++) v.setUint8(TERMIOS.cc + i, t.cc[i]!);
  if (!withSpeeds) return;
  v.setUint32(TERMIOS2.ispeed, t.ispeed, true);
  v.setUint32(TERMIOS2.ospeed, t.ospeed, true);
}

export function getTermios(v: DataView, t: Termios, withSpeeds: boolean): void {
  t.iflag = v.getUint32(TERMIOS.iflag, true);
  t.oflag = v.getUint32(TERMIOS.oflag, true);
  t.cflag = v.getUint32(TERMIOS.cflag, true);
  t.lflag = v.getUint32(TERMIOS.lflag, true);
  t.line = v.getUint8(TERMIOS.line);
  for (let i = 0; i < NCCS; i++) t.cc[i] = v.getUint8(TERMIOS.cc + i);
  if (withSpeeds) {
    t.ispeed = v.getUint32(TERMIOS2.ispeed, true);
    t.ospeed = v.getUint32(TERMIOS2.ospeed, true);
  }
  t.updateSpeeds();
}

/** struct termio keeps the low 16 bits of each word and eight characters. */
export function putTermio(v: DataView, t: Termios): void {
  v.setUint16(TERMIO.iflag, t.iflag & 0xffff, true);
  v.setUint16(TERMIO.oflag, t.oflag & 0xffff, true);
  v.setUint16(TERMIO.cflag, t.cflag & 0xffff, true);
  v.setUint16(TERMIO.lflag, t.lflag & 0xffff, true);
  v.setUint8(TERMIO.line, t.line);
  for (let i = 0; i < NCC; i++) v.setUint8(TERMIO.cc + i, t.cc[i]!);
}

/** The high words stay as `t` has them: user_termio_to_kernel_termios(). */
export function getTermio(v: DataView, t: Termios): void {
  t.iflag = (t.iflag & ~0xffff) | v.getUint16(TERMIO.iflag, true);
  t.oflag = (t.oflag & ~0xffff) | v.getUint16(TERMIO.oflag, true);
  t.cflag = (t.cflag & ~0xffff) | v.getUint16(TERMIO.cflag, true);
  t.lflag = (t.lflag & ~0xffff) | v.getUint16(TERMIO.lflag, true);
  t.line = v.getUint8(TERMIO.line);
  for (let i = 0; i < NCC; i++) t.cc[i] = v.getUint8(TERMIO.cc + i);
  t.updateSpeeds();
}

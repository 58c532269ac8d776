// The line discipline of a terminal: drivers/tty/n_tty.c, in its order of tests and with its bytes.
// It stands between a port (where bytes from the keyboard come from and output goes to) and the
// program that has the terminal open:
//
//   port ── receive() ──▶ [line buffer, editing, signals] ──▶ read() ── program
//        ◀─ write() ──── [echo queue] [output processing] ◀── write()
//
// The line buffer is N_TTY's ring of 4096 bytes. Positions only grow; `& MASK` finds the byte:
//
//   readTail ≤ canonHead ≤ readHead     finished lines lie below canonHead, the line being
//                                       edited between canonHead and readHead
//
// A set line mark says that a line ends at that byte; a marked NUL is an end-of-file and is not
// part of the text.

import { EAGAIN } from '../abi/errno.ts';
import { TIOCPKT_FLUSHREAD, TIOCPKT_FLUSHWRITE, TIOCPKT_START, TIOCPKT_STOP } from '../abi/ioctl.ts';
import { SIGINT, SIGQUIT, SIGTSTP } from '../abi/signal.ts';
import {
  DISABLED_CHAR,
  ECHO,
  ECHOCTL,
  ECHOE,
  ECHOK,
  ECHOKE,
  ECHONL,
  ECHOPRT,
  EXTPROC,
  ICANON,
  ICRNL,
  IEXTEN,
  IGNCR,
  INLCR,
  ISIG,
  ISTRIP,
  IUCLC,
  IUTF8,
  IXANY,
  IXON,
  NOFLSH,
  OCRNL,
  OLCUC,
  ONLCR,
  ONLRET,
  ONOCR,
  OPOST,
  PARMRK,
  TAB3,
  TABDLY,
  type Termios,
  VEOF,
  VEOL,
  VEOL2,
  VERASE,
  VINTR,
  VKILL,
  VLNEXT,
  VMIN,
  VQUIT,
  VREPRINT,
  VSTART,
  VSTOP,
  VSUSP,
  VTIME,
  VWERASE,
} from '../abi/termios.ts';
import { ByteQueue } from '../base/byte-queue.ts';

/** N_TTY_BUF_SIZE. */
export const LINE_BUFFER = 4096;
const MASK = LINE_BUFFER - 1;
/** Echoes that wait for room: operations of at most three numbers. */
const ECHO_LIMIT = 4096;

const BS = 8;
const TAB = 9;
const NL = 10;
const CR = 13;
const SPACE = 32;
const CARET = 0x5e;
const BACKSLASH = 0x5c;
const SLASH = 0x2f;

// Entries of the echo queue above the bytes: ECHO_OP_*.
const OP_CONTROL = 0x100;
const OP_SET_CANON_COLUMN = 0x200;
const OP_MOVE_BACK = 0x300;
/** The low byte counts the columns since the last tab, or since the start of input when OP_FROM_START is set. */
const OP_ERASE_TAB = 0x400;
const OP_FROM_START = 0x80;
const OP_MASK = 0xf00;

/** What the discipline asks of the other side: a pty's master, or a console. */
export interface TtyPort {
  /** Bytes that put() takes now; 0 while output is stopped. */
  outputRoom(): number;
  put(byte: number): void;
  /** Output not yet fetched is dropped. */
  flushOutput(): void;
  /** To the foreground process group. */
  signal(signo: number): void;
  /** There is something to read, or room for more input. */
  inputChanged(): void;
  /** The other side has been given bytes. */
  outputChanged(): void;
  /** TIOCPKT_* for packet mode. */
  packet(set: number, clear: number): void;
}

const KILL_ERASE = 0;
const KILL_WORD = 1;
const KILL_LINE = 2;

export class LineDiscipline {
  readonly termios: Termios;
  private readonly port: TtyPort;

  private readonly buffer = new Uint8Array(LINE_BUFFER);
  private readonly marks = new Uint8Array(LINE_BUFFER);
  private readHead = 0;
  private readTail = 0;
  private canonHead = 0;
  /** After a switch to canonical mode what was there counts as a line once. */
  private push = false;
  private lnext = false;
  private erasing = false;
  /** Cursor column of output, and where the line being edited began. */
  private column = 0;
  private canonColumn = 0;
  private readonly echoes: number[] = [];
  /** Bytes of the port that the full line buffer does not take yet: the flip buffer. */
  readonly backlog: ByteQueue;

  /** tcflow(TCOOFF), or STOP has been typed. */
  stopped = false;
  /** By tcflow: START cannot undo it. */
  stoppedByProgram = false;

  /** `backlogSize`: bytes that the port may have in flight, tty_buffer_set_limit(). */
  constructor(termios: Termios, port: TtyPort, backlogSize: number) {
    this.termios = termios;
    this.port = port;
    this.backlog = new ByteQueue(backlogSize);
  }

  // ---- settings

  private l(flag: number): boolean {
    return (this.termios.lflag & flag) !== 0;
  }

  private i(flag: number): boolean {
    return (this.termios.iflag & flag) !== 0;
  }

  private o(flag: number): boolean {
    return (this.termios.oflag & flag) !== 0;
  }

  /** Lines are edited; EXTPROC leaves that to the other end. */
  private get canonical(): boolean {
    return (this.termios.lflag & (ICANON | EXTPROC)) === ICANON;
  }

  /** termios has changed from `old`: n_tty_set_termios(). */
  settingsChanged(oldIflag: number, oldLflag: number): void {
    if (((oldLflag ^ this.termios.lflag) & (ICANON | EXTPROC)) !== 0) {
      this.marks.fill(0);
      if (!this.l(ICANON) || this.readCount === 0) {
        this.canonHead = this.readTail;
        this.push = false;
      } else {
        this.marks[(this.readHead - 1) & MASK] = 1;
        this.canonHead = this.readHead;
        this.push = true;
      }
      this.erasing = false;
      this.lnext = false;
    }
    // "Fix tty hang when I_IXON(tty) is cleared, but the tty been stopped by STOP_CHAR(tty) before it."
    if (!this.i(IXON) && (oldIflag & IXON) !== 0 && !this.stoppedByProgram) {
      this.start();
      this.processEchoes();
    }
    this.port.inputChanged();
  }

  // ---- reading

  private get readCount(): number {
    return this.readHead - this.readTail;
  }

  /** Whether a read would find something; `amount`: bytes that count as something outside canonical mode. input_available_p(). */
  inputAvailable(amount: number): boolean {
    if (this.canonical) return this.canonHead !== this.readTail;
    return this.readCount >= amount;
  }

  /** poll(2) waits for VMIN bytes, unless VTIME is set. */
  pollAvailable(): boolean {
    const { cc } = this.termios;
    return this.inputAvailable(cc[VTIME] === 0 && cc[VMIN]! > 0 ? cc[VMIN]! : 1);
  }

  get minimum(): number {
    return this.canonical ? 0 : this.termios.cc[VMIN]!;
  }

  /** VTIME in tenths of a second, 0 in canonical mode. */
  get time(): number {
    return this.canonical ? 0 : this.termios.cc[VTIME]!;
  }

  /** Bytes that a raw read finds. */
  get rawCount(): number {
    return this.readCount;
  }

  /** FIONREAD: what a read would return, without end-of-file marks. inq_canon(). */
  inputQueued(): number {
    if (!this.canonical) return this.readCount;
    let n = this.canonHead - this.readTail;
    for (let at = this.readTail; at < this.canonHead; at++) {
      if (this.marks[at & MASK] === 1 && this.buffer[at & MASK] === DISABLED_CHAR) n--;
    }
    return n;
  }

  /** Takes up to n bytes; 0 is an end of file. -EAGAIN when there is nothing. Then what the port still had moves in. */
  read(dst: Uint8Array, at: number, n: number): number {
    if (!this.inputAvailable(1)) return -EAGAIN;
    const got = this.canonical ? this.readLine(dst, at, n) : this.readRaw(dst, at, n);
    this.pullBacklog();
    return got;
  }

  private readRaw(dst: Uint8Array, at: number, n: number): number {
    const count = Math.min(n, this.readCount);
    for (let i = 0; i < count; i++) dst[at + i] = this.buffer[(this.readTail + i) & MASK]!;
    this.readTail += count;
    // "Turn single EOF into zero-length read": n_tty.c:copy_from_read_buf(), for EXTPROC.
    if (this.l(EXTPROC) && this.l(ICANON) && count === 1 && dst[at] === this.termios.cc[VEOF]) return 0;
    return count;
  }

  /** canon_copy_from_read_buf(): at most one line. */
  private readLine(dst: Uint8Array, at: number, n: number): number {
    let got = 0;
    while (got < n && this.readTail !== this.canonHead) {
      const place = this.readTail & MASK;
      const byte = this.buffer[place]!;
      this.readTail++;
      if (this.marks[place] === 0) {
        dst[at + got++] = byte;
        continue;
      }
      this.marks[place] = 0;
      this.push = false;
      if (byte !== DISABLED_CHAR) dst[at + got++] = byte;
      return got;
    }
    // A buffer filled to the brim swallows an end of file right behind it: canon_skip_eof().
    const place = this.readTail & MASK;
    if (got > 0 && this.readTail !== this.canonHead && this.marks[place] === 1 && this.buffer[place] === DISABLED_CHAR) {
      this.marks[place] = 0;
      this.readTail++;
    }
    return got;
  }

  // ---- receiving

  /** Bytes from the port; returns how many were taken. What the line buffer has no room for waits in the backlog. */
  receive(src: Uint8Array, at: number, n: number): number {
    const taken = this.backlog.write(src, at, n);
    this.pullBacklog();
    return taken;
  }

  /** TIOCSTI: one byte as if typed. */
  insert(byte: number): void {
    if (this.backlog.room === 0) return;
    this.backlog.push(byte);
    this.pullBacklog();
  }

  /** n_tty_receive_buf_common(). */
  private pullBacklog(): void {
    let moved = 0;
    while (this.backlog.length > 0) {
      let room = LINE_BUFFER - this.readCount;
      if (this.i(PARMRK)) room = Math.ceil(room / 3);
      room--;
      if (room <= 0) {
        // A line that does not fit loses its last bytes, so that its end can still be typed.
        const overflow = this.canonical && this.canonHead === this.readTail;
        if (!overflow) break;
        if (room < 0) this.readHead--;
      }
      const byte = this.backlog.peek(0);
      this.backlog.skip(1);
      this.receiveByte(byte);
      moved++;
    }
    if (moved === 0) return;
    this.processEchoes();
    this.port.inputChanged();
  }

  private enqueue(c: number): void {
    this.buffer[this.readHead & MASK] = c;
    this.marks[this.readHead & MASK] = 0;
    this.readHead++;
  }

  private isContinuation(c: number): boolean {
    return this.i(IUTF8) && (c & 0xc0) === 0x80;
  }

  /** Nothing is to be interpreted: `raw` of n_tty_set_termios(). */
  private get transparent(): boolean {
    const t = this.termios;
    return (t.iflag & (ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON | PARMRK)) === 0 && (t.lflag & (ICANON | ISIG | ECHO)) === 0;
  }

  private receiveByte(c: number): void {
    if (this.transparent) {
      this.enqueue(c);
      return;
    }
    if (this.i(ISTRIP)) c &= 0x7f;
    if (this.i(IUCLC) && this.l(IEXTEN) && c >= 0x41 && c <= 0x5a) c += 0x20;
    if (this.lnext) {
      this.lnext = false;
      this.receiveOrdinary(c);
      return;
    }
    if (this.l(EXTPROC)) {
      this.enqueue(c);
      return;
    }
    if (c === DISABLED_CHAR || !this.isSpecial(c)) this.receiveOrdinary(c);
    else this.receiveSpecial(c);
  }

  /** char_map of n_tty_set_termios(). */
  private isSpecial(c: number): boolean {
    const { cc } = this.termios;
    if (c === CR && this.i(IGNCR | ICRNL)) return true;
    if (c === NL && this.i(INLCR)) return true;
    if (this.l(ICANON)) {
      if (c === NL || c === cc[VERASE] || c === cc[VKILL] || c === cc[VEOF] || c === cc[VEOL]) return true;
      if (this.l(IEXTEN)) {
        if (c === cc[VWERASE] || c === cc[VLNEXT] || c === cc[VEOL2]) return true;
        if (this.l(ECHO) && c === cc[VREPRINT]) return true;
      }
    }
    if (this.i(IXON) && (c === cc[VSTART] || c === cc[VSTOP])) return true;
    return this.l(ISIG) && (c === cc[VINTR] || c === cc[VQUIT] || c === cc[VSUSP]);
  }

  private restartByAny(): void {
    if (!this.stopped || this.stoppedByProgram || !this.i(IXON) || !this.i(IXANY)) return;
    this.start();
    this.processEchoes();
  }

  private receiveOrdinary(c: number): void {
    this.restartByAny();
    if (this.l(ECHO)) {
      this.finishErasing();
      if (this.canonHead === this.readHead) this.echo(OP_SET_CANON_COLUMN);
      this.echoChar(c);
    }
    if (c === 0xff && this.i(PARMRK)) this.enqueue(c);
    this.enqueue(c);
  }

  private receiveSpecial(c: number): void {
    const { cc } = this.termios;
    if (this.i(IXON) && this.flowControl(c)) return;
    if (this.l(ISIG)) {
      const signo = c === cc[VINTR] ? SIGINT : c === cc[VQUIT] ? SIGQUIT : c === cc[VSUSP] ? SIGTSTP : 0;
      if (signo !== 0) {
        this.receiveSignal(signo, c);
        return;
      }
    }
    this.restartByAny();
    if (c === CR) {
      if (this.i(IGNCR)) return;
      if (this.i(ICRNL)) c = NL;
    } else if (c === NL && this.i(INLCR)) {
      c = CR;
    }
    if (this.l(ICANON) && this.editLine(c)) return;
    if (this.l(ECHO)) {
      this.finishErasing();
      if (c === NL) this.echo(NL);
      else {
        if (this.canonHead === this.readHead) this.echo(OP_SET_CANON_COLUMN);
        this.echoChar(c);
      }
    }
    if (c === 0xff && this.i(PARMRK)) this.enqueue(c);
    this.enqueue(c);
  }

  private flowControl(c: number): boolean {
    const { cc } = this.termios;
    if (c === cc[VSTART]) {
      this.start();
      this.processEchoes();
      return true;
    }
    if (c === cc[VSTOP]) {
      this.stop();
      return true;
    }
    return false;
  }

  /** The editing keys of canonical mode; false for a byte that is just text. */
  private editLine(c: number): boolean {
    const { cc } = this.termios;
    const extended = this.l(IEXTEN);
    if (c === cc[VERASE] || c === cc[VKILL] || (c === cc[VWERASE] && extended)) {
      this.erase(c);
      return true;
    }
    if (c === cc[VLNEXT] && extended) {
      this.lnext = true;
      if (this.l(ECHO)) {
        this.finishErasing();
        if (this.l(ECHOCTL)) {
          this.echo(CARET);
          this.echo(BS);
        }
      }
      return true;
    }
    if (c === cc[VREPRINT] && this.l(ECHO) && extended) {
      this.finishErasing();
      this.echoChar(c);
      this.echo(NL);
      for (let at = this.canonHead; at < this.readHead; at++) this.echoChar(this.buffer[at & MASK]!);
      return true;
    }
    if (c === NL) {
      if (this.l(ECHO | ECHONL)) this.echo(NL);
      this.finishLine(c);
      return true;
    }
    if (c === cc[VEOF]) {
      this.finishLine(DISABLED_CHAR);
      return true;
    }
    if (c === cc[VEOL] || (c === cc[VEOL2] && extended)) {
      if (this.l(ECHO)) {
        if (this.canonHead === this.readHead) this.echo(OP_SET_CANON_COLUMN);
        this.echoChar(c);
      }
      if (c === 0xff && this.i(PARMRK)) this.enqueue(c);
      this.finishLine(c);
      return true;
    }
    return false;
  }

  private finishLine(c: number): void {
    const at = this.readHead & MASK;
    this.enqueue(c);
    this.marks[at] = 1;
    this.canonHead = this.readHead;
  }

  /** n_tty_receive_signal_char() and isig(). */
  private receiveSignal(signo: number, c: number): void {
    this.port.signal(signo);
    if (!this.l(NOFLSH)) {
      this.echoes.length = 0;
      this.port.flushOutput();
      this.port.packet(TIOCPKT_FLUSHWRITE, 0);
      this.flushInput();
    }
    if (this.i(IXON)) this.start();
    if (this.l(ECHO)) this.echoChar(c);
    this.processEchoes();
  }

  /** eraser(): takes back a character, a word or the line being edited. */
  private erase(c: number): void {
    const { cc } = this.termios;
    if (this.readHead === this.canonHead) return;
    let kind = KILL_LINE;
    if (c === cc[VERASE]) kind = KILL_ERASE;
    else if (c === cc[VWERASE]) kind = KILL_WORD;
    else {
      if (!this.l(ECHO)) {
        this.readHead = this.canonHead;
        return;
      }
      if (!this.l(ECHOK) || !this.l(ECHOKE) || !this.l(ECHOE)) {
        this.readHead = this.canonHead;
        this.finishErasing();
        this.echoChar(cc[VKILL]!);
        if (this.l(ECHOK)) this.echo(NL);
        return;
      }
    }
    let seenWord = false;
    while (this.readHead !== this.canonHead) {
      let head = this.readHead;
      let last: number;
      do {
        head--;
        last = this.buffer[head & MASK]!;
      } while (this.isContinuation(last) && head !== this.canonHead);
      // "do not partially erase": a multibyte character that began before the line.
      if (this.isContinuation(last)) break;
      if (kind === KILL_WORD) {
        if (isWordByte(last)) seenWord = true;
        else if (seenWord) break;
      }
      const count = this.readHead - head;
      this.readHead = head;
      if (this.l(ECHO)) this.echoErased(kind, last, head, count);
      if (kind === KILL_ERASE) break;
    }
    if (this.readHead === this.canonHead && this.l(ECHO)) this.finishErasing();
  }

  private echoErased(kind: number, c: number, head: number, count: number): void {
    if (this.l(ECHOPRT)) {
      if (!this.erasing) {
        this.echo(BACKSLASH);
        this.erasing = true;
      }
      this.echoChar(c);
      for (let i = 1; i < count; i++) {
        this.echo(this.buffer[(head + i) & MASK]!);
        this.echo(OP_MOVE_BACK);
      }
    } else if (kind === KILL_ERASE && !this.l(ECHOE)) {
      this.echoChar(this.termios.cc[VERASE]!);
    } else if (c === TAB) {
      this.echoErasedTab();
    } else {
      if (isControl(c) && this.l(ECHOCTL)) this.echoRubout();
      if (!isControl(c) || this.l(ECHOCTL)) this.echoRubout();
    }
  }

  private echoRubout(): void {
    this.echo(BS);
    this.echo(SPACE);
    this.echo(BS);
  }

  /** How far back the cursor goes depends on the columns since the tab before, or since the line began. */
  private echoErasedTab(): void {
    let columns = 0;
    let afterTab = false;
    for (let at = this.readHead; at !== this.canonHead; ) {
      at--;
      const c = this.buffer[at & MASK]!;
      if (c === TAB) {
        afterTab = true;
        break;
      }
      if (isControl(c)) {
        if (this.l(ECHOCTL)) columns += 2;
      } else if (!this.isContinuation(c)) {
        columns++;
      }
    }
    this.echo(OP_ERASE_TAB | (columns & 7) | (afterTab ? 0 : OP_FROM_START));
  }

  private finishErasing(): void {
    if (!this.erasing) return;
    this.echo(SLASH);
    this.erasing = false;
  }

  // ---- echo

  private echo(op: number): void {
    // Echoes that nobody fetches are lost, oldest first, as the kernel's ring loses them.
    if (this.echoes.length >= ECHO_LIMIT) this.echoes.shift();
    this.echoes.push(op);
  }

  private echoChar(c: number): void {
    this.echo(this.l(ECHOCTL) && isControl(c) && c !== TAB ? OP_CONTROL | c : c);
  }

  /** Writes out echoes as far as there is room: __process_echoes(). */
  processEchoes(): void {
    let done = 0;
    while (done < this.echoes.length && this.processEcho(this.echoes[done]!)) done++;
    if (done === 0) return;
    this.echoes.splice(0, done);
    this.port.outputChanged();
  }

  private processEcho(op: number): boolean {
    const room = this.port.outputRoom();
    switch (op & OP_MASK) {
      case OP_SET_CANON_COLUMN:
        this.canonColumn = this.column;
        return true;
      case OP_MOVE_BACK:
        if (this.column > 0) this.column--;
        return true;
      case OP_ERASE_TAB: {
        const columns = (op & 7) + ((op & OP_FROM_START) !== 0 ? this.canonColumn : 0);
        let back = 8 - (columns & 7);
        if (back > room) return false;
        while (back-- > 0) {
          this.port.put(BS);
          if (this.column > 0) this.column--;
        }
        return true;
      }
      case OP_CONTROL:
        if (room < 2) return false;
        this.port.put(CARET);
        this.port.put((op & 0xff) ^ 0x40);
        this.column += 2;
        return true;
      default:
        if (this.o(OPOST)) return this.outputByte(op, room) >= 0;
        if (room < 1) return false;
        this.port.put(op);
        return true;
    }
  }

  // ---- output

  /** Takes bytes of a program's write; fewer than n when there is no room, 0 while output is stopped. */
  write(src: Uint8Array, at: number, n: number): number {
    this.processEchoes();
    let done = 0;
    if (this.o(OPOST)) {
      while (done < n && this.processOutput(src[at + done]!)) done++;
    } else {
      const count = Math.min(n, this.port.outputRoom());
      for (; done < count; done++) this.port.put(src[at + done]!);
    }
    if (done > 0) this.port.outputChanged();
    return done;
  }

  private processOutput(c: number): boolean {
    return this.outputByte(c, this.port.outputRoom()) >= 0;
  }

  /** do_output_char(): one byte with OPOST; -1 without room. */
  private outputByte(c: number, room: number): number {
    if (room < 1) return -1;
    switch (c) {
      case NL:
        if (this.o(ONLRET)) this.column = 0;
        if (this.o(ONLCR)) {
          if (room < 2) return -1;
          this.canonColumn = 0;
          this.column = 0;
          this.port.put(CR);
          this.port.put(NL);
          return 2;
        }
        this.canonColumn = this.column;
        break;
      case CR:
        if (this.o(ONOCR) && this.column === 0) return 0;
        if (this.o(OCRNL)) {
          c = NL;
          if (this.o(ONLRET)) {
            this.canonColumn = 0;
            this.column = 0;
          }
          break;
        }
        this.canonColumn = 0;
        this.column = 0;
        break;
      case TAB: {
        const spaces = 8 - (this.column & 7);
        if ((this.termios.oflag & TABDLY) === TAB3) {
          if (room < spaces) return -1;
          this.column += spaces;
          for (let i = 0; i < spaces; i++) this.port.put(SPACE);
          return spaces;
        }
        this.column += spaces;
        break;
      }
      case BS:
        if (this.column > 0) this.column--;
        break;
      default:
        if (isControl(c)) break;
        if (this.o(OLCUC) && c >= 0x61 && c <= 0x7a) c -= 0x20;
        if (!this.isContinuation(c)) this.column++;
    }
    this.port.put(c);
    return 1;
  }

  // ---- flow control and flushing

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.port.packet(TIOCPKT_STOP, TIOCPKT_START);
  }

  start(): void {
    if (!this.stopped || this.stoppedByProgram) return;
    this.stopped = false;
    this.port.packet(TIOCPKT_START, TIOCPKT_STOP);
    this.port.outputChanged();
    this.port.inputChanged();
  }

  /** reset_buffer_flags() with packet mode's notice. What the port still has is left. */
  flushInput(): void {
    this.readHead = 0;
    this.readTail = 0;
    this.canonHead = 0;
    this.push = false;
    this.erasing = false;
    this.marks.fill(0);
    this.port.packet(TIOCPKT_FLUSHREAD, 0);
  }

  /** tcflush(TCIFLUSH). */
  discardInput(): void {
    this.flushInput();
    this.pullBacklog();
    this.port.inputChanged();
  }

  /** Room has come up: what waited goes on. */
  outputDrained(): void {
    if (this.echoes.length > 0) this.processEchoes();
  }
}

/** iscntrl() of lib/ctype.c, whose upper half is latin1. */
function isControl(c: number): boolean {
  return c < 0x20 || c === 0x7f;
}

/** isalnum() or "_". */
function isWordByte(c: number): boolean {
  if ((c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || c === 0x5f) return true;
  return c >= 0xc0 && c !== 0xd7 && c !== 0xf7;
}

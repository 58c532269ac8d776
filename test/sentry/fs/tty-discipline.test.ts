import test from 'ava';
import { TIOCPKT_FLUSHREAD, TIOCPKT_FLUSHWRITE, TIOCPKT_START, TIOCPKT_STOP } from '../../../sentry/abi/ioctl.ts';
import { SIGINT } from '../../../sentry/abi/signal.ts';
import { ECHO, ECHOK, ECHOKE, ICANON, ICRNL, IUTF8, IXON, OPOST, TAB3, Termios, VEOL, VMIN } from '../../../sentry/abi/termios.ts';
import { LineDiscipline, type TtyPort } from '../../../sentry/fs/tty-discipline.ts';

/** A keyboard and a screen. */
class Screen implements TtyPort {
  text = '';
  room = 1 << 20;
  signals: number[] = [];
  status = 0;
  readonly line: LineDiscipline;

  constructor(change: (t: Termios) => void = () => {}) {
    const termios = new Termios();
    change(termios);
    this.line = new LineDiscipline(termios, this, 8192);
  }

  outputRoom(): number {
    return this.line.stopped ? 0 : this.room;
  }
  put(byte: number): void {
    this.text += String.fromCharCode(byte);
    this.room--;
  }
  flushOutput(): void {
    this.text = '';
  }
  signal(signo: number): void {
    this.signals.push(signo);
  }
  inputChanged(): void {}
  outputChanged(): void {}
  packet(set: number, clear: number): void {
    this.status = (this.status & ~clear) | set;
  }

  type(keys: string): this {
    const bytes = Buffer.from(keys, 'latin1');
    this.line.receive(bytes, 0, bytes.length);
    return this;
  }
  read(n = 4096): string | number {
    const dst = new Uint8Array(n);
    const got = this.line.read(dst, 0, n);
    return got < 0 ? got : Buffer.from(dst.subarray(0, got)).toString('latin1');
  }
  print(text: string): number {
    const bytes = Buffer.from(text, 'latin1');
    return this.line.write(bytes, 0, bytes.length);
  }
}

const EAGAIN = -11;

test('a line is readable once Enter is typed, with CR turned into NL and echoed as CR NL', (t) => {
  const s = new Screen().type('ls');
  t.is(s.read(), EAGAIN);
  s.type('\r');
  t.is(s.text, 'ls\r\n');
  t.is(s.read(), 'ls\n');
});

test('read returns one line at a time, and the rest of a long line later', (t) => {
  const s = new Screen().type('first\nsecond\n');
  t.is(s.read(3), 'fir');
  t.is(s.read(), 'st\n');
  t.is(s.line.inputQueued(), 7);
  t.is(s.read(), 'second\n');
});

test('erase, word erase and kill take back what they erase on the screen too', (t) => {
  const s = new Screen().type('ab\x7fc');
  t.is(s.text, 'ab\b \bc');
  s.type(' word\x17');
  t.is(s.text, `ab\b \bc word${'\b \b'.repeat(4)}`);
  s.type('x\x15ok\n');
  t.is(s.read(), 'ok\n');
});

test('kill without ECHOKE shows the kill character and a new line', (t) => {
  const s = new Screen((m) => {
    m.lflag &= ~ECHOKE;
  }).type('ab\x15');
  t.is(s.text, 'ab^U\r\n');
  const bare = new Screen((m) => {
    m.lflag &= ~(ECHOKE | ECHOK);
  }).type('ab\x15');
  t.is(bare.text, 'ab^U');
});

test('a control character takes two columns when it is erased', (t) => {
  const s = new Screen().type('\x01\x7f');
  t.is(s.text, '^A\b \b\b \b');
});

test('erasing a tab goes back to the column where it began', (t) => {
  const s = new Screen();
  s.print('$ ');
  s.type('a\t\x7f');
  t.is(s.text, `$ a\t${'\b'.repeat(5)}`);
});

test('with IUTF8 one erase takes a whole character', (t) => {
  const s = new Screen((m) => {
    m.iflag |= IUTF8;
  }).type('a\xc3\xa9\x7f\n');
  t.is(s.read(), 'a\n');
});

test('the literal-next key makes a control character text', (t) => {
  const s = new Screen().type('\x16\x03\n');
  t.deepEqual(s.signals, []);
  t.is(s.text, '^\b^C\r\n');
  t.is(s.read(), '\x03\n');
});

test('reprint shows the line again', (t) => {
  const s = new Screen().type('abc\x12');
  t.is(s.text, 'abc^R\r\nabc');
});

test('end of file ends a line without being in it, and alone reads as nothing', (t) => {
  const s = new Screen().type('abc\x04');
  t.is(s.read(), 'abc');
  s.type('\x04');
  t.is(s.line.inputQueued(), 0);
  t.is(s.read(), '');
  t.is(s.read(), EAGAIN);
});

test('a read that is filled exactly swallows the end of file behind the bytes', (t) => {
  const s = new Screen().type('abc\x04');
  t.is(s.read(3), 'abc');
  t.is(s.read(), EAGAIN);
});

test('a second end-of-line character ends a line and stays in it', (t) => {
  const s = new Screen((m) => {
    m.cc[VEOL] = 0x3b;
  }).type('a;b');
  t.is(s.read(), 'a;');
});

test('interrupt signals, flushes both directions and is echoed after that', (t) => {
  const s = new Screen().type('junk\x03');
  t.deepEqual(s.signals, [SIGINT]);
  t.is(s.text, '^C');
  t.is(s.status, TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE);
  s.type('x\n');
  t.is(s.read(), 'x\n');
});

test('stop holds output back and start lets it go on', (t) => {
  const s = new Screen().type('\x13');
  t.is(s.print('out'), 0);
  t.is(s.status, TIOCPKT_STOP);
  s.type('a\x11');
  t.is(s.status, TIOCPKT_START);
  t.is(s.text, 'a');
  t.is(s.print('out'), 3);
});

test('raw mode hands over bytes as they are, without echo', (t) => {
  const s = new Screen((m) => {
    m.iflag &= ~(ICRNL | IXON);
    m.lflag = 0;
    m.oflag &= ~OPOST;
  }).type('\r\x03\x13');
  t.is(s.text, '');
  t.is(s.read(), '\r\x03\x13');
  s.print('a\n');
  t.is(s.text, 'a\n');
});

test('poll outside canonical mode waits for VMIN bytes', (t) => {
  const s = new Screen((m) => {
    m.lflag &= ~(ICANON | ECHO);
    m.cc[VMIN] = 3;
  }).type('ab');
  t.false(s.line.pollAvailable());
  s.type('c');
  t.true(s.line.pollAvailable());
});

test('what was typed before a switch to canonical mode is a line', (t) => {
  const s = new Screen((m) => {
    m.lflag &= ~ICANON;
  }).type('ab');
  const old = s.line.termios.lflag;
  s.line.termios.lflag |= ICANON;
  s.line.settingsChanged(s.line.termios.iflag, old);
  t.is(s.read(), 'ab');
});

test('a line longer than the buffer keeps its first 4095 bytes and its end', (t) => {
  const s = new Screen().type('x'.repeat(5000)).type('\n');
  const line = s.read(8192) as string;
  t.is(line.length, 4096);
  t.true(line.endsWith('\n'));
});

test('TAB3 writes spaces up to the next stop', (t) => {
  const s = new Screen((m) => {
    m.oflag |= TAB3;
  });
  s.print('abc\td');
  t.is(s.text, 'abc     d');
});

test('a write stops where there is no room, and never splits CR NL', (t) => {
  const s = new Screen();
  s.room = 3;
  t.is(s.print('ab\ncd'), 2);
  t.is(s.text, 'ab');
});

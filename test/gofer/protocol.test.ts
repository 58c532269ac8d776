import test from 'ava';
import { ATTRIBUTES, Attributes, getAttributes } from '../../gofer/protocol/attributes.ts';
import { Reader, Writer } from '../../gofer/protocol/buffer.ts';
import { ClientChannel, FRAME_HEAD, REGION_SIZE, REPLY_SIZE, ServerChannel } from '../../gofer/protocol/channel.ts';
import * as m from '../../gofer/protocol/messages.ts';
import { ProtocolError } from '../../sentry/base/errors.ts';
import { GoferClient } from '../../sentry/fs/gofer/client.ts';

const broken = { instanceOf: ProtocolError };

/** What `put` wrote, ready to be read. */
function written(put: (w: Writer) => void, cut = 0): Reader {
  const w = new Writer(200_000);
  put(w);
  const r = new Reader(200_000);
  r.u8.set(w.u8.subarray(0, w.at));
  r.reset(w.at - cut);
  return r;
}

test('requests are read as they were written', (t) => {
  const walk = new m.WalkRequest();
  m.getWalk(
    written((w) => m.putWalk(w, 7, m.WALK_LOOK, ['usr', 'lib', 'f\xe9'])),
    walk,
  );
  t.like(walk, { handle: 7, flags: 1, names: ['usr', 'lib', 'f\xe9'] });

  const set = new m.SetStatRequest();
  const fields = {
    mask: 0xff,
    mode: 0o4755,
    uid: 1,
    gid: 0xffffffff,
    size: 2 ** 45 + 1,
    atimeSec: -5,
    atimeNsec: 999_999_999,
    mtimeSec: 2 ** 40,
    mtimeNsec: 1,
  };
  m.getSetStat(
    written((w) => m.putSetStat(w, 3, fields)),
    set,
  );
  t.like(set, { handle: 3, ...fields });

  const make = new m.MakeRequest();
  m.getMake(
    written((w) => m.putMake(w, 1, 'n', 0o20600, 2, 3, 4, 5, 'target')),
    true,
    make,
  );
  t.like(make, { directory: 1, name: 'n', mode: 0o20600, uid: 2, gid: 3, rdevMajor: 4, rdevMinor: 5, target: 'target' });

  const rename = new m.RenameRequest();
  m.getRename(
    written((w) => m.putRename(w, 1, 'a', 2, 'b', 3)),
    rename,
  );
  t.like(rename, { oldDirectory: 1, oldName: 'a', newDirectory: 2, newName: 'b', flags: 3 });

  const xattr = new m.XattrRequest();
  const r = written((w) => m.putSetXattr(w, 9, 1, 'user.a', Uint8Array.of(1, 2, 3)));
  m.getSetXattr(r, xattr);
  t.like(xattr, { handle: 9, flags: 1, name: 'user.a', valueLength: 3 });
  t.deepEqual([...r.u8.subarray(xattr.valueAt, xattr.valueAt + 3)], [1, 2, 3]);
});

test('a request that is cut anywhere, or has a byte too many, is refused', (t) => {
  const put = (w: Writer) => m.putRename(w, 1, 'abc', 2, 'def', 0);
  const rename = new m.RenameRequest();
  const w = new Writer(100);
  put(w);
  for (let cut = 1; cut <= w.at; cut++) t.throws(() => m.getRename(written(put, cut), rename), broken);
  t.throws(
    () =>
      m.getRename(
        written((x) => {
          put(x);
          x.byte(0);
        }),
        rename,
      ),
    broken,
  );
});

test('counts and lengths are compared with what is left before anything is made of them', (t) => {
  const walk = new m.WalkRequest();
  const huge = (count: number) =>
    written((w) => {
      w.u32(1);
      w.u32(0);
      w.u32(count);
    });
  t.throws(() => m.getWalk(huge(0xffffffff), walk), broken);
  t.throws(() => m.getWalk(huge(64), walk), broken);
  const xattr = new m.XattrRequest();
  const long = written((w) => {
    w.u32(1);
    w.u32(0x7fffffff);
  });
  t.throws(() => m.getXattrName(long, xattr), broken);
});

test('times and modes that are none are refused', (t) => {
  const fields = { mask: 1, mode: 0, uid: 0, gid: 0, size: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0 };
  const set = new m.SetStatRequest();
  for (const odd of [{ mode: 0o10000 }, { mask: 256 }, { size: -1 }, { atimeNsec: 1_000_000_000 }, { mtimeNsec: 0x3fffffff }]) {
    t.throws(
      () =>
        m.getSetStat(
          written((w) => m.putSetStat(w, 1, { ...fields, ...odd })),
          set,
        ),
      broken,
    );
  }
});

test('attributes with a size that is no exact number are refused', (t) => {
  const r = written((w) => w.view.setUint32(w.skip(ATTRIBUTES.size) + ATTRIBUTES.fileSize + 4, 0x7fffffff, true));
  t.throws(() => getAttributes(r, new Attributes()), broken);
});

/** A channel whose server runs whenever the client would sleep. */
function channel(serve: (server: ServerChannel, words: Int32Array) => void): ClientChannel {
  const memory = new ArrayBuffer(REGION_SIZE);
  const words = new Int32Array(memory, 0, 64);
  const server = new ServerChannel(memory, { futexWait: () => 0, futexWake: () => 0 });
  const host = {
    futexWait: () => {
      serve(server, words);
      return 0;
    },
    futexWake: () => 0,
  };
  return new ClientChannel(memory, host, () => true);
}

function answer(server: ServerChannel, result: number, donated = 0): void {
  server.next();
  server.reply.at = 0;
  server.reply.i32(result);
  server.reply.u32(donated);
  server.reply.u32(server.request.u32());
  server.send();
}

test('an answer comes back over the channel, request after request', (t) => {
  const client = channel((server) => answer(server, -2));
  for (let i = 0; i < 100; i++) {
    client.request.at = 0;
    client.request.u32(i);
    client.request.u32(0);
    t.is(client.roundTrip(), -2);
    t.is(client.reply.u32(), i);
  }
});

const hostile: [string, (server: ServerChannel, words: Int32Array) => void][] = [
  [
    'an answer to a request that was not made',
    (_s, words) => {
      Atomics.store(words, 32, 99);
    },
  ],
  [
    'an answer longer than its area',
    (server, words) => {
      answer(server, 0);
      words[33] = REPLY_SIZE + 1;
    },
  ],
  [
    'an answer without its head',
    (server, words) => {
      answer(server, 0);
      words[33] = FRAME_HEAD - 1;
    },
  ],
  ['two descriptors', (server) => answer(server, 0, 2)],
  ['a descriptor with a failure', (server) => answer(server, -1, 1)],
  ['silence, and a server that is gone', () => {}],
];
for (const [what, serve] of hostile) {
  test(`a client takes ${what} for a broken gofer, and says EIO from then on`, (t) => {
    const client = new GoferClient(channel(serve), -1);
    t.is(client.stat(1), -5);
    t.true(client.broken);
    t.is(client.stat(1), -5);
  });
}

test('an attribute answer that is too short is a broken gofer', (t) => {
  const client = new GoferClient(
    channel((server) => answer(server, 0)),
    -1,
  );
  t.is(client.stat(1), -5);
  t.true(client.broken);
});

import test from 'ava';
import { prefetchTable } from '../../platform/systrap/prefetch.ts';
import {
  SYS_fcntl,
  SYS_getpid,
  SYS_linkat,
  SYS_mount,
  SYS_open,
  SYS_poll,
  SYS_readv,
  SYS_recvmsg,
  SYS_sendmsg,
  SYS_write,
  SYS_writev,
} from '../../sentry/abi/sysno-x64.ts';
import { table } from '../../sentry/syscalls/table.ts';

const bytes = prefetchTable(table);
const view = new DataView(bytes.buffer);

/** The words of a call as [argument, kind, counting argument, size]. */
function words(nr: number): number[][] {
  const found: number[][] = [];
  for (let i = 0; i < 4; i++) {
    const word = view.getUint16(nr * 8 + i * 2, true);
    if (word !== 0) found.push([word & 7, (word >> 3) & 3, (word >> 5) & 7, (word >> 8) & 0x3f]);
  }
  return found;
}

test('paths, buffers and vectors of the system-call table are fetched by the argument they are', (t) => {
  t.deepEqual(words(SYS_open), [[0, 1, 0, 0]]);
  t.deepEqual(words(SYS_linkat), [
    [1, 1, 0, 0],
    [3, 1, 0, 0],
  ]);
  t.deepEqual(words(SYS_write), [[1, 2, 2, 0]]);
  t.deepEqual(words(SYS_writev), [[1, 0, 2, 16]]);
  t.deepEqual(words(SYS_poll), [[0, 0, 1, 8]]);
  t.deepEqual(words(SYS_fcntl), [[2, 3, 0, 4]]);
  t.deepEqual(words(SYS_getpid), []);
});

test('the buffers of a vector are fetched for calls that read them', (t) => {
  const flags = (nr: number): number => view.getUint16(nr * 8, true) >> 14;
  t.is(flags(SYS_writev), 2);
  t.is(flags(SYS_readv), 0);
  t.is(flags(SYS_sendmsg), 3);
  t.is(flags(SYS_recvmsg), 1);
});

test('a call with more pointers than there are words has the first ones fetched', (t) => {
  t.is(words(SYS_mount).length, 4);
});

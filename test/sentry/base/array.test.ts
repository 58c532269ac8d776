import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { objectArray } from '../../../sentry/base/array.ts';

setFlagsFromString('--allow-natives-syntax');
const isForObjects = runInNewContext('(array) => %HasObjectElements(array) && !%HasHoleyElements(array)') as (array: unknown[]) => boolean;

test('an array for objects has the shape it will keep', (t) => {
  const array = objectArray<object>();
  t.is(array.length, 0);
  t.true(isForObjects(array));
  array.push({});
  t.true(isForObjects(array));
  t.false(isForObjects([]));
});

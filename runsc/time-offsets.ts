// linux.timeOffsets of config.json: by how much the clocks of the container's time namespace differ from the machine's.

import { uptime } from 'node:os';
import type { TimeOffsets } from '../sentry/boot/boot-config.ts';
import type { Field } from './field.ts';
import type { SpecNamespace } from './spec.ts';

/** KTIME_SEC_MAX: no clock shows more seconds, and half of them are left to run: kernel/time/namespace.c. */
const SEC_MAX = 9223372036;
const CLOCKS = ['monotonic', 'boottime'];

/** The offsets of a container with a time namespace of its own; undefined for one that has none. */
export function checkTimeOffsets(field: Field, namespaces: readonly SpecNamespace[]): TimeOffsets | undefined {
  const given = field.entries();
  for (const [name, clock] of given)
    if (!CLOCKS.includes(name)) clock.fail('is not a clock that can be shifted: there are monotonic and boottime');
  const namespace = namespaces.find((n) => n.type === 'time');
  if (namespace === undefined || namespace.path !== undefined) {
    if (given.length > 0) field.fail('needs a time namespace of its own in linux.namespaces');
    return undefined;
  }
  return {
    monotonic: offsetOf(field.get('monotonic'), Number(process.hrtime.bigint() / 1_000_000_000n)),
    boottime: offsetOf(field.get('boottime'), Math.floor(uptime())),
  };
}

/** now: what the machine's clock shows, in seconds. */
function offsetOf(clock: Field, now: number): { sec: number; nsec: number } {
  const sec = clock.get('secs').optionalInteger(-SEC_MAX, SEC_MAX) ?? 0;
  const nsec = clock.get('nanosecs').optionalInteger(0, 999_999_999) ?? 0;
  // Linux answers ERANGE.
  if (now + sec < 0 || now + sec > SEC_MAX / 2) clock.get('secs').fail(`takes the clock, which shows ${now} s, out of its range`);
  return { sec, nsec };
}

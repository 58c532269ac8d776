import test from 'ava';
import { Housekeeping } from '../../sentry/kernel/housekeeping.ts';
import { FOREVER, TimerHeap } from '../../sentry/kernel/timers.ts';

const SECOND = 1_000_000_000;

function setup() {
  const timers = new TimerHeap();
  const clock = { now: 0, monotonicNs: () => clock.now };
  const seen = { given: 0 };
  const housekeeping = new Housekeeping(timers, clock, () => seen.given++);
  return { timers, clock, seen, housekeeping };
}

test('memory is given back once, after a second without activity, and then no timer is left', (t) => {
  const { timers, seen, housekeeping } = setup();
  housekeeping.noteActivity();
  timers.expire(SECOND);
  t.is(seen.given, 0, 'what armed it counts as activity');
  timers.expire(2 * SECOND);
  t.is(seen.given, 1);
  t.is(timers.next(), FOREVER);
});

test('a busy guest is never interrupted', (t) => {
  const { timers, clock, seen, housekeeping } = setup();
  for (let second = 0; second < 10; second++) {
    clock.now = second * SECOND;
    housekeeping.noteActivity();
    timers.expire(clock.now);
  }
  t.is(seen.given, 0);
});

test('activity after a pause arms it again', (t) => {
  const { timers, clock, seen, housekeeping } = setup();
  housekeeping.noteActivity();
  timers.expire(SECOND);
  timers.expire(2 * SECOND);
  clock.now = 60 * SECOND;
  housekeeping.noteActivity();
  t.is(timers.next(), 61 * SECOND);
  timers.expire(61 * SECOND);
  timers.expire(62 * SECOND);
  t.is(seen.given, 2);
});

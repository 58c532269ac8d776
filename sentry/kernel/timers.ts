// The kernel's deadlines. The heap itself is in base, so that file systems (timerfd) can own timers.
export { FOREVER, Timer, TimerHeap } from '../base/timers.ts';

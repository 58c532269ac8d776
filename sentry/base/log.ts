// The Sentry's log. Off by default: a line costs a test of one boolean. boot/main.ts points it at
// the inherited log descriptor; it must not be used before lock-down has settled that.

export type LogSink = (line: string) => void;

let sink: LogSink | undefined;
let debugOn = false;

export function setLogSink(write: LogSink | undefined, debug: boolean): void {
  sink = write;
  debugOn = debug;
}

export function isDebug(): boolean {
  return debugOn;
}

function emit(level: string, message: string): void {
  sink?.(`${new Date().toISOString()} ${level} ${message}\n`);
}

/** For whoever debugs the Sentry; guard with isDebug() where building the message costs. */
export function debug(message: string): void {
  if (debugOn) emit('debug', message);
}

export function info(message: string): void {
  emit('info', message);
}

/** Something a user should know of: a degraded feature, an unimplemented call. */
export function warn(message: string): void {
  emit('warning', message);
}

const warned = new Set<string>();

/** Like warn, but a given message appears once in the life of the sandbox. */
export function warnOnce(message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  emit('warning', message);
}

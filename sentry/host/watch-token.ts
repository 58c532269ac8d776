// Tokens by which Platform.watch() tells ready descriptors apart: small positive numbers, never given twice.
// boot/watch.ts has a range of its own above these.

let last = 0;

export function nextWatchToken(): number {
  return ++last;
}

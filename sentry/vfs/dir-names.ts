// All names of an open directory at once, for the Sentry's own work on trees: overlays, copies.

import { latin1 } from '../base/latin1.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from './file-description.ts';
import type { DirSink } from './filesystem.ts';

/** Reads `file` to its end and lets go of it. The names without "." and "..", or -errno. */
export function takeNames(file: FileDescription): string[] | number {
  const names: string[] = [];
  const sink: DirSink = {
    entry(name) {
      if (name !== '.' && name !== '..') names.push(name);
      return true;
    },
    entryBytes(bytes, at, length) {
      names.push(latin1(bytes, at, at + length));
      return true;
    },
  };
  let error = 0;
  for (let before = -1; error === 0 && file.pos !== before; ) {
    before = file.pos;
    // File systems do not ask who reads a directory.
    error = file.readdir(null as unknown as Task, sink);
  }
  file.decRef(null);
  return error < 0 ? error : names;
}

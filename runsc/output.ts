// What a command prints.
import { writeSync } from 'node:fs';

/** Writes to stdout. Node's own stream would load its sockets first, which takes longer than most of what prints. */
export function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Whoever reads has seen enough.
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      process.stdout.write(bytes.subarray(at));
      return;
    }
  }
}

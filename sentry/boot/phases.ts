// When the steps of booting were done, for who asks with --debug where a start's time goes.

export type Phase = readonly [name: string, monotonicMs: number];

export class Phases {
  readonly done: Phase[] = [];

  /** CLOCK_MONOTONIC, which all processes of the host share. */
  end(name: string): void {
    const [seconds, nanoseconds] = process.hrtime();
    this.done.push([name, seconds * 1000 + nanoseconds / 1e6]);
  }
}

// One declaration file for each file of src/, so that a function is declared beside where it is defined.
export * from './types/hostcalls.d.ts';
export * from './types/memory.d.ts';
export * from './types/net.d.ts';
export * from './types/process.d.ts';
export * from './types/ptrace.d.ts';
export * from './types/residency.d.ts';
export * from './types/seccomp.d.ts';
export * from './types/systrap.d.ts';
export * from './types/wait.d.ts';

/** Path of the executable of anchor/anchor.c, good for our children while we run. */
export function anchorPath(): string;

/** Opens the stub's executable read-only and close-on-exec, for execveat(2) with AT_EMPTY_PATH. The caller owns the descriptor. */
export function openStub(): number;

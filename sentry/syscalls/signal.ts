import type { SyscallLine } from './syscall-line.ts';

export const signalCalls: readonly SyscallLine[] = [];

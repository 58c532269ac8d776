import type { SyscallLine } from './syscall-line.ts';

export const fsDirCalls: readonly SyscallLine[] = [];

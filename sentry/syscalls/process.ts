import type { SyscallLine } from './syscall-line.ts';

export const processCalls: readonly SyscallLine[] = [];

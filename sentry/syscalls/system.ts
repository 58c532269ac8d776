import type { SyscallLine } from './syscall-line.ts';

export const systemCalls: readonly SyscallLine[] = [];

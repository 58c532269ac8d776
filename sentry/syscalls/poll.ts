import type { SyscallLine } from './syscall-line.ts';

export const pollCalls: readonly SyscallLine[] = [];

import type { SyscallLine } from './syscall-line.ts';

export const futexCalls: readonly SyscallLine[] = [];

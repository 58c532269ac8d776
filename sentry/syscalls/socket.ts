import type { SyscallLine } from './syscall-line.ts';

export const socketCalls: readonly SyscallLine[] = [];

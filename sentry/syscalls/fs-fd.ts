import type { SyscallLine } from './syscall-line.ts';

export const fsFdCalls: readonly SyscallLine[] = [];

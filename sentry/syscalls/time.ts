import type { SyscallLine } from './syscall-line.ts';

export const timeCalls: readonly SyscallLine[] = [];

import type { SyscallLine } from './syscall-line.ts';

export const memoryCalls: readonly SyscallLine[] = [];

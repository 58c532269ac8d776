import type { SyscallLine } from './syscall-line.ts';

export const identityCalls: readonly SyscallLine[] = [];

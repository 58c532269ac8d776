import type { SyscallLine } from './syscall-line.ts';

export const fsMountCalls: readonly SyscallLine[] = [];

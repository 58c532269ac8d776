import type { SyscallLine } from './syscall-line.ts';

export const fsStatCalls: readonly SyscallLine[] = [];

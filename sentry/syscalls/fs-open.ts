import type { SyscallLine } from './syscall-line.ts';

export const fsOpenCalls: readonly SyscallLine[] = [];

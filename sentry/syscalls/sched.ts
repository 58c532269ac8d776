import type { SyscallLine } from './syscall-line.ts';

export const schedCalls: readonly SyscallLine[] = [];

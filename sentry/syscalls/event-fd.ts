import type { SyscallLine } from './syscall-line.ts';

export const eventFdCalls: readonly SyscallLine[] = [];

import type { SyscallLine } from './syscall-line.ts';

export const fsReadWriteCalls: readonly SyscallLine[] = [];

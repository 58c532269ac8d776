// The descriptor of landlock_create_ruleset(2). It serves as a handle only: security/landlock/syscalls.c, ruleset_fops.

import { EINVAL } from '../abi/errno.ts';
import { O_RDWR } from '../abi/fcntl.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import type { Rules } from '../vfs/landlock.ts';
import { anonInode } from './anon.ts';

export class RulesetFile extends FileDescription {
  readonly rules: Rules;

  constructor(rules: Rules) {
    super(O_RDWR, undefined);
    this.rules = rules;
  }

  override inode(): Inode {
    return anonInode;
  }

  override linkText(): string {
    return 'anon_inode:[landlock-ruleset]';
  }

  override read(_t: Task, _io: IoBuffer): number {
    return -EINVAL;
  }

  override write(_t: Task, _io: IoBuffer): number {
    return -EINVAL;
  }

  protected override release(_t: Task | null): void {
    this.rules.release();
  }
}

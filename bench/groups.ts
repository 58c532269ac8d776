// The groups of measurements, in the order of the table. A new one is a file beside this one and a line here.
import { calls } from './calls.ts';
import { files } from './files.ts';
import { gc } from './gc.ts';
import { growth } from './growth.ts';
import { memory } from './memory.ts';
import { network } from './net.ts';
import { programGroup } from './programs.ts';
import { startup } from './startup.ts';
import type { Group } from './support/group.ts';

export const groups: readonly Group[] = [calls, files, network, programGroup, startup, memory, gc, growth];

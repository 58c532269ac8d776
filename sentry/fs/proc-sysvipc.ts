// /proc/sysvipc: ipc/msg.c:sysvipc_msg_proc_show() and its kin. The objects are those of the
// reader's ipc namespace, whose tables the kernel keeps by name.

import type { IpcObject, IpcTable } from '../kernel/ipc.ts';
import type { MessageQueue } from '../kernel/ipc-msg.ts';
import type { SemaphoreSet } from '../kernel/ipc-sem.ts';
import type { ShmSegment } from '../kernel/ipc-shm.ts';
import type { Task } from '../kernel/task.ts';

const MSG_HEAD =
  '       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n';
const SEM_HEAD = '       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n';
const SHM_HEAD =
  '       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n';

function objects<T extends IpcObject>(t: Task, name: string): T[] {
  const table = t.ns.ipc.tables.get(name) as IpcTable<T> | undefined;
  return table?.all() ?? [];
}

function pad(value: number | string, width: number): string {
  return String(value).padStart(width);
}

/** key, id and permissions, as every table begins. */
function head(o: IpcObject): string {
  return `${pad(o.key | 0, 10)} ${pad(o.id, 10)}  ${pad(o.mode.toString(8), 4)}`;
}

function owners(t: Task, o: IpcObject): string {
  const p = o.shownTo(t);
  return `${pad(p.uid, 5)} ${pad(p.gid, 5)} ${pad(p.cuid, 5)} ${pad(p.cgid, 5)}`;
}

/** A number of the root pid namespace as the reader's names it. */
function pidShown(t: Task, number: number): string {
  return pad(t.kernel.rootPidNamespace.findAny(number)?.numberIn(t.pidns) ?? 0, 5);
}

export function msgText(t: Task): string {
  let text = MSG_HEAD;
  for (const q of objects<MessageQueue>(t, 'msg')) {
    text += `${head(q)}  ${pad(q.bytes, 10)} ${pad(q.messages.length, 10)} ${pidShown(t, q.lastSender)} ${pidShown(t, q.lastReceiver)} ${owners(t, q)} ${pad(q.stimeSec, 10)} ${pad(q.rtimeSec, 10)} ${pad(q.ctimeSec, 10)}\n`;
  }
  return text;
}

export function semText(t: Task): string {
  let text = SEM_HEAD;
  for (const s of objects<SemaphoreSet>(t, 'sem')) {
    text += `${head(s)} ${pad(s.values.length, 10)} ${owners(t, s)} ${pad(s.otimeSec, 10)} ${pad(s.ctimeSec, 10)}\n`;
  }
  return text;
}

export function shmText(t: Task): string {
  let text = SHM_HEAD;
  for (const s of objects<ShmSegment>(t, 'shm')) {
    text += `${head(s)} ${pad(s.size, 21)} ${pidShown(t, s.creatorPid)} ${pidShown(t, s.lastPid)}  ${pad(s.attached, 5)} ${owners(t, s)} ${pad(s.atimeSec, 10)} ${pad(s.dtimeSec, 10)} ${pad(s.ctimeSec, 10)} ${pad(0, 21)} ${pad(0, 21)}\n`;
  }
  return text;
}

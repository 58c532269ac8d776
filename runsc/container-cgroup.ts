// The cgroup of a container on the host: made with its first process, which systemd wants one to begin with.

import { writeFileSync } from 'node:fs';
import { Cgroup, type CgroupRecord, createCgroup, startScope } from './cgroup.ts';
import { cgroupPath, systemdUnit } from './cgroup-hierarchies.ts';
import type { Config } from './config.ts';
import { RunscError } from './errors.ts';
import { Field } from './field.ts';
import { debugLine } from './messages.ts';
import type { Pod } from './pod.ts';
import { checkResources, type Resources } from './resources.ts';
import type { Spec } from './spec.ts';
import type { StateDir } from './state-file.ts';

/** Rules for devices are the guest's to keep: nothing of the host is needed for them. */
function hasLimits(r: Resources): boolean {
  const nothing = checkResources(new Field('', undefined));
  return JSON.stringify({ ...r, devices: [] }) !== JSON.stringify(nothing);
}

export interface PreparedCgroup {
  /** Puts the Sentry or the gofer in; the first call makes it. */
  readonly joinSandbox: (pid: number) => void;
  /** Moves a gofer to where the Sentry of its pod is. */
  readonly joinPod: (pid: number) => void;
  /** Puts a process in that stands for one of the container's. */
  readonly join: (pid: number, isNursery?: boolean) => void;
  readonly cgroup: () => Cgroup | undefined;
}

/** The cgroup is made when the first process is there, since systemd wants one to begin with. */
export function prepareCgroup(config: Config, dir: StateDir, spec: Spec, pod: Pod | undefined): PreparedCgroup {
  const { id } = dir;
  let made: Cgroup | undefined;
  let tried = config.ignoreCgroups;
  let madeBySystemd = false;
  const tolerant = config.rootless || (!hasLimits(spec.resources) && spec.cgroupsPath === undefined);
  const beside = pod?.member.cgroup === undefined ? undefined : new Cgroup(pod.member.cgroup as CgroupRecord);
  const admit = (pid: number): void => {
    if (!tried) {
      tried = true;
      if (config.systemdCgroup) {
        const { slice, unit } = systemdUnit(spec.cgroupsPath, id);
        madeBySystemd = startScope(slice, unit, pid);
      }
      const path = cgroupPath(spec.cgroupsPath, id, config.systemdCgroup);
      made = createCgroup(
        path,
        spec.resources,
        { tolerant, madeBySystemd, alone: pod !== undefined, planned: (record) => dir.saveRemains({ cgroup: record }) },
        debugLine,
      );
    }
    // Before the process runs, so that all it forks inherits it.
    setOomScore(pid, spec.process.oomScoreAdj);
  };
  const joinSandbox = (pid: number): void => {
    admit(pid);
    // A pod's gofers are beside their Sentry, which waits for them: a container that is frozen must not freeze its own. A
    // scope of systemd's would end if nobody was left in it.
    if (pod === undefined || madeBySystemd) made?.joinSandbox(pid);
    else beside?.joinSandbox(pid);
  };
  const join = (pid: number, isNursery = false): void => {
    admit(pid);
    if (isNursery) made?.joinNursery(pid);
    else made?.join(pid);
  };
  return { joinSandbox, joinPod: (pid) => beside?.joinSandbox(pid), join, cgroup: () => made };
}

/** An ordinary user may only raise it. */
function setOomScore(pid: number, adjust: number | undefined): void {
  if (adjust === undefined) return;
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(adjust));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Without CAP_SYS_RESOURCE on the host it cannot be lowered there: the guest has a value of its own.
    if (code !== 'EACCES' && code !== 'EPERM') throw new RunscError('config.json: process.oomScoreAdj', error);
  }
}

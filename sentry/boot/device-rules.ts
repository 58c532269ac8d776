// linux.resources.devices: which devices a container may open and make nodes of, as the devices controller decides it:
// Documentation/admin-guide/cgroup-v1/devices.rst. The devices are the guest's own, so the guest keeps the rules.

import { S_IFCHR } from '../abi/stat.ts';
import type { DeviceRuleConfig } from './boot-config.ts';

const ANY = -1;

/** What every container may have, whatever its configuration says: runc's AllowedDevices, with consoles and terminals. */
const ALWAYS: readonly DeviceRuleConfig[] = [
  { allow: true, kind: 0, major: ANY, minor: ANY, access: 'm' },
  ...(
    [
      [1, 3],
      [1, 5],
      [1, 7],
      [1, 8],
      [1, 9],
      [5, 0],
      [5, 1],
      [5, 2],
      [136, ANY],
    ] as const
  ).map(([major, minor]) => ({ allow: true, kind: S_IFCHR, major, minor, access: 'rwm' })),
];

/** Whether all of `access` is allowed. Without rules everything is. */
export function deviceAllowed(rules: readonly DeviceRuleConfig[], kind: number, major: number, minor: number, access: string): boolean {
  if (rules.length === 0) return true;
  for (const wish of access) {
    let allowed = false;
    for (const rule of [...rules, ...ALWAYS]) {
      const fits =
        (rule.kind === 0 || rule.kind === kind) &&
        (rule.major === ANY || rule.major === major) &&
        (rule.minor === ANY || rule.minor === minor) &&
        rule.access.includes(wish);
      if (fits) allowed = rule.allow;
    }
    if (!allowed) return false;
  }
  return true;
}

// Printing places: fs/d_path.c, and mountinfo of fs/proc_namespace.c.

import type { Dentry } from './dentry.ts';
import type { VfsPath } from './filesystem.ts';
import type { Mount, MountNamespace } from './mount.ts';

/** Whether the place lies at or below `root`, and the path from there. prepend_path(); undefined when it does not. */
export function pathBelow(mount: Mount, dentry: Dentry, root: VfsPath): string | undefined {
  let text = '';
  for (;;) {
    if (mount === root.mount && dentry === root.dentry) return text === '' ? '/' : text;
    if (dentry === mount.root) {
      if (mount.parent === null) return undefined;
      dentry = mount.mountpoint!;
      mount = mount.parent;
      continue;
    }
    if (dentry.parent === null) return undefined;
    text = `/${dentry.name}${text}`;
    dentry = dentry.parent;
  }
}

/** The path up to whatever root there is: d_absolute_path() without its errors. */
function pathToTop(mount: Mount, dentry: Dentry): string {
  let text = '';
  for (;;) {
    if (dentry === mount.root || dentry.parent === null) {
      if (dentry !== mount.root && dentry.parent === null && !dentry.hashed) text = `/${dentry.name}${text}`;
      if (mount.parent === null) return text === '' ? '/' : text;
      dentry = mount.mountpoint!;
      mount = mount.parent;
      continue;
    }
    text = `/${dentry.name}${text}`;
    dentry = dentry.parent;
  }
}

/** d_path(): as /proc/[pid]/fd and maps show it, with " (deleted)" for what has lost its name. */
export function pathName(path: VfsPath, root: VfsPath): string {
  const { mount, dentry } = path;
  const text = pathBelow(mount, dentry, root) ?? pathToTop(mount, dentry);
  return isDeleted(dentry) ? `${text} (deleted)` : text;
}

/** Whether the name is gone; the root of a file system never is. */
export function isDeleted(dentry: Dentry): boolean {
  return !dentry.hashed;
}

/** What getcwd(2) answers; "" when the directory is gone. Outside the root it starts with "(unreachable)". */
export function cwdName(path: VfsPath, root: VfsPath): string {
  const { mount, dentry } = path;
  if (isDeleted(dentry)) return '';
  return pathBelow(mount, dentry, root) ?? `(unreachable)${pathToTop(mount, dentry)}`;
}

/** Space, tab, newline, backslash and "#" as octal: mangle(). */
function mangled(text: string): string {
  return text.replace(/[ \t\n\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** The type, and the subtype if there is one: show_type(). */
function typeText(m: Mount): string {
  return m.fs.subtype === '' ? m.fs.type : `${m.fs.type}.${m.fs.subtype}`;
}

/** /proc/[pid]/mountinfo for a task whose root is `root`. */
export function mountinfoText(ns: MountNamespace, root: VfsPath): string {
  let text = '';
  for (const m of ns.mounts) {
    const where = pathBelow(m, m.root, root);
    if (where === undefined) continue;
    const dev = m.fs.dev;
    const major = (dev >>> 8) & 0xfff;
    const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
    text += `${m.id} ${m.parent === null ? m.id : m.parent.id} ${major}:${minor} ${mangled(m.root.pathInFs())}${m.root.hashed ? '' : '//deleted'} ${mangled(where)} ${m.optionText()}`;
    if (m.peers !== null) text += ` shared:${m.peers.id}`;
    if (m.master !== null) text += ` master:${m.master.id}`;
    if (m.unbindable) text += ' unbindable';
    text += ` - ${mangled(typeText(m))} ${mangled(m.source)} ${m.fs.readOnly ? 'ro' : 'rw'}${m.fs.options()}\n`;
  }
  return text;
}

/** /proc/[pid]/mounts. */
export function mountsText(ns: MountNamespace, root: VfsPath): string {
  let text = '';
  for (const m of ns.mounts) {
    const where = pathBelow(m, m.root, root);
    if (where === undefined) continue;
    const options = m.optionText().replace(/^r[wo]/, m.readOnly || m.fs.readOnly ? 'ro' : 'rw');
    text += `${mangled(m.source)} ${mangled(where)} ${mangled(typeText(m))} ${options}${m.fs.options()} 0 0\n`;
  }
  return text;
}

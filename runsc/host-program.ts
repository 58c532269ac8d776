// Programs of the host that runsc runs: hooks, newuidmap, busctl. Few starts need one, and node:child_process takes
// three milliseconds to load, so it is loaded by the first.

export const spawnSync = ((...words: Parameters<typeof import('node:child_process').spawnSync>) =>
  process.getBuiltinModule('node:child_process').spawnSync(...words)) as typeof import('node:child_process').spawnSync;

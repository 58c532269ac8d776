// `npm run build`: one executable, dist/runsc. esbuild joins the sources, Node's --build-sea puts the result, the addon and
// the stub behind a copy of Node itself. native/load.js is the other half: it unpacks the assets at run time.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const work = join(dist, 'work');
const executable = join(dist, 'runsc');
const released = join(root, 'native', 'build', 'Release');

function fail(sentence: string): never {
  console.error(`build: ${sentence}`);
  process.exit(1);
}

for (const path of [join(root, 'runsc', 'main.ts'), join(released, 'ptrace_napi.node'), join(released, 'stub')]) {
  if (!existsSync(path)) fail(`${path} is missing`);
}
rmSync(dist, { recursive: true, force: true });
mkdirSync(work, { recursive: true });

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
await build({
  entryPoints: [join(root, 'runsc', 'main.ts')],
  outfile: join(work, 'main.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node26',
  // Names stay: assertions and logs print them.
  keepNames: false,
  minifyWhitespace: true,
  legalComments: 'none',
  define: { 'process.env.RUNSC_VERSION': JSON.stringify(version) },
  // What is left of CommonJS (debug) asks for Node's modules by require().
  banner: { js: "import { createRequire as nodeRequire } from 'node:module'; const require = nodeRequire(process.execPath);" },
  logLevel: 'warning',
});

const config = join(work, 'sea.json');
writeFileSync(
  config,
  JSON.stringify({
    main: join(work, 'main.mjs'),
    mainFormat: 'module',
    output: executable,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    // A NODE_OPTIONS in the caller's environment is meant for the caller's programs.
    execArgvExtension: 'none',
    assets: { 'ptrace_napi.node': join(released, 'ptrace_napi.node'), stub: join(released, 'stub') },
  }),
);
const sea = spawnSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
if (sea.status !== 0) fail('node --build-sea failed, see its message above');
rmSync(work, { recursive: true });

// containerd starts the shim by this name, and the executable looks at the name it was called by.
symlinkSync('runsc', join(dist, 'containerd-shim-runsc-v1'));
console.log(`dist/runsc: ${(statSync(executable).size / 2 ** 20).toFixed(0)} MiB`);

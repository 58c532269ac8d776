// `npm run build`: one executable, dist/runsc. esbuild joins the sources of each role, Node's --build-sea puts them, what V8
// made of them, the addon, the stub and the anchor behind a copy of Node itself. executable/ and native/load.js are the other half:
// they take the assets out at run time.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { carryLibraries } from './carry.ts';
import { type Role, roles } from './executable/role.ts';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const work = join(dist, 'work');
const executable = join(dist, 'runsc');
/** Of the flags' hash in V8's cache: snapshot/code-serializer.h, SerializedCodeData. */
const CACHE_FLAGS_OFFSET = 12;
/**
 * How much V8 allocates before it first looks for garbage. A start makes 3 MiB that stays, of which the usual first look after
 * one, and each further one, copies all: a tenth of a start's time.
 */
const NURSERY_MIB = 4;
const released = join(root, 'native', 'build', 'Release');

function fail(sentence: string): never {
  console.error(`build: ${sentence}`);
  process.exit(1);
}

for (const path of [
  join(root, 'runsc', 'main.ts'),
  join(released, 'ptrace_napi.node'),
  join(released, 'stub'),
  join(released, 'anchor'),
  join(released, 'launcher'),
]) {
  if (!existsSync(path)) fail(`${path} is missing`);
}
rmSync(dist, { recursive: true, force: true });
mkdirSync(work, { recursive: true });

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const common = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node26',
  charset: 'ascii',
  minifyWhitespace: true,
  legalComments: 'none',
  // A checkout finds its files by these; the executable has its own inside.
  define: { 'process.env.RUNSC_VERSION': JSON.stringify(version), 'import.meta.url': '""', 'import.meta.dirname': '""' },
  logLevel: 'warning',
} as const satisfies BuildOptions;

const entries: Record<Role, string> = {
  'command-line': 'runsc/command-line.ts',
  sentry: 'sentry/boot/main.ts',
  gofer: 'gofer/main.ts',
};
for (const role of roles) {
  await build({
    ...common,
    entryPoints: [join(root, entries[role])],
    outfile: join(work, `${role}.js`),
    banner: { js: '(function(require,module,exports){' },
    footer: { js: '})' },
  });
}

/** Puts a main script and assets behind a copy of Node. */
async function seal(main: string, output: string, files: Record<string, string>, define: Record<string, string> = {}): Promise<void> {
  const script = join(work, `${main}.cjs`);
  await build({ ...common, define, entryPoints: [join(import.meta.dirname, 'executable', `${main}.ts`)], outfile: script });
  const config = join(work, `${main}.json`);
  writeFileSync(
    config,
    JSON.stringify({
      main: script,
      output,
      disableExperimentalSEAWarning: true,
      // It would name other flags than a start's; the roles' caches are made by starts.
      useCodeCache: false,
      execArgv: [`--min-semi-space-size=${NURSERY_MIB}`],
      // A NODE_OPTIONS in the caller's environment is meant for the caller's programs.
      execArgvExtension: 'none',
      assets: {
        'ptrace_napi.node': join(released, 'ptrace_napi.node'),
        stub: join(released, 'stub'),
        anchor: join(released, 'anchor'),
        ...files,
      },
    }),
  );
  const sea = spawnSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (sea.status !== 0) fail('node --build-sea failed, see its message above');
}

/** V8 refuses a cache made under other flags, silently: all three must name the same ones. */
function checkFlags(): void {
  const flags = roles.map((role) => {
    const cache = readFileSync(join(work, `${role}.cache`));
    return cache.length === 0 ? undefined : cache.readUInt32LE(CACHE_FLAGS_OFFSET);
  });
  if (new Set(flags.filter((f) => f !== undefined)).size > 1) fail('the code caches were made under different flags of V8');
}

const bundles = Object.fromEntries(roles.map((role) => [`${role}.js`, join(work, `${role}.js`)]));
const recorder = join(work, 'recorder');
// The sandbox's processes run as other users than the one who builds.
chmodSync(work, 0o777);
for (const role of roles) writeFileSync(join(work, `${role}.cache`), '', { mode: 0o666 });
await seal('recorder', recorder, bundles, { CACHE_DIR: JSON.stringify(work) });
const rehearsal = spawnSync(recorder, ['do', '/bin/sh', '-c', 'ls -l / | cat'], {
  stdio: ['ignore', 'ignore', 'pipe'],
  timeout: 60_000,
  encoding: 'utf8',
});
if (rehearsal.status !== 0)
  console.error(`build: no sandbox can run here, so that dist/runsc will compile at each start: ${rehearsal.stderr.trim()}`);
checkFlags();
await seal('main', executable, { ...bundles, ...Object.fromEntries(roles.map((role) => [`${role}.cache`, join(work, `${role}.cache`)])) });
// The same words whoever says them.
const words = spawnSync(executable, ['--version'], { encoding: 'utf8' });
if (words.status !== 0) fail(`the new executable does not run: ${words.stderr}`);
carryLibraries(executable, readFileSync(join(released, 'launcher')), words.stdout);
for (const role of roles) console.log(`${role}: ${statSync(join(work, `${role}.cache`)).size >> 10} KiB compiled`);
rmSync(work, { recursive: true });

// containerd looks for a shim by this name; what stands there says what to do without one.
symlinkSync('runsc', join(dist, 'containerd-shim-runsc-v1'));
console.log(`dist/runsc: ${(statSync(executable).size / 2 ** 20).toFixed(0)} MiB`);

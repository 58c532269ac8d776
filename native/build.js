// Builds build/Release/ptrace_napi.node and build/Release/stub. Runs on any Node that npm runs on, so it is plain JavaScript.
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

// Each tool with the Debian package that brings it.
const tools = [
  ['cmake', 'cmake'],
  ['make', 'make'],
  [process.env.CC ?? 'cc', 'gcc'],
  [process.env.CXX ?? 'c++', 'g++'],
];
const missing = tools.filter(([program]) => !existsSync(program) && !inPath(program)).map(([, debian]) => debian);
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
const done = spawnSync(process.execPath, [cmakeJs, 'build', '--silent', '--parallel', '2', '--log-level', 'error', '--directory', here], {
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
  const module = { exports: {} };
  process.dlopen(module, addon);
  const lines = Object.keys(module.exports).map((name) => `export const ${name} = addon.${name};\n`);
  writeFileSync(exportsFile, `import { addon } from '../../load.js';\n${lines.join('')}`);
}

// Loads the addon: from build/Release in a checkout, from its own assets when runsc is one executable (scripts/build.ts).
import { accessSync, closeSync, existsSync, constants as fs, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';

// Not in fs.constants: include/uapi/asm-generic/fcntl.h.
const O_TMPFILE = 0o20200000;
// A folder can be mounted noexec or be read-only, so the next one is tried.
const scratchDirs = ['/dev/shm', '/tmp', '/run', '/var/tmp'];

/** A private file without a name that holds an asset of the executable; the descriptor is read-only and close-on-exec. */
function extract(asset, use) {
  const bytes = new Uint8Array(getRawAsset(asset));
  let last;
  for (const dir of scratchDirs) {
    try {
      return use(nameless(dir, bytes));
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`runsc: ${asset} can be unpacked to none of ${scratchDirs.join(', ')}: ${last.message}`);
}

function nameless(dir, bytes) {
  let writer;
  let named;
  try {
    writer = openSync(dir, O_TMPFILE | fs.O_RDWR, 0o700);
  } catch {
    // A filesystem without O_TMPFILE: a file in a folder that only we can enter, and that goes as soon as it is open.
    named = mkdtempSync(join(dir, 'runsc-'));
    writer = openSync(join(named, 'file'), fs.O_RDWR | fs.O_CREAT | fs.O_EXCL, 0o700);
  }
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(writer, bytes, at);
    // A file that somebody holds open for writing cannot be executed (ETXTBSY), so only a read-only descriptor stays.
    return openSync(`/proc/self/fd/${writer}`, fs.O_RDONLY);
  } finally {
    closeSync(writer);
    if (named !== undefined) rmSync(named, { recursive: true });
  }
}

/** The descriptor, unless its folder is mounted noexec, as /dev/shm of most containers is: access(2) tells. */
function executable(fd) {
  try {
    accessSync(`/proc/self/fd/${fd}`, fs.X_OK);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function load(path) {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}

function loadBuilt() {
  const path = fileURLToPath(new URL('./build/Release/ptrace_napi.node', import.meta.url));
  if (!existsSync(path))
    throw new Error(`runsc: ${path} is not built: run 'npm run build:native' (it needs Debian's cmake, make, gcc and g++)`);
  return load(path);
}

function loadAsset() {
  return extract('ptrace_napi.node', (fd) => {
    try {
      return load(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  });
}

export const addon = isSea() ? loadAsset() : loadBuilt();

/** Where the anchor's executable is, for as long as we run: a path that our children can execute. */
export function anchorPath() {
  if (isSea()) return `/proc/${process.pid}/fd/${extract('anchor', executable)}`;
  return fileURLToPath(new URL('./build/Release/anchor', import.meta.url));
}

/** Only the Sentry needs it, and so only the Sentry unpacks it. */
export function openStub() {
  if (isSea()) return extract('stub', executable);
  return openSync(fileURLToPath(new URL('./build/Release/stub', import.meta.url)), fs.O_RDONLY);
}

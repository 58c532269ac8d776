// The package's face: what the addon exports, by name (build.js writes the list), and where the stub is.
export * from './build/Release/exports.js';
export { anchorPath, openStub } from './load.js';

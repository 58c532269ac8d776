// The role that people meet: runs the words of the command line.
import { basename } from 'node:path';
import { isSea } from 'node:sea';
import { main } from './cli.ts';

const NO_SHIM = `containerd-shim-runsc-v1: runsc has no shim of its own yet: let containerd run it by the shim of runc, with
  runtime_type = "io.containerd.runc.v2" and BinaryName = "/path/to/runsc" in the runtime's options
`;

if (basename(process.argv0).startsWith('containerd-shim')) {
  process.stderr.write(NO_SHIM);
  process.exitCode = 1;
} else {
  main(process.argv.slice(2)).then((code) => {
    // Taking Node down in order takes two milliseconds and serves nobody; a checkout keeps what it compiled meanwhile.
    if (isSea()) process.exit(code);
    process.exitCode = code;
  });
}

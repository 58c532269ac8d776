// The role that people meet: runs the words of the command line.
import { basename } from 'node:path';
import { main } from './cli.ts';

const NO_SHIM = `containerd-shim-runsc-v1: runsc has no shim of its own yet: let containerd run it by the shim of runc, with
  runtime_type = "io.containerd.runc.v2" and BinaryName = "/path/to/runsc" in the runtime's options
`;

if (basename(process.argv0).startsWith('containerd-shim')) {
  process.stderr.write(NO_SHIM);
  process.exitCode = 1;
} else {
  main(process.argv.slice(2)).then((code) => {
    process.exitCode = code;
  });
}

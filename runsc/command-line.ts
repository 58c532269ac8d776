// The role that people meet: runs the words of the command line.
import { main } from './cli.ts';

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});

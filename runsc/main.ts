// One entry for every role of the program: the command line, and the two processes of a sandbox that it starts.

const role = process.argv[2];
if (role === 'sentry') await import('../sentry/boot/main.ts');
else if (role === 'gofer') await import('../gofer/main.ts');
else {
  const { main } = await import('./cli.ts');
  process.exitCode = await main(process.argv.slice(2));
}

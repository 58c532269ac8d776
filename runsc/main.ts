// One entry for every role of the program in a checkout: the command line, and the two processes of a sandbox that it
// starts. scripts/executable.ts is the built program's.

const role = process.argv[2];
if (role === 'sentry') await import('../sentry/boot/main.ts');
else if (role === 'gofer') await import('../gofer/main.ts');
else await import('./command-line.ts');

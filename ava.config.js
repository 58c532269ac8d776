// Tests run as TypeScript: Node 26 strips the types. Processes, not worker threads: a guest belongs to the thread that traces it.
export default {
  files: ['test/**/*.test.ts', '!test/soak/**', '!test/support/**'],
  extensions: { ts: 'module' },
  workerThreads: false,
  concurrency: 2,
  timeout: '6m',
  verbose: true,
};

// `npm run test:soak`: long runs, one at a time, that look for what leaks or breaks only after many rounds.
import base from './ava.config.js';

export default { ...base, files: ['test/soak/**/*.test.ts'], concurrency: 1, timeout: '30m' };

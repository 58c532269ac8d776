// Counts what a run of ava reports. Its closing summary leaves out the passed tests as soon as one failed, so these are counted
// line by line; what has no line of its own (an uncaught exception) is counted from the summary.

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

// The second sign of each pair is what terminals without Unicode get.
const ONE_EACH: [keyof Counts, RegExp][] = [
  ['passed', /^\s+[✔√] /gm],
  ['failed', /^\s+[✘×] /gm],
  ['skipped', /^\s+- \[skip\] /gm],
];
const NUMBERED: [keyof Counts, RegExp][] = [
  ['failed', /^\s+(\d+) uncaught exceptions?$/gm],
  ['failed', /^\s+(\d+) unhandled rejections?$/gm],
  ['failed', /^\s+(\d+) tests? remained pending after a timeout$/gm],
];

/** An exit code other than 0 counts as a failure at least: a file that could not even be loaded has no line of its own. */
export function countTests(output: string, exitCode: number): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [kind, pattern] of ONE_EACH) counts[kind] += output.match(pattern)?.length ?? 0;
  for (const [kind, pattern] of NUMBERED) for (const match of output.matchAll(pattern)) counts[kind] += Number(match[1]);
  if (exitCode !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** The closing line of a test run. */
export function closingLine(counts: Counts): string {
  return `${counts.passed} passed, ${counts.failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''}`;
}

// Lists of processors as the kernel and OCI write them.

/** "0-2,5" as numbers, ascending; undefined when it is no such list: cpuset(7), "List format". */
export function processorList(text: string): number[] | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(',')) {
    const range = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim());
    if (range === null) return undefined;
    const last = Number(range[2] ?? range[1]);
    for (let cpu = Number(range[1]); cpu <= last; cpu++) numbers.add(cpu);
  }
  return [...numbers].sort((a, b) => a - b);
}

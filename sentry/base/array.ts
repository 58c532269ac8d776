/**
 * An empty array for objects. A literal one is of the kind that holds small integers until something else is put into it: then
 * it gets another shape, and all compiled code that has asked for its length is thrown away.
 */
export function objectArray<T extends object>(): T[] {
  const array: (T | null)[] = [null];
  array.length = 0;
  return array as T[];
}

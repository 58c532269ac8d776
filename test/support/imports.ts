// Finds the import lines of a source file by their text: no parser of TypeScript is needed for what Biome has formatted.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

export interface ImportLine {
  /** The importing file, relative to the root of the checkout. */
  file: string;
  /** Counted from 1: the line on which the statement begins. */
  line: number;
  /** What is imported: a file relative to the root of the checkout, or a package's name. */
  target: string;
  /** `import type` and `export type`: gone at run time. `import { type A }` is not, it still loads the file. */
  typeOnly: boolean;
  /** `import('…')`. */
  dynamic: boolean;
}

const STATEMENT = /^(?:import|export)(?<type> type)?\s(?:[^;'"]*?\sfrom\s)?['"](?<from>[^'"]+)['"]/gm;
const BARE = /^import ['"](?<from>[^'"]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*['"](?<from>[^'"]+)['"]\s*\)(?<member>\.)?/g;

export function importsOf(file: string, text: string): ImportLine[] {
  const found: ImportLine[] = [];
  const add = (match: RegExpMatchArray, typeOnly: boolean, dynamic: boolean): void => {
    const from = match.groups!.from;
    const target = from.startsWith('.') ? posix.normalize(posix.join(posix.dirname(file), from)) : from;
    const line = text.slice(0, match.index).split('\n').length;
    if (!found.some((other) => other.line === line && other.target === target)) found.push({ file, line, target, typeOnly, dynamic });
  };
  for (const match of text.matchAll(STATEMENT)) add(match, match.groups!.type !== undefined, false);
  for (const match of text.matchAll(BARE)) add(match, false, false);
  // import('./x.ts').Name with a member and no await is a type.
  for (const match of text.matchAll(DYNAMIC)) {
    const before = text.slice(Math.max(0, match.index - 6), match.index);
    add(match, match.groups!.member !== undefined && before !== 'await ', true);
  }
  return found;
}

/** The .ts files below these folders of `root`, relative to it, in order. */
export function sourceFiles(root: string, folders: string[]): string[] {
  const files: string[] = [];
  for (const folder of folders) {
    let names: string[];
    try {
      names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
    } catch {
      continue; // a folder that is not there has no imports
    }
    for (const name of names) if (name.endsWith('.ts')) files.push(posix.join(folder, name));
  }
  return files.sort();
}

export function readImports(root: string, folders: string[]): ImportLine[] {
  return sourceFiles(root, folders).flatMap((file) => importsOf(file, readFileSync(join(root, file), 'utf8')));
}

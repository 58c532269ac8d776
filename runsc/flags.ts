// Flags as runc and Go's flag package take them: -name or --name, `--name value` and `--name=value`, a switch alone
// or with =true or =false. The first word that is no flag, or `--`, ends them.

import { RunscError } from './errors.ts';

/**
 * switch: on or off. string, number: one value, the last one counts. list: may be repeated.
 * tristate: a switch that also takes a word (--rootless auto).
 */
export type FlagKind = 'switch' | 'string' | 'number' | 'list' | 'tristate';

export interface Flag {
  readonly name: string;
  /** One letter. */
  readonly short?: string;
  readonly kind: FlagKind;
  /** What the value stands for in the help. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly fallback?: string;
  readonly help: string;
  /** Taken for the sake of callers that pass it; it changes nothing. */
  readonly ignored?: boolean;
}

export class FlagValues {
  private readonly values = new Map<string, string[]>();

  set(name: string, value: string): void {
    this.values.set(name, [value]);
  }

  append(name: string, value: string): void {
    const list = this.values.get(name);
    if (list === undefined) this.values.set(name, [value]);
    else list.push(value);
  }

  has(name: string): boolean {
    return this.values.has(name);
  }

  on(name: string): boolean {
    return this.values.get(name)?.at(-1) === 'true';
  }

  string(name: string): string | undefined {
    return this.values.get(name)?.at(-1);
  }

  number(name: string): number | undefined {
    const text = this.string(name);
    return text === undefined ? undefined : Number(text);
  }

  list(name: string): readonly string[] {
    return this.values.get(name) ?? [];
  }
}

const TRUE = ['true', '1', 't', 'T', 'TRUE', 'True'];
const FALSE = ['false', '0', 'f', 'F', 'FALSE', 'False'];

/** Reads flags off the front of `words`. Returns how many words they took. `where` names the command in messages. */
export function parseFlags(flags: readonly Flag[], words: readonly string[], values: FlagValues, where: string): number {
  let at = 0;
  while (at < words.length) {
    const word = words[at]!;
    if (word === '--') return at + 1;
    if (!word.startsWith('-') || word === '-') return at;
    const equals = word.indexOf('=');
    const name = word.slice(word.startsWith('--') ? 2 : 1, equals < 0 ? undefined : equals);
    const flag = flags.find((f) => f.name === name || (f.short === name && f.short !== undefined));
    if (flag === undefined)
      throw new RunscError(`flag provided but not defined: ${word.slice(0, equals < 0 ? undefined : equals)} (see '${where} --help')`);
    at++;
    let value = equals < 0 ? undefined : word.slice(equals + 1);
    if (flag.kind === 'switch') value = switchValue(flag, value ?? 'true');
    else if (flag.kind === 'tristate') {
      if (value === undefined && [...TRUE, ...FALSE, ...(flag.choices ?? [])].includes(words[at] ?? '')) value = words[at++]!;
      value = flag.choices?.includes(value ?? '') ? value! : switchValue(flag, value ?? 'true');
    } else {
      if (value === undefined) {
        if (at >= words.length) throw new RunscError(`flag needs an argument: --${flag.name}`);
        value = words[at++]!;
      }
      checkValue(flag, value);
    }
    if (flag.kind === 'list') values.append(flag.name, value);
    else values.set(flag.name, value);
  }
  return at;
}

function switchValue(flag: Flag, value: string): string {
  if (TRUE.includes(value)) return 'true';
  if (FALSE.includes(value)) return 'false';
  throw new RunscError(`invalid value "${value}" for flag --${flag.name}: must be true or false`);
}

function checkValue(flag: Flag, value: string): void {
  if (flag.choices !== undefined && !flag.choices.includes(value)) {
    throw new RunscError(`invalid value "${value}" for flag --${flag.name}: must be one of ${flag.choices.join(', ')}`);
  }
  if (flag.kind === 'number' && !/^-?\d+$/.test(value)) {
    throw new RunscError(`invalid value "${value}" for flag --${flag.name}: must be a whole number`);
  }
}

/** Lines of the help: "  --name VALUE   text". */
export function describeFlags(flags: readonly Flag[]): string {
  const left = flags.map((f) => {
    const name = `${f.short === undefined ? '    ' : `-${f.short}, `}--${f.name}`;
    if (f.kind === 'switch') return name;
    if (f.kind === 'tristate') return `${name}[=${[...(f.choices ?? []), 'true', 'false'].join('|')}]`;
    return `${name} ${f.choices?.join('|') ?? f.value ?? (f.kind === 'number' ? 'N' : 'VALUE')}`;
  });
  const width = Math.min(Math.max(...left.map((l) => l.length), 0), 44);
  return flags
    .map((f, i) => {
      const ends = `${f.fallback === undefined ? '' : ` (default ${f.fallback})`}${f.ignored ? ' (accepted, without effect)' : ''}`;
      const gap = left[i]!.length > width ? `\n  ${' '.repeat(width)}` : ' '.repeat(width - left[i]!.length);
      return `  ${left[i]}${gap}  ${f.help}${ends}\n`;
    })
    .join('');
}

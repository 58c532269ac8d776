// Reading JSON of others: every value knows where it stands, so that a message can name it:
// `config.json: process.args: must be a non-empty array of strings`.

import { RunscError } from './errors.ts';

export class Field {
  readonly value: unknown;
  /** "process.args[2]"; empty for the whole document. */
  readonly path: string;
  private readonly file: string;

  constructor(file: string, value: unknown, path = '') {
    this.file = file;
    this.value = value;
    this.path = path;
  }

  /** Parses a document. */
  static parse(file: string, text: string): Field {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new RunscError(`${file}: is no JSON`, (error as Error).message);
    }
    return new Field(file, value);
  }

  fail(what: string): never {
    throw new RunscError(this.path === '' ? `${this.file}: ${what}` : `${this.file}: ${this.path}: ${what}`);
  }

  get exists(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  /** A member of an object; of nothing, nothing. */
  get(name: string): Field {
    const path = this.path === '' ? name : `${this.path}.${name}`;
    if (!this.exists) return new Field(this.file, undefined, path);
    if (typeof this.value !== 'object' || Array.isArray(this.value)) this.fail('must be an object');
    return new Field(this.file, (this.value as Record<string, unknown>)[name], path);
  }

  required(): this {
    if (!this.exists) this.fail('is missing');
    return this;
  }

  string(): string {
    this.required();
    if (typeof this.value !== 'string') this.fail('must be a string');
    if (this.value.includes('\0')) this.fail('must not contain a NUL character');
    return this.value;
  }

  optionalString(): string | undefined {
    return this.exists ? this.string() : undefined;
  }

  boolean(): boolean {
    if (!this.exists) return false;
    if (typeof this.value !== 'boolean') this.fail('must be true or false');
    return this.value;
  }

  /** A whole number in [min, max]. */
  integer(min: number, max: number): number {
    this.required();
    if (typeof this.value !== 'number' || !Number.isInteger(this.value)) this.fail('must be a whole number');
    if (this.value < min || this.value > max) this.fail(`must be between ${min} and ${max}`);
    return this.value;
  }

  optionalInteger(min: number, max: number): number | undefined {
    return this.exists ? this.integer(min, max) : undefined;
  }

  /** The elements; none when the field is absent. */
  array(): Field[] {
    if (!this.exists) return [];
    if (!Array.isArray(this.value)) this.fail('must be an array');
    return this.value.map((element, i) => new Field(this.file, element, `${this.path}[${i}]`));
  }

  strings(): string[] {
    if (this.exists && (!Array.isArray(this.value) || this.value.some((s) => typeof s !== 'string')))
      this.fail('must be an array of strings');
    return this.array().map((element) => element.string());
  }

  /** Members by name; none when the field is absent. */
  entries(): [string, Field][] {
    if (!this.exists) return [];
    if (typeof this.value !== 'object' || Array.isArray(this.value)) this.fail('must be an object');
    return Object.keys(this.value as object).map((name) => [name, this.get(name)]);
  }
}

/** A uid, a gid, a 32-bit count. */
export const MAX_U32 = 0xffffffff;
/** Numbers in JSON are exact below it. */
export const MAX_SAFE: number = Number.MAX_SAFE_INTEGER;

/** An object whose members are all strings. */
export function stringMap(field: Field): Record<string, string> {
  const map: Record<string, string> = {};
  for (const [name, value] of field.entries()) map[name] = value.string();
  return map;
}

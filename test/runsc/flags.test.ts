import test from 'ava';
import { type Flag, FlagValues, parseFlags } from '../../runsc/flags.ts';

const flags: readonly Flag[] = [
  { name: 'debug', kind: 'switch', help: '' },
  { name: 'root', kind: 'string', help: '' },
  { name: 'format', short: 'f', kind: 'string', choices: ['text', 'json'], help: '' },
  { name: 'env', short: 'e', kind: 'list', help: '' },
  { name: 'pid', kind: 'number', help: '' },
  { name: 'rootless', kind: 'tristate', choices: ['auto'], help: '' },
];

function parse(...words: string[]): { values: FlagValues; rest: string[] } {
  const values = new FlagValues();
  const taken = parseFlags(flags, words, values, 'runsc');
  return { values, rest: words.slice(taken) };
}

test('a value may stand behind = or in the next word, with one dash or two', (t) => {
  for (const words of [['--root', '/x'], ['--root=/x'], ['-root', '/x'], ['-root=/x']]) t.is(parse(...words).values.string('root'), '/x');
});

test('a switch takes no next word', (t) => {
  const { values, rest } = parse('--debug', 'true');
  t.true(values.on('debug'));
  t.deepEqual(rest, ['true']);
  t.false(parse('--debug=false').values.on('debug'));
});

test('--rootless takes a next word only if it is a value of its own', (t) => {
  t.is(parse('--rootless', 'auto', 'run').values.string('rootless'), 'auto');
  t.deepEqual(parse('--rootless', 'run').rest, ['run']);
});

test('flags end at the first other word and at --', (t) => {
  t.deepEqual(parse('--debug', 'ls', '--color').rest, ['ls', '--color']);
  t.deepEqual(parse('--', '--debug').rest, ['--debug']);
  t.deepEqual(parse('-').rest, ['-']);
});

test('a list collects, everything else keeps the last value', (t) => {
  const { values } = parse('-e', 'A=1', '--env=B=2', '--root', 'a', '--root', 'b');
  t.deepEqual(values.list('env'), ['A=1', 'B=2']);
  t.is(values.string('root'), 'b');
});

const wrong: [string[], RegExp][] = [
  [['--nope'], /flag provided but not defined: --nope/],
  [['--nope=1'], /not defined: --nope \(/],
  [['--root'], /flag needs an argument: --root/],
  [['-f', 'xml'], /invalid value "xml" for flag --format: must be one of text, json/],
  [['--pid', '1x'], /must be a whole number/],
  [['--debug=maybe'], /must be true or false/],
];
for (const [words, message] of wrong) {
  test(`refuses ${words.join(' ')}`, (t) => {
    t.throws(() => parse(...words), { message });
  });
}

// `runsc completion SHELL` and `runsc man [COMMAND]`: made of the same declarations as --help.

import { commands, helpFlags, type Invocation, SUMMARY, version } from '../cli.ts';
import { globalFlags } from '../config.ts';
import { RunscError } from '../errors.ts';
import type { Flag } from '../flags.ts';

/** Commands whose first word is a container. */
const WITH_ID = ['start', 'state', 'kill', 'delete', 'exec', 'ps', 'pause', 'resume', 'wait', 'events', 'update', 'debug', 'checkpoint'];

export function completion({ args }: Invocation): number {
  const shells: Readonly<Record<string, () => string>> = { bash, zsh, fish };
  const make = shells[args[0]!];
  if (make === undefined) throw new RunscError(`completion ${args[0]}`, 'must be bash, zsh or fish');
  process.stdout.write(make());
  return 0;
}

const words = (flags: readonly Flag[]): string => flags.map((f) => `--${f.name}`).join(' ');

function bash(): string {
  const cases = commands.map((c) => `    ${c.name}) words="${words([...c.flags, helpFlags[0]!])}" ;;\n`).join('');
  return `# bash completion of runsc: source <(runsc completion bash)
_runsc() {
  local word=\${COMP_WORDS[COMP_CWORD]} command= i words
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
    -*) ;;
    ${commands.map((c) => c.name).join('|')}) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $command in
    '') words="${words([...globalFlags, ...helpFlags])} ${commands.map((c) => c.name).join(' ')}" ;;
${cases}  esac
  case "$command:$word" in
    *:-*) ;;
    ${WITH_ID.join(':*|')}:*) words="$words $(runsc list --quiet 2>/dev/null)" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _runsc runsc
`;
}

function zsh(): string {
  return `#compdef runsc\n# zsh completion of runsc: source <(runsc completion zsh)\nautoload -U +X bashcompinit && bashcompinit\n${bash()}`;
}

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

function fish(): string {
  const flag = (f: Flag, condition: string): string =>
    `complete -c runsc ${condition} -l ${f.name}${f.short === undefined ? '' : ` -s ${f.short}`}${f.kind === 'switch' || f.kind === 'tristate' ? '' : ' -r'} -d ${quoted(f.help)}\n`;
  const lines = ['# fish completion of runsc: runsc completion fish | source\n'];
  for (const f of [...globalFlags, ...helpFlags]) lines.push(flag(f, '-n __fish_use_subcommand'));
  for (const c of commands) {
    lines.push(`complete -c runsc -n __fish_use_subcommand -a ${c.name} -d ${quoted(c.help)}\n`);
    for (const f of c.flags) lines.push(flag(f, `-n '__fish_seen_subcommand_from ${c.name}'`));
  }
  return lines.join('');
}

/** Text as roff takes it literally. */
const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');

function options(flags: readonly Flag[]): string {
  return flags
    .map((f) => {
      const value = f.kind === 'switch' ? '' : ` ${f.choices?.join('|') ?? f.value ?? 'VALUE'}`;
      const ends = `${f.fallback === undefined ? '' : ` (default ${f.fallback})`}${f.ignored ? ' (accepted, without effect)' : ''}`;
      return `.TP\n\\fB${roff(`${f.short === undefined ? '' : `-${f.short}, `}--${f.name}`)}\\fR${roff(value)}\n${roff(f.help + ends)}\n`;
    })
    .join('');
}

export function man({ args }: Invocation): number {
  const name = args[0];
  const command = commands.find((c) => c.name === name);
  if (name !== undefined && command === undefined) throw new RunscError(`man ${name}`, 'there is no such command');
  process.stdout.write(command === undefined ? mainPage() : commandPage(command));
  return 0;
}

function mainPage(): string {
  const list = commands.map((c) => `.TP\n\\fB${roff(c.name)}\\fR ${roff(c.args)}\n${roff(c.help)}\n`).join('');
  return `.TH RUNSC 8 "" "runsc ${version()}"\n.SH NAME\nrunsc \\- ${roff(SUMMARY)}\n.SH SYNOPSIS\n.B runsc\n[flag...] command [flag...] [argument...]\n.SH COMMANDS\n${list}.SH FLAGS\n${options([...globalFlags, ...helpFlags])}`;
}

function commandPage(c: (typeof commands)[number]): string {
  const flags = c.flags.length === 0 ? '' : `.SH FLAGS\n${options(c.flags)}`;
  return `.TH RUNSC\\-${c.name.toUpperCase()} 8 "" "runsc ${version()}"\n.SH NAME\nrunsc\\-${roff(c.name)} \\- ${roff(c.help)}\n.SH SYNOPSIS\n.B runsc ${roff(c.name)}\n[flag...] ${roff(c.args)}\n${flags}.SH SEE ALSO\n.BR runsc (8)\n`;
}

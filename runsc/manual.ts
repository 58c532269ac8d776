// The manual page and the completions of shells, made from the command table: what --help says, in other forms.

import { type Command, commands } from './cli.ts';
import { globalFlags } from './config.ts';
import { RunscError } from './errors.ts';
import type { Flag } from './flags.ts';

/** groff_man(7): a backslash, a hyphen that is typed, and a line's first dot or quote mean something. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');
}

function flagEntry(flag: Flag): string {
  const names = [...(flag.short === undefined ? [] : [`-${flag.short}`]), `--${flag.name}`].map((n) => `\\fB${roff(n)}\\fR`).join(', ');
  const value =
    flag.kind === 'switch' ? '' : ` \\fI${roff(flag.choices?.join('|') ?? flag.value ?? (flag.kind === 'number' ? 'N' : 'VALUE'))}\\fR`;
  const ends = `${flag.fallback === undefined ? '' : ` (default ${flag.fallback})`}${flag.ignored ? ' (accepted, without effect)' : ''}`;
  return `.TP\n${names}${value}\n${roff(sentence(flag.help + ends))}\n`;
}

function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}

function commandEntry(command: Command): string {
  const args = command.args === '' ? '' : ` \\fI${roff(command.args)}\\fR`;
  return `.SS \\fB${roff(command.name)}\\fR${args}\n${roff(sentence(command.help))}\n${command.flags.map(flagEntry).join('')}`;
}

/** runsc(8), as man(1) reads it. */
export function manualPage(version: string): string {
  return `.TH RUNSC 8 "" "runsc ${version}" "System Administration"
.SH NAME
runsc \\- OCI runtime whose containers run on a guest kernel of their own
.SH SYNOPSIS
.B runsc
[\\fIGLOBAL FLAG\\fR...] \\fICOMMAND\\fR [\\fIFLAG\\fR...] [\\fIARG\\fR...]
.SH DESCRIPTION
runsc runs programs and OCI containers in sandboxes.
A sandbox brings its own kernel, which answers the system calls of the programs inside; the host's kernel never sees them.
Engines such as podman, docker and containerd call runsc as they call runc.
.SH COMMANDS
${commands.map(commandEntry).join('')}.SH GLOBAL FLAGS
${globalFlags.map(flagEntry).join('')}.SH EXIT STATUS
.BR do ", " run " and " exec
end with the status of their program, or 128 and the number of the signal that killed it; 127 when the program was not found and 126 when it cannot be executed.
Everything else ends with 0, or with 1 and one line on stderr that says what was tried, on what, and why it failed.
.SH SEE ALSO
.BR runc (8),
.BR podman (1),
.BR seccomp (2)
`;
}

/** Words in single quotes for a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function longFlags(flags: readonly Flag[]): string[] {
  return flags.map((flag) => `--${flag.name}`);
}

function bash(): string {
  const cases = commands.map((command) => `    ${command.name}) words=${quoted(longFlags(command.flags).join(' '))} ;;\n`).join('');
  return `# bash completion for runsc
_runsc() {
  local current=\${COMP_WORDS[COMP_CWORD]} command='' word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) command=$word; break ;; esac
  done
  case $command in
    '') words=${quoted([...commands.map((c) => c.name), ...longFlags(globalFlags)].join(' '))} ;;
${cases}    *) words='' ;;
  esac
  COMPREPLY=()
  case $current in -*) ;; *)
    case $command in
      state | start | kill | delete | exec | ps | pause | resume | wait | events | update | debug)
        words=$(runsc list --quiet 2>/dev/null) ;;
    esac ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _runsc runsc
`;
}

function zsh(): string {
  const described = (text: string): string => text.replaceAll('[', '(').replaceAll(']', ')').replaceAll(':', ' ');
  const flag = (f: Flag): string =>
    quoted(`--${f.name}[${described(f.help)}]${f.kind === 'switch' || f.kind === 'tristate' ? '' : ':value:_files'}`);
  const cases = commands
    .map((command) => `    ${command.name}) _arguments ${[...command.flags.map(flag), "'*:argument:_default'"].join(' ')} ;;\n`)
    .join('');
  return `#compdef runsc
_runsc() {
  local line state
  _arguments -C ${globalFlags.map(flag).join(' ')} '1:command:->command' '*::argument:->argument'
  case $state in
    command) _values command ${commands.map((c) => quoted(`${c.name}[${described(c.help)}]`)).join(' ')} ;;
    argument) case $line[1] in
${cases}    esac ;;
  esac
}
_runsc "$@"
`;
}

function fish(): string {
  const names = commands.map((c) => c.name).join(' ');
  const flag = (condition: string, f: Flag): string =>
    `complete -c runsc -n ${quoted(condition)} -l ${f.name}${f.short === undefined ? '' : ` -s ${f.short}`}${f.kind === 'switch' ? '' : ' -r'} -d ${quoted(f.help)}\n`;
  const unused = `not __fish_seen_subcommand_from ${names}`;
  return `# fish completion for runsc
${commands.map((c) => `complete -c runsc -n ${quoted(unused)} -f -a ${c.name} -d ${quoted(c.help)}\n`).join('')}${globalFlags.map((f) => flag(unused, f)).join('')}${commands.map((c) => c.flags.map((f) => flag(`__fish_seen_subcommand_from ${c.name}`, f)).join('')).join('')}`;
}

export const shells = ['bash', 'zsh', 'fish'] as const;

/** A script for the shell's completion folder. */
export function completion(shell: string): string {
  switch (shell) {
    case 'bash':
      return bash();
    case 'zsh':
      return zsh();
    case 'fish':
      return fish();
    default:
      throw new RunscError(`no completion for "${shell}": must be one of ${shells.join(', ')}`);
  }
}

/**
 * The scripts with which bash, zsh and fish complete weft's commands, flags and the flags' values.
 * None needs anything beside the shell itself.
 */
import type { Flag } from '../flags.js';
import type { SHELLS } from './about-weft.js';
import { type Command, flagsOf, valueName } from './command.js';

export function completionFor(
  shell: (typeof SHELLS)[number],
  commands: readonly Command[],
): string {
  return { bash, zsh, fish }[shell](commands);
}

/** What is completed after a command, beside flags: words, or files. */
function operandsOf(command: Command, commands: readonly Command[]): readonly string[] | 'file' {
  if (command.operands === '[COMMAND]') return commands.map(({ name }) => name);
  return command.operandWords ?? (command.operands === 'FILE' ? 'file' : []);
}

function bash(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name).join(' ');
  const cases = commands.flatMap((command) => {
    const flags = flagsOf(command);
    const operands = operandsOf(command, commands);
    return [
      `    ${command.name})`,
      `      flags='${flags.map(({ name }) => `-${name}`).join(' ')}'`,
      ...(operands === 'file' ? ['      takes=file'] : [`      words='${operands.join(' ')}'`]),
      ...bashValues(flags),
      '      ;;',
    ];
  });
  return `# bash completion for weft
_weft() {
  local word=\${COMP_WORDS[COMP_CWORD]} flag=\${COMP_WORDS[COMP_CWORD - 1]}
  local flags= words= takes=
  # -flag=value is three words to bash.
  if [[ $word == = ]]; then
    word=
  elif [[ $flag == = ]]; then
    flag=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  flag=\${flag/#--/-}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${names}' -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  case $takes in
    file)
      compopt -o filenames
      COMPREPLY=($(compgen -f -- "$word"))
      ;;
    folder)
      compopt -o filenames
      COMPREPLY=($(compgen -d -- "$word"))
      ;;
    interface) words=$(ls /sys/class/net) ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "\${word/#--/-}"))
  elif [[ -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  fi
}
complete -F _weft weft
`;
}

/** The values of a flag, where the shell can know them. */
function bashValues(flags: readonly Flag[]): string[] {
  const known = flags.flatMap((flag) => {
    if (flag.kind === 'bool') return [];
    const set =
      flag.choices !== undefined
        ? `words='${flag.choices.join(' ')}' takes=`
        : `words= takes=${flag.takes ?? ''}`;
    return [`        -${flag.name}) ${set} ;;`];
  });
  return known.length === 0 ? [] : ['      case $flag in', ...known, '      esac'];
}

function zsh(commands: readonly Command[]): string {
  const names = commands.map(({ name, line }) => `    ${quote(`${name}:${line}`)}`);
  const cases = commands.flatMap((command) => {
    const operands = operandsOf(command, commands);
    const rest =
      operands === 'file'
        ? [quote('*:file:_files')]
        : operands.length > 0
          ? [quote(`1:word:(${operands.join(' ')})`)]
          : [];
    const specs = [...flagsOf(command).map(zshFlag), ...rest];
    const lines = specs.map((spec, i) => `        ${spec}${i < specs.length - 1 ? ' \\' : ''}`);
    return [`    ${command.name})`, '      _arguments \\', ...lines, '      ;;'];
  });
  return `#compdef weft
_weft() {
  local -a commands
  commands=(
${names.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _weft ]]; then
  _weft "$@"
else
  compdef _weft weft
fi
`;
}

function zshFlag(flag: Flag): string {
  const repeated = flag.kind === 'list' ? '*' : '';
  const told = brief(flag.help).replace(/[[\]\\:]/g, '\\$&');
  if (flag.kind === 'bool') return quote(`${repeated}-${flag.name}[${told}]`);
  const value = valueName(flag).replace(/[:\\]/g, '\\$&');
  const action =
    flag.choices !== undefined
      ? `(${flag.choices.join(' ')})`
      : { file: '_files', folder: '_files -/', interface: '_net_interfaces', none: ' ' }[
          flag.takes ?? 'none'
        ];
  return quote(`${repeated}-${flag.name}=[${told}]:${value}:${action}`);
}

function fish(commands: readonly Command[]): string {
  const lines = ['# fish completion for weft', 'complete -c weft -f'];
  for (const command of commands) {
    const { name, line } = command;
    lines.push(`complete -c weft -n __fish_use_subcommand -a ${name} -d ${fishQuote(line)}`);
    const within = `complete -c weft -n '__fish_seen_subcommand_from ${name}'`;
    for (const flag of flagsOf(command)) {
      const told = brief(flag.help);
      const about = told === '' ? '' : ` -d ${fishQuote(told)}`;
      const letter = flag.name.length === 1 ? '-s' : '-o';
      lines.push(`${within} ${letter} ${flag.name}${fishValue(flag)}${about}`);
    }
    const operands = operandsOf(command, commands);
    if (operands === 'file') lines.push(`${within} -F`);
    else if (operands.length > 0) lines.push(`${within} -a ${fishQuote(operands.join(' '))}`);
  }
  return `${lines.join('\n')}\n`;
}

function fishValue({ kind, choices, takes }: Flag): string {
  if (kind === 'bool') return '';
  if (choices !== undefined) return ` -x -a ${fishQuote(choices.join(' '))}`;
  if (takes === 'interface') return ` -x -a '(ls /sys/class/net)'`;
  return takes === undefined ? ' -x' : ' -r -F';
}

/** The first part of a flag's help, which says what it is. */
function brief(help: string): string {
  return help.replace(/(?:[;:]| \().*$/s, '');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishQuote(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`;
}

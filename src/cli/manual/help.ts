/** The help texts, at most 80 columns wide. */
import { type Command, defaultOf, type Example, type FlagGroup, valueName } from './command.js';

const WIDTH = 80;

/** `weft COMMAND -help`. */
export function helpOf(command: Command): string {
  const { name, line, about, groups, examples, exits, files = [] } = command;
  const exitLines = exits.map(([code, when]) => labelled(String(code), when, 6));
  const widest = Math.max(0, ...files.map(([file]) => file.length));
  const fileLines = files.map(([file, what]) => labelled(file, what, widest + 4));
  return [
    `weft ${name}: ${line}\n`,
    `  ${synopsisOf(command)}\n`,
    ...about.map((text) => wrap(text, '')),
    ...groups.map(describeGroup),
    `Examples:\n${examples.map(describeExample).join('')}`,
    `Exit codes:\n${exitLines.join('')}`,
    ...(fileLines.length === 0 ? [] : [`Files:\n${fileLines.join('')}`]),
  ].join('\n');
}

/** `weft help`: the commands, a line each. */
export function overview(
  version: string,
  what: string,
  commands: readonly (readonly Command[])[],
): string {
  const widest = Math.max(...commands.flat().map(({ name }) => name.length));
  return [
    wrap(`weft ${version}: ${what}`, ''),
    ...commands.map((group) =>
      group.map(({ name, line }) => labelled(`weft ${name}`, line, widest + 9)).join(''),
    ),
    wrap('All about a command: weft help COMMAND, or weft COMMAND -help', '  '),
  ].join('\n');
}

/** `weft replay [flags] FILE`. */
export function synopsisOf({ name, operands }: Command): string {
  return `weft ${name} [flags]${operands === undefined ? '' : ` ${operands}`}`;
}

function describeGroup({ title, flags }: FlagGroup): string {
  const lines = flags.map((flag) => {
    const value = valueName(flag);
    const text = [flag.help, defaultOf(flag)].filter((part) => part !== '').join(' ');
    const head = `  -${flag.name}${value === '' ? '' : ` ${value}`}\n`;
    return `${head}${text === '' ? '' : wrap(text, ' '.repeat(8))}`;
  });
  return `${title}:\n${lines.join('')}`;
}

function describeExample({ run, does }: Example): string {
  const lines = run.split('\n').map((line) => `  ${line}\n`);
  return `${lines.join('')}${wrap(does, ' '.repeat(8))}`;
}

/** The label in a column of `width`, the text beside it. */
function labelled(label: string, text: string, width: number): string {
  const indent = ' '.repeat(width);
  return `  ${label}`.padEnd(width) + wrap(text, indent).slice(width);
}

/** Lines with line ends; a word that is too long for one stands alone. */
export function wrap(text: string, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && indent.length + longer.length > WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  return [...lines, line].map((one) => `${indent}${one}\n`).join('');
}

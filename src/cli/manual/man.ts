/** The man page weft(8), in roff with the macros of man(7). */
import type { Build } from '../../operate/status/status.js';
import { type Command, defaultOf, valueName } from './command.js';
import { synopsisOf } from './help.js';

export function manPage(
  version: string,
  build: Build | null,
  what: string,
  commands: readonly Command[],
): string {
  const day = build?.date.slice(0, 10) ?? '';
  return [
    `.TH WEFT 8 "${day}" "weft ${roff(version)}" "System Administration"`,
    '.SH NAME',
    `weft \\- ${roff(what)}`,
    '.SH SYNOPSIS',
    ...commands.flatMap((command) => [bold(synopsisOf(command)), '.br']),
    '.SH COMMANDS',
    ...commands.flatMap(describeCommand),
    '',
  ].join('\n');
}

function describeCommand(command: Command): string[] {
  const { name, line, about, groups, examples, exits, files = [] } = command;
  return [
    `.SS weft ${roff(name)}`,
    paragraph(`${line[0]!.toUpperCase()}${line.slice(1)}.`),
    ...about.flatMap((text) => ['.PP', paragraph(text)]),
    ...groups.flatMap(({ title, flags }) => [
      '.PP',
      bold(`${title}:`),
      ...flags.flatMap((flag) => {
        const value = valueName(flag);
        const text = [flag.help, defaultOf(flag)].filter((part) => part !== '').join(' ');
        const head = `${bold(`-${flag.name}`)}${value === '' ? '' : ` \\fI${roff(value)}\\fR`}`;
        return ['.TP', head, text === '' ? '\\&' : paragraph(text)];
      }),
    ]),
    '.PP',
    bold('Examples:'),
    ...examples.flatMap(({ run, does }) => [
      ...['.PP', '.RS', '.nf', ...run.split('\n').map(paragraph), '.fi', '.RE'],
      ...['.RS 8', paragraph(does), '.RE'],
    ]),
    '.PP',
    bold('Exit codes:'),
    ...exits.flatMap(([code, when]) => ['.TP', String(code), paragraph(when)]),
    ...(files.length === 0 ? [] : ['.PP', bold('Files:')]),
    ...files.flatMap(([file, what]) => ['.TP', `\\fI${roff(file)}\\fR`, paragraph(what)]),
  ];
}

function bold(text: string): string {
  return `\\fB${roff(text)}\\fR`;
}

/** A line of text; a dot or an apostrophe in front would make it a request. */
function paragraph(text: string): string {
  const line = roff(text);
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

/** What stands in the text, and can be pasted: a plain dash is a hyphen in roff. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replace(/[^\x20-\x7e]/g, (letter) => {
      const code = letter.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
      return `\\[u${code}]`;
    });
}

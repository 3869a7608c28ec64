/** `weft help`, `weft completion` and `weft man`: what is made from the descriptions of the commands. */
import { build, version } from './build.js';
import { parseFlags, UsageError } from './flags.js';
import { COMPLETION, HELP_COMMAND, MAN, SHELLS } from './manual/about-weft.js';
import { type Command, flagsOf } from './manual/command.js';
import { COMMANDS, findCommand, WHAT } from './manual/commands.js';
import { completionFor } from './manual/completion.js';
import { helpOf, overview } from './manual/help.js';
import { manPage } from './manual/man.js';
import { nearest } from './manual/nearest.js';
import { printText } from './print.js';

export const usage = () => overview(version, WHAT, COMMANDS);

/** `unknown command staus; did you mean status?` */
export function unknownCommand(name: string): string {
  const near = nearest(
    name,
    COMMANDS.flat().map((command) => command.name),
  );
  return `unknown command ${name}${near === undefined ? '' : `; did you mean ${near}?`}`;
}

export async function help(args: string[]): Promise<number> {
  const operands = read(HELP_COMMAND, args);
  if (operands === undefined) return 0;
  const [name] = operands;
  const command = name === undefined ? undefined : findCommand(name);
  if (name !== undefined && command === undefined) throw new UsageError(unknownCommand(name));
  printText(command === undefined ? usage() : helpOf(command));
  return 0;
}

export async function completion(args: string[]): Promise<number> {
  const operands = read(COMPLETION, args);
  if (operands === undefined) return 0;
  const shell = SHELLS.find((one) => one === operands[0]);
  if (shell === undefined) throw new UsageError(`name a shell: ${SHELLS.join(', ')}`);
  printText(completionFor(shell, COMMANDS.flat()));
  return 0;
}

export async function man(args: string[]): Promise<number> {
  if (read(MAN, args) !== undefined) printText(manPage(version, build, WHAT, COMMANDS.flat()));
  return 0;
}

/** What stands beside the flags; undefined when the help was asked for, which is told. */
function read(command: Command, args: string[]): readonly string[] | undefined {
  const flags = parseFlags(flagsOf(command), args);
  if (flags.bool('help')) {
    printText(helpOf(command));
    return undefined;
  }
  const most = command.operands === undefined ? 0 : 1;
  const extra = flags.rest[most];
  if (extra !== undefined) throw new UsageError(`what is ${JSON.stringify(extra)}?`);
  return flags.rest;
}

/** What there is to say of the commands that tell of weft itself. */
import { type Command, HELP } from './command.js';

const FLAGS = { title: 'Flags', flags: [HELP] };
const EXITS = [
  [0, 'told'],
  [2, 'wrong command line'],
] as const;

export const SHELLS = ['bash', 'zsh', 'fish'] as const;

export const HELP_COMMAND: Command = {
  name: 'help',
  line: 'this list, or all about one command',
  operands: '[COMMAND]',
  about: ['The same as weft COMMAND -help.'],
  groups: [FLAGS],
  examples: [{ run: 'weft help up', does: 'the flags of weft up' }],
  exits: EXITS,
};

export const VERSION: Command = {
  name: 'version',
  line: 'version, commit, addon, and what this kernel has',
  about: ['weft -version is the version alone.'],
  groups: [
    {
      title: 'Flags',
      flags: [{ name: 'json', kind: 'bool', help: 'one JSON document in place of text' }, HELP],
    },
  ],
  examples: [{ run: 'weft version', does: 'what to put into a report of a fault' }],
  exits: EXITS,
};

export const COMPLETION: Command = {
  name: 'completion',
  line: 'a script with which a shell completes these words',
  operands: SHELLS.join('|'),
  operandWords: SHELLS,
  about: ["The Debian package brings all three, in the shells' own folders."],
  groups: [FLAGS],
  examples: [
    { run: '. <(weft completion bash)', does: 'in this bash' },
    {
      run: 'weft completion zsh > /usr/local/share/zsh/site-functions/_weft',
      does: 'for every zsh',
    },
    {
      run: 'weft completion fish > ~/.config/fish/completions/weft.fish',
      does: "for one user's fish",
    },
  ],
  exits: EXITS,
};

export const MAN: Command = {
  name: 'man',
  line: 'the man page, as roff',
  about: ['All that the help texts say, on one page.'],
  groups: [FLAGS],
  examples: [{ run: 'weft man | man -l -', does: 'reads it' }],
  exits: EXITS,
};

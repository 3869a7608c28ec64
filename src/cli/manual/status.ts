/** What there is to say of `weft status`. */
import { RUN_DIR } from '../run-dir.js';
import { type Command, HELP } from './command.js';

export const STATUS: Command = {
  name: 'status',
  line: 'what a running weft does',
  about: [
    'Lease, peers, routes, counters, drops by reason, the offload tier in force, and what is wrong ' +
      'on this host, each with what to do; or what a weft that is starting waits for.',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        { name: 'json', kind: 'bool', help: 'one JSON document in place of text' },
        {
          name: 'device',
          kind: 'string',
          value: 'name',
          takes: 'interface',
          help: 'which weft, where several run on this host (default: the only one)',
        },
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [
    { run: 'weft status', does: 'for people' },
    { run: 'weft status -json | jq .faults', does: 'for programs' },
  ],
  exits: [
    [0, 'packets flow'],
    [1, 'no weft runs, or it forwards no packets yet'],
    [2, 'wrong command line, or several run and none was named'],
  ],
};

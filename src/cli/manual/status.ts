/** What there is to say of `weft status`. */
import { RUN_DIR } from '../run-dir.js';
import { type Command, DEVICE, HELP } from './command.js';

export const VIEWS = ['peers', 'routes', 'drops', 'route'] as const;
export type View = (typeof VIEWS)[number];

export const STATUS: Command = {
  name: 'status',
  operands: '[peers | routes | drops | route ADDRESS]',
  operandWords: VIEWS,
  line: 'what a running weft does',
  about: [
    'The first line is the verdict: well, IMPAIRED (something does not pass) or BROKEN (nothing ' +
      'does); below it what is wrong, each with what to type, then lease, store, offloads, lanes, ' +
      'counters, drops and peers. Of a weft that is starting: what it waits for.',
    'peers, routes and drops tell more of one of them. route ADDRESS tells, step by step, what ' +
      'would become of a packet from this host to that address.',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        { name: 'json', kind: 'bool', help: 'one JSON document in place of text' },
        { name: 'watch', kind: 'bool', help: 'a live view of what goes through; Ctrl-C ends it' },
        {
          name: 'interval',
          kind: 'string',
          value: 'seconds',
          default: '2',
          help: 'how often -watch looks',
        },
        { name: 'count', kind: 'int', default: '0', help: '-watch ends after so many; 0: never' },
        DEVICE,
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [
    { run: 'weft status', does: 'for people' },
    { run: 'weft status route 10.5.72.9', does: 'why a container is not reached' },
    { run: 'weft status -watch', does: 'throughput, batches and drops as they are' },
    { run: 'weft status -json | jq .findings', does: 'for programs' },
  ],
  exits: [
    [0, 'all is well; with route: the packet would get where it should'],
    [1, 'something is wrong, or no weft runs, or it forwards no packets yet'],
    [2, 'wrong command line, or several run and none was named'],
  ],
};

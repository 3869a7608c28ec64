/** What there is to say of `weft probe`. */
import { RUN_DIR } from '../run-dir.js';
import { type Command, DEVICE, HELP } from './command.js';

export const PROBE: Command = {
  name: 'probe',
  line: 'ask peers by echoes, and say what is wrong with each',
  operands: '[PEER …]',
  about: [
    'Pings each peer on the underlay and through the tunnel, small and at full size, measures the ' +
      'path MTU, and says in words what is wrong and what to type. A peer is named by its public ' +
      'IP, its subnet, or any address inside; without one all peers of the running weft are asked. ' +
      'Kernel peers answer as well. Where no weft runs, addresses are asked on the underlay alone.',
    'Needs root, or CAP_NET_RAW with the npm package raw-socket; else the program ping is used.',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        { name: 'json', kind: 'bool', help: 'one JSON document in place of text' },
        {
          name: 'count',
          kind: 'int',
          value: 'number',
          help: 'echoes of each kind for each peer, 1 to 1000',
          default: '5',
        },
        DEVICE,
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [
    { run: 'weft probe', does: 'all peers, a line each' },
    { run: 'weft probe 192.168.56.12', does: 'one of them' },
    { run: 'weft probe -count 100 10.10.59.7', does: 'the peer of that container, for loss' },
  ],
  exits: [
    [0, 'all that were asked are well'],
    [1, 'one is not, or cannot be asked'],
    [2, 'wrong command line, no such peer, or several wefts run and none was named'],
  ],
};

/** What there is to say of `weft dash`. */
import { RUN_DIR } from '../run-dir.js';
import { type Command, DEVICE, HELP } from './command.js';

export const DASH: Command = {
  name: 'dash',
  line: 'a live page of what weft does, on this host alone',
  about: [
    'Serves a page on 127.0.0.1: the verdict, what is wrong and what to type, throughput and packets ' +
      'of the last five minutes, peers, drops, lease and etcd. It prints the address with a token; ' +
      'whoever has that may look, and nobody may change anything. The page is served by a process ' +
      'that has given up its rights. From another machine: ssh -L 8473:127.0.0.1:8473 HOST',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        {
          name: 'port',
          kind: 'int',
          value: 'port',
          default: '8473',
          help: 'TCP; 0: any that is free',
        },
        DEVICE,
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [{ run: 'weft dash', does: 'until Ctrl-C' }],
  exits: [
    [0, 'told to stop'],
    [1, 'it cannot serve'],
    [2, 'wrong command line'],
  ],
};

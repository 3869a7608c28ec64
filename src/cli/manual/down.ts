/** What there is to say of `weft down`. */
import { RUN_DIR } from '../run-dir.js';
import { type Command, HELP } from './command.js';

export const DOWN: Command = {
  name: 'down',
  line: 'take back what a weft that ended has left on this host',
  about: [
    'The TUN, kernel routes, firewall rules, the subnet file, the file of weft docker-opts and the ' +
      'saved network: what the journal says is ours, and nothing else. The lease stays in etcd; see ' +
      'weft release.',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        {
          name: 'device',
          kind: 'string',
          value: 'name',
          takes: 'interface',
          help: 'whose things to take back (default: of every weft that has ended)',
        },
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [{ run: 'systemctl stop weft && weft down', does: 'leaves the host as it was' }],
  exits: [
    [0, 'all was taken back, or there was nothing'],
    [1, 'something is left, or a weft still runs; each is told'],
    [2, 'wrong command line'],
  ],
  files: [['/run/weft', 'the journals (-run-dir)']],
};

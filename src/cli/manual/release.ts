/** What there is to say of `weft release`. */
import { ETCD_ACCESS, ETCD_PLACE, PASSWORD_FILE } from '../etcd-access.js';
import { RUN_DIR } from '../run-dir.js';
import { type Command, HELP } from './command.js';

export const RELEASE: Command = {
  name: 'release',
  line: "give this host's subnet back to the network",
  about: [
    "For a host that leaves the network: removes the key with this host's public IP from etcd, so " +
      'that the others forget the host and its subnet is free. Stop weft first; a reservation stays. ' +
      'Flags as for weft up, from the environment (FLANNELD_…) as well.',
  ],
  groups: [
    { title: 'Network and etcd', flags: [...ETCD_PLACE, ...ETCD_ACCESS, PASSWORD_FILE] },
    {
      title: 'Which host',
      flags: [
        {
          name: 'iface',
          kind: 'list',
          value: 'name|address',
          takes: 'interface',
          help: 'the underlay interface, as given to weft up',
        },
        {
          name: 'public-ip',
          kind: 'string',
          value: 'address',
          help: 'the public IP of the lease (default: that of the weft that ran here last, or of the interface)',
        },
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [
    {
      run:
        'systemctl stop weft && weft down && \\\n' +
        '    weft release -etcd-endpoints=http://192.168.56.131:2379 -iface=eth0',
      does: 'this host leaves for good',
    },
  ],
  exits: [
    [0, 'the key is gone, or there was none'],
    [1, "a key stays (a reservation, another host's), etcd does not answer, or a weft runs"],
    [2, 'wrong command line'],
  ],
  files: [['/run/weft', 'the saved network, which goes with the lease (-run-dir)']],
};

/** What there is to say of `weft docker-opts`. */
import { RUN_DIR } from '../run-dir.js';
import { type Command, HELP } from './command.js';

export const DOCKER_OPTS: Command = {
  name: 'docker-opts',
  line: "write dockerd's options for this host's subnet",
  about: [
    "With the options of flannel's mk-docker-opts.sh, and to the byte what that writes. dockerd's " +
      'unit reads the file: EnvironmentFile=-/run/docker_opts.env.',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        {
          name: 'f',
          kind: 'string',
          value: 'path',
          takes: 'file',
          help: 'the subnet file to read',
          default: '/run/flannel/subnet.env',
        },
        {
          name: 'd',
          kind: 'string',
          value: 'path',
          takes: 'file',
          help: 'the environment file to write',
          default: '/run/docker_opts.env',
        },
        { name: 'i', kind: 'bool', help: 'a variable for each option: DOCKER_OPT_BIP, …' },
        {
          name: 'c',
          kind: 'bool',
          help: 'one variable with all options; both forms without -i and -c',
        },
        { name: 'k', kind: 'string', help: 'the name of that variable', default: 'DOCKER_OPTS' },
        { name: 'm', kind: 'bool', help: 'without --ip-masq' },
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [
    {
      run: 'weft docker-opts -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker',
      does: 'all options in one variable of that name',
    },
  ],
  exits: [
    [0, 'written'],
    [1, 'not written, or the subnet is routed elsewhere'],
    [2, 'wrong command line'],
  ],
  files: [
    ['/run/flannel/subnet.env', 'what is read (-f)'],
    ['/run/docker_opts.env', 'what is written (-d)'],
    ['/etc/docker/daemon.json', 'looked at for what contradicts these options'],
  ],
};

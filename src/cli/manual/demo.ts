/** What there is to say of `weft demo`. */
import { type Command, HELP } from './command.js';

export const DEMO: Command = {
  name: 'demo',
  line: 'two hosts, four containers, real packets, in namespaces',
  about: [
    'Builds a flannel network on this machine, in namespaces of its own: leases appear, containers ' +
      'reach each other across the hosts, a file arrives whole, iperf3 runs both ways. Nothing of the ' +
      'machine is touched, and nothing is left behind.',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        {
          name: 'docker',
          kind: 'bool',
          help: 'with a real Docker engine on each host; needs root',
        },
        { name: 'keep', kind: 'bool', help: 'leave it up to look around, until Ctrl-C' },
        {
          name: 'enter',
          kind: 'string',
          value: 'name [command …]',
          help: 'a shell or one command in a host or container of a demo that runs; must come last',
        },
        {
          name: 'store',
          kind: 'string',
          choices: ['etcd', 'file'],
          help: 'where configuration and leases live (default etcd, or file where etcd is not installed)',
        },
        {
          name: 'backend',
          kind: 'string',
          choices: ['weft', 'kernel'],
          help: 'kernel: the same with kernel VXLAN in place of weft, for comparison',
          default: 'weft',
        },
        {
          name: 'json',
          kind: 'bool',
          help: 'progress on stderr, and a summary as JSON on stdout',
        },
        HELP,
      ],
    },
  ],
  examples: [
    { run: 'weft demo -keep', does: 'leaves it up; in another terminal:' },
    { run: 'weft demo -enter xbox1 ping 10.10.2.2', does: 'a command in one of its containers' },
  ],
  exits: [
    [0, 'every step passed'],
    [1, 'a step did not pass, or this machine lacks something, which is told'],
    [2, 'wrong command line'],
  ],
};

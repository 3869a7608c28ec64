/** What there is to say of `weft doctor`. */
import { type Command, DEVICE, flagsOf, HELP } from './command.js';
import { UP } from './up.js';

const ups = (...names: string[]) => flagsOf(UP).filter(({ name }) => names.includes(name));

export const DOCTOR: Command = {
  name: 'doctor',
  operands: '[PEER …]',
  line: 'what keeps the overlay from working here, and its cure',
  about: [
    'Changes nothing. Without a running weft it looks at all that a start needs, in the order of a ' +
      'start: rights, TUN, limits, underlay interface, etcd and the network config, port, device, ' +
      "firewall, routes. With one, at what that finds. Give it weft up's flags: all of them are " +
      'taken, from the environment (FLANNELD_…) as well. Without any it takes those of the unit, in ' +
      '/etc/default/weft.',
    'It also asks up to eight peers, those that are not well first, or the ones that are named: by ' +
      'pings on the underlay, by echoes through the tunnel where weft runs, small and of full size, ' +
      'and for the path MTU. That takes a few seconds; weft probe asks all of them.',
  ],
  groups: [
    UP.groups[0]!,
    UP.groups[1]!,
    {
      title: 'What else it looks at',
      flags: [
        ...ups('store-file', 'etcd-password-file', 'subnet-file'),
        { name: 'json', kind: 'bool', help: 'one JSON document in place of text' },
        DEVICE,
        ...ups('run-dir'),
        HELP,
      ],
    },
  ],
  examples: [
    { run: 'weft doctor', does: 'of the weft that runs here, or before a start by the unit' },
    {
      run: 'weft doctor -etcd-endpoints=http://192.168.56.131:2379 -iface=eth0',
      does: 'before the first start, with the flags of weft up',
    },
  ],
  exits: [
    [0, 'no error was found; warnings there may be'],
    [1, 'an error was found'],
    [2, 'wrong command line'],
  ],
};

/** Those of its help, and all others of weft up. */
export function doctorFlags() {
  const own = flagsOf(DOCTOR);
  const names = new Set(own.map(({ name }) => name));
  return [...own, ...flagsOf(UP).filter(({ name }) => !names.has(name) && name !== 'version')];
}

/** What there is to say of `weft replay`. */
import { ETCD_ACCESS, ETCD_PLACE, PASSWORD_FILE } from '../etcd-access.js';
import { type Command, HELP } from './command.js';

export const REPLAY: Command = {
  name: 'replay',
  line: 'run a capture through the data plane',
  operands: 'FILE',
  about: [
    'As one host sees it: inner IPv4 packets go in at the TUN and come out wrapped; VXLAN datagrams ' +
      'for that host go in at the underlay and come out unwrapped; the rest is told why not. Reads ' +
      'pcap and pcapng, - for standard input. Every run gives the same bytes.',
  ],
  groups: [
    {
      title: 'Flags',
      flags: [
        {
          name: 'routes',
          kind: 'string',
          value: 'file',
          takes: 'file',
          help: 'the network: what weft status --json printed (- for standard input), or a file as -store-file takes it',
        },
        {
          name: 'as',
          kind: 'string',
          value: 'address',
          help: "the host to be: its PublicIP; a status tells it, else one of the subnets' must be given",
        },
        {
          name: 'o',
          kind: 'string',
          value: 'file',
          takes: 'file',
          help: 'where to write what comes out: a pcap capture, link type raw IP',
        },
        { name: 'verdicts', kind: 'bool', help: 'one line for each record' },
        {
          name: 'json',
          kind: 'bool',
          help: 'the verdicts and the summary as JSON, one line each',
        },
        {
          name: 'loop',
          kind: 'int',
          value: 'times',
          help: 'run what the lane takes through it so often again, and tell packets a second',
          default: '0',
        },
        {
          name: 'mtu',
          kind: 'int',
          value: 'bytes',
          help: 'MTU of the underlay, when neither config nor status says',
          default: '1500',
        },
        HELP,
      ],
    },
    {
      title: 'The network from etcd, in place of -routes',
      flags: [...ETCD_PLACE, ...ETCD_ACCESS, PASSWORD_FILE],
    },
  ],
  examples: [
    {
      run: 'weft status --json | weft replay in.pcap -routes - -verdicts',
      does: 'as the weft that runs here',
    },
    {
      run: 'weft replay in.pcap -routes network.json -as 192.168.56.11 -o out.pcap',
      does: 'as a host of a network in a file',
    },
    {
      run:
        'zcat in.pcapng.gz |\n' +
        '    weft replay - -etcd-endpoints http://10.0.0.1:2379 -as 192.168.56.11',
      does: 'a packed capture, the network from etcd',
    },
  ],
  exits: [
    [0, 'run to the end'],
    [1, 'a file cannot be read or written to its end'],
    [2, 'wrong command line'],
  ],
};

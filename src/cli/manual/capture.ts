/** What there is to say of `weft capture`. */
import { DROP_NAMES } from '../../dataplane/forward/drops.js';
import { RUN_DIR } from '../run-dir.js';
import { type Command, DEVICE, HELP } from './command.js';

/** MB a second; it keeps the cost of a capture below what traffic notices. */
const RATE_MB = 1;

export const CAPTURE: Command = {
  name: 'capture',
  line: 'packets as the lanes see them, with verdict and reason',
  about: [
    'Inner and outer packets of a running weft as pcapng, on two interfaces, each with a comment: ' +
      'direction, peer, and what became of it, or why it was dropped. On a terminal, and with ' +
      '-text, a line a packet. For root.',
    'A capture never holds up traffic. What it cannot keep up with, or what would cost more than ' +
      '-rate, is left out, and the number told at the end.',
  ],
  groups: [
    {
      title: 'Where to',
      flags: [
        {
          name: 'w',
          kind: 'string',
          value: 'file',
          takes: 'file',
          help: 'pcapng into this file, or - for standard output (default: - where that is no terminal)',
        },
        { name: 'text', kind: 'bool', help: 'a line a packet in place of pcapng' },
        {
          name: 'ring',
          kind: 'int',
          value: 'files',
          help: 'with -w: so many files in turn, FILE with a number before its ending; the oldest is removed',
          default: '0',
        },
        {
          name: 'size',
          kind: 'int',
          value: 'MB',
          help: 'with -ring: how long each file gets',
          default: '100',
        },
      ],
    },
    {
      title: 'Which packets',
      flags: [
        {
          name: 'what',
          kind: 'string',
          choices: ['inner', 'outer', 'both'],
          help: 'inner packets, as the containers send and get them; outer, as they are on the underlay; or both',
          default: 'both',
        },
        {
          name: 'direction',
          kind: 'string',
          choices: ['in', 'out', 'both'],
          help: 'from peers, to peers, or both',
          default: 'both',
        },
        {
          name: 'reason',
          kind: 'string',
          value: 'name',
          choices: ['any', ...DROP_NAMES.slice(1)],
          help: 'only packets dropped for this reason, as weft status names it; any: all dropped ones',
        },
        { name: 'peer', kind: 'string', value: 'address', help: 'the other end on the underlay' },
        {
          name: 'host',
          kind: 'string',
          value: 'address',
          help: 'source or destination of the inner packet',
        },
        {
          name: 'net',
          kind: 'string',
          value: 'prefix',
          help: 'the same for a network: 10.1.2.0/24',
        },
        {
          name: 'proto',
          kind: 'string',
          value: 'name',
          choices: ['tcp', 'udp', 'icmp'],
          help: 'protocol of the inner packet: tcp, udp, icmp or a number',
        },
        {
          name: 'port',
          kind: 'int',
          value: 'port',
          help: 'source or destination port of inner TCP or UDP',
        },
        DEVICE,
      ],
    },
    {
      title: 'How much',
      flags: [
        {
          name: 'snap',
          kind: 'int',
          value: 'bytes',
          help: 'keep so many of each packet; 0: all',
          default: '0',
        },
        {
          name: 'count',
          kind: 'int',
          value: 'packets',
          help: 'end after so many; 0: never',
          default: '0',
        },
        {
          name: 'seconds',
          kind: 'int',
          value: 'seconds',
          help: 'end after so long; 0: never',
          default: '0',
        },
        {
          name: 'rate',
          kind: 'int',
          value: 'MB',
          help: 'what may be copied a second, each thread of a lane an equal part of it, and a packet counted as 512 bytes more than it has; 0: whatever is taken in time',
          default: String(RATE_MB),
        },
        RUN_DIR,
        HELP,
      ],
    },
  ],
  examples: [
    { run: 'weft capture', does: 'a line a packet, on a terminal' },
    { run: 'weft capture | wireshark -k -i -', does: 'in Wireshark, while it happens' },
    {
      run: 'weft capture -reason any -w dropped.pcapng -seconds 60',
      does: 'what is dropped within a minute, and why',
    },
    {
      run: 'weft capture -what inner -host 10.1.2.3 -port 80 -w web.pcapng -ring 10',
      does: 'one conversation, the last 1000 MB of it',
    },
  ],
  exits: [
    [0, 'ended as asked for: by a signal, -count, -seconds, or since nobody reads any more'],
    [1, 'no weft can be asked, it ended meanwhile, or the file cannot be written'],
    [2, 'wrong command line, or several weft run and none was named'],
  ],
};

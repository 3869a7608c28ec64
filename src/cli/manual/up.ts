/** What there is to say of `weft up`: flanneld's flags, and what weft adds. */
import { ACCEPT } from '../../dataplane/forward/inbound.js';
import { TIER_NAMES } from '../../dataplane/io/tiers.js';
import { ETCD_ACCESS, ETCD_PLACE, PASSWORD_FILE } from '../etcd-access.js';
import type { Flag } from '../flags.js';
import { ONLY_DEFAULT } from '../only-default.js';
import { RUN_DIR } from '../run-dir.js';
import { type Command, HELP } from './command.js';

const INTERFACE: readonly Flag[] = [
  {
    name: 'iface',
    kind: 'list',
    value: 'name|address',
    takes: 'interface',
    help: 'the underlay interface; may be repeated, the first that exists is taken (default: that of the default route)',
  },
  {
    name: 'iface-regex',
    kind: 'list',
    value: 'pattern',
    help: "tried after -iface: the first interface with an address that matches, else with such a name; may be repeated; a pattern of Go's",
  },
  {
    name: 'iface-can-reach',
    kind: 'string',
    value: 'address',
    help: 'tried last: interface and address of the route that leads there',
  },
  {
    name: 'public-ip',
    kind: 'string',
    value: 'address',
    help: 'the address that the other hosts reach this one by (default: that of the interface)',
  },
];

const FIREWALL: readonly Flag[] = [
  {
    name: 'ip-masq',
    kind: 'bool',
    help: "give packets that leave the overlay the host's address",
    default: 'false',
  },
  {
    name: 'ip-masq-fully-random-disable',
    kind: 'bool',
    help: 'do not choose the ports of masqueraded flows at random',
    default: 'false',
  },
  {
    name: 'iptables-forward-rules',
    kind: 'bool',
    help: "let the overlay's packets through the host's firewall",
    default: 'true',
  },
  {
    name: 'iptables-resync',
    kind: 'int',
    value: 'seconds',
    help: 'how often the rules of iptables or nftables are looked at, and set again when they are not right',
    default: '5',
  },
  {
    name: 'ip-blackhole-route',
    kind: 'bool',
    help: "throw away what is for this host's subnet while no bridge has it, in place of sending it elsewhere",
    default: 'false',
  },
];

const REST: readonly Flag[] = [
  {
    name: 'subnet-file',
    kind: 'string',
    value: 'path',
    takes: 'file',
    help: 'where the subnet is written for Docker and CNI',
    default: '/run/flannel/subnet.env',
  },
  {
    name: 'healthz-ip',
    kind: 'string',
    value: 'address',
    help: 'where /healthz and /readyz are answered',
    default: '0.0.0.0',
  },
  {
    name: 'healthz-port',
    kind: 'int',
    help: 'the TCP port of /healthz and /readyz; 0: none',
    default: '0',
  },
  {
    name: 'subnet-lease-renew-margin',
    kind: 'int',
    value: 'minutes',
    help: 'how long before its end the lease is renewed, 1 to 1439; up to a tenth of the time is taken off, so that hosts part',
    default: '60',
  },
  { name: 'v', kind: 'int', help: 'log verbosity; 1 and more: debug', default: '0' },
  { name: 'vmodule', kind: 'string', help: "names flanneld's source files: without effect" },
  {
    name: 'log_backtrace_at',
    kind: 'string',
    help: "names a line of flanneld's source: without effect",
  },
  { name: 'version', kind: 'bool', help: 'the version, on standard error as flanneld tells it' },
];

const OWN: readonly Flag[] = [
  PASSWORD_FILE,
  {
    name: 'on-lease-loss',
    kind: 'string',
    choices: ['exit', 'reacquire'],
    help: 'when our key is removed or cannot be read: end with code 0, as flanneld does, or write it again; when another host has it: end with code 0, or with code 1 for a new start',
    default: 'exit',
  },
  {
    name: 'guard',
    kind: 'bool',
    help: "refuse, by a firewall rule, VXLAN packets that this host's containers send themselves; false removes the rule",
    default: 'true',
  },
  {
    name: 'probe-peers',
    kind: 'bool',
    help: 'ask peers every few seconds by ICMP echoes through the tunnel, a small and a large one, of so many peers a second at most, so that the status tells which of them are broken',
    default: 'true',
  },
  {
    name: 'store-file',
    kind: 'string',
    value: 'path',
    takes: 'file',
    help: 'take config and leases from this JSON file in place of etcd: {"config": {…}, "subnets": {"10.10.58.0-24": {…}}}',
  },
  {
    name: 'offload',
    kind: 'string',
    value: 'auto|tier',
    choices: ['auto', ...TIER_NAMES],
    help: 'the fastest tier to use: segment, segment-tso, sendmmsg or none; auto: what this kernel has',
    default: 'auto',
  },
  {
    name: 'accept',
    kind: 'string',
    choices: ACCEPT,
    help: "whose packets are let in: a peer's, to this host's own subnet, and none that claims another peer's address; strict: only what the sender's own subnets send; any: what the kernel's VTEP takes, anybody's to anywhere",
    default: 'peers',
  },
  {
    name: 'lanes',
    kind: 'int',
    value: '1..16',
    help: 'how many lanes forward packets side by side, a flow always in one of them (default: one for every 4 processors, 1 to 4)',
  },
  {
    name: 'lane-threads',
    kind: 'int',
    choices: ['1', '2'],
    help: 'threads of each lane: 2 gives each direction one of its own',
    default: '1',
  },
  {
    name: 'log-format',
    kind: 'string',
    choices: ['text', 'json'],
    help: 'how the log is written: lines for people, or an object a line with time, level and message',
    default: 'text',
  },
  RUN_DIR,
  HELP,
];

export const UP: Command = {
  name: 'up',
  line: 'join a flannel network and forward its packets',
  about: [
    "Runs until SIGTERM or SIGINT. Takes every flag of flanneld's under its name, with one dash or " +
      'two, and what flanneld does not have. Each also comes from the environment: ' +
      'FLANNELD_ETCD_PREFIX for -etcd-prefix; the command line goes first. Called by the name ' +
      'flanneld, weft is this command.',
    'SIGHUP looks at the host, the store and the paths to the peers anew. The lease, the subnet ' +
      'file and the firewall rules stay when it ends, as flanneld leaves them; weft down and weft ' +
      'release take them back.',
  ],
  groups: [
    { title: "Network and etcd (flanneld's)", flags: [...ETCD_PLACE, ...ETCD_ACCESS] },
    { title: "Interface (flanneld's)", flags: INTERFACE },
    { title: "Firewall and routes (flanneld's)", flags: FIREWALL },
    { title: "Lease, health and log (flanneld's)", flags: REST },
    { title: "Accepted at their default alone (flanneld's)", flags: ONLY_DEFAULT },
    { title: "weft's own", flags: OWN },
  ],
  examples: [
    {
      run: 'weft up -etcd-endpoints=http://192.168.56.131:2379 -iface=eth0',
      does: 'joins the network in that etcd, by way of eth0',
    },
    {
      run:
        'weft up -etcd-endpoints=https://192.168.56.131:2379 \\\n' +
        '    -etcd-cafile=/etc/etcd/ca.pem -etcd-username=weft \\\n' +
        '    -etcd-password-file=/etc/weft/password -ip-masq',
      does: "with TLS and a user, and the host's address for what leaves the overlay",
    },
    {
      run: 'weft up -store-file=network.json',
      does: 'without etcd: config and leases from a file, whose changes it follows',
    },
  ],
  exits: [
    [0, 'told to stop; or the lease is lost and -on-lease-loss=exit'],
    [1, 'it cannot start or go on; the last line of the log says why'],
    [2, 'wrong command line'],
  ],
  files: [
    ['/run/flannel/subnet.env', 'the subnet, for Docker and CNI (-subnet-file)'],
    ['/run/weft', 'journal, status socket, saved network (-run-dir)'],
    ['/dev/net/tun', 'has to be there; not for host-gw'],
    ['/etc/default/weft', 'WEFT_OPTIONS: the flags of the systemd unit'],
  ],
};

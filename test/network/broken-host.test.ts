/** Set-ups that are broken on the host itself: see broken/judged.ts. */
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import { run } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { describeBroken, type SetUp } from './broken/judged.js';
import { again, LOG, nft, pause, unshut } from './broken/site.js';
import { PREFIX } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'nft', 'iptables'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const JOINER = fileURLToPath(new URL('./tools/port-joiner.js', import.meta.url));
const CHANGES =
  'while :; do nft add table inet other; nft add chain inet other c; sleep 1; nft delete table inet other; sleep 1; done';
const TABLE = '/proc/sys/net/netfilter';
/** What a set-up started, and its mending ends. */
let running: Running;

const gateway = (subnet: string) => subnet.replace('.0/', '.1/');

const SET_UPS: readonly SetUp[] = [
  {
    is: 'forwarding is off',
    finds: ['forwarding'],
    spoil: ({ alpha }) => alpha.sysctl('net.ipv4.ip_forward=0'),
    mend: ({ alpha }) => alpha.sysctl('net.ipv4.ip_forward=1'),
  },
  {
    is: 'the bridge is down',
    finds: ['bridge-down'],
    spoil: ({ alpha }) => alpha.ip('link set docker0 down'),
    mend: ({ alpha }) => alpha.ip('link set docker0 up'),
  },
  {
    is: "the bridge's MTU is too large",
    finds: ['bridge-mtu'],
    spoil: ({ alpha }) => alpha.ip('link set veth-xbox1 mtu 1500', 'link set docker0 mtu 1500'),
    mend: ({ alpha }) => alpha.ip('link set veth-xbox1 mtu 1450', 'link set docker0 mtu 1450'),
  },
  {
    is: 'docker0 is in another subnet',
    finds: ['docker-bridge'],
    spoil: ({ alpha, subnet }) =>
      alpha.ip(`addr del ${gateway(subnet)} dev docker0`, 'addr add 172.17.0.1/16 dev docker0'),
    mend: ({ alpha, subnet }) =>
      alpha.ip('addr del 172.17.0.1/16 dev docker0', `addr add ${gateway(subnet)} dev docker0`),
  },
  {
    is: 'the underlay interface is down',
    finds: ['underlay-down'],
    spoil: ({ alpha }) => alpha.ip('link set ens33 down'),
    mend: ({ alpha }) => alpha.ip('link set ens33 up', 'route replace default via 192.168.56.1'),
  },
  {
    is: 'the underlay interface has no carrier',
    finds: ['underlay-down'],
    spoil: () => run(['ip', 'link', 'set', 'alpha', 'down']),
    mend: () => run(['ip', 'link', 'set', 'alpha', 'up']),
  },
  {
    is: 'the underlay address is gone',
    finds: ['underlay-lost'],
    spoil: ({ alpha }) => alpha.ip('addr del 192.168.56.11/24 dev ens33'),
    mend: ({ alpha }) =>
      alpha.ip('addr add 192.168.56.11/24 dev ens33', 'route replace default via 192.168.56.1'),
  },
  {
    is: "another VPN's table has the network",
    finds: ['policy-route'],
    spoil: ({ alpha }) =>
      alpha.ip(
        'route add 10.0.0.0/8 via 192.168.56.1 table 52',
        'rule add priority 5270 lookup 52',
      ),
    mend: ({ alpha }) => alpha.ip('rule del priority 5270', 'route flush table 52'),
  },
  {
    is: 'another process has joined the UDP port',
    // Without eBPF there is one lane, whose port is its own.
    lacks: labLacks({ root: true }),
    finds: ['port-shared'],
    spoil: async ({ alpha }) => {
      running = alpha.start([process.execPath, JOINER, '192.168.56.11', '8472']);
      await running.waitFor(/joined/, 60_000);
    },
    mend: () => running.stop(),
  },
  {
    is: "a bridge of this host has a peer's subnet",
    finds: ['clash', 'duplicate-public-ip'],
    spoil: async ({ alpha, etcd }) => {
      await alpha.ip(
        'link add br-x type bridge',
        'addr add 10.10.193.1/24 dev br-x',
        'link set br-x up',
      );
      await etcd.register(PREFIX, {
        ...{ subnet: '10.10.193.0/24', publicIp: '192.168.56.12', mac: '02:00:00:00:00:93' },
      });
    },
    mend: async ({ alpha, etcd }) => {
      await alpha.ip('link del br-x');
      await etcd.delete(`${PREFIX}/subnets/10.10.193.0-24`);
    },
  },
  {
    is: 'a route leads a part of our own subnet away',
    finds: ['clash'],
    spoil: ({ alpha, subnet }) => alpha.ip(`route add unreachable ${subnet.replace('/24', '/25')}`),
    mend: ({ alpha, subnet }) => alpha.ip(`route del unreachable ${subnet.replace('/24', '/25')}`),
  },
  {
    is: 'another program keeps writing subnet.env',
    finds: ['subnet-env'],
    spoil: async ({ alpha }) => {
      running = again(alpha, 'echo FLANNEL_MTU=9000 >/run/flannel/subnet.env');
    },
    mend: () => running.stop(),
  },
  {
    is: 'another program keeps deleting the TUN',
    finds: ['device-lost'],
    says: /^another program deletes flannel\.1 again and again/,
    spoil: async ({ alpha }) => {
      running = again(alpha, 'ip link del flannel.1 2>/dev/null');
    },
    mend: () => running.stop(),
  },
  {
    is: 'the table of connections is full',
    finds: ['conntrack-full'],
    spoil: async ({ alpha }) => {
      for (const file of ['nf_conntrack_count', 'nf_conntrack_max']) {
        alpha.write(`/run/table/${file}`, '100\n');
        await alpha.run(['mount', '-n', '--bind', `/run/table/${file}`, `${TABLE}/${file}`]);
      }
    },
    mend: async ({ alpha }) => {
      for (const file of ['nf_conntrack_count', 'nf_conntrack_max']) {
        await alpha.run(['umount', '-n', `${TABLE}/${file}`]);
      }
    },
  },
  {
    is: "the log's disk is full",
    finds: ['log-lost'],
    unlogged: true,
    spoil: async ({ alpha, etcd }) => {
      const fill = `(cat /dev/zero >${LOG}.rest; yes '' >>${LOG}) 2>/dev/null; true`;
      await alpha.run(['sh', '-c', fill]);
      // For which there is a line of log.
      await etcd.put(`${PREFIX}/subnets/10.10.194.0-24`, '{}');
      await etcd.delete(`${PREFIX}/subnets/10.10.194.0-24`);
    },
    mend: ({ alpha }) => alpha.run(['rm', `${LOG}.rest`]),
  },
  {
    is: 'nft drops what comes for UDP 8472',
    finds: ['firewall-drop'],
    spoil: ({ alpha }) => nft(alpha, 'input', 'udp dport 8472 drop'),
    mend: ({ alpha }) => unshut(alpha),
  },
  {
    is: 'nft drops what leaves for UDP 8472',
    finds: ['firewall-drop'],
    spoil: ({ alpha }) => nft(alpha, 'output', 'udp dport 8472 drop'),
    mend: ({ alpha }) => unshut(alpha),
  },
  {
    is: 'nft rejects what is forwarded into flannel.1',
    finds: ['firewall-drop'],
    spoil: ({ alpha }) => nft(alpha, 'forward', 'oifname "flannel.1" reject'),
    mend: ({ alpha }) => unshut(alpha),
  },
  {
    is: "another's rule drops all that is forwarded",
    finds: ['firewall-drop'],
    spoil: ({ alpha }) => alpha.run(['iptables', '-I', 'FORWARD', '-j', 'DROP']),
    mend: ({ alpha }) => alpha.run(['iptables', '-D', 'FORWARD', '-j', 'DROP']),
  },
  {
    is: 'nft drops what comes for UDP 8472, while other rules change all the time',
    finds: ['firewall-drop'],
    spoil: async ({ alpha }) => {
      running = alpha.start(['sh', '-c', CHANGES]);
      await pause(4_000);
      await nft(alpha, 'input', 'udp dport 8472 drop');
    },
    mend: async ({ alpha }) => {
      await unshut(alpha);
      await running.stop();
    },
  },
];

describeBroken('a host that is broken', lacks, SET_UPS);

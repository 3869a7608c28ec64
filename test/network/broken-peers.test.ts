/** Peers, and the ways to them, that are broken: see broken/judged.ts. */
import process from 'node:process';
import { enterLab } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { leaseValue } from '../../src/lab/lease.js';
import { describeBroken, type SetUp } from './broken/judged.js';
import { nft, type Site, unshut } from './broken/site.js';
import { PREFIX } from './overlay.js';
import { pathsLack } from './paths.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const BETA = '192.168.56.12';
const lease = (n: number, publicIp: string) => ({
  ...{ subnet: `10.10.${100 + n}.0/24`, publicIp, mac: `02:00:00:00:00:${n}` },
});
const HERE = '192.168.56.82';
const DUAL = '10.10.182.0-24&fd00::-64';
const forget = ({ etcd }: Site, n: number) =>
  etcd.delete(`${PREFIX}/subnets/10.10.${100 + n}.0-24`);

const SET_UPS: readonly SetUp[] = [
  {
    is: 'a peer drops UDP 8472',
    finds: ['peer-silent'],
    spoil: ({ beta }) => nft(beta, 'input', 'udp dport 8472 drop'),
    mend: ({ beta }) => unshut(beta),
  },
  {
    is: 'a peer rejects UDP 8472',
    finds: ['peer-refused'],
    spoil: ({ gamma }) =>
      nft(gamma, 'input', 'udp dport 8472 reject with icmp type admin-prohibited'),
    mend: ({ gamma }) => unshut(gamma),
  },
  {
    is: "a peer's weft is stopped",
    finds: ['peer-refused'],
    spoil: ({ other }) => other.stop(),
    mend: (site) => site.restartOther(),
  },
  {
    is: "a peer's weft stands still",
    finds: ['peer-silent'],
    spoil: async ({ other }) => other.kill('SIGSTOP'),
    mend: async ({ other }) => other.kill('SIGCONT'),
  },
  {
    is: "a peer's link is down",
    finds: ['peer-silent'],
    or: ['peer-unreachable'],
    spoil: ({ beta }) => beta.ip('link set ens33 down'),
    mend: ({ beta }) => beta.ip('link set ens33 up'),
  },
  {
    is: 'every second packet to a peer is lost',
    finds: ['peer-lossy'],
    // Of alpha's small echoes alone: else gamma's, or the large ones, may be those that are lost.
    spoil: ({ alpha, beta }) => {
      const second = 'udp dport 8472 meta length < 500 numgen inc mod 2 0 drop';
      return nft(beta, 'input', `ip saddr ${alpha.address} ${second}`);
    },
    mend: ({ beta }) => unshut(beta),
  },
  {
    is: 'a lease has an address that nobody has',
    finds: ['peer-unreachable'],
    spoil: ({ etcd }) => etcd.register(PREFIX, lease(77, '192.168.56.77')),
    mend: (site) => forget(site, 77),
  },
  {
    is: 'two leases have one public IP',
    finds: ['duplicate-public-ip'],
    spoil: ({ etcd }) => etcd.register(PREFIX, lease(78, BETA)),
    mend: (site) => forget(site, 78),
  },
  {
    is: 'a lease has a loopback address',
    finds: ['lease-refused'],
    spoil: ({ etcd }) => etcd.register(PREFIX, lease(79, '127.0.0.1')),
    mend: (site) => forget(site, 79),
  },
  {
    is: 'a key is no subnet',
    finds: ['lease-harmful'],
    spoil: ({ etcd }) => etcd.put(`${PREFIX}/subnets/what-is-this`, '{}'),
    mend: ({ etcd }) => etcd.delete(`${PREFIX}/subnets/what-is-this`),
  },
  {
    is: 'a value is no JSON',
    finds: ['lease-harmful'],
    spoil: ({ etcd }) => etcd.put(`${PREFIX}/subnets/10.10.180.0-24`, 'PublicIP: 192.168.56.80'),
    mend: (site) => forget(site, 80),
  },
  {
    is: 'a lease has no BackendData',
    finds: ['lease-refused'],
    spoil: ({ etcd }) =>
      etcd.put(
        `${PREFIX}/subnets/10.10.181.0-24`,
        '{"PublicIP":"192.168.56.81","BackendType":"vxlan"}',
      ),
    mend: (site) => forget(site, 81),
  },
  {
    is: 'a lease is dual-stack',
    finds: ['lease-harmful'],
    spoil: ({ etcd }) => etcd.put(`${PREFIX}/subnets/${DUAL}`, leaseValue(lease(82, HERE))),
    mend: ({ etcd }) => etcd.delete(`${PREFIX}/subnets/${DUAL}`),
  },
  {
    is: "a lease is a part of a peer's subnet",
    finds: ['lease-harmful', 'peer-unreachable'],
    spoil: ({ etcd }) =>
      etcd.register(PREFIX, { ...lease(83, '192.168.56.83'), subnet: '10.10.201.128/25' }),
    mend: ({ etcd }) => etcd.delete(`${PREFIX}/subnets/10.10.201.128-25`),
  },
  {
    is: 'two hosts have one VTEP address',
    finds: ['lease-harmful', 'peer-unreachable'],
    spoil: ({ etcd, kernel }) =>
      etcd.register(PREFIX, { ...lease(84, '192.168.56.84'), mac: kernel.mac }),
    mend: (site) => forget(site, 84),
  },
  {
    is: 'an unreachable route to a peer',
    finds: ['peer-no-way'],
    spoil: ({ alpha }) => alpha.ip(`route add unreachable ${BETA}/32`),
    mend: ({ alpha }) => alpha.ip(`route del unreachable ${BETA}/32`),
  },
  {
    is: 'the route to a peer leads into another device',
    finds: ['peer-silent'],
    spoil: ({ alpha }) =>
      alpha.ip(
        'link add other7 type veth peer name end7',
        'link set other7 up',
        'link set end7 up',
        `route add ${BETA}/32 dev other7`,
      ),
    mend: ({ alpha }) => alpha.ip('link del other7'),
  },
  {
    is: 'a peer that takes no large packets, and nobody says so',
    finds: ['peer-small-mtu'],
    spoil: ({ beta }) => nft(beta, 'prerouting', 'udp dport 8472 meta length > 1000 drop'),
    mend: ({ beta }) => unshut(beta),
  },
];

describeBroken('peers that are broken', lacks, SET_UPS);

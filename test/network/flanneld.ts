/**
 * A flanneld as the network tests have it: what the real one makes on a host and leaves there, with
 * the addresses of a recorded one, and listings of a host to compare.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import type { Peer } from '../../src/lab/lease.js';
import { formatSubnetFile, SUBNET_FILE } from '../../src/lab/subnet-file.js';
import { corrected, IPTABLES, NFTABLES, type Recorded } from '../control/host/firewall/recorded.js';
import { PREFIX } from './overlay.js';

const NETWORK = '10.10.0.0/16';
/** Two hosts of one network, with what was seen on the first one once both had joined. */
export const A: Peer = {
  subnet: '10.10.69.0/24',
  publicIp: '192.168.56.11',
  mac: '2a:2e:cc:73:34:04',
};
export const B: Peer = {
  subnet: '10.10.92.0/24',
  publicIp: '192.168.56.12',
  mac: '8e:c0:08:ef:b1:0d',
};
const SEEN = [
  'link/ether 2a:2e:cc:73:34:04 brd ff:ff:ff:ff:ff:ff',
  // Where it says `nolearning`, and whether `udpcsum`, differs between Debian 12 and 13.
  /vxlan id 1 local 192\.168\.56\.11 dev ens33 srcport 0 0 dstport 8472 (?=.*\bnolearning\b)(?!.*\bnoudpcsum\b).*ttl auto ageing 300/,
  'inet 10.10.69.0/32 scope global flannel.1',
  '10.10.92.0/24 via 10.10.92.0 dev flannel.1 onlink',
  '10.10.92.0 lladdr 8e:c0:08:ef:b1:0d PERMANENT',
  '8e:c0:08:ef:b1:0d dst 192.168.56.12 self permanent',
];
const KEY = `${PREFIX}/subnets/10.10.69.0-24`;
const VALUE =
  '{"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"vxlan",' +
  '"BackendData":{"VNI":1,"VtepMAC":"2a:2e:cc:73:34:04"}}';

export type Flavour = 'iptables' | 'nftables';

const here = ({ listing, network, subnet }: Recorded): Recorded => ({
  title: '',
  network: NETWORK,
  subnet: A.subnet,
  flags: [],
  listing: listing.replaceAll(subnet, A.subnet).replaceAll(network, NETWORK),
});
/** Beside rules of others, and a FORWARD that is closed but for flannel's rules. */
const iptables = here(IPTABLES.find(({ title }) => title.startsWith('FORWARD policy DROP'))!);
const nftables = here(NFTABLES[0]!);

/** The guard of weft's own, which stays until `weft down`, and the table of iptables around it. */
const GUARD = /^(?:\*mangle[\s\S]*?COMMIT|table ip (?:mangle|weft-guard) \{\n[\s\S]*?^\})\n/gm;
const GUARD_TABLE = /^table ip (?:mangle|weft-guard)$/;

/** What lists a host's rules while weft or flanneld runs, without the guard. */
export async function rules(host: Host, flavour: Flavour): Promise<string> {
  if (flavour === 'nftables') {
    return (await say(host, 'nft', 'list', 'ruleset')).replace(GUARD, '').trimStart();
  }
  const saved = (await say(host, 'iptables-save')).replace(/^#.*\n/gm, '');
  return saved.replace(GUARD, '').replace(/\[\d+:\d+\]/g, '[0:0]');
}

/** The rules that weft makes in place of flanneld's. */
export function weftRules(flavour: Flavour): string {
  return flavour === 'iptables' ? `${iptables.listing}\n` : corrected(nftables);
}

/** `-ip-masq` is among the flanneld's flags. */
export class Flanneld {
  readonly #host: Host;
  readonly #etcd: Etcd;
  readonly #flavour: Flavour;

  constructor(host: Host, etcd: Etcd, flavour: Flavour) {
    this.#host = host;
    this.#etcd = etcd;
    this.#flavour = flavour;
  }

  /** Makes what it makes on a host where nothing of it is. */
  async makeAll(): Promise<KernelPeer> {
    const { listing } = this.#flavour === 'iptables' ? iptables : nftables;
    if (this.#flavour === 'iptables') {
      await this.#host.run(['iptables-restore'], { input: `${listing}\n` });
    } else {
      await this.#nft(`flush ruleset\n${listing}${IPV6_TABLE}`);
    }
    return this.#makeDevice();
  }

  /** Starts again where an earlier one, or weft, has left its rules: flushes and sets its own. */
  async startAgain(): Promise<KernelPeer> {
    if (this.#flavour === 'iptables') {
      const lines = iptables.listing
        .split('\n')
        .filter((line) => /^\*|COMMIT|flanneld/.test(line))
        .flatMap((line) => {
          if (line === '*filter') return [line, ':FLANNEL-FWD - [0:0]'];
          if (line === '*nat') return [line, ':FLANNEL-POSTRTG - [0:0]'];
          const isJump = /^-A (FORWARD|POSTROUTING) /.test(line);
          return isJump ? [line.replace('-A', '-D'), line] : [line];
        });
      await this.#host.run(['iptables-restore', '--noflush'], { input: `${lines.join('\n')}\n` });
    } else {
      const flush = ['postrtg', 'forward'].map((name) => `flush chain ip flannel-ipv4 ${name}\n`);
      await this.#nft(`${flush.join('')}${nftables.listing}${IPV6_TABLE}`);
    }
    return this.#makeDevice();
  }

  async #nft(script: string): Promise<void> {
    await this.#host.run(['nft', '-f', '-'], { input: script });
  }

  async #makeDevice(): Promise<KernelPeer> {
    const host = this.#host;
    const peer = await host.kernelPeer({ subnet: A.subnet, mac: A.mac, peers: [B] });
    await host.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/flannel.1/accept_ra']);
    host.write(SUBNET_FILE, formatSubnetFile({ ...peer.subnetFile, ipMasq: true }));
    await this.#etcd.register(PREFIX, A);
    await assertLease(this.#etcd);
    const state = await list(host, this.#flavour);
    for (const line of SEEN) {
      const there = typeof line === 'string' ? state.includes(line) : line.test(state);
      assert.ok(there, `${line} is missing in:\n${state}`);
    }
    return peer;
  }
}

const IPV6_TABLE = 'table ip6 flannel-ipv6 {\n\tcomment "rules for flannel-ipv6"\n}\n';

/** The key of A, to the byte. */
export async function assertLease(etcd: Etcd): Promise<void> {
  assert.equal(await etcd.get(KEY), VALUE);
  const { granted, remaining } = await etcd.timeToLive(KEY);
  assert.deepEqual([granted, remaining > 86_000], [86_400, true]);
}

/**
 * All there is to see of a host: links, addresses, routes, neighbours, rules, sysctls, sockets and
 * the files in /run, without what changes by itself or with each run.
 */
export async function list(host: Host, flavour: Flavour): Promise<string> {
  const ofDevice = ['dev', 'flannel.1'];
  const lines = async (...argv: string[]) => {
    const { stdout } = await host.run(argv, { mayFail: true });
    return stdout
      .split('\n')
      .map((line) => line.replace(/^\d+: | state \w+/g, '').trim())
      .filter((line) => line !== '')
      .sort();
  };
  const parts = {
    links: await lines('ip', '-o', 'link', 'show'),
    device: (await say(host, 'ip', '-d', 'link', 'show')).includes('flannel.1')
      ? await lines('ip', '-d', 'link', 'show', ...ofDevice)
      : [],
    addresses: await lines('ip', '-4', 'addr', 'show'),
    routes: await lines('ip', '-4', 'route', 'show', 'table', 'all'),
    neighbours: await lines('ip', '-4', 'neigh', 'show', 'nud', 'permanent', ...ofDevice),
    forwarding: await lines('bridge', 'fdb', 'show', ...ofDevice),
    rules: [await rules(host, flavour)],
    tables: (await lines('nft', 'list', 'tables')).filter((line) => !GUARD_TABLE.test(line)),
    sysctls: await lines('sysctl', '-a', '--pattern', '^net.ipv[46].(conf|ip_forward|ip_local)'),
    sockets: (await lines('ss', '-Hlun')).map((line) => line.split(/\s+/)[3]),
    files: files(host.path('/run/flannel')).concat(files(host.path('/run/weft'))),
  };
  return Object.entries(parts)
    .map(([title, all]) => `== ${title}\n${all.join('\n')}`)
    .join('\n');
}

/** That nothing differs between two lists of one host; says just what does. */
export function assertSame(now: string, before: string): void {
  const [is, was] = [now.split('\n'), before.split('\n')];
  assert.deepEqual(
    {
      more: is.filter((line) => !was.includes(line)),
      less: was.filter((line) => !is.includes(line)),
    },
    { more: [], less: [] },
  );
  assert.ok(now === before, 'the same lines in another order');
}

async function say(host: Host, ...argv: string[]): Promise<string> {
  return (await host.run(argv)).stdout;
}

/** Path, mode and text of each file below a folder. */
function files(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder).map((name) => {
    const file = path.join(folder, name);
    const stat = fs.statSync(file);
    const text = stat.isFile() ? fs.readFileSync(file, 'utf8') : '';
    return `${file} ${stat.mode.toString(8)}\n${text}`;
  });
}

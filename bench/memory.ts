/**
 * Resident memory of a `weft up` with 100 peers under load: below 100 MB.
 *
 *   node dist/bench/memory.js [--store=etcd|file] [--peers=100] [--seconds=10]
 *
 * The other host is a kernel VTEP that has the address of every peer on the wire and one address
 * in every peer's subnet. Each peer is pinged, so that each was sent to, then a full TCP stream
 * goes to the first and one more each way to three others. Exit code 1 when the most that was
 * ever resident (VmHWM) reaches 100 MB.
 */
import fs from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { enterLab, labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue, type Peer, parseLease } from '../src/lab/lease.js';
import type { Network } from '../src/lab/network.js';
import { describeMachine, machineLine } from './machine.js';

const { values: given } = parseArgs({
  options: {
    store: { type: 'string', default: 'etcd' },
    peers: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '10' },
  },
});
const BAR_MB = 100;
const seconds = Number(given.seconds);
const count = Number(given.peers);

const PREFIX = '/coreos.com/network';
const OWN: Peer = {
  subnet: '10.10.200.0/24',
  publicIp: '192.168.56.2',
  mac: '02:00:00:00:00:01',
};
/** All behind one host, hence with one MAC. */
const PEERS: Peer[] = Array.from({ length: count }, (_, i) => ({
  subnet: `10.10.${i + 1}.0/24`,
  publicIp: `192.168.56.${i + 3}`,
  mac: '02:00:00:00:00:02',
}));
const inside = (peer: Peer): string => peer.subnet.replace('0/24', '2');

/** A field of /proc/<pid>/status, in MB of 10^6 bytes. */
function field(pid: number, name: string): number {
  const text = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return (Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(text)![1]) * 1024) / 1e6;
}

/** What is resident, by what it is, in MB. */
function split(pid: number): Record<string, number> {
  const parts: Record<string, number> = {};
  let name = '';
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const mapping = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)$/.exec(line);
    if (mapping !== null) {
      if (mapping[1]!.startsWith('/')) name = 'files (node, libraries)';
      else
        name = mapping[1] === '[heap]' ? 'C heap' : 'anonymous (JavaScript heaps, stacks, memory)';
    }
    const resident = /^Rss:\s+(\d+) kB/.exec(line);
    if (resident !== null) parts[name] = (parts[name] ?? 0) + (Number(resident[1]) * 1024) / 1e6;
  }
  return parts;
}

interface Store {
  /** By which weft finds it. */
  readonly flag: string;
  /** What weft says there of itself: with etcd its MAC is new at each start. */
  own(): Promise<Peer>;
}

/** Network and leases, in etcd or a file. */
async function fillStore(lab: Lab, network: Network): Promise<Store> {
  const config = { Network: '10.10.0.0/16', SubnetLen: 24, Backend: { Type: 'vxlan' } };
  const leases = [OWN, ...PEERS].map((peer) => [leaseKey(peer), leaseValue(peer)] as const);
  if (given.store === 'file') {
    const subnets = Object.fromEntries(leases.map(([key, value]) => [key, JSON.parse(value)]));
    fs.writeFileSync(`${lab.shared}/network.json`, JSON.stringify({ config, subnets }));
    return { flag: '-store-file=/run/shared/network.json', own: async () => OWN };
  }
  const etcd = await network.etcd();
  await etcd.put(`${PREFIX}/config`, JSON.stringify(config));
  for (const [key, value] of leases) await etcd.put(`${PREFIX}/subnets/${key}`, value);
  const key = `${PREFIX}/subnets/${leaseKey(OWN)}`;
  return {
    flag: `-etcd-endpoints=${etcd.endpoint}`,
    own: async () => parseLease(key, (await etcd.get(key))!),
  };
}

async function main(): Promise<number> {
  const machine = describeMachine();
  console.log(machineLine(machine));
  console.log(machine.command);
  const lab = await Lab.open();
  const network = await lab.network();
  const onWire = (peer: Peer) => ({ address: `${peer.publicIp}/24`, offloads: false });
  const host = await network.host('weft', onWire(OWN));
  const other = await network.host('peers', onWire(PEERS[0]!));
  const { flag, own } = await fillStore(lab, network);
  const weft = host.weft(flag, '-iface=ens33');
  await weft.waitFor(/ready/, 10_000);
  await other.kernelPeer({ ...PEERS[0]!, peers: [await own()] });
  await other.ip(
    ...PEERS.slice(1).map((peer) => `address add ${peer.publicIp}/24 dev ens33`),
    ...PEERS.map((peer) => `address add ${inside(peer)}/32 dev lo`),
  );
  const pid = weft.pid!;
  const container = await host.container('c');
  console.log(`resident when it is ready: ${field(pid, 'VmRSS').toFixed(1)} MB`);
  for (const peer of PEERS) {
    await container.run(['ping', '-c', '1', '-W', '2', inside(peer)]);
  }

  const streams = PEERS.slice(0, 4).map((peer, i) => {
    const port = String(5300 + i);
    const server = other.start(['iperf3', '-s', '-1', '-p', port, '--forceflush']);
    const client = ['iperf3', '-c', inside(peer), '-p', port, '-t', String(seconds)];
    return { server, client: i === 0 ? client : [...client, '--bidir', '-b', '200M'] };
  });
  for (const { server } of streams) await server.waitFor(/listening/i, 5_000);
  const clients = streams.map(({ client }) => container.start(client));
  const seen: number[] = [];
  for (let turn = 0; turn < seconds * 2 - 1; turn += 1) {
    await sleep(500);
    seen.push(field(pid, 'VmRSS'));
  }
  const parts = split(pid);
  for (const client of clients) await client.exited;
  console.log(`full stream: ${/.*sender/.exec(clients[0]!.output)?.[0]?.trim()}`);
  const most = field(pid, 'VmHWM');
  console.log(
    `resident under load, ${count} peers, ${seconds} s: ${Math.min(...seen).toFixed(1)} to ` +
      `${Math.max(...seen).toFixed(1)} MB; the most ever (VmHWM) ${most.toFixed(1)} MB`,
  );
  for (const [name, size] of Object.entries(parts)) {
    console.log(`  ${size.toFixed(1).padStart(6)} MB ${name}`);
  }
  console.log(`bar ${BAR_MB} MB: ${most < BAR_MB ? 'met' : 'missed'}`);
  await lab.close();
  return most < BAR_MB ? 0 : 1;
}

const lacks = labLacks({ programs: ['iperf3', 'ethtool', 'bridge', 'ping', 'etcd'], tun: true });
if (lacks !== undefined) {
  console.error(lacks);
  process.exit(1);
}
if (!Lab.inside()) process.exit(await enterLab());
process.exit(await main());

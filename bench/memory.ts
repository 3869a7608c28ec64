/**
 * Resident memory of a `weft up` with 100 peers under load: below 100 MB.
 *
 *   node dist/bench/memory.js [--peers=100] [--seconds=10]
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
import { leaseKey, leaseValue, type Peer } from '../src/lab/lease.js';
import { describeMachine, machineLine } from './machine.js';

const { values: given } = parseArgs({
  options: {
    peers: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '10' },
  },
});
const BAR_MB = 100;
const seconds = Number(given.seconds);
const count = Number(given.peers);

const OWN: Peer = {
  subnet: '10.10.0.0/24',
  publicIp: '192.168.56.1',
  mac: '02:00:00:00:00:01',
};
/** All behind one host, hence with one MAC. */
const PEERS: Peer[] = Array.from({ length: count }, (_, i) => ({
  subnet: `10.10.${i + 1}.0/24`,
  publicIp: `192.168.56.${i + 2}`,
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

async function main(): Promise<number> {
  const machine = describeMachine();
  console.log(machineLine(machine));
  console.log(machine.command);
  const lab = await Lab.open();
  const [host, other] = await lab.wire(
    ['weft', 'peers'],
    [
      { address: `${OWN.publicIp}/24`, offloads: false },
      { address: `${PEERS[0]!.publicIp}/24`, offloads: false },
    ],
  );
  const subnets = Object.fromEntries(
    [OWN, ...PEERS].map((peer) => [leaseKey(peer), JSON.parse(leaseValue(peer))]),
  );
  const config = { Network: '10.10.0.0/16', SubnetLen: 24, Backend: { Type: 'vxlan' } };
  fs.writeFileSync(`${lab.shared}/network.json`, JSON.stringify({ config, subnets }));
  await other.kernelPeer({ ...PEERS[0]!, peers: [OWN] });
  await other.ip(
    ...PEERS.slice(1).map((peer) => `address add ${peer.publicIp}/24 dev ens33`),
    ...PEERS.map((peer) => `address add ${inside(peer)}/32 dev lo`),
  );
  const weft = host.weft('-store-file=/run/shared/network.json', '-iface=ens33');
  await weft.waitFor(/ready/, 10_000);
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

const lacks = labLacks({ programs: ['iperf3', 'ethtool', 'bridge', 'ping'], tun: true });
if (lacks !== undefined) {
  console.error(lacks);
  process.exit(1);
}
if (!Lab.inside()) process.exit(await enterLab());
process.exit(await main());

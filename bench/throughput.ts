/**
 * iperf3 between containers on two hosts: weft at both ends beside kernel VXLAN at both ends,
 * interleaved in one run. The ratio is what counts; both share one machine with iperf3.
 *
 *   node dist/bench/throughput.js [--repeats=5] [--seconds=3] [--plain] [--streams=1] [--json]
 *
 * --plain: the plain wire, every datagram a packet with software checksums; else underlay
 * offloads are on, as on a bare veth.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import type { Container } from '../src/lab/container.js';
import { enterLab, labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import type { Network } from '../src/lab/network.js';
import { describeMachine, machineLine } from './machine.js';
import { type Spread, spread } from './statistics.js';

const PREFIX = '/coreos.com/network';

const { values: options } = parseArgs({
  options: {
    repeats: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    streams: { type: 'string', default: '1' },
    plain: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

const lacks = labLacks({ programs: ['etcd', 'iperf3', 'ethtool'], tun: true });
if (lacks !== undefined) {
  console.error(lacks);
  process.exit(1);
}
if (!Lab.inside()) process.exit(await enterLab());

type System = 'kernel' | 'weft';

/** One pair of hosts with a container each; the pairs share nothing but the switch. */
async function pair(network: Network, system: System): Promise<readonly [Container, Container]> {
  const base = system === 'kernel' ? 10 : 20;
  const names = [`${system}-1`, `${system}-2`] as const;
  const offloads = !options.plain;
  const hosts = [
    await network.host(names[0], { address: `192.168.56.${base + 1}/24`, offloads }),
    await network.host(names[1], { address: `192.168.56.${base + 2}/24`, offloads }),
  ] as const;
  if (system === 'kernel') {
    const peers = [
      await hosts[0].kernelPeer({ subnet: '10.10.1.0/24' }),
      await hosts[1].kernelPeer({ subnet: '10.10.2.0/24' }),
    ] as const;
    await peers[0].addPeer(peers[1]);
    await peers[1].addPeer(peers[0]);
  } else {
    const etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}}');
    for (const host of hosts) {
      await host.weft(`-etcd-endpoints=${etcd.endpoint}`, '-iface=ens33').waitFor(/ready/, 10_000);
    }
  }
  const ends = [
    await hosts[0].container(`${system}-c1`),
    await hosts[1].container(`${system}-c2`),
  ] as const;
  await ends[1].start(['iperf3', '-s', '--forceflush']).waitFor(/listening/, 5_000);
  return ends;
}

/** Gb/s that arrived. */
async function measure([from, to]: readonly [Container, Container]): Promise<number> {
  const { stdout } = await from.run(
    ['iperf3', '-J', '-c', to.address, '-t', options.seconds, '-P', options.streams],
    { timeout: 60_000 },
  );
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e9;
}

const lab = await Lab.open();
const network = await lab.network();
const pairs = { kernel: await pair(network, 'kernel'), weft: await pair(network, 'weft') };
const figures: Record<System, number[]> = { kernel: [], weft: [] };
const ratios: number[] = [];
for (let repeat = 0; repeat < Number(options.repeats); repeat += 1) {
  for (const system of ['kernel', 'weft'] as const) {
    figures[system].push(await measure(pairs[system]));
  }
  ratios.push(figures.weft.at(-1)! / figures.kernel.at(-1)!);
}
await lab.close();

const machine = describeMachine();
const results = { kernel: spread(figures.kernel), weft: spread(figures.weft) };
const ratio = spread(ratios);
if (options.json) {
  console.log(JSON.stringify({ machine, options, unit: 'Gb/s', results, ratio }));
} else {
  const show = ({ n, min, median, max }: Spread): string =>
    `median ${median.toFixed(2)}  (${min.toFixed(2)} to ${max.toFixed(2)}, ${n} runs)`;
  console.log(machineLine(machine));
  console.log(
    `TCP, ${options.streams} stream(s), ${options.plain ? 'plain wire' : 'underlay offloads on'}, Gb/s`,
  );
  console.log(`  kernel VXLAN   ${show(results.kernel)}`);
  console.log(`  weft           ${show(results.weft)}`);
  console.log(`  weft / kernel  ${show(ratio)}`);
}

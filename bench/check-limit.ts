/**
 * Whether the comparators are at their best: one TCP stream over kernel VXLAN, `limit` and
 * `one-packet`, each with the same system at both ends, side by side in one lab, interleaved.
 *
 *   node dist/bench/check-limit.js [--wire=plain|offloads] [--streams=1] [--repeats=5]
 *                                  [--seconds=2] [--systems=kernel,limit,one-packet] [--congestion=bbr]
 *                                  [--quiet=20] [--tries=6]
 *
 * Other work on the machine spoils the figures: before each run it waits up to --quiet seconds
 * for 85 % of the processors to be idle, and repeats it, up to --tries times, when programs
 * outside the lab took more than 4 % meanwhile.
 *
 * Prints medians with their spread, the ratio to the kernel, CPU seconds of the whole machine
 * a gigabyte, and retransmissions; then the same as JSON.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Running } from '../src/lab/command.js';
import type { Container } from '../src/lab/container.js';
import { enterLab, labLacks } from '../src/lab/enter.js';
import type { Host } from '../src/lab/host.js';
import { Lab } from '../src/lab/lab.js';
import type { Network } from '../src/lab/network.js';
import { buildLacks, buildPrograms, type Programs } from './build-c.js';
import { type ComparatorOptions, type Forwarder, startComparator } from './comparator.js';

/** `kernel`, a forwarder's name, or NAME=PATH: another build of `limit`, to compare two. */
type System = string;

interface Pair {
  readonly system: System;
  readonly ends: readonly [Container, Container];
  readonly forwarders: readonly Running[];
}

interface Sample {
  readonly gbps: number;
  readonly cpuSecondsPerGb: number;
  /** The part of it that the lab's own programs spent. */
  readonly ownCpuSecondsPerGb: number;
  readonly idle: number;
  /** The part of the machine that programs outside the lab took meanwhile. */
  readonly foreign: number;
  readonly retransmissions: number;
}

/** More of the machine than this for others, and a run does not count. */
const FOREIGN_MAX = 0.04;

const { values: flags } = parseArgs({
  options: {
    wire: { type: 'string', default: 'plain' },
    streams: { type: 'string', default: '1' },
    repeats: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    systems: { type: 'string', default: 'kernel,limit,one-packet' },
    congestion: { type: 'string', default: '' },
    quiet: { type: 'string', default: '20' },
    tries: { type: 'string', default: '6' },
  },
});

async function openPair(
  network: Network,
  programs: Programs,
  system: System,
  number: number,
): Promise<Pair> {
  const peers = [0, 1].map((end) => ({
    subnet: `10.10.${number * 2 + end}.0/24`,
    publicIp: `192.168.56.${10 + number * 2 + end}`,
    mac: `02:00:00:00:${number}0:0${end}`,
  }));
  const ends: Container[] = [];
  const forwarders: Running[] = [];
  for (const [end, own] of peers.entries()) {
    const host = await network.host(`h${number}${end}`, {
      address: `${own.publicIp}/24`,
      offloads: flags.wire === 'offloads',
    });
    const others = [peers[1 - end]!];
    if (system === 'kernel') await host.kernelPeer({ ...own, peers: others });
    else forwarders.push(await startForwarder(host, programs, system, { own, peers: others }));
    const container = await host.container(`c${number}${end}`);
    if (flags.congestion !== '') {
      await container.sysctl(`net.ipv4.tcp_congestion_control=${flags.congestion}`);
    }
    ends.push(container);
  }
  return { system, ends: [ends[0]!, ends[1]!], forwarders };
}

function startForwarder(
  host: Host,
  programs: Programs,
  system: System,
  options: ComparatorOptions,
): Promise<Running> {
  const [, other] = system.split('=');
  if (other === undefined) return startComparator(host, programs, system as Forwarder, options);
  return startComparator(host, { ...programs, limit: other }, 'limit', options);
}

/** Ticks of the whole machine: those spent, those idle, and those spent by programs as such. */
function processorTicks(): { busy: number; idle: number; user: number } {
  const words = fs.readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/);
  const ticks = words.slice(1, 9).map(Number);
  const idle = ticks[3]! + ticks[4]!;
  const busy = ticks.reduce((sum, tick) => sum + tick, 0) - idle;
  return { busy, idle, user: ticks[0]! + ticks[1]! };
}

/** Ticks that the lab's own programs spent, their ended children too; `system` counts the kernel's for them. */
function ownTicks(): { user: number; system: number } {
  const own = { user: 0, system: 0 };
  for (const name of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = fs.readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      own.user += Number(fields[11]) + Number(fields[13]);
      own.system += Number(fields[12]) + Number(fields[14]);
    } catch {
      // ended meanwhile
    }
  }
  return own;
}

async function waitForQuiet(): Promise<void> {
  for (let left = Number(flags.quiet) * 4; left > 0; left -= 1) {
    const before = processorTicks();
    await sleep(250);
    const after = processorTicks();
    const idle = after.idle - before.idle;
    if (idle / (idle + after.busy - before.busy) > 0.85) return;
  }
}

async function measure({ ends: [from, to] }: Pair): Promise<Sample> {
  const server = to.start(['iperf3', '-s', '-1', '-p', '5201', '--forceflush']);
  await server.waitFor(/listening/i, 5_000);
  const before = processorTicks();
  const ownBefore = ownTicks();
  const argv = ['iperf3', '-c', to.address, '-p', '5201', '-J'];
  const { stdout } = await from.run(
    [...argv, '-t', flags.seconds, '-O', '0.3', '-P', flags.streams],
    {
      timeout: 60_000,
    },
  );
  const after = processorTicks();
  await server.stop();
  const own = ownTicks();
  const foreign = after.user - before.user - (own.user - ownBefore.user);
  const spent = own.user - ownBefore.user + own.system - ownBefore.system;
  const { end } = JSON.parse(stdout);
  const busy = (after.busy - before.busy) / 100;
  const idle = (after.idle - before.idle) / 100;
  return {
    gbps: end.sum_received.bits_per_second / 1e9,
    cpuSecondsPerGb: busy / (end.sum_received.bytes / 1e9),
    ownCpuSecondsPerGb: spent / 100 / (end.sum_received.bytes / 1e9),
    idle: idle / (idle + busy),
    foreign: foreign / 100 / (idle + busy),
    retransmissions: end.sum_sent.retransmits,
  };
}

/** Measures again when others worked on the machine meanwhile; the quietest run counts. */
async function measureInQuiet(pair: Pair): Promise<Sample> {
  let best: Sample | undefined;
  for (let left = Number(flags.tries); left > 0; left -= 1) {
    await waitForQuiet();
    const sample = await measure(pair);
    if (best === undefined || sample.foreign < best.foreign) best = sample;
    if (best.foreign < FOREIGN_MAX) break;
  }
  return best!;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function main(): Promise<void> {
  const programs = buildPrograms();
  const lab = await Lab.open();
  const network = await lab.network();
  const pairs: Pair[] = [];
  for (const [number, system] of flags.systems.split(',').entries()) {
    pairs.push(await openPair(network, programs, system, number));
  }
  for (const { ends } of pairs) {
    await ends[0].run(['ping', '-c', '2', '-i', '0.1', '-W', '2', ends[1].address]);
  }
  const { stdout } = await pairs[0]!.ends[0].run(['sysctl', 'net.ipv4.tcp_congestion_control']);
  console.log(`# ${flags.wire}, ${flags.streams} stream(s), ${stdout.trim()}`);
  const samples = new Map(pairs.map((pair) => [pair, [] as Sample[]]));
  for (let repeat = 0; repeat < Number(flags.repeats); repeat += 1) {
    for (const pair of pairs) {
      samples.get(pair)!.push(await measureInQuiet(pair));
    }
  }
  const kernel = pairs.find((pair) => pair.system === 'kernel');
  const speeds = (pair: Pair) => samples.get(pair)!.map((sample) => sample.gbps);
  for (const pair of pairs) {
    const all = samples.get(pair)!;
    const own = speeds(pair);
    // Neighbours in time are compared: the machine's own pace drifts within minutes.
    const ratio = median(own.map((speed, i) => speed / (speeds(kernel ?? pair)[i] ?? speed)));
    const cells = [
      pair.system.split('=')[0]!.padEnd(10),
      `${median(own).toFixed(2)} Gb/s (${Math.min(...own).toFixed(2)}-${Math.max(...own).toFixed(2)})`,
      `${ratio.toFixed(2)} of ${(kernel ?? pair).system}`,
      `${median(all.map((sample) => sample.cpuSecondsPerGb)).toFixed(2)} CPU s/GB`,
      `own ${median(all.map((sample) => sample.ownCpuSecondsPerGb)).toFixed(2)}`,
      `foreign ${median(all.map((sample) => sample.foreign * 100)).toFixed(0)} %`,
      `idle ${median(all.map((sample) => sample.idle * 100)).toFixed(0)} %`,
      `${median(all.map((sample) => sample.retransmissions))} retransmissions`,
    ];
    console.log(cells.join('  '));
  }
  for (const { system, forwarders } of pairs) {
    for (const forwarder of forwarders) {
      await forwarder.stop();
      console.log(`# ${system.split('=')[0]}: ${forwarder.tail(1)}`);
    }
  }
  console.log(
    JSON.stringify(pairs.map((pair) => ({ system: pair.system, all: samples.get(pair) }))),
  );
  await lab.close();
}

const lacks =
  buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'bridge', 'ping'], tun: true });
if (lacks !== undefined) {
  console.error(lacks);
  process.exit(1);
}
if (!Lab.inside()) process.exit(await enterLab());
await main();

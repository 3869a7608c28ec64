/** What is measured on a pair. Each case gives its figures by name; the first is the headline. */
import process from 'node:process';
import type { Programs } from './build-c.js';
import { kernelCount, receivedBytes } from './kernel-counts.js';
import { busySeconds, readTicks } from './processors.js';
import type { End, Pair } from './rig.js';
import { highestRate } from './search.js';

export type Figures = Readonly<Record<string, number>>;

/** How a case is run. */
export interface Settings {
  readonly programs: Programs;
  readonly seconds: number;
  /** Of a trial that confirms a loss-free rate. */
  readonly trialSeconds: number;
  /** TCP's congestion control of the streams; the container's own unless told. */
  readonly congestion?: string | undefined;
  /** What the pair's run before gave, if there was one. */
  readonly previous?: Figures | undefined;
}

export interface Case {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly better: 'more' | 'less';
  /** Whether it has a TCP stream, whose congestion control can be chosen. */
  readonly streams?: true;
  measure(pair: Pair, settings: Settings): Promise<Figures>;
}

async function iperf(
  { ends: [from, to] }: Pair,
  { seconds, congestion }: Settings,
  ...more: string[]
): Promise<{ end: IperfEnd; cpuSeconds: number; disordered: number }> {
  const queued = (): number => outOfOrder(from) + outOfOrder(to);
  const queuedBefore = queued();
  const server = to.start(['iperf3', '-s', '-1', '--forceflush']);
  await server.waitFor(/listening/i, 5_000);
  const before = readTicks();
  const { stdout } = await from.run(
    [
      'iperf3',
      '-J',
      '-c',
      to.address,
      '-t',
      String(seconds),
      '-O',
      '0.3',
      ...choose(congestion),
      ...more,
    ],
    { timeout: seconds * 1000 + 30_000 },
  );
  const cpuSeconds = busySeconds(before);
  await server.stop();
  const disordered = queued() - queuedBefore;
  const end = JSON.parse(stdout).end as IperfEnd;
  const used = end.sender_tcp_congestion;
  if (congestion !== undefined && used !== congestion) throw new Error(`TCP took ${used}`);
  return { end, cpuSeconds, disordered };
}

/**
 * iperf3's own choice of the congestion control: a namespace takes the machine's when it is made,
 * and the kernel lets few of them be set inside it afterwards.
 */
function choose(congestion: string | undefined): string[] {
  return congestion === undefined ? [] : ['-C', congestion];
}

/** Segments that TCP had to put aside here, since one before them was missing. */
function outOfOrder(space: End): number {
  return kernelCount(space.holder, 'TcpExt', 'TCPOFOQueue');
}

interface IperfSum {
  readonly bits_per_second: number;
  readonly bytes: number;
  readonly retransmits?: number;
}
interface IperfEnd {
  readonly sum_sent: IperfSum;
  readonly sum_received: IperfSum;
  readonly sum_received_bidir_reverse?: IperfSum;
  readonly sender_tcp_congestion?: string;
}

function tcp(streams: number): Case {
  return {
    name: `tcp${streams}`,
    title: `TCP, ${streams} stream${streams === 1 ? '' : 's'}`,
    unit: 'Gb/s',
    better: 'more',
    streams: true,
    async measure(pair, settings) {
      const { seconds } = settings;
      const { end, cpuSeconds, disordered } = await iperf(pair, settings, '-P', String(streams));
      return {
        'Gb/s': end.sum_received.bits_per_second / 1e9,
        // The omitted start costs as well: iperf3 runs 0.3 s longer than it counts.
        'CPU s/GB': (cpuSeconds * seconds) / (seconds + 0.3) / (end.sum_received.bytes / 1e9),
        retransmissions: end.sum_sent.retransmits ?? 0,
        'out of order': disordered,
      };
    },
  };
}

const bidir: Case = {
  name: 'bidir',
  title: 'TCP, 1 stream each way',
  unit: 'Gb/s',
  better: 'more',
  streams: true,
  async measure(pair, settings) {
    const { end, disordered } = await iperf(pair, settings, '--bidir');
    const there = end.sum_received.bits_per_second / 1e9;
    const back = (end.sum_received_bidir_reverse?.bits_per_second ?? 0) / 1e9;
    const slower = Math.min(there, back) / (there + back);
    return { 'Gb/s': there + back, 'slower/sum': slower, 'out of order': disordered };
  },
};

async function requestResponse(
  { networks: [from, to] }: Pair,
  programs: Programs,
  seconds: number,
  ...more: string[]
): Promise<Figures> {
  const server = to.start([programs['request-response'], 'server']);
  await server.waitFor(/listening/, 5_000);
  const { stdout } = await from.run(
    [
      ...[programs['request-response'], 'client', '--host', to.address],
      ...['--seconds', String(seconds), ...more],
    ],
    { timeout: seconds * 1000 + 20_000 },
  );
  await server.stop();
  const { per_second, p50_us, p99_us } = JSON.parse(stdout);
  return { '/s': per_second, 'p50 µs': p50_us, 'p99 µs': p99_us };
}

function rr(connections: number): Case {
  return {
    name: `rr${connections}`,
    title: `request/response, ${connections} connection${connections === 1 ? '' : 's'}`,
    unit: '/s',
    better: 'more',
    measure: (pair, { programs, seconds }) =>
      requestResponse(pair, programs, seconds, '--connections', String(connections)),
  };
}

const crr: Case = {
  name: 'crr',
  title: 'new connections',
  unit: '/s',
  better: 'more',
  measure: (pair, { programs, seconds }) =>
    requestResponse(pair, programs, seconds, '--connections', '8', '--new', '1'),
};

const rrBusy: Case = {
  name: 'rr-busy',
  title: 'request/response beside a full TCP stream',
  unit: 'p50 µs',
  better: 'less',
  streams: true,
  async measure(pair, settings) {
    const { programs, seconds } = settings;
    const figures = await besideStream(pair, settings, () =>
      requestResponse(pair, programs, seconds),
    );
    const { 'p50 µs': p50, 'p99 µs': p99, '/s': rate, 'Gb/s beside': beside } = figures;
    return { 'p50 µs': p50!, 'p99 µs': p99!, '/s': rate!, 'Gb/s beside': beside! };
  },
};

/** Measures while one TCP stream takes all there is, and tells how much that is. */
async function besideStream(
  { networks: [from, to] }: Pair, // where the stream can be ended
  { seconds, congestion }: Settings,
  measure: () => Promise<Figures>,
): Promise<Figures> {
  const server = to.start(['iperf3', '-s', '-1', '--forceflush']);
  await server.waitFor(/listening/i, 5_000);
  const stream = from.start([
    ...['iperf3', '-c', to.address, '-t', String(seconds + 2)],
    ...choose(congestion),
  ]);
  await new Promise((resolve) => setTimeout(resolve, 700));
  const before = receivedBytes(to.holder, 'eth0');
  const begun = process.hrtime.bigint();
  const figures = await measure();
  const bytes = receivedBytes(to.holder, 'eth0') - before;
  const nanoseconds = Number(process.hrtime.bigint() - begun);
  stream.kill('SIGKILL');
  await server.stop();
  return { ...figures, 'Gb/s beside': (bytes * 8) / nanoseconds };
}

/** Round trips of ICMP, one each 5 ms, so that each finds the forwarders at rest. */
async function pings({ networks: [from, to] }: Pair, seconds: number): Promise<Figures> {
  const count = String(Math.round(seconds * 200));
  const { stdout } = await from.run(['ping', '-i', '0.005', '-c', count, '-W', '1', to.address]);
  const times = [...stdout.matchAll(/time=([\d.]+) ms/g)]
    .map(([, time]) => Number(time) * 1000)
    .sort((a, b) => a - b);
  const at = (part: number): number => times[Math.floor(part * (times.length - 1))]!;
  return { 'p50 µs': at(0.5), 'p99 µs': at(0.99), lost: Number(count) - times.length };
}

const ping: Case = {
  name: 'ping',
  title: 'ping',
  unit: 'p50 µs',
  better: 'less',
  measure: (pair, { seconds }) => pings(pair, seconds),
};

const pingBusy: Case = {
  name: 'ping-busy',
  title: 'ping beside a full TCP stream',
  unit: 'p50 µs',
  better: 'less',
  streams: true,
  measure: (pair, settings) => besideStream(pair, settings, () => pings(pair, settings.seconds)),
};

/** One trial: datagrams a second asked for; the part that was lost, and the rate reached. */
async function flood(
  from: Pick<End, 'run'>,
  to: Pick<End, 'address' | 'start'>,
  programs: Programs,
  rate: number,
  size: number,
  seconds: number,
): Promise<{ loss: number; rate: number }> {
  const receiver = to.start([programs['udp-flood'], 'receive', '--seconds', String(seconds + 5)]);
  await receiver.waitFor(/listening/, 5_000);
  const { stdout } = await from.run(
    [
      ...[programs['udp-flood'], 'send', '--host', to.address, '--rate', String(rate)],
      ...['--size', String(size), '--seconds', String(seconds)],
    ],
    { timeout: seconds * 1000 + 20_000 },
  );
  const [text] = await receiver.waitFor(/\{.*\}/, 10_000);
  await receiver.stop();
  const { sent, lost } = JSON.parse(text) as { sent: number; lost: number };
  return { loss: lost / Math.max(1, sent), rate: JSON.parse(stdout).rate };
}

const LOSS_MAX = 0.001;

function lossFree(size: number): Case {
  return {
    name: `udp${size}`,
    title: `loss-free UDP, ${size} bytes`,
    unit: 'k/s',
    better: 'more',
    async measure({ networks: [from, to] }, { programs, trialSeconds, previous }) {
      let trials = 0;
      const holds = async (rate: number, time: number): Promise<boolean> => {
        trials += 1;
        const { loss, rate: reached } = await flood(from, to, programs, rate, size, time);
        return loss < LOSS_MAX && reached > 0.97 * rate;
      };
      const rate = await highestRate(holds, {
        short: Math.min(0.8, trialSeconds),
        long: trialSeconds,
        previous: previous === undefined ? undefined : previous['k/s']! * 1000,
        first: 40_000,
        most: 4_000_000,
      });
      return { 'k/s': rate / 1000, trials };
    },
  };
}

/**
 * Datagrams a second that the generator itself brings onto a pair's wire, host to host without
 * any tunnel, the receiver running beside it; thousands.
 */
export async function generatorCeiling(
  { hosts: [from, to] }: Pair,
  programs: Programs,
  size: number,
): Promise<number> {
  const { rate } = await flood(from, to, programs, 10_000_000, size, 1);
  return rate / 1000;
}

/** The datagrams' size of a loss-free case; undefined for the others. */
export function datagramSize(name: string): number | undefined {
  const [, size] = /^udp(\d+)$/.exec(name) ?? [];
  return size === undefined ? undefined : Number(size);
}

export const CASES: readonly Case[] = [
  tcp(1),
  tcp(4),
  bidir,
  rr(1),
  rr(32),
  crr,
  rrBusy,
  ping,
  pingBusy,
  lossFree(64),
  lossFree(512),
  lossFree(1400),
];

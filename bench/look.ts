/**
 * What it costs to look: one TCP stream between containers behind weft that goes on all the time,
 * while those who look are switched off and on and off again.
 *
 *   npm run bench -- look [--rounds=9] [--slice=3] [--settle=6] [--wire=on] [--only=both] [--spread] [--out=FOLDER]
 *
 *   nothing   nothing is switched: what the measurement itself comes to, 0 but for chance
 *   watched   at both ends: weft status -watch, metrics every five seconds, the page of weft dash open
 *   one       the same, and weft capture into a file at the sender's end
 *   both      the same at both ends
 *
 * A round is slices of off, on, on, off with nothing measured around a switch, and gives one figure:
 * both slices with lookers against both without, so a machine that becomes slower evenly changes nothing. What
 * counts is the mean of the rounds with its 95 % interval; the kinds take turns. A capture is begun anew
 * for each, and has --settle seconds before it counts; its code is compiled for a minute or so.
 *
 * Each host has a processor of its own: weft, its end of the stream and who looks at it. Left to the
 * scheduler (`--spread`), the stream has two speeds that differ by half, for seconds each, and no
 * core is ever free to look for nothing.
 *
 * Beside throughput, and steadier where others use the machine: the processor time that lanes and
 * iperf3 take for a byte, with lookers against without; and the part of both processors that all who
 * look take, with what the wefts do beside their lanes. Together these are what throughput can lose.
 * What a lane itself does for a capture is a few nanoseconds a packet at most, which `bench -- micro` tells.
 */
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { buildLacks, buildPrograms } from './build-c.js';
import { enterBench } from './head.js';
import { receivedBytes } from './kernel-counts.js';
import {
  judge,
  LOOKERS,
  type Looker,
  lookersOf,
  type Round,
  roundOf,
  type Slice,
} from './look-round.js';
import { Lookers, type Looks, waitMs } from './lookers.js';
import { family, processMs, threadTimes } from './processor-time.js';
import { waitForQuiet } from './processors.js';
import { writeResult } from './result.js';
import { openPair, parseSystem, type Wire, weftStatus } from './rig.js';
import { type Estimate, meanOf } from './statistics.js';

const { values: given } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    slice: { type: 'string', default: '3' },
    settle: { type: 'string', default: '6' },
    wire: { type: 'string', default: 'on' },
    only: { type: 'string' },
    spread: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const [rounds, slice] = [Number(given.rounds), Number(given.slice)];
const settleMs = 1_000 * Number(given.settle);
const METRICS = 8081;
const WARM_UP_MS = 3_000;

const KINDS: Readonly<Record<string, Looks>> = {
  nothing: { watched: false, captures: 0 },
  watched: { watched: true, captures: 0 },
  one: { watched: true, captures: 1 },
  both: { watched: true, captures: 2 },
};

const kinds = Object.entries(KINDS).filter(([kind]) => kind === (given.only ?? kind));
if (kinds.length === 0) {
  console.error(`look: what is "${given.only}"? --only takes ${Object.keys(KINDS).join(', ')}`);
  process.exit(2);
}

const machine = await enterBench(
  buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'ping', 'taskset'], tun: true }),
);
const ROUND_SECONDS =
  kinds.length * 4 * slice +
  kinds.reduce((all, [, looks]) => all + waitMs(looks, settleMs), 0) / 1_000;
console.log(`${rounds} rounds, about ${((rounds * ROUND_SECONDS) / 60).toFixed(1)} minutes in all`);
await waitForQuiet(5_000);
const lab = await Lab.open();
const pair = await openPair(lab, buildPrograms(), {
  system: parseSystem('weft'),
  wire: given.wire as Wire,
  number: 1,
  docker: false,
  flags: [`-healthz-port=${METRICS}`, '-healthz-ip=127.0.0.1'],
});
const processors = os.cpus().length;
const processorOf = (end: number): string => String(end % processors);
const on = (end: number): string[] => (given.spread ? [] : ['taskset', '-c', processorOf(end)]);

const [from, to] = pair.ends;
const server = to.start([...on(1), 'iperf3', '-s', '-1', '--forceflush']);
await server.waitFor(/listening/i, 5_000);
const client = from.start([...on(0), 'iperf3', '-c', to.address, '-t', '86400', '-i', '0']);
const wefts = await Promise.all(pair.hosts.map(async (host) => (await weftStatus(host)).pid));
if (!given.spread) {
  for (const [end, host] of pair.hosts.entries()) {
    await host.run(['taskset', '-a', '-c', '-p', processorOf(end), String(wefts[end])]);
  }
}
const lookers = await Lookers.start(
  pair.hosts,
  `http://127.0.0.1:${METRICS}/metrics`,
  on,
  settleMs,
);
await sleep(WARM_UP_MS);
const streams = [server, client].flatMap(({ pid }) => family(pid as number));
const lanes = wefts.map(lanesOf);

/** The threads of a weft that carry: those beside the main thread that the stream keeps busy. */
function lanesOf(weft: number): Set<number> {
  const others = [...threadTimes(weft)].filter(([thread]) => thread !== weft);
  const most = Math.max(...others.map(([, ms]) => ms));
  return new Set(others.filter(([, ms]) => ms > most / 4).map(([thread]) => thread));
}

/** What was carried and what it took so far, in bytes and milliseconds. */
function readSoFar(): { at: number; bytes: number; work: number; took: Record<Looker, number> } {
  let work = sum(streams.map(processMs));
  const took = { ...lookers.times(), weft: 0 };
  for (const [end, weft] of wefts.entries()) {
    for (const [thread, ms] of threadTimes(weft)) {
      if (lanes[end]!.has(thread)) work += ms;
      else took.weft += ms;
    }
  }
  const bytes = receivedBytes(to.holder, 'eth0');
  return { at: performance.now(), bytes, work, took };
}

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0);
}

async function measure(): Promise<Slice> {
  const before = readSoFar();
  await sleep(slice * 1000);
  const after = readSoFar();
  const bytes = after.bytes - before.bytes;
  const ms = after.at - before.at;
  return {
    gigabits: (8 * bytes) / ms / 1e6,
    work: (after.work - before.work) / (bytes / 1e9),
    lookers: Object.fromEntries(
      LOOKERS.map((who) => [who, (after.took[who] - before.took[who]) / ms / processors]),
    ) as Slice['lookers'],
  };
}

async function measureRound(looks: Looks): Promise<{ slices: Slice[]; round: Round }> {
  const slices = [await measure()];
  await lookers.begin(looks);
  slices.push(await measure(), await measure());
  await lookers.end();
  slices.push(await measure());
  return { slices, round: roundOf(slices) };
}

const measured = kinds.map(([kind, looks]) => ({
  ...{ kind, looks, captured: 0, missed: 0 },
  slices: [] as Slice[][],
  rounds: [] as Round[],
}));
try {
  for (let done = 0; done < rounds; done += 1) {
    for (const one of measured) {
      const { slices, round } = await measureRound(one.looks);
      one.slices.push(slices);
      one.rounds.push(round);
      one.captured += lookers.captured;
      one.missed += lookers.missed;
      lookers.captured = 0;
      lookers.missed = 0;
    }
  }
} finally {
  client.kill('SIGKILL');
  await lookers.close();
  await lab.close();
}

const percent = (part: number): string => (100 * part).toFixed(2);
const show = ({ mean, interval, median }: Estimate): string =>
  `${percent(mean)} ± ${percent(interval)} % (median ${percent(median)})`;

console.log(`mean of ${rounds} rounds ± its 95 % interval, with lookers to without:`);
const rows = measured.map(({ kind, rounds: of, slices, captured, missed }) => {
  const loss = meanOf(of.map((round) => round.loss));
  const work = meanOf(of.map((round) => round.work));
  const share = meanOf(of.map(lookersOf));
  const each = LOOKERS.map((who) => ({ who, ...meanOf(of.map(({ lookers }) => lookers[who])) }));
  const gigabits = meanOf(
    slices.flatMap(([before, , , after]) => [before!, after!].map((one) => one.gigabits)),
  );
  console.log(
    `  ${kind.padEnd(8)} loss ${show(loss)}: ${judge(loss)}, of ${gigabits.mean.toFixed(2)} Gb/s`,
  );
  console.log(`           lanes' and iperf3's time a byte ${show(work)}`);
  console.log(`           lookers' part of the processors ${show(share)}`);
  const parts = each.map(({ who, mean }) => `${who} ${percent(mean)}`).join(', ');
  console.log(`           of which ${parts}`);
  if (captured > 0) console.log(`           ${captured} packets captured, ${missed} not`);
  return { kind, loss, work, lookers: share, each, gigabits, captured, missed };
});
if (given.out !== undefined) {
  writeResult(given.out, 'look', { machine, options: given, rows, measured }, []);
}

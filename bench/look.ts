/**
 * What it costs to look: one TCP stream between containers behind weft while nobody looks, while
 * everything is looked at but packets, and while packets are captured besides; the kernel's VXLAN in
 * the same rounds.
 *
 *   npm run bench -- look [--rounds=10] [--seconds=3] [--wire=plain] [--quiet=5] [--out=FOLDER]
 *
 *   nobody    weft asks its peers, as always; nobody asks weft
 *   watched   at both ends: weft status -watch, metrics each 5 s, the page of weft dash open
 *   one       the same, and weft capture into a file at the sender's end
 *   both      the same at both ends
 *   kernel    kernel VXLAN at both ends
 *
 * A round has a run of each, in another order each time; what counts is the median of the ratios to
 * the run of the same round while nobody looked. The processor's part beside it is that of all who
 * look and of weft's own main threads, of all processors: on a machine that is busy with other things it is
 * the steadier figure, and where the processors are the limit, throughput falls by about as much.
 */
import fs from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Running } from '../src/lab/command.js';
import { labLacks } from '../src/lab/enter.js';
import { type Host, WEFT } from '../src/lab/host.js';
import { Lab } from '../src/lab/lab.js';
import { buildLacks, buildPrograms } from './build-c.js';
import { CASES } from './cases.js';
import { enterBench } from './head.js';
import { waitForQuiet } from './processors.js';
import { writeResult } from './result.js';
import { openPair, type Pair, parseSystem, type Wire, weftStatus } from './rig.js';
import { type Spread, spread } from './statistics.js';

const { values: given } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '3' },
    wire: { type: 'string', default: 'plain' },
    quiet: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
});
const [rounds, seconds] = [Number(given.rounds), Number(given.seconds)];
const ONLOOKER = fileURLToPath(new URL('./tools/onlooker.js', import.meta.url));
/** Programs have started some time before a run. */
const SETTLE_MS = 500;
/** Seconds of a stream before it: a capture uses up what it saved, and its code is compiled. */
const WARM_UP = 1;
const METRICS = 8081;

const KINDS = ['nobody', 'watched', 'one', 'both', 'kernel'] as const;
type Kind = (typeof KINDS)[number];

interface Run {
  readonly gigabits: number;
  /** Of all processors, 0 to 1. */
  readonly lookers: number;
  readonly captured: number;
  readonly missed: number;
}

/** Those who look at one run, from before it to after. */
interface Lookers {
  readonly watchers: readonly Running[];
  readonly captures: readonly Running[];
}

async function look(hosts: readonly Host[], kind: Kind): Promise<Lookers> {
  if (kind === 'nobody' || kind === 'kernel') return { watchers: [], captures: [] };
  const watchers: Running[] = [];
  for (const host of hosts) {
    const weft = (...words: string[]) => host.start([process.execPath, WEFT, ...words]);
    const dash = weft('dash', '-port=0');
    const [page] = await dash.waitFor(/http:\S+/, 10_000);
    const metrics = `http://127.0.0.1:${METRICS}/metrics`;
    const onlooker = host.start([process.execPath, ONLOOKER, page, metrics]);
    await onlooker.waitFor(/looking/, 10_000);
    watchers.push(dash, onlooker, weft('status', '-watch'));
  }
  const captures = await Promise.all(
    hosts.slice(0, kind === 'both' ? 2 : kind === 'one' ? 1 : 0).map(async (host) => {
      const capture = host.start([process.execPath, WEFT, 'capture', '-w', '/run/look.pcapng']);
      await capture.waitFor(/capturing/, 10_000);
      return capture;
    }),
  );
  await sleep(SETTLE_MS);
  return { watchers, captures };
}

/** Ends them; how many packets the captures have, and have not. */
async function leave({ watchers, captures }: Lookers): Promise<[number, number]> {
  const all = [...captures, ...watchers];
  for (const one of all) one.kill('SIGINT');
  await Promise.all(all.map((one) => one.stop()));
  const counts = captures.map(({ output }) => {
    const [, captured, missed] = /(\d+) packets? captured, (\d+) not/.exec(output) ?? [];
    return [Number(captured), Number(missed)] as const;
  });
  return [sum(counts.map(([captured]) => captured)), sum(counts.map(([, missed]) => missed))];
}

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

/** Milliseconds of processor time of a thread or process so far, its threads together. */
function processorMs(task: string): number {
  const text = fs.readFileSync(`/proc/${task}/stat`, 'utf8');
  const words = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(words[11]) + Number(words[12])) * 10;
}

/** A process and all its children. */
function family(pid: number): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const pids = children.split(' ').filter((word) => word !== '');
  return [pid, ...pids.flatMap((child) => family(Number(child)))];
}

/** Of weft's main threads and of all who look. */
function lookersMs(wefts: readonly number[], { watchers, captures }: Lookers): number {
  const pids = [...watchers, ...captures].flatMap(({ pid }) => family(pid as number));
  return sum([
    ...wefts.map((pid) => processorMs(`${pid}/task/${pid}`)),
    ...pids.map((pid) => processorMs(String(pid))),
  ]);
}

const machine = await enterBench(
  buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'ping'], tun: true }),
);
const minutes =
  (rounds * (KINDS.length * (seconds + WARM_UP + 2) + 3 * (SETTLE_MS / 1000 + 1.2))) / 60;
console.log(`${rounds} rounds of ${KINDS.length} runs, about ${minutes.toFixed(1)} minutes in all`);
const programs = buildPrograms();
const lab = await Lab.open();
const wire = given.wire as Wire;
const open = (name: string, number: number, flags: readonly string[] = []): Promise<Pair> =>
  openPair(lab, programs, { system: parseSystem(name), wire, number, docker: false, flags });
const weft = await open('weft', 1, [`-healthz-port=${METRICS}`, '-healthz-ip=127.0.0.1']);
const kernel = await open('kernel', 2);
const wefts = await Promise.all(weft.hosts.map(async (host) => (await weftStatus(host)).pid));
const tcp = CASES.find(({ name }) => name === 'tcp1')!;
const settings = { programs, seconds, trialSeconds: 0 };

async function measure(kind: Kind): Promise<Run> {
  await waitForQuiet(Number(given.quiet) * 1000);
  const lookers = await look(weft.hosts, kind);
  const pair = kind === 'kernel' ? kernel : weft;
  await tcp.measure(pair, { ...settings, seconds: WARM_UP });
  const [begun, before] = [performance.now(), lookersMs(wefts, lookers)];
  const figures = await tcp.measure(pair, settings);
  const spent = lookersMs(wefts, lookers) - before;
  const share = spent / (performance.now() - begun) / os.cpus().length;
  const [captured, missed] = await leave(lookers);
  return { gigabits: figures['Gb/s']!, lookers: share, captured, missed };
}

const runs: Record<Kind, Run>[] = [];
for (let round = 0; round < rounds; round += 1) {
  const done: Partial<Record<Kind, Run>> = {};
  for (let i = 0; i < KINDS.length; i += 1) {
    const kind = KINDS[(i + round) % KINDS.length]!;
    done[kind] = await measure(kind);
  }
  runs.push(done as Record<Kind, Run>);
}
await lab.close();

const percent = (part: number): string => `${(100 * part).toFixed(2)} %`;
const show = ({ median, min, max }: Spread, format: (value: number) => string): string =>
  `${format(median)} (${format(min)} to ${format(max)})`;
console.log('median (least to most); loss: of throughput, to the same round while nobody looked');
const rows = KINDS.map((kind) => {
  const of = (get: (run: Run) => number): Spread => spread(runs.map((run) => get(run[kind])));
  const gigabits = of((run) => run.gigabits);
  const loss = spread(runs.map((run) => 1 - run[kind].gigabits / run.nobody.gigabits));
  const more = spread(runs.map((run) => run[kind].lookers - run.nobody.lookers));
  const [captured, missed] = [of((run) => run.captured), of((run) => run.missed)];
  const looks = kind === 'nobody' || kind === 'kernel' ? '' : `, processors ${show(more, percent)}`;
  const packets =
    captured.max === 0 ? '' : `; ${captured.median} packets captured, ${missed.median} not`;
  const lost = kind === 'nobody' ? '' : `, loss ${show(loss, percent)}${looks}`;
  console.log(
    `  ${kind.padEnd(8)} ${show(gigabits, (value) => value.toFixed(2))} Gb/s${lost}${packets}`,
  );
  return { kind, gigabits, loss, processors: more, captured, missed };
});
if (given.out !== undefined) {
  writeResult(given.out, 'look', { machine, wire, seconds, rows, runs }, []);
}

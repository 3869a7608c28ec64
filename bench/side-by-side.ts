/**
 * Systems side by side in one lab, interleaved: kernel VXLAN, weft at each tier, the C limit,
 * one packet a system call; the same at both ends, or two different ones.
 *
 *   npm run bench -- [--quick] [--parts=throughput,latency,tiers,datagrams] [--wires=plain,on]
 *        [--systems=kernel,weft,…] [--cases=tcp1,tcp4,…] [--repeats=5] [--seconds=3]
 *        [--trial-seconds=5] [--congestion=cubic] [--quiet=20] [--docker] [--out=FOLDER]
 *
 * Prints medians with their spread and the ratios to kernel VXLAN and to the limit, run by run
 * with the neighbour in time; whether the comparators were at their best; and where weft stands
 * against the bars. Ends with code 1 when something that was carried was not right (integrity.ts).
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { dockerLacks } from '../src/lab/docker.js';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { buildLacks, buildPrograms, type Programs } from './build-c.js';
import { CASES, type Case, datagramSize, type Figures, generatorCeiling } from './cases.js';
import { needLab } from './head.js';
import { checkCounters, checkTransfer } from './integrity.js';
import { describeMachine, machineLine } from './machine.js';
import { isOverlay, overlayLacks } from './overlays.js';
import { choose, estimate, type Part, systemsOf } from './plan.js';
import { figure } from './plot.js';
import { waitForQuiet } from './processors.js';
import { writeResult } from './result.js';
import { openPair, type Pair, type Wire, weftMemory } from './rig.js';
import {
  judgeBars,
  judgeComparators,
  panelsOf,
  type Row,
  showBars,
  showComparators,
  showRow,
  summarize,
  WIRE_NAMES,
} from './rows.js';

const { values: given } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    docker: { type: 'boolean', default: false },
    parts: { type: 'string' },
    wires: { type: 'string' },
    systems: { type: 'string' },
    cases: { type: 'string' },
    repeats: { type: 'string' },
    seconds: { type: 'string' },
    'trial-seconds': { type: 'string', default: '5' },
    congestion: { type: 'string' },
    quiet: { type: 'string', default: '20' },
    out: { type: 'string' },
  },
});
const repeats = Number(given.repeats ?? (given.quick ? 3 : 5));
const seconds = Number(given.seconds ?? (given.quick || given.docker ? 2 : 3));
const trialSeconds = Number(given['trial-seconds']);

/** Of the transfer whose SHA-256 is compared, once a pair. */
const TRANSFER_BYTES = 50_000_000;

/** What was not right, in words; a run with any of these is worth nothing. */
const violations: string[] = [];

function violation(words: string): void {
  violations.push(words);
  console.log(`VIOLATION: ${words}`);
}

/** The generator beside the kernel's loss-free rate: below twice it would be the measure itself. */
interface Ceiling {
  readonly wire: Wire;
  readonly size: number;
  readonly thousands: number;
}
const ceilings: Ceiling[] = [];

async function openPairs(lab: Lab, wire: Wire, parts: readonly Part[]): Promise<Pair[]> {
  const programs = buildPrograms();
  const pairs: Pair[] = [];
  for (const [i, system] of systemsOf(parts).entries()) {
    const number = i + (wire === 'on' ? 50 : 0);
    const pair = await openPair(lab, programs, { system, wire, number, docker: given.docker });
    pairs.push(pair);
    const wrong = await checkTransfer(pair, TRANSFER_BYTES);
    if (wrong !== undefined) violation(`${system.name}, ${WIRE_NAMES[wire]}: ${wrong}`);
  }
  return pairs;
}

/** The congestion control in force in the containers of these pairs. */
async function congestionControl(pairs: readonly Pair[]): Promise<string> {
  const names = new Set<string>();
  for (const end of pairs.flatMap(({ ends }) => ends)) {
    const { stdout } = await end.run(['sysctl', '-n', 'net.ipv4.tcp_congestion_control']);
    names.add(stdout.trim());
  }
  return [...names].join('/');
}

async function measureCase(
  one: Case,
  wire: Wire,
  pairs: readonly Pair[],
  programs: Programs,
): Promise<Row> {
  const chosen = one.streams ? given.congestion : undefined;
  const congestion = chosen ?? (await congestionControl(pairs));
  const runs = new Map<string, Figures[]>(pairs.map(({ system }) => [system.name, []]));
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (const pair of pairs) {
      const done = runs.get(pair.system.name)!;
      await waitForQuiet(Number(given.quiet) * 1000);
      const previous = done.at(-1);
      const settings = { programs, seconds, trialSeconds, previous, congestion: chosen };
      done.push(await one.measure(pair, settings));
    }
  }
  const { name, title, unit } = one;
  const row = { wire, case: name, title, unit, congestionControl: congestion };
  return { ...row, systems: summarize(runs) };
}

/** Prints and keeps the generator's ceiling, measured on the first pair's wire. */
async function measureCeiling(row: Row, size: number, pair: Pair, programs: Programs) {
  const thousands = await generatorCeiling(pair, programs, size);
  ceilings.push({ wire: row.wire, size, thousands });
  const kernel = row.systems.kernel?.figures[row.unit]?.median;
  const times = kernel === undefined ? '' : `, ${(thousands / kernel).toFixed(1)} times kernel's`;
  console.log(`  generator on the bare wire: ${figure(thousands)} k/s${times}`);
  if (kernel !== undefined && thousands < 2 * kernel) {
    console.log('  THE GENERATOR IS TOO SLOW: it may be what these figures measure');
  }
}

async function measureWire(lab: Lab, wire: Wire, parts: readonly Part[]): Promise<Row[]> {
  const programs = buildPrograms();
  const all = await openPairs(lab, wire, parts);
  const rows: Row[] = [];
  for (const { systems, cases } of parts) {
    const pairs = all.filter(({ system }) => systems.includes(system.name));
    for (const one of CASES.filter(({ name }) => cases.includes(name))) {
      const row = await measureCase(one, wire, pairs, programs);
      console.log(showRow(row));
      rows.push(row);
      const size = datagramSize(one.name);
      if (size !== undefined) await measureCeiling(row, size, pairs[0]!, programs);
      for (const pair of pairs) {
        for (const wrong of await checkCounters(pair)) {
          violation(`${pair.system.name}, ${WIRE_NAMES[wire]}, after ${one.name}: ${wrong}`);
        }
      }
    }
  }
  for (const pair of all) {
    const memory = await weftMemory(pair);
    if (memory === undefined) continue;
    console.log(`memory of ${pair.system.name}: ${figure(memory.now)} MB`);
  }
  return rows;
}

/** Leaves out overlays that are not installed, and says how they are. */
function withoutMissing(parts: readonly Part[]): Part[] {
  const missing = new Set<string>();
  for (const { name, vteps } of systemsOf(parts)) {
    for (const vtep of new Set(vteps)) {
      const lacks = isOverlay(vtep) ? overlayLacks(vtep) : undefined;
      if (lacks === undefined) continue;
      missing.add(name);
      console.log(lacks);
    }
  }
  return parts.map((part) => ({
    ...part,
    systems: part.systems.filter((name) => !missing.has(name)),
  }));
}

async function main(): Promise<void> {
  const machine = describeMachine();
  const parts = withoutMissing(choose(given));
  const control = given.congestion ?? machine.congestionControl;
  console.log(machineLine({ ...machine, congestionControl: control }));
  console.log(machine.command);
  const minutes = estimate(parts, repeats, seconds, trialSeconds) / 60;
  console.log(`${repeats} runs a case of ${seconds} s, about ${minutes.toFixed(1)} minutes in all`);
  const lab = await Lab.open();
  const rows: Row[] = [];
  for (const wire of ['plain', 'on'] as const) {
    const here = parts.filter(({ wires }) => wires.includes(wire));
    if (here.length > 0) rows.push(...(await measureWire(lab, wire, here)));
  }
  await lab.close();

  // The comparators and the bars are for the lab's own containers.
  const comparators = given.docker ? [] : judgeComparators(rows);
  if (comparators.length > 0) console.log(showComparators(comparators));
  const bars = given.docker ? [] : judgeBars(rows).filter(({ measured }) => measured !== undefined);
  if (bars.length > 0) console.log(showBars(bars));
  for (const words of violations) console.log(`VIOLATION: ${words}`);
  console.log(violations.length === 0 ? 'integrity: all right' : 'integrity: VIOLATED, see above');
  if (violations.length > 0) process.exitCode = 1;
  if (given.out !== undefined) {
    const options = { ...given, repeats, seconds, trialSeconds };
    const judged = { comparators, bars, violations, ceilings };
    const name = given.docker ? 'docker' : 'side-by-side';
    writeResult(given.out, name, { machine, options, ...judged, rows }, panelsOf(rows));
  }
}

const lacks =
  buildLacks() ??
  (given.docker ? dockerLacks() : undefined) ??
  labLacks({ programs: ['iperf3', 'ethtool', 'bridge', 'ping'], tun: true });
await needLab(lacks, { docker: given.docker });
await main();

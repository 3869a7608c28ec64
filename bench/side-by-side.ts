/**
 * Systems side by side in one lab, interleaved: kernel VXLAN, weft at each tier, the C limit,
 * one packet a system call; the same at both ends, or two different ones.
 *
 *   node dist/bench/side-by-side.js [--quick] [--wires=plain,on] [--systems=kernel,weft,…]
 *        [--cases=tcp1,tcp4,…] [--repeats=5] [--seconds=3] [--congestion=cubic] [--out=FOLDER]
 *
 * Prints medians with their spread and the ratio to kernel VXLAN, run by run with the kernel's
 * neighbour in time; writes all of it as JSON, and a plot, into --out.
 */
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { enterLab, labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { buildLacks, buildPrograms } from './build-c.js';
import { CASES, type Case, type Figures } from './cases.js';
import { describeMachine, machineLine } from './machine.js';
import { plotBars } from './plot.js';
import { waitForQuiet } from './processors.js';
import { openPair, type Pair, parseSystem, type Wire, weftMemory } from './rig.js';
import { type Spread, spread } from './statistics.js';

const { values: given } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    wires: { type: 'string' },
    systems: { type: 'string' },
    cases: { type: 'string' },
    repeats: { type: 'string' },
    seconds: { type: 'string' },
    congestion: { type: 'string' },
    out: { type: 'string' },
    quiet: { type: 'string', default: '20' },
  },
});
const QUICK = { systems: 'kernel,weft,limit', cases: 'tcp1,tcp4,rr1', repeats: '3', seconds: '2' };
const FULL = {
  systems: 'kernel,weft,limit,one-packet,weft:segment-tso,weft:sendmmsg,weft>kernel,kernel>weft',
  cases: CASES.map(({ name }) => name).join(','),
  repeats: '5',
  seconds: '3',
};
const options = { wires: 'plain,on', ...(given.quick ? QUICK : FULL), ...given };

/** One line of results: a case on a wire. */
interface Row {
  readonly wire: Wire;
  readonly case: string;
  readonly title: string;
  readonly unit: string;
  readonly systems: Record<string, SystemResult>;
}
interface SystemResult {
  readonly figures: Record<string, Spread>;
  /** Of the headline figure, run by run, to kernel VXLAN. */
  readonly ratio: Spread | undefined;
  readonly runs: readonly Figures[];
}

function chooseCases(): Case[] {
  return options.cases.split(',').map((name) => {
    const found = CASES.find((one) => one.name === name);
    if (found === undefined) {
      throw new Error(`no case ${name}; there are ${CASES.map((one) => one.name).join(', ')}`);
    }
    return found;
  });
}

function summarize(one: Case, runs: Map<string, Figures[]>): Row['systems'] {
  const headline = one.unit;
  const kernel = runs.get('kernel');
  return Object.fromEntries(
    [...runs].map(([name, all]) => {
      const figures = Object.fromEntries(
        Object.keys(all[0]!).map((key) => [key, spread(all.map((run) => run[key]!))]),
      );
      const ratios =
        kernel === undefined || name === 'kernel'
          ? undefined
          : spread(all.map((run, i) => run[headline]! / kernel[i]![headline]!));
      return [name, { figures, ratio: ratios, runs: all }];
    }),
  );
}

function show(row: Row): string {
  const lines = [`${row.title}, ${row.wire === 'plain' ? 'plain wire' : 'offloads on'}`];
  for (const [name, { figures, ratio }] of Object.entries(row.systems)) {
    const cells = Object.entries(figures).map(([key, { min, median, max }], i) =>
      i === 0
        ? `${number(median)} ${key} (${number(min)}–${number(max)})`
        : `${number(median)} ${key}`,
    );
    const ratioText = ratio === undefined ? '' : `${ratio.median.toFixed(2)} of kernel`;
    lines.push(`  ${name.padEnd(18)} ${ratioText.padEnd(15)} ${cells.join('  ')}`);
  }
  return lines.join('\n');
}

function number(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3);
}

async function measureWire(lab: Lab, wire: Wire, cases: readonly Case[]): Promise<Row[]> {
  const programs = buildPrograms();
  const pairs: Pair[] = [];
  for (const [i, name] of options.systems.split(',').entries()) {
    const pair = await openPair(
      lab,
      programs,
      parseSystem(name),
      wire,
      i + (wire === 'on' ? 50 : 0),
    );
    if (options.congestion !== undefined) {
      for (const end of pair.ends) {
        await end.sysctl(`net.ipv4.tcp_congestion_control=${options.congestion}`);
      }
    }
    pairs.push(pair);
  }
  const rows: Row[] = [];
  for (const one of cases) {
    const runs = new Map<string, Figures[]>(pairs.map(({ system }) => [system.name, []]));
    for (let repeat = 0; repeat < Number(options.repeats); repeat += 1) {
      for (const pair of pairs) {
        await waitForQuiet(Number(options.quiet) * 1000);
        const figures = await one.measure(pair, programs, Number(options.seconds));
        runs.get(pair.system.name)!.push(figures);
      }
    }
    const row = {
      wire,
      case: one.name,
      title: one.title,
      unit: one.unit,
      systems: summarize(one, runs),
    };
    console.log(show(row));
    rows.push(row);
  }
  for (const pair of pairs) {
    const memory = await weftMemory(pair);
    if (memory !== undefined) console.log(`memory of ${pair.system.name}: ${memory.toFixed(0)} MB`);
  }
  return rows;
}

async function main(): Promise<void> {
  const machine = describeMachine();
  const cases = chooseCases();
  console.log(
    machineLine({ ...machine, congestionControl: options.congestion ?? machine.congestionControl }),
  );
  console.log(machine.command);
  const lab = await Lab.open();
  const rows: Row[] = [];
  for (const wire of options.wires.split(',') as Wire[]) {
    rows.push(...(await measureWire(lab, wire, cases)));
  }
  await lab.close();
  if (options.out === undefined) return;
  fs.mkdirSync(options.out, { recursive: true });
  const file = path.join(options.out, 'side-by-side');
  fs.writeFileSync(`${file}.json`, `${JSON.stringify({ machine, options, rows }, null, 1)}\n`);
  const bars = rows.map((row) => ({
    title: `${row.title}, ${row.wire === 'plain' ? 'plain wire' : 'offloads on'} (${row.unit})`,
    bars: Object.entries(row.systems).map(([name, { figures }]) => ({
      name,
      ...figures[row.unit]!,
    })),
  }));
  fs.writeFileSync(`${file}.svg`, plotBars(bars, machineLine(machine)));
  console.log(`written: ${file}.json, ${file}.svg`);
}

const lacks =
  buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'bridge', 'ping'], tun: true });
if (lacks !== undefined) {
  console.error(lacks);
  process.exit(1);
}
if (!Lab.inside()) process.exit(await enterLab());
await main();

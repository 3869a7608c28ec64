/**
 * Does a lane that runs hot allocate, or lose compiled code? Counts the garbage collections and
 * the deoptimisations of a lane's thread over 10 million packets after a warm-up: 0 and 0.
 *
 *   node dist/bench/quiet-lane.js [--packets=10000000] [--warm-up=2000000] [--planted]
 *
 * A real `weft up` runs under `--trace-gc --trace-deopt` beside a second one; TCP streams and
 * small and large UDP go both ways between them. `--planted` runs a copy that allocates an object
 * a lookup, which has to show. Exit code 1 when it is not 0 and 0.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { enterLab, labLacks } from '../src/lab/enter.js';
import { WEFT } from '../src/lab/host.js';
import { Lab } from '../src/lab/lab.js';
import { buildLacks, buildPrograms } from './build-c.js';
import { mainStack, readTrace } from './lane-trace.js';
import { describeMachine, machineLine } from './machine.js';
import { openPair, type Pair, parseSystem } from './rig.js';

const { values: given } = parseArgs({
  options: {
    packets: { type: 'string', default: '10000000' },
    'warm-up': { type: 'string', default: '2000000' },
    planted: { type: 'boolean', default: false },
  },
});
/** Whatever the machine does, it ends. */
const SECONDS_MAX = 600;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A copy of the build whose lookup leaves an object behind; `weft@FOLDER` runs it. */
function plant(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-planted-'));
  fs.cpSync(path.join(ROOT, 'dist/src'), path.join(folder, 'dist/src'), { recursive: true });
  for (const name of ['native', 'node_modules', 'package.json']) {
    fs.symlinkSync(path.join(ROOT, name), path.join(folder, name));
  }
  const file = path.join(folder, 'dist/src/dataplane/routes/reader.js');
  const text = fs.readFileSync(file, 'utf8');
  const planted = text.replace(
    /^( *lookup\(destination\) \{)$/m,
    '$1 globalThis.planted = { destination, more: new Array(64) };',
  );
  if (planted === text) throw new Error('no lookup to plant an allocation in');
  fs.writeFileSync(file, planted);
  return folder;
}

const UNFINISHED = fileURLToPath(new URL('./tools/unfinished.js', import.meta.url));

/**
 * TCP and UDP both ways until the lab is closed, and what a kernel peer would send, so that
 * every path of the lane is hot: a path that is taken for the first time after the code around
 * it was compiled costs one deoptimisation.
 */
async function traffic({ hosts, ends: [left, right] }: Pair): Promise<void> {
  const flows: readonly (readonly string[])[] = [
    ['-P', '2', '--bidir'],
    ['-u', '-b', '10M', '-l', '64', '--bidir'],
    ['-u', '-b', '100M', '-l', '1400', '--bidir'],
  ];
  for (const [i, flow] of flows.entries()) {
    const port = String(5300 + i);
    const server = right.start(['iperf3', '-s', '-p', port, '--forceflush']);
    await server.waitFor(/listening/i, 5_000);
    const client = ['iperf3', '-c', right.address, '-p', port, '-t', String(SECONDS_MAX)];
    left.start([...client, ...flow]);
  }
  const mac = '02:00:00:00:00:01';
  const addresses = [hosts[0].address, mac, right.address, left.address];
  hosts[1].start([process.execPath, UNFINISHED, ...addresses]);
}

/** Packets that the lane of the first host has sent and written since it began. */
async function packetsOf({ hosts: [host] }: Pair): Promise<number> {
  const { stdout } = await host.run([process.execPath, WEFT, 'status', '--json']);
  const { counters } = JSON.parse(stdout) as { counters: Record<string, number> };
  return counters.outbound_out_packets! + counters.inbound_out_packets!;
}

async function reach(pair: Pair, packets: number): Promise<number> {
  for (let turns = 0; turns < SECONDS_MAX * 2; turns += 1) {
    const now = await packetsOf(pair);
    if (now >= packets) return now;
    await sleep(500);
  }
  throw new Error(`${packets} packets were not reached in ${SECONDS_MAX} s`);
}

async function main(): Promise<number> {
  const machine = describeMachine();
  console.log(machineLine(machine));
  console.log(machine.command);
  const folder = given.planted ? plant() : undefined;
  const lab = await Lab.open();
  try {
    const system = parseSystem(folder === undefined ? 'weft' : `weft@${folder}>weft`);
    // V8 writes into a buffer of the C library's, which stdbuf makes a line long.
    const node = ['stdbuf', '-oL', process.execPath, '--trace-gc', '--trace-deopt'];
    const pair = await openPair(lab, buildPrograms(), system, 'plain', 0, { node });
    const weft = pair.wefts[0]!;
    await traffic(pair);
    const begun = await reach(pair, Number(given['warm-up']));
    const from = weft.output.length;
    const done = await reach(pair, begun + Number(given.packets));
    const output = weft.output;
    const stack = mainStack(fs.readFileSync(`/proc/${weft.pid}/maps`, 'utf8'));
    // `output` keeps the last MiB only.
    if (output.length >= 1 << 20) throw new Error('V8 said more than is kept');
    const { lane, main } = readTrace(output, from, stack);
    const before = readTrace(output.slice(0, from), 0, stack);
    for (const line of [...lane.collections.slice(0, 5), ...lane.deoptimisations.slice(0, 20)]) {
      console.log(`  ${line}`);
    }
    const tell = (name: string, counts: typeof lane, packets: string): void =>
      console.log(
        `${name}: ${counts.collections.length} collections, ${counts.deoptimisations.length} deoptimisations ${packets}`,
      );
    tell('lane, warm-up', before.lane, `in ${begun.toLocaleString('en-US')} packets`);
    tell('main thread, start and warm-up', before.main, 'in the same time');
    tell('lane', lane, `in ${(done - begun).toLocaleString('en-US')} packets`);
    tell('main thread', main, 'in the same time');
    return lane.collections.length + lane.deoptimisations.length === 0 ? 0 : 1;
  } finally {
    await lab.close();
    if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true });
  }
}

const lacks = buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'stdbuf'], tun: true });
if (lacks !== undefined) {
  console.error(lacks);
  process.exit(1);
}
if (!Lab.inside()) process.exit(await enterLab());
process.exit(await main());

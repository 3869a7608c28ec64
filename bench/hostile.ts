/**
 * Goodput beside hostile datagrams: a TCP stream between two containers, alone and beside twenty
 * kinds of datagrams (hostile-kinds.ts) that come to the receiving host from a stranger and from a
 * peer's own address, in turn; weft and the kernel's VXLAN in the same run.
 *
 *   npm run bench -- hostile [--datagrams=1000000] [--rate=20000] [--runs=5] [--out=FOLDER]
 */
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Container } from '../src/lab/container.js';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { GOODPUT_LEAST } from './bars.js';
import { enterBench } from './head.js';
import { hostileKinds } from './hostile-kinds.js';
import { figure } from './plot.js';
import { writeResult } from './result.js';
import { weftStatus } from './rig.js';
import { spread } from './statistics.js';
import { openTrio, TRIO, type Trio } from './trio.js';

const { values: given } = parseArgs({
  options: {
    datagrams: { type: 'string', default: '1000000' },
    rate: { type: 'string', default: '20000' },
    runs: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
});
const [datagrams, rate, runs] = [given.datagrams, given.rate, given.runs].map(Number) as [
  number,
  number,
  number,
];
const seconds = datagrams / rate / runs;
if (!(seconds >= 1)) throw new RangeError('--datagrams / --rate / --runs must be a second or more');

const machine = await enterBench(labLacks({ programs: ['iperf3', 'bridge'], tun: true }));

const SEND = fileURLToPath(new URL('./tools/hostile-send.js', import.meta.url));
const PORT = 8472;
const STRANGER = '192.168.56.66';

const lab = await Lab.open();
const [victim, , bad] = TRIO as [(typeof TRIO)[0], (typeof TRIO)[0], (typeof TRIO)[0]];

const payloads = (to: Container): string => {
  const places = { inner: to.address, own: '10.10.3.7', other: '10.10.2.7', mac: victim.mac };
  return hostileKinds(places)
    .map(([, bytes]) => bytes.toString('hex'))
    .join('\n');
};

/** Gb/s of one run. */
async function stream({ hosts, ends: [to, from] }: Trio, hostile: boolean): Promise<number> {
  const server = to!.start(['iperf3', '-s', '-1', '--forceflush']);
  await server.waitFor(/listening/i, 5_000);
  const half = String(rate / 2);
  const sending = (hostile ? [STRANGER, bad.publicIp] : []).map((address) => {
    const argv = [process.execPath, SEND, address, victim.publicIp, String(PORT), half];
    const options = { input: payloads(to!), timeout: (seconds + 20) * 1000 };
    return hosts[2]!.run([...argv, String(seconds)], options);
  });
  const { stdout } = await from!.run(['iperf3', '-J', '-c', to!.address, '-t', String(seconds)], {
    timeout: (seconds + 20) * 1000,
  });
  for (const { stdout: sent } of await Promise.all(sending)) total += Number(sent);
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e9;
}

let total = 0;
const sides = [await openTrio(lab, 'weft'), await openTrio(lab, 'kernel')];
for (const { hosts } of sides) await hosts[2]!.ip(`address add ${STRANGER}/24 dev ens33`);
const before = await weftStatus(sides[0]!.hosts[0]!);
const ratios: number[] = [];
const rows = new Map<string, number[]>();
for (let run = 0; run < runs; run += 1) {
  for (const side of sides) {
    const quiet = await stream(side, false);
    const beside = await stream(side, true);
    if (side.name === 'weft') ratios.push(beside / quiet);
    for (const [what, value] of [
      ['quiet', quiet],
      ['beside', beside],
    ] as const) {
      const name = `${side.name}, ${what}`;
      rows.set(name, [...(rows.get(name) ?? []), value]);
    }
  }
}
const after = await weftStatus(sides[0]!.hosts[0]!);
await lab.close();

const bars = [...rows].map(([name, values]) => ({ name, ...spread(values) }));
for (const { name, median, min, max } of bars) {
  console.log(`  ${name.padEnd(16)} ${figure(median)} Gb/s (${figure(min)}–${figure(max)})`);
}
const ratio = spread(ratios);
const passed = ratio.median >= GOODPUT_LEAST;
console.log(`${total} hostile datagrams in all, half of them to each; ${rate} a second`);
console.log(
  `weft's drops: ${JSON.stringify(after.drops)} (before: ${JSON.stringify(before.drops)})`,
);
console.log(
  `bar: beside / quiet at least ${GOODPUT_LEAST}: ${ratio.median.toFixed(3)} ` +
    `(${ratio.min.toFixed(3)}–${ratio.max.toFixed(3)}) ${passed ? 'above goal' : 'BELOW'}`,
);
if (given.out !== undefined) {
  const panels = [{ title: 'TCP beside hostile datagrams', unit: 'Gb/s', bars }];
  writeResult(given.out, 'hostile', { machine, bars, ratio, passed, drops: after.drops }, panels);
}

/**
 * Pings to one peer beside a flood of UDP to another, whose way is slow: weft and the kernel's VXLAN
 * in the same run.
 *
 *   npm run bench -- slow-peer [--runs=3] [--out=FOLDER]
 */
import { parseArgs } from 'node:util';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { buildLacks, buildPrograms } from './build-c.js';
import { enterBench } from './head.js';
import { figure } from './plot.js';
import { writeResult } from './result.js';
import { weftStatus } from './rig.js';
import { spread } from './statistics.js';
import { openTrio, TRIO, type Trio } from './trio.js';

/** What the slow way takes (empty: there is no flood), and what is sent by it: datagrams of 1400 bytes a second. */
const RATES = ['', '1mbit', '100mbit'];
const FLOOD = 100_000;
const PINGS = 300;
/** The bar: the 99th percentile to the kernel's. */
const MOST = 3;

const { values: given } = parseArgs({
  options: { runs: { type: 'string', default: '3' }, out: { type: 'string' } },
});

const machine = await enterBench(
  buildLacks() ?? labLacks({ programs: ['ping', 'bridge', 'tc'], tun: true }),
);

const programs = buildPrograms();

const lab = await Lab.open();
const sides = [await openTrio(lab, 'weft'), await openTrio(lab, 'kernel')];

/** Round trips in milliseconds; those that were lost are missing. */
async function run({ hosts, ends }: Trio, rate: string): Promise<number[]> {
  const pings = ['ping', '-c', `${PINGS}`, '-i', '0.015', '-W', '2', ends[1]!.address];
  const ping = async () => {
    const { stdout } = await ends[0]!.run(pings, { mayFail: true });
    return [...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
  };
  if (rate === '') return ping();
  const tc = (text: string) => hosts[0]!.run(['tc', ...text.split(' ')]);
  await tc('qdisc add dev ens33 root handle 1: htb default 10');
  await tc('class add dev ens33 parent 1: classid 1:10 htb rate 10gbit quantum 60000');
  await tc(`class add dev ens33 parent 1: classid 1:20 htb rate ${rate} quantum 60000`);
  const slow = TRIO[2]!.publicIp;
  await tc(`filter add dev ens33 parent 1: protocol ip u32 match ip dst ${slow} flowid 1:20`);
  const flood = ['send', '--host', ends[2]!.address, '--rate', `${FLOOD}`, '--size', '1400'];
  const flooding = ends[0]!.start([programs['udp-flood'], ...flood, '--seconds', '5']);
  const trips = await ping();
  await flooding.exited;
  await tc('qdisc del dev ens33 root');
  return trips;
}

const results = [];
let passed = true;
for (const rate of RATES) {
  const trips = new Map(sides.map(({ name }) => [name, [] as number[]]));
  for (let turn = 0; turn < Number(given.runs); turn += 1) {
    for (const side of sides) trips.get(side.name)!.push(...(await run(side, rate)));
  }
  const flood = `a way of ${rate}, ${FLOOD} datagrams a second sent to it for 5 s`;
  console.log(rate === '' ? 'no flood' : flood);
  const p99 = new Map<string, number>();
  for (const [name, all] of trips) {
    const sorted = [...all].sort((a, b) => a - b);
    const asked = PINGS * Number(given.runs);
    const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
    p99.set(name, at(0.99));
    const line = `p50 ${figure(at(0.5))}, p99 ${figure(at(0.99))}, most ${figure(at(1))} ms`;
    console.log(`  ${name.padEnd(7)} ${sorted.length} of ${asked} pings answered; ${line}`);
    results.push({ rate, name, answered: sorted.length, asked, ...spread(sorted), p99: at(0.99) });
    if (name === 'weft' && sorted.length < asked) passed = false;
  }
  const ratio = p99.get('weft')! / p99.get('kernel')!;
  if (rate !== '' && !(ratio <= MOST)) passed = false;
  console.log(`  p99, weft / kernel: ${ratio.toFixed(2)} (at most ${MOST})`);
}
const { drops } = await weftStatus(sides[0]!.hosts[0]!);
await lab.close();
console.log(`weft's drops: ${JSON.stringify(drops)}`);
console.log(passed ? 'above goal' : 'BELOW');
if (given.out !== undefined) writeResult(given.out, 'slow-peer', { machine, results, drops }, []);

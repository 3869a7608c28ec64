/**
 * Memory of one `weft up` with many peers under load: a full TCP stream to one of them, and
 * datagrams to all the others meanwhile, so that every peer has its socket.
 *
 *   npm run bench -- memory [--peers=100] [--seconds=10] [--out=FOLDER]
 *
 * The others' addresses are the second host's too, where nobody listens at them.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue } from '../src/lab/lease.js';
import { MEMORY_MOST } from './bars.js';
import { buildLacks, buildPrograms } from './build-c.js';
import { enterBench } from './head.js';
import { figure } from './plot.js';
import { writeResult } from './result.js';
import { memoryOf, weftStatus } from './rig.js';
import { spread } from './statistics.js';

const { values: given } = parseArgs({
  options: {
    peers: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '10' },
    out: { type: 'string' },
  },
});
const peers = Number(given.peers);
const seconds = Number(given.seconds);
if (!(peers >= 1 && peers <= 200)) throw new RangeError('--peers is 1 to 200');

const machine = await enterBench(buildLacks() ?? labLacks({ programs: ['iperf3'], tun: true }));

const programs = buildPrograms();

const lab = await Lab.open();
const [near, far] = await lab.wire(
  ['near', 'far'],
  [{ address: '192.168.56.11/16' }, { address: '192.168.56.12/16' }],
);
/** Host n of the overlay; 1 is the one that is measured, 2 carries the stream. */
const host = (n: number) => ({
  publicIp: n === 1 ? '192.168.56.11' : `192.168.56.${n + 10}`,
  subnet: `10.10.${n}.0/24`,
  mac: `02:00:00:00:00:${n.toString(16).padStart(2, '0')}`,
});
const others = Array.from({ length: peers }, (_, i) => host(i + 2));
const subnets = [host(1), ...others].map((one) => [leaseKey(one), JSON.parse(leaseValue(one))]);
const config = { Network: '10.10.0.0/16', SubnetLen: 24, Backend: { Type: 'vxlan' } };
fs.writeFileSync(
  `${lab.shared}/network.json`,
  JSON.stringify({ config, subnets: Object.fromEntries(subnets) }),
);
await far.ip(...others.slice(1).map((one) => `address add ${one.publicIp}/16 dev ens33`));
for (const one of [near, far]) {
  const weft = one.weft('-store-file=/run/shared/network.json', '-iface=ens33');
  await weft.waitFor(/ready/, 20_000);
}
const from = await near.container('from');
const to = await far.container('to');
await from.run(['ping', '-c', '2', '-i', '0.1', '-W', '2', to.address]);

const { pid, peers: known } = await weftStatus(near);
const idle = memoryOf(pid).now;
const server = to.start(['iperf3', '-s', '-1', '--forceflush']);
await server.waitFor(/listening/i, 5_000);
const stream = from.start(['iperf3', '-J', '-c', to.address, '-t', String(seconds)]);
let streaming = true;
void stream.exited.then(() => {
  streaming = false;
});
const samples: number[] = [];
const sampling = (async () => {
  while (streaming) {
    samples.push(memoryOf(pid).now);
    await sleep(250);
  }
})();
for (const { subnet } of others.slice(1)) {
  const flood = [programs['udp-flood'], 'send', '--host', subnet.replace('.0/24', '.2')];
  await from.run([...flood, '--rate', '10000', '--size', '200', '--seconds', '0.02']);
  if (!streaming) break;
}
await sampling;
const after = await weftStatus(near);
const { most } = memoryOf(pid);
const load = spread(samples);
const report = JSON.parse(stream.output.slice(stream.output.indexOf('{')));
const gigabits = report.end.sum_received.bits_per_second / 1e9;
await lab.close();

console.log(`${known.length} peers, a stream of ${gigabits.toFixed(2)} Gb/s for ${seconds} s`);
console.log(`  resident before the load    ${figure(idle)} MB`);
console.log(
  `  resident under load         ${figure(load.median)} MB (${figure(load.min)}–${figure(load.max)})`,
);
console.log(`  most ever (VmHWM)           ${figure(most)} MB`);
console.log(`  dropped                     ${JSON.stringify(after.drops)}`);
const passed = load.max <= MEMORY_MOST;
console.log(`bar: at most ${MEMORY_MOST} MB under load: ${passed ? 'above goal' : 'BELOW'}`);
if (given.out !== undefined) {
  const one = (name: string, value: number) => ({ name, min: value, median: value, max: value });
  const bars = [one('before the load', idle), { name: 'under load', ...load }, one('VmHWM', most)];
  const title = `weft up with ${known.length} peers`;
  writeResult(
    given.out,
    'memory',
    { machine, peers: known.length, gigabits, idle, load, most, passed, drops: after.drops },
    [{ title, unit: 'MB resident', bars }],
  );
}

/**
 * How fast a host joins: from the start of its daemon to its key seen by a host that watches, and
 * to subnet.env written, which is when Docker and CNI may start.
 *
 *   npm run bench -- start [--rounds=10] [--out=FOLDER]
 *
 * Two wefts run; a third is started again and again, its key, subnet.env, saved network and device gone
 * before each start. "Seen" is when the other host's kernel has the route (`ip monitor route`).
 * Beside them what flanneld was recorded to take, measured in the same way.
 */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Running } from '../src/lab/command.js';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { enterBench } from './head.js';
import { writeResult } from './result.js';
import { spread } from './statistics.js';

const PREFIX = '/coreos.com/network';
const SUBNET_FILE = '/run/flannel/subnet.env';
const { values: given } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, out: { type: 'string' } },
});
const rounds = Number(given.rounds);

/**
 * Recorded from flanneld 0.28: ten joins of a third node beside two, vxlan backend, etcd 3.4 on
 * the same machine, 2 processors, kernel 6.18; in milliseconds.
 */
const FLANNELD = {
  startToSeen: { min: 20.7, median: 24.4, max: 28.7 },
  startToSubnetFile: { min: 118.4, median: 126.4, max: 142.2 },
};

const machine = await enterBench(labLacks({ programs: ['etcd'], tun: true }));

const lab = await Lab.open();
const network = await lab.network();
const etcd = await network.etcd();
await etcd.put(`${PREFIX}/config`, '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}}');
const host = async (n: number) => network.host(`host${n}`, { address: `192.168.56.${10 + n}/24` });
const [first, second, joining] = [await host(1), await host(2), await host(3)];
for (const one of [first, second]) {
  await one.weft(`-etcd-endpoints=${etcd.endpoint}`, '-iface=ens33').waitFor(/ready/, 10_000);
}
const monitor = first.start(['ip', '-o', 'monitor', 'route']);
await sleep(500);

const subnetFile = joining.path(SUBNET_FILE);
fs.mkdirSync(path.dirname(subnetFile), { recursive: true });
const startToSeen: number[] = [];
const startToSubnetFile: number[] = [];

/** Milliseconds from now until something was said, or is there; looked at every turn of the loop. */
function after(begun: number, there: () => boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const took = performance.now() - begun;
      if (there()) resolve(took);
      else if (took > 10_000) reject(new Error('not within 10 s'));
      else setImmediate(look);
    };
    look();
  });
}

for (let round = 0; round < rounds; round += 1) {
  const said = monitor.output.length;
  const begun = performance.now();
  const weft: Running = joining.weft(`-etcd-endpoints=${etcd.endpoint}`, '-iface=ens33');
  const [seen, written] = await Promise.all([
    after(begun, () => /^10\.10\./m.test(monitor.output.slice(said))),
    after(begun, () => fs.existsSync(subnetFile)),
  ]);
  startToSeen.push(seen);
  startToSubnetFile.push(written);
  await weft.waitFor(/ready/, 10_000);
  await weft.stop();
  for (const { key, value } of await etcd.list(`${PREFIX}/subnets/`)) {
    if (value.includes('"192.168.56.13"')) await etcd.delete(key);
  }
  fs.rmSync(subnetFile);
  fs.rmSync(joining.path('/run/weft'), { recursive: true });
  await sleep(200);
}

const results = { startToSeen: spread(startToSeen), startToSubnetFile: spread(startToSubnetFile) };
const rows = [
  { name: 'weft: start -> key seen by another', ...results.startToSeen },
  { name: 'flanneld 0.28, recorded', ...FLANNELD.startToSeen },
  { name: 'weft: start -> subnet.env written', ...results.startToSubnetFile },
  { name: 'flanneld 0.28, recorded', ...FLANNELD.startToSubnetFile },
];
console.log(`${rounds} starts, milliseconds                     min  median     max`);
for (const { name, min, median, max } of rows) {
  const cells = [min, median, max].map((ms) => ms.toFixed(1).padStart(8)).join('');
  console.log(`  ${name.padEnd(38)}${cells}`);
}
await lab.close();
if (given.out !== undefined) {
  const told = { machine, unit: 'ms', rounds, results, flanneld: FLANNELD };
  writeResult(given.out, 'start', told, [{ title: 'joining the network', unit: 'ms', bars: rows }]);
}

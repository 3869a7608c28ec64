/**
 * How a host bears a large network: with thousands of leases in etcd, the time from the start to
 * all routes in the kernel, the memory then, and the time until a burst of changes is in the routes.
 *
 *   npm run bench -- leases [--leases=5000] [--burst=1000] [--runs=3] [--out=FOLDER]
 *
 * The burst moves the leases of `--burst` subnets to subnets that were free before: as many routes go
 * as come.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Etcd3 } from 'etcd3';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { enterBench } from './head.js';
import { writeResult } from './result.js';
import { spread } from './statistics.js';

const { values: given } = parseArgs({
  options: {
    leases: { type: 'string', default: '5000' },
    burst: { type: 'string', default: '1000' },
    runs: { type: 'string', default: '3' },
    out: { type: 'string' },
  },
});
const [leases, burst, runs] = [given.leases, given.burst, given.runs].map(Number) as [
  number,
  number,
  number,
];
/** /27 in 10.0.0.0/8, one for each number, from 10.16.0.0 on. */
const MOST = 100_000;
if (!(burst >= 1 && leases >= burst && leases + runs * burst <= MOST)) {
  throw new RangeError('--leases must be at least --burst, and both together at most 100000');
}

const machine = await enterBench(labLacks({ programs: ['etcd'], tun: true }));

const PREFIX = '/coreos.com/network';
const lab = await Lab.open();
const network = await lab.network();
const etcd = await network.etcd();
const subnet = { SubnetLen: 27, SubnetMin: '10.1.0.0', SubnetMax: '10.2.0.0' };
const backend = { Type: 'vxlan' };
const config = { Network: '10.0.0.0/8', ...subnet, Backend: backend };
await etcd.put(`${PREFIX}/config`, JSON.stringify(config));
const host = await network.host('host1', { address: '192.168.56.11/24' });
const client = new Etcd3({ hosts: etcd.endpoint });

const keyOf = (n: number): string => {
  const at = n * 32;
  return `${PREFIX}/subnets/10.${16 + (at >>> 16)}.${(at >>> 8) & 255}.${at & 255}-27`;
};
const leaseValueOf = (n: number): string => {
  const byte = (shift: number) => ((n >>> shift) & 255).toString(16).padStart(2, '0');
  const VtepMAC = `02:00:00:${byte(16)}:${byte(8)}:${byte(0)}`;
  // Neighbours of nobody: public IPs that differ are all that matters.
  const PublicIP = `172.${16 + (n >>> 16)}.${(n >>> 8) & 255}.${n & 255}`;
  const data = { VNI: 1, VtepMAC };
  return JSON.stringify({ PublicIP, PublicIPv6: null, BackendType: 'vxlan', BackendData: data });
};

/** etcd takes 128 operations in one transaction. */
async function putAndDelete(
  put: readonly number[],
  removed: readonly number[] = [],
): Promise<void> {
  const operations = [
    ...removed.map((n) => client.delete().key(keyOf(n))),
    ...put.map((n) => client.put(keyOf(n)).value(leaseValueOf(n))),
  ];
  for (let at = 0; at < operations.length; at += 100) {
    await client
      .if(`${PREFIX}/config`, 'Version', '>', 0)
      .then(...operations.slice(at, at + 100))
      .commit();
  }
}

async function routesReach(wanted: (routes: readonly string[]) => boolean): Promise<number> {
  for (;;) {
    const { stdout } = await host.run(['ip', '-4', 'route', 'show', 'dev', 'flannel.1'], {
      mayFail: true,
    });
    if (wanted(stdout.split('\n'))) return performance.now();
    await sleep(10);
  }
}

function residentMegabytes(pid: number): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) / 1024;
}

const numbers = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
await putAndDelete(numbers(0, leases));
let present = numbers(0, leases);
let next = leases;
const times = {
  startSeconds: [],
  residentMegabytes: [],
  burstSeconds: [],
  afterLastAnswerSeconds: [],
} as Record<string, number[]>;

for (let run = 0; run < runs; run++) {
  const begun = performance.now();
  const weft = host.weft(`-etcd-endpoints=${etcd.endpoint}`, '-iface=ens33');
  const all = await routesReach((routes) => count(routes) >= leases);
  times.startSeconds!.push((all - begun) / 1000);
  times.residentMegabytes!.push(residentMegabytes(weft.pid as number));

  const gone = present.slice(0, burst);
  const fresh = numbers(next, burst);
  next += burst;
  present = [...present.slice(burst), ...fresh];
  const sent = performance.now();
  await putAndDelete(fresh, gone);
  const answered = performance.now();
  const last = routeOf(fresh.at(-1) as number);
  const done = await routesReach((routes) => {
    return count(routes) === leases && routes.some((route) => route.startsWith(last));
  });
  times.burstSeconds!.push((done - sent) / 1000);
  times.afterLastAnswerSeconds!.push((done - answered) / 1000);
  await weft.stop();
}

function count(routes: readonly string[]): number {
  return routes.filter((route) => /^[\d.]+\/27 /.test(route)).length;
}

function routeOf(n: number): string {
  const [, name = ''] = /subnets\/(.*)-27$/.exec(keyOf(n)) ?? [];
  return `${name}/27 `;
}

const spreads = Object.fromEntries(
  Object.entries(times).map(([name, values]) => [name, spread(values)]),
);
console.log(`${leases} leases, ${runs} runs: median (least–most)`);
for (const [name, { median, min, max }] of Object.entries(spreads)) {
  const [shown, least, most] = [median, min, max].map((value) => value.toFixed(2));
  console.log(`  ${name.padEnd(24)} ${shown} (${least}–${most})`);
}
if (given.out !== undefined)
  writeResult(given.out, 'leases', { machine, leases, burst, times }, []);
client.close();
await lab.close();

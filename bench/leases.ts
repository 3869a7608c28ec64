/**
 * How a host bears a large network: thousands of leases in a real etcd, and a burst of changes.
 *
 *   npm run bench -- leases [--leases=5000] [--changes=1000] [--rounds=3] [--out=FOLDER]
 *
 * Printed are the time from the start of weft to the kernel's route to every lease (`ip monitor
 * route`), its resident memory then, and the time from the first write of a burst to its last
 * route: half of it are leases that go, half are new ones, in transactions of 100.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Etcd3 } from 'etcd3';
import type { Running } from '../src/lab/command.js';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue, type Peer } from '../src/lab/lease.js';
import { enterBench } from './head.js';
import { figure } from './plot.js';
import { writeResult } from './result.js';
import { memoryOf, weftStatus } from './rig.js';
import { spread } from './statistics.js';

const PREFIX = '/coreos.com/network';
/** What etcd takes in one transaction at most is 128. */
const TOGETHER = 100;
const PATIENCE_MS = 60_000;

/**
 * Recorded from flanneld 0.28: 5,000 leases, vxlan backend, etcd 3.4 on the same machine, 2
 * processors, kernel 6.18.
 */
const FLANNELD = { startToRoutes: 7_700, resident: 46 };

const { values: given } = parseArgs({
  options: {
    leases: { type: 'string', default: '5000' },
    changes: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '3' },
    out: { type: 'string' },
  },
});
const leases = Number(given.leases);
const changes = Number(given.changes);
const rounds = Number(given.rounds);
if (!(leases >= 1 && leases <= 10_000)) throw new RangeError('--leases is 1 to 10000');
if (!(changes >= 2 && changes % 2 === 0 && changes <= Math.min(2_000, 2 * leases))) {
  throw new RangeError('--changes is an even number, up to 2000 and twice the leases');
}

const machine = await enterBench(labLacks({ programs: ['etcd'], tun: true }));

/** The subnets that the kernel has routes to, as `ip monitor route` tells. */
class Routes {
  readonly #monitor: Running;
  readonly #there = new Set<string>();
  #read = 0;

  constructor(monitor: Running) {
    this.#monitor = monitor;
  }

  has(subnet: string): boolean {
    return this.#there.has(subnet);
  }

  get size(): number {
    return this.#there.size;
  }

  /** Milliseconds from `begun` until what is looked for is so. */
  async until(begun: number, so: () => boolean): Promise<number> {
    for (;;) {
      this.#take();
      const took = performance.now() - begun;
      if (so()) return took;
      if (took > PATIENCE_MS) throw new Error(`not within ${PATIENCE_MS} ms: ${this.size} routes`);
      await sleep(2);
    }
  }

  #take(): void {
    const { output } = this.#monitor;
    const end = output.lastIndexOf('\n') + 1;
    for (const [, deleted, subnet] of output
      .slice(this.#read, end)
      .matchAll(/^(Deleted )?(10\.\d+\.\d+\.0\/24) .*dev flannel\.1/gm)) {
      if (deleted === undefined) this.#there.add(subnet!);
      else this.#there.delete(subnet!);
    }
    this.#read = end;
  }
}

const bytes = (n: number): string =>
  [n >> 8, n & 255].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
const peer = (n: number): Peer => ({
  subnet: `10.${100 + (n >> 8)}.${n & 255}.0/24`,
  publicIp: `192.168.${100 + (n >> 8)}.${n & 255}`,
  mac: `02:00:00:00:${bytes(n)}`,
});
const all = Array.from({ length: leases + changes / 2 }, (_, n) => peer(n));
const [joined, joining] = [all.slice(0, leases), all.slice(leases)];
const leaving = joined.slice(0, changes / 2);

const lab = await Lab.open();
const network = await lab.network();
const etcd = await network.etcd();
// The leases are above the lab's own subnets, so that weft's is none of them.
const config = { Network: '10.0.0.0/8', SubnetMax: '10.99.255.0', Backend: { Type: 'vxlan' } };
await etcd.put(`${PREFIX}/config`, JSON.stringify(config));
const host = await network.host('host1', { address: '192.168.56.11/16' });
const client = new Etcd3({ hosts: etcd.endpoint });
const keyOf = (one: Peer): string => `${PREFIX}/subnets/${leaseKey(one)}`;
const put = (one: Peer) => client.put(keyOf(one)).value(leaseValue(one));
const remove = (one: Peer) => client.delete().key(keyOf(one));

/** Writes in transactions, one after the other. */
async function write(ops: readonly (ReturnType<typeof put> | ReturnType<typeof remove>)[]) {
  for (let i = 0; i < ops.length; i += TOGETHER) {
    await client
      .if('none', 'Version', '==', 0)
      .then(...ops.slice(i, i + TOGETHER))
      .commit();
  }
}

const startToRoutes: number[] = [];
const resident: number[] = [];
const burst: number[] = [];
const burstBack: number[] = [];
for (let round = 0; round < rounds; round += 1) {
  await write([...joined.map(put), ...joining.map(remove)]);
  const monitor = host.start(['ip', '-o', 'monitor', 'route']);
  const routes = new Routes(monitor);
  const begun = performance.now();
  const weft = host.weft(`-etcd-endpoints=${etcd.endpoint}`, '-iface=ens33');
  startToRoutes.push(await routes.until(begun, () => routes.size >= leases));
  await weft.waitFor(/ready/, 10_000);
  await sleep(1_000);
  resident.push(memoryOf((await weftStatus(host)).pid).now);

  const swap = async (into: readonly Peer[], out: readonly Peer[]): Promise<number> => {
    const first = performance.now();
    const written = write([...into.map(put), ...out.map(remove)]);
    const took = await routes.until(
      first,
      () =>
        into.every(({ subnet }) => routes.has(subnet)) &&
        out.every(({ subnet }) => !routes.has(subnet)),
    );
    await written;
    return took;
  };
  burst.push(await swap(joining, leaving));
  await sleep(500);
  burstBack.push(await swap(leaving, joining));
  await weft.stop();
  await monitor.stop();
  await host.run(['ip', 'link', 'delete', 'flannel.1']).catch(() => {});
}
client.close();
await lab.close();

const results = {
  startToRoutes: spread(startToRoutes),
  burst: spread([...burst, ...burstBack]),
  resident: spread(resident),
};
console.log(
  `${leases} leases, bursts of ${changes} changes, ${rounds} starts        min  median     max`,
);
const line = (name: string, { min, median, max }: { min: number; median: number; max: number }) =>
  console.log(
    `  ${name.padEnd(46)}${[min, median, max].map((one) => figure(one).padStart(8)).join('')}`,
  );
line('start -> all routes, ms', results.startToRoutes);
line('burst -> all of it in the routes, ms', results.burst);
line('resident, MB', results.resident);
if (leases === 5_000) {
  console.log(
    `  flanneld 0.28, recorded: all routes ${FLANNELD.startToRoutes} ms, ${FLANNELD.resident} MB`,
  );
}
if (given.out !== undefined) {
  const one = (name: string, value: number) => ({ name, min: value, median: value, max: value });
  const bars = [
    { name: 'weft: start -> all routes', ...results.startToRoutes },
    ...(leases === 5_000 ? [one('flanneld 0.28, recorded', FLANNELD.startToRoutes)] : []),
    { name: `weft: ${changes} changes -> routes`, ...results.burst },
  ];
  writeResult(
    given.out,
    'leases',
    { machine, leases, changes, rounds, results, flanneld: FLANNELD },
    [{ title: `${leases} leases`, unit: 'ms', bars }],
  );
}

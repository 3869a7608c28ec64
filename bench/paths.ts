/**
 * 10 MB by TCP over paths that are smaller than ours, change or are silent: to a kernel peer behind a
 * router and from it, weft and the kernel's VXLAN in the same place.
 *
 *   npm run bench -- paths [--runs=3] [--out=FOLDER]
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { BehindRouter, FAR, PREFIX } from '../src/lab/behind-router.js';
import { run } from '../src/lab/command.js';
import type { Container } from '../src/lab/container.js';
import { labLacks } from '../src/lab/enter.js';
import { TRANSFER } from '../src/lab/transfer.js';
import { enterBench } from './head.js';
import { writeResult } from './result.js';
import { weftStatus } from './rig.js';
import { spread } from './statistics.js';

const BYTES = 10_000_000;
/** The bar: seconds that weft may take more than the kernel. */
const MOST = 1;
/** A transfer that takes longer, in seconds, is given up, and counts as so long. */
const GIVEN_UP = 60;
/** Addresses on lo that stand for weft's and the kernel's host. */
const ON_LO = ['192.168.99.1', '192.168.99.2'] as const;

const { values: given } = parseArgs({
  options: { runs: { type: 'string', default: '3' }, out: { type: 'string' } },
});

const programs = ['etcd', 'ping', 'bridge', 'nft', 'ethtool'];
const machine = await enterBench(labLacks({ programs, tun: true }));

const site = new BehindRouter(await BehindRouter.build());
const { weft, kernel, etcd, peers } = site;
const [behindWeft, behindKernel, behindFar] = site.boxes;

interface Case {
  readonly name: string;
  /** Before the first transfer. */
  begin?(): Promise<unknown>;
  /** Before each. */
  before?(): Promise<unknown>;
  /** Behind the last. */
  end?(): Promise<unknown>;
}

const toFar = `${FAR}/32 via 192.168.56.1`;
const CASES: readonly Case[] = [
  { name: '1500 all the way', begin: () => known(1500) },
  {
    name: 'a route of MTU 1400',
    begin: async () => {
      for (const host of [weft, kernel]) await host.ip(`route add ${toFar} mtu 1400`);
      await known(1400);
    },
    end: async () => {
      for (const host of [weft, kernel]) await host.ip(`route del ${FAR}/32`);
      await known(1500);
    },
  },
  { name: "the router's link takes 1400", begin: () => link(1400) },
  {
    name: 'the path just grew to 1500',
    before: async () => {
      await link(1400);
      await BehindRouter.setLink(1500);
    },
    end: () => link(1500),
  },
  {
    name: 'the path just shrank to 1400',
    before: async () => {
      await link(1500);
      await BehindRouter.setLink(1400);
    },
    end: () => link(1500),
  },
  {
    name: '1407, and no "fragmentation needed"',
    begin: async () => {
      await BehindRouter.filter('destination-unreachable');
      await link(1407);
    },
    end: async () => {
      await BehindRouter.noFilter();
      await link(1500);
    },
  },
  {
    name: '1400, and no ICMP at all',
    begin: async () => {
      await BehindRouter.filter('{ echo-request, echo-reply, destination-unreachable }');
      await BehindRouter.setLink(1400);
      await restart();
      await until(async () => (await pathMtu())?.problem !== '');
    },
    end: async () => {
      await BehindRouter.noFilter();
      await link(1500);
    },
  },
  { name: "the tunnel's end on lo", begin: moveToLo },
  { name: "on lo, the router's link takes 1400", begin: () => link(1400) },
];

async function pathMtu() {
  const { peers: all } = await weftStatus(weft);
  return all.find(({ publicIp }) => publicIp === FAR)?.pathMtu;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + 30_000; !(await holds()); ) {
    if (performance.now() > deadline) throw new Error(`path: ${JSON.stringify(await pathMtu())}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until weft has measured so much. */
async function known(mtu: number): Promise<void> {
  site.remeasure();
  await until(async () => {
    const path = await pathMtu();
    return path?.mtu === mtu && !path.checking;
  });
}

async function link(mtu: number): Promise<void> {
  await BehindRouter.setLink(mtu);
  await known(mtu);
}

async function restart(...flags: string[]): Promise<void> {
  await site.running.stop();
  await site.startWeft([], flags);
}

/** Both hosts' VTEPs move to addresses on lo, to which routes lead. */
async function moveToLo(): Promise<void> {
  for (const [i, host] of [weft, kernel].entries()) {
    await host.ip(`address add ${ON_LO[i]}/32 dev lo`);
    await run(['ip', 'route', 'add', `${ON_LO[i]}/32`, 'via', host.address]);
  }
  // For the store it is another host then: the subnet is free for it, as subnet.env has it.
  const own = (await etcd.peers(PREFIX)).find(({ publicIp }) => publicIp === weft.address)!;
  await site.running.stop();
  for (const { key } of await etcd.list(`${PREFIX}/subnets/`)) {
    if (key.endsWith(own.subnet.replace('/', '-'))) await etcd.delete(key);
  }
  await site.startWeft([], [`-public-ip=${ON_LO[0]}`]);
  await kernel.ip(`link del ${peers[0].device}`);
  const moved = await kernel.kernelPeer({ subnet: peers[0].subnet, publicIp: ON_LO[1] });
  await moved.addPeer(peers[1]);
  await etcd.register(PREFIX, moved);
  for (const other of await etcd.peers(PREFIX)) {
    if (other.publicIp !== FAR) await peers[1].addPeer(other);
  }
  await until(async () => (await pathMtu())?.mtu === 1500);
}

/** Seconds. */
async function transfer(from: Container, to: Container): Promise<number> {
  await site.forgetPaths();
  const receiver = to.start([process.execPath, TRANSFER, 'receive', '40000']);
  await receiver.waitFor(/listening/, 5_000);
  const begun = performance.now();
  const argv = [process.execPath, TRANSFER, 'send', to.address, '40000', String(BYTES)];
  try {
    const { stdout } = await from.run(argv, { timeout: GIVEN_UP * 1000 });
    const took = (performance.now() - begun) / 1000;
    const [arrived] = await receiver.waitFor(/^\{.*\}$/m, 5_000);
    if (arrived !== stdout.trim()) throw new Error(`sent ${stdout}, arrived ${arrived}`);
    return took;
  } catch (error) {
    if (!/was not done after/.test(String(error))) throw error;
    return GIVEN_UP;
  } finally {
    await receiver.stop();
  }
}

const seconds = (value: number) => `${value.toFixed(2).padStart(6)}${value < GIVEN_UP ? ' ' : '+'}`;
const results = [];
let passed = true;
console.log(`seconds for 10 MB, medians of ${given.runs}; the bar: under ${MOST} s more`);
console.log(`${''.padEnd(51)}kernel    weft  difference`);
for (const { name, begin, before, end } of CASES) {
  await begin?.();
  for (const way of ['to', 'from'] as const) {
    const took = { kernel: [] as number[], weft: [] as number[] };
    for (let turn = 0; turn < Number(given.runs); turn += 1) {
      for (const [side, box] of [
        ['kernel', behindKernel],
        ['weft', behindWeft],
      ] as const) {
        await before?.();
        const [from, to] = way === 'to' ? [box, behindFar] : [behindFar, box];
        took[side].push(await transfer(from, to));
      }
    }
    const [of, ours] = [spread(took.kernel), spread(took.weft)];
    const more = ours.median - of.median;
    const isGood = more < MOST && ours.median < GIVEN_UP;
    passed &&= isGood;
    const sign = more < 0 ? '' : '+';
    const row = `${name}, ${way} the peer`.padEnd(51);
    const line = `${row}${seconds(of.median)}${seconds(ours.median)}  ${sign}${more.toFixed(2)}`;
    console.log(`${line} ${isGood ? 'above goal' : 'BELOW'}`);
    results.push({ name, way, kernel: of, weft: ours, more });
  }
  await end?.();
}
const { drops } = await weftStatus(weft);
await site.lab.close();
console.log(`weft's drops: ${JSON.stringify(drops)}`);
console.log(passed ? 'above goal' : 'BELOW');
if (given.out !== undefined) {
  writeResult(given.out, 'paths', { machine, unit: 's', bytes: BYTES, results, drops }, []);
}

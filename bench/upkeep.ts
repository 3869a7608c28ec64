/**
 * What it costs to look after a host while nothing happens to the overlay: the share of one
 * processor that weft and the programs it starts take, and how long a new peer's route takes then.
 *
 *   npm run bench -- upkeep [--routes=262144] [--changes=10000] [--rules=30000] [--seconds=30] [--out=FOLDER]
 *
 * On a quiet host, one with `--routes` routes of a BGP daemon, that daemon changing `--changes` of
 * them a second, `--rules` rules in the nat table, and all of it.
 */
import fs from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Etcd3 } from 'etcd3';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue } from '../src/lab/lease.js';
import { enterBench } from './head.js';
import { writeResult } from './result.js';
import { spread } from './statistics.js';

const { values: given } = parseArgs({
  options: {
    routes: { type: 'string', default: '262144' },
    changes: { type: 'string', default: '10000' },
    rules: { type: 'string', default: '30000' },
    seconds: { type: 'string', default: '30' },
    out: { type: 'string' },
  },
});
const [routes, changes, rules, seconds] = [
  given.routes,
  given.changes,
  given.rules,
  given.seconds,
].map(Number) as [number, number, number, number];
/** /30 in 20.0.0.0/8. */
const MOST = 2 ** 22;
if (!(routes >= 0 && routes <= MOST && changes >= 100 && rules >= 0 && seconds >= 1)) {
  throw new RangeError(`--routes is up to ${MOST}, --changes at least 100, --seconds at least 1`);
}
/** Until a look that costs much is known for it. */
const SETTLE_MS = 25_000;
const PEERS = 5;
const PREFIX = '/coreos.com/network';
/** Of the times in /proc/PID/stat, on every Linux. */
const TICKS_A_SECOND = 100;

const machine = await enterBench(labLacks({ programs: ['etcd', 'iptables'], tun: true }));

const lab = await Lab.open();
const network = await lab.network();
const etcd = await network.etcd();
const config = { Network: '10.10.0.0/16', Backend: { Type: 'vxlan' } };
await etcd.put(`${PREFIX}/config`, JSON.stringify(config));
const host = await network.host('host1', { address: '192.168.56.11/24' });
const client = new Etcd3({ hosts: etcd.endpoint });

/** Processor seconds that a process and its children took, those that have ended among them. */
function processorSeconds(pid: number): number {
  const times = (one: number | string): number[] => {
    const stat = fs.readFileSync(`/proc/${one}/stat`, 'utf8');
    // Behind the name: utime, stime, cutime, cstime are the fields 14 to 17.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields.slice(11, 15).map(Number);
  };
  const threads = fs.readdirSync(`/proc/${pid}/task`);
  const children = threads.flatMap((thread) => {
    const text = fs.readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8');
    return text.split(' ').filter((word) => word !== '');
  });
  const all = [...times(pid), ...children.flatMap(times)];
  return all.reduce((sum, ticks) => sum + ticks, 0) / TICKS_A_SECOND;
}

async function share(pid: number): Promise<number> {
  await sleep(SETTLE_MS);
  const [before, begun] = [processorSeconds(pid), performance.now()];
  await sleep(1_000 * seconds);
  const [after, ended] = [processorSeconds(pid), performance.now()];
  return (100 * (after - before)) / ((ended - begun) / 1_000);
}

/** Milliseconds from a peer's key in etcd to its route in the kernel. */
async function newPeers(): Promise<number[]> {
  const taken: number[] = [];
  for (let n = 0; n < PEERS; n += 1) {
    const subnet = `10.10.${200 + n}.0/24`;
    const one = { subnet, publicIp: `192.168.56.${200 + n}`, mac: '02:00:00:00:00:99' };
    const key = `${PREFIX}/subnets/${leaseKey(one)}`;
    const begun = performance.now();
    await client.put(key).value(leaseValue(one));
    const listing = ['ip', 'route', 'show', 'table', 'main', 'dev', 'flannel.1'];
    while (!(await host.run(listing)).stdout.includes(subnet)) await sleep(5);
    taken.push(performance.now() - begun);
    await client.delete().key(key);
    await sleep(500);
  }
  return taken;
}

const routeOf = (n: number): string =>
  `20.${(n >>> 14) & 255}.${(n >>> 6) & 255}.${(n & 63) * 4}/30 dev ens33 proto 186`;

async function fillRoutes(): Promise<void> {
  const lines = Array.from({ length: routes }, (_, n) => `route add ${routeOf(n)}\n`);
  await host.run(['ip', '-batch', '-'], { input: lines.join(''), timeout: 120_000 });
}

async function emptyRoutes(): Promise<void> {
  await host.run(['ip', 'route', 'flush', 'proto', '186'], { timeout: 120_000 });
}

/** Adds and removes routes beside those, a hundredth of a second's share at a time. */
function churn() {
  const pairs = Array.from({ length: Math.ceil(changes / 200) }, (_, n) => {
    const route = `21.0.${n >>> 8}.${n & 255}/32 dev ens33 proto 186`;
    return `route add ${route}\nroute del ${route}\n`;
  });
  const program =
    'const ip = require("child_process").spawn("ip", ["-batch", "-"], { stdio: ["pipe", 1, 2] });' +
    `setInterval(() => ip.stdin.write(${JSON.stringify(pairs.join(''))}), 10);`;
  return host.start([process.execPath, '-e', program]);
}

async function fillRules(): Promise<void> {
  const lines = Array.from({ length: rules }, (_, n) => {
    return `-A OTHERS -d 20.1.${n >>> 8}.${n & 255}/32 -p tcp -m tcp --dport 80 -j RETURN\n`;
  });
  const input = `*nat\n:OTHERS - [0:0]\n-A OUTPUT -j OTHERS\n${lines.join('')}COMMIT\n`;
  await host.run(['iptables-restore', '--noflush'], { input, timeout: 120_000 });
}

async function emptyRules(): Promise<void> {
  const input = '*nat\n-F OTHERS\n-D OUTPUT -j OTHERS\n-X OTHERS\nCOMMIT\n';
  await host.run(['iptables-restore', '--noflush'], { input, timeout: 120_000 });
}

const results: Record<string, { share: number; route: ReturnType<typeof spread> }> = {};
async function measure(title: string, pid: number): Promise<void> {
  const result = { share: await share(pid), route: spread(await newPeers()) };
  results[title] = result;
  const { median, min, max } = result.route;
  const milliseconds = `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})`;
  console.log(`  ${title.padEnd(40)} ${result.share.toFixed(2).padStart(6)} %   ${milliseconds}`);
}

const weft = host.weft(`-etcd-endpoints=${etcd.endpoint}`, '-iface=ens33', '-ip-masq');
await weft.waitFor(/ready: flannel/, 20_000);
const pid = weft.pid as number;
console.log(
  `of one processor over ${seconds} s, and ms to a new peer's route (least–most of ${PEERS})`,
);
await measure('quiet host', pid);
await fillRules();
await measure(`${rules} nat rules`, pid);
await emptyRules();
await fillRoutes();
await measure(`${routes} routes`, pid);
const daemon = churn();
await measure(`${routes} routes, ${changes} changes a second`, pid);
await fillRules();
await measure('routes, changes and rules', pid);
await daemon.stop();
await emptyRoutes();

if (given.out !== undefined) {
  const bars = Object.entries(results).map(([name, one]) => ({
    name,
    median: one.share,
    min: one.share,
    max: one.share,
  }));
  writeResult(given.out, 'upkeep', { machine, routes, changes, rules, seconds, results }, [
    { title: 'upkeep', unit: '% of a processor', bars },
  ]);
}
await weft.stop();
client.close();
await lab.close();

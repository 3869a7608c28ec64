/**
 * Collections and deoptimisations of a lane under traffic, in a real `weft up`: expected are none.
 *
 *   npm run bench -- quiet-lane [--packets=10000000] [--warm-up=3000000] [--planted] [--out=FOLDER]
 *
 * V8 traces them itself, since no observer sees a lane's: collections with the isolate they
 * belong to, deoptimisations into a file an isolate. The young generation is held at 1 MB, so
 * that a few bytes every hundred packets would show. `--planted` makes an object at each lookup
 * (in a copy of dist), to show that the program sees what it should.
 *
 * Traffic: a TCP stream each way, request/response over 8 connections, datagrams each way, and
 * packets with unfinished checksums: a path that is met for the first time after the code around
 * it was compiled costs one deoptimisation, so all of them are met while warming up.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Container } from '../src/lab/container.js';
import { labLacks } from '../src/lab/enter.js';
import type { Host } from '../src/lab/host.js';
import { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue } from '../src/lab/lease.js';
import { buildLacks, buildPrograms, type Programs } from './build-c.js';
import { needLab } from './head.js';
import { describeMachine, machineLine } from './machine.js';
import { writeResult } from './result.js';
import { weftStatus } from './rig.js';
import { collectionsByIsolate, deoptimisations } from './v8-traces.js';

const { values: given } = parseArgs({
  options: {
    packets: { type: 'string', default: '10000000' },
    'warm-up': { type: 'string', default: '3000000' },
    planted: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const packets = Number(given.packets);
const warmUp = Number(given['warm-up']);

const UNFINISHED = fileURLToPath(new URL('./tools/unfinished.js', import.meta.url));
/** Of the weft that is watched. */
const MAC = '02:00:00:00:00:01';
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const STAYS = ['--import', 'data:text/javascript,process.chdir=()=>{}'];
const FLAGS = [
  ...['--trace-gc', '--max-semi-space-size=1'],
  ...['--trace-deopt', '--redirect-code-traces'],
];

/** A copy of the build in which each lookup leaves an object behind; its folder. */
function plant(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-planted-'));
  fs.cpSync(path.join(ROOT, 'dist/src'), path.join(folder, 'dist/src'), { recursive: true });
  for (const name of ['node_modules', 'native', 'package.json']) {
    fs.symlinkSync(path.join(ROOT, name), path.join(folder, name));
  }
  const file = path.join(folder, 'dist/src/dataplane/routes/reader.js');
  const text = fs.readFileSync(file, 'utf8');
  const planted = text.replace(
    /^ {4}((?:lookup|peerByAddress)\((\w+)\)) \{$/gm,
    '    $1 {\n        globalThis.planted = { value: $2 };',
  );
  if (planted.split('globalThis.planted').length !== 3) throw new Error(`cannot plant in ${file}`);
  fs.writeFileSync(file, planted);
  return folder;
}

async function moved(host: Host): Promise<number> {
  const { counters } = await weftStatus(host);
  return counters.outbound_in_packets + counters.inbound_in_packets;
}

/** Carries traffic until the weft on `host` has moved so many packets more; how many it did. */
async function carry(
  host: Host,
  peer: Host,
  from: Container,
  to: Container,
  programs: Programs,
  count: number,
): Promise<number> {
  const before = await moved(host);
  const server = to.start(['iperf3', '-s', '-1', '--forceflush']);
  const answers = to.start([programs['request-response'], 'server']);
  await Promise.all([server.waitFor(/listening/i, 5_000), answers.waitFor(/listening/, 5_000)]);
  const stream = from.start(['iperf3', '-c', to.address, '--bidir', '-t', '120']);
  const ask = from.start([
    ...[programs['request-response'], 'client', '--host', to.address],
    ...['--connections', '8', '--seconds', '120'],
  ]);
  const flood = (source: Container, target: Container) =>
    source.start([
      ...[programs['udp-flood'], 'send', '--host', target.address],
      ...['--rate', '10000', '--size', '200', '--seconds', '120'],
    ]);
  const addresses = [host.address, MAC, to.address, from.address];
  const beside = [
    flood(from, to),
    flood(to, from),
    peer.start([process.execPath, UNFINISHED, ...addresses]),
  ];
  let done = 0;
  while (done < count && stream.code === undefined) {
    await sleep(500);
    done = (await moved(host)) - before;
  }
  const all = [stream, ask, server, answers, ...beside];
  for (const one of all) one.kill('SIGKILL');
  await Promise.all(all.map((one) => one.exited));
  if (done < count) throw new Error(`only ${done} of ${count} packets in the time there was`);
  await sleep(500);
  return (await moved(host)) - before;
}

async function main(): Promise<void> {
  const machine = describeMachine();
  console.log(machineLine(machine));
  console.log(machine.command);
  const programs = buildPrograms();
  const build = given.planted ? plant() : ROOT;
  const lab = await Lab.open();
  const [near, far] = await lab.wire(
    ['near', 'far'],
    [
      { address: '192.168.56.11/24', offloads: false },
      { address: '192.168.56.12/24', offloads: false },
    ],
  );
  const both = [1, 2].map((n) => ({
    publicIp: `192.168.56.1${n}`,
    subnet: `10.10.${n}.0/24`,
    mac: `02:00:00:00:00:0${n}`,
  }));
  const subnets = Object.fromEntries(
    both.map((one) => [leaseKey(one), JSON.parse(leaseValue(one))]),
  );
  const config = { Network: '10.10.0.0/16', SubnetLen: 24, Backend: { Type: 'vxlan' } };
  fs.writeFileSync(`${lab.shared}/network.json`, JSON.stringify({ config, subnets }));
  const flags = ['-store-file=/run/shared/network.json', '-iface=ens33'];
  await far.weft(...flags).waitFor(/ready/, 10_000);
  // Line by line, so that a line's place tells its time; in a folder where V8's files may stand, and
  // stays there: weft itself goes to /.
  const weft = near.start([
    ...['stdbuf', '-oL', 'env', '-C', '/run/shared', process.execPath, ...FLAGS, ...STAYS],
    ...[path.join(build, 'dist/src/cli/weft.js'), 'up', ...flags],
  ]);
  await weft.waitFor(/ready/, 10_000);
  const from = await near.container('from');
  const to = await far.container('to');

  /** Of the lane's isolate alone: the main thread's is the first one that says anything. */
  const counts = () => {
    const [, ...lanes] = collectionsByIsolate(weft.output).values();
    const files = fs.readdirSync(lab.shared).filter((name) => /^code-.*\.asm$/.test(name));
    const deopts = files
      .filter((name) => !/^code-\d+-0\.asm$/.test(name))
      .flatMap((name) => deoptimisations(fs.readFileSync(path.join(lab.shared, name), 'utf8')));
    return { collections: lanes.flat(), deopts };
  };

  const warmed = await carry(near, far, from, to, programs, warmUp);
  const before = counts();
  const carried = await carry(near, far, from, to, programs, packets);
  const after = counts();
  const status = await weftStatus(near);
  await lab.close();
  if (given.planted) fs.rmSync(build, { recursive: true });

  const collections = after.collections.slice(before.collections.length);
  const deopts = after.deopts.slice(before.deopts.length);
  const say = (what: string, n: number, warm: number): void =>
    console.log(`  ${what.padEnd(18)} ${String(n).padStart(6)}   (${warm} while warming up)`);
  console.log(
    `lane, ${carried} packets after ${warmed} of warming up, tier ${status.offload.tier}:`,
  );
  say('collections', collections.length, before.collections.length);
  say('deoptimisations', deopts.length, before.deopts.length);
  for (const line of [...collections, ...deopts].slice(0, 20)) console.log(`    ${line}`);
  if (given.out !== undefined) {
    const options = { ...given, packets, warmUp };
    const result = { machine, options, carried, warmed, collections, deopts };
    writeResult(given.out, given.planted ? 'quiet-lane-planted' : 'quiet-lane', result, []);
  }
  const quiet = collections.length === 0 && deopts.length === 0;
  if (quiet === given.planted) process.exitCode = 1;
}

const lacks = buildLacks() ?? labLacks({ programs: ['iperf3', 'ethtool', 'stdbuf'], tun: true });
await needLab(lacks);
await main();

/**
 * How fast a host follows the network: from the commit of a peer's key in etcd to the first
 * packet that reaches that peer (the lanes' table and the kernel's route are both needed), and
 * to the kernel's route gone after the key was deleted.
 *
 *   npm run bench -- join [--rounds=50] [--out=FOLDER]
 *
 * A program in host1 sends a packet into the overlay every 0.1 ms; one in host2 listens where
 * the peer's VTEP would. "Put sent" and "put answered" are taken in this process; the commit
 * lies between the two.
 */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Etcd3 } from 'etcd3';
import { labLacks } from '../src/lab/enter.js';
import { Lab } from '../src/lab/lab.js';
import { enterBench } from './head.js';
import { writeResult } from './result.js';
import { spread } from './statistics.js';

const PREFIX = '/coreos.com/network';
const KEY = `${PREFIX}/subnets/10.10.220.0-24`;
const VALUE =
  '{"PublicIP":"192.168.56.12","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}}';
const TOOL = fileURLToPath(new URL('./tools/first-packet.js', import.meta.url));
const { values: given } = parseArgs({
  options: { rounds: { type: 'string', default: '50' }, out: { type: 'string' } },
});
const rounds = Number(given.rounds);

const machine = await enterBench(labLacks({ programs: ['etcd'], tun: true }));

const milliseconds = (from: bigint, to: bigint): number => Number(to - from) / 1e6;

const lab = await Lab.open();
const network = await lab.network();
const etcd = await network.etcd();
await etcd.put(`${PREFIX}/config`, '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}}');
const host1 = await network.host('host1', { address: '192.168.56.11/24' });
const host2 = await network.host('host2', { address: '192.168.56.12/24' });
const weft = host1.weft(`-etcd-endpoints=${etcd.endpoint}`, '-iface=ens33');
await weft.waitFor(/ready/, 10_000);
const listener = host2.start([process.execPath, TOOL, 'listen', '192.168.56.12']);
await listener.waitFor(/listening/, 5_000);
host1.start([process.execPath, TOOL, 'send', '10.10.220.2']);
const monitor = host1.start(['ip', '-o', 'monitor', 'route']);
const client = new Etcd3({ hosts: etcd.endpoint });
await client.get('warm');
await sleep(500);

const times = {
  sentToPacket: [],
  answeredToPacket: [],
  sentToGone: [],
  answeredToGone: [],
} as Record<string, number[]>;
const count = (text: string, what: RegExp): number => text.match(what)?.length ?? 0;

for (let round = 0; round < rounds; round += 1) {
  const firsts = count(listener.output, /first \d+/g);
  const sent = process.hrtime.bigint();
  await client.put(KEY).value(VALUE);
  const answered = process.hrtime.bigint();
  while (count(listener.output, /first \d+/g) === firsts) await sleep(1);
  const packet = BigInt(/.*first (\d+)/s.exec(listener.output)![1]!);
  times.sentToPacket!.push(milliseconds(sent, packet));
  times.answeredToPacket!.push(milliseconds(answered, packet));
  await sleep(30 + Math.random() * 20);

  const gone = new Promise<bigint>((resolve) => {
    const before = count(monitor.output, /Deleted 10\.10\.220\.0/g);
    const look = (): void => {
      if (count(monitor.output, /Deleted 10\.10\.220\.0/g) > before)
        resolve(process.hrtime.bigint());
      else setImmediate(look);
    };
    look();
  });
  const deleteSent = process.hrtime.bigint();
  await client.delete().key(KEY);
  const deleteAnswered = process.hrtime.bigint();
  const goneAt = await gone;
  times.sentToGone!.push(milliseconds(deleteSent, goneAt));
  times.answeredToGone!.push(milliseconds(deleteAnswered, goneAt));
  await sleep(60 + Math.random() * 20);
}
client.close();

const results = Object.fromEntries(
  Object.entries(times).map(([name, values]) => [name, spread(values)]),
);
const ROWS: readonly [string, string][] = [
  ['sentToPacket', 'put sent -> first packet there'],
  ['answeredToPacket', 'put answered -> first packet'],
  ['sentToGone', 'delete sent -> route gone'],
  ['answeredToGone', 'delete answered -> route gone'],
];
console.log(`${rounds} rounds, milliseconds             min  median     p95     max`);
for (const [name, title] of ROWS) {
  const { min, median, p95, max } = results[name]!;
  const cells = [min, median, p95, max].map((value) => value.toFixed(2).padStart(8)).join('');
  console.log(`  ${title.padEnd(32)}${cells}`);
}
await lab.close();
if (given.out !== undefined) {
  // Only what begins before the commit is never below 0.
  const bars = ROWS.filter(([name]) => name.startsWith('sent')).map(([name, title]) => ({
    name: title,
    ...results[name]!,
  }));
  writeResult(given.out, 'join', { machine, unit: 'ms', rounds, results }, [
    { title: 'following the network', unit: 'ms', bars },
  ]);
}

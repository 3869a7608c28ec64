/**
 * What the data plane's own code costs, in nanoseconds a packet, without any system call.
 *
 *   node dist/bench/micro.js [--rounds=15] [--only=lookup] [--out=FOLDER]
 *
 * Twice: by a plain loop in rounds, all subjects in turn, of which the median and the spread are
 * told, and by the npm package `benchmark`, since a harness can be fooled by an optimizer. Every
 * result is consumed: lookups and sums into a total that is printed, batches through the lane's
 * own counters. A lookup is small enough for the loop around it to count: the same loop without
 * the lookup stands beside it (`empty loop`), and what is left without it as `net`.
 */
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { Counter, Counters } from '../src/dataplane/forward/counters.js';
import { Lane } from '../src/dataplane/forward/lane.js';
import type { Device, Underlay } from '../src/dataplane/io/device.js';
import {
  ADDRESS_SIZE,
  DATAGRAM_ROW,
  ENCAPSULATION,
  INBOUND_HEADROOM,
  LAYOUT,
  LaneMemory,
  OUTBOUND_HEADROOM,
  PACKET_ROW,
} from '../src/dataplane/io/memory.js';
import * as socketAddress from '../src/dataplane/io/socket-address.js';
import { FIRST_PEER } from '../src/dataplane/routes/peer.js';
import { Publisher } from '../src/dataplane/routes/publisher.js';
import { RouteReader } from '../src/dataplane/routes/reader.js';
import * as checksum from '../src/dataplane/wire/checksum.js';
import { createSimdSummer } from '../src/dataplane/wire/checksum-simd.js';
import * as ipv4 from '../src/dataplane/wire/ipv4.js';
import * as tcp from '../src/dataplane/wire/tcp.js';
import * as vnet from '../src/dataplane/wire/vnet.js';
import { describeMachine, machineLine } from './machine.js';
import { plotBars } from './plot.js';
import { type Spread, spread } from './statistics.js';

const { values: given } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    only: { type: 'string', default: '' },
    out: { type: 'string' },
  },
});

const OWN_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const PEER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const PEER = ipv4.parseAddress('192.168.56.12')!;
const LOCAL = ipv4.parseAddress('10.10.1.2')!;
const REMOTE = ipv4.parseAddress('10.10.2.2')!;
const MSS = 1398;
const HEADERS = 20 + 32;

/** One thing measured: `run` handles `packets` of them. */
interface Subject {
  readonly name: string;
  readonly packets: number;
  /** The most it may cost, where the project has set itself a bar, ns. */
  readonly bar?: number;
  run(): void;
}

let total = 0;

/** Random and the same in every run (Marsaglia's xorshift), 0 to 2^32 - 1. */
let state = 0x9e3779b9;
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

/** Random destinations within the first `subnets` /24s from 11.0.0.0 on. */
function destinations(subnets: number): Int32Array {
  return Int32Array.from(
    { length: 1 << 16 },
    () => (0x0b000000 + (random() % (subnets * 256))) | 0,
  );
}

/** What the loop around a lookup costs: the address read, and a sum. */
function emptyLoop(): Subject {
  const addresses = destinations(10_000);
  return {
    name: 'empty loop',
    packets: addresses.length,
    run() {
      let sum = 0;
      for (let i = 0; i < addresses.length; i += 1) sum = (sum + addresses[i]!) | 0;
      total += sum;
    },
  };
}

/** Over /24s side by side; `scattered`: over prefixes of 20 to 28 bits anywhere in their space. */
function lookups(routes: number, bar?: number, scattered = false): Subject {
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, lanes: 1 });
  const list = Array.from({ length: routes }, (_, i) => {
    const length = scattered ? 20 + (random() % 9) : 24;
    const network = (0x0b000000 + ((scattered ? random() % routes : i) << 8)) | 0;
    const peer = { address: PEER + (i % 200), port: 8472, mac: PEER_MAC };
    return { network: network & (-1 << (32 - length)), length, peer };
  });
  publisher.publish(list, []);
  const reader = new RouteReader(publisher.handle, 0, () => undefined);
  const addresses = destinations(routes);
  if (!scattered && addresses.some((address) => reader.lookup(address) < FIRST_PEER)) {
    throw new Error('a destination has no route');
  }
  return {
    name: `lookup, ${routes.toLocaleString('en-US')} routes${scattered ? ' of /20 to /28' : ''}`,
    packets: addresses.length,
    ...(bar === undefined ? {} : { bar }),
    run() {
      let sum = 0;
      for (let i = 0; i < addresses.length; i += 1) sum = (sum + reader.lookup(addresses[i]!)) | 0;
      total += sum;
    },
  };
}

function sums(): Subject[] {
  const memory = new LaneMemory();
  for (let i = 0; i < 70_000; i += 1) memory.bytes[LAYOUT.inbound + i] = i * 7;
  const over = (name: string, sum: (at: number, length: number) => number): Subject => ({
    name: `checksum of ${MSS} bytes, ${name}`,
    packets: 40,
    run() {
      for (let i = 0; i < 40; i += 1) total += sum(LAYOUT.inbound + i * 1472, MSS);
    },
  });
  const simd = createSimdSummer(memory.memory);
  return [
    over('byte pairs', (at, length) => checksum.sum(memory.bytes, at, length)),
    over('typed arrays', checksum.createSummer(memory.memory.buffer)),
    ...(simd === undefined ? [] : [over('WASM SIMD', simd)]),
  ];
}

/** A TCP packet with a timestamp option, sums finished. */
function tcpPacket(source: number, destination: number, payload: number): Uint8Array {
  const bytes = new Uint8Array(HEADERS + payload).map((_, i) => i * 7);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 63, 6, 0, 0]);
  ipv4.setTotalLength(bytes, 0, bytes.length);
  new DataView(bytes.buffer).setInt32(12, source);
  new DataView(bytes.buffer).setInt32(16, destination);
  ipv4.seal(bytes, 0);
  bytes[32] = 0x80;
  tcp.setFlags(bytes, 20, tcp.ACK);
  tcp.setSum(bytes, 20, 0);
  const pseudo = checksum.pseudo(source, destination, 6, bytes.length - 20);
  const sum = checksum.add(pseudo, checksum.sum(bytes, 20, bytes.length - 20));
  tcp.setSum(bytes, 20, checksum.complement(sum));
  return bytes;
}

/** A lane whose device and underlay give the same batch again and swallow what comes. */
function laneOver(
  fill: (memory: LaneMemory) => { packets?: Device['read']; datagrams?: () => number },
): { lane: Lane; counters: Counters } {
  const memory = new LaneMemory();
  const { packets = () => 0, datagrams = () => 0 } = fill(memory);
  const device: Device = {
    read: packets,
    write: (_from, rows) => rows,
    lastError: () => 0,
  };
  const underlay: Underlay = {
    sender: 0,
    socketTo: () => -1,
    receive: datagrams,
    send: (_from, rows) => rows,
    lastError: () => 0,
  };
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, lanes: 1 });
  publisher.publish(
    [{ network: REMOTE & ~255, length: 24, peer: { address: PEER, port: 8472, mac: PEER_MAC } }],
    [{ network: LOCAL & ~255, length: 24 }],
  );
  const counters = new Counters();
  const options = { vni: 1, mac: OWN_MAC, mtu: 1450, uso: true, segments: true, vnet: true };
  const reader = new RouteReader(publisher.handle, 0, () => undefined);
  return { lane: new Lane(memory, device, underlay, reader, counters, options), counters };
}

/**
 * Outbound over `count` copies of a packet; its headers are put back before each batch.
 * `scattered`: they are read as the lane asks for it, with a gap before each segment's payload.
 */
function outbound(
  name: string,
  packet: Uint8Array,
  gsoSize: number,
  count: number,
  scattered = false,
): Subject {
  let gaps = 0;
  const { lane, counters } = laneOver(({ bytes, words }) => {
    const pieces = gsoSize > 0 ? Math.ceil((packet.length - HEADERS) / gsoSize) : 1;
    const room = packet.length + (pieces - 1) * (ENCAPSULATION + HEADERS);
    const stride = (room + OUTBOUND_HEADROOM + 127) & ~63;
    const place = (row: number): number => LAYOUT.outbound + OUTBOUND_HEADROOM + row * stride;
    const headers = packet.slice(0, HEADERS);
    const lay = (gap: number): void => {
      for (let row = 0; row < count; row += 1) {
        bytes.set(headers, place(row));
        for (let piece = 0; piece < pieces; piece += 1) {
          const from = HEADERS + piece * gsoSize;
          const until = pieces === 1 ? packet.length : from + gsoSize;
          bytes.set(packet.subarray(from, until), place(row) + from + piece * gap);
        }
      }
      gaps = gap;
    };
    lay(0);
    return {
      packets(ahead = 0) {
        const gap = scattered && ahead > 0 ? ENCAPSULATION + ahead : 0;
        if (gap !== gaps) lay(gap);
        for (let row = 0; row < count; row += 1) {
          const at = place(row);
          for (let i = 0; i < HEADERS; i += 1) bytes[at + i] = headers[i]!;
          const type = gsoSize > 0 ? vnet.TCPV4 : vnet.NONE;
          vnet.write(bytes, at - vnet.HEADER, gsoSize > 0 ? 1 : 0, type, 0, gsoSize, 20, 16);
          const word = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
          words[word + PACKET_ROW.offset] = at;
          words[word + PACKET_ROW.length] = packet.length;
          words[word + PACKET_ROW.gap] = gap;
        }
        return count;
      },
    };
  });
  lane.step(true, false);
  const packets = counters.get(Counter.outbound_out_packets);
  if (packets === 0) throw new Error(`${name}: nothing was sent`);
  // The lane asks for gaps once two batches were alike.
  for (let turn = 0; turn < 4; turn += 1) lane.step(true, false);
  if (gaps > 0 !== scattered) throw new Error(`${name}: not the layout that was meant`);
  if (counters.get(Counter.outbound_out_packets) !== 5 * packets) {
    throw new Error(`${name}: not every segment was sent`);
  }
  return { name, packets, run: () => void lane.step(true, false) };
}

/** Inbound over `count` datagrams, each a train of `pieces` segments of one flow. */
function inbound(name: string, pieces: number, count: number): Subject {
  const frames = Array.from({ length: pieces }, (_, i) => {
    const packet = tcpPacket(REMOTE, LOCAL, MSS);
    tcp.setSequence(packet, 20, i * MSS);
    tcp.setSum(packet, 20, 0);
    const pseudo = checksum.pseudo(REMOTE, LOCAL, 6, packet.length - 20);
    const sum = checksum.add(pseudo, checksum.sum(packet, 20, packet.length - 20));
    tcp.setSum(packet, 20, checksum.complement(sum));
    const head = Uint8Array.of(8, 0, 0, 0, 0, 0, 1, 0, ...OWN_MAC, ...PEER_MAC, 8, 0);
    return Buffer.concat([head, packet]);
  });
  const train = Buffer.concat(frames);
  const segment = frames[0]!.length;
  const { lane, counters } = laneOver(({ bytes, words }) => {
    const stride = (train.length + INBOUND_HEADROOM + 127) & ~63;
    const place = (row: number): number => LAYOUT.inbound + INBOUND_HEADROOM + row * stride;
    for (let row = 0; row < count; row += 1) bytes.set(train, place(row));
    const head = train.subarray(0, 22 + HEADERS);
    return {
      datagrams() {
        for (let row = 0; row < count; row += 1) {
          const at = place(row);
          for (let i = 0; i < head.length; i += 1) bytes[at + i] = head[i]!;
          socketAddress.writeIpv4(bytes, LAYOUT.senders + row * ADDRESS_SIZE, PEER, 40000);
          const word = (LAYOUT.datagrams >> 2) + row * DATAGRAM_ROW.words;
          words[word] = at;
          words[word + 1] = train.length;
          words[word + 2] = pieces > 1 ? segment : 0;
          words[word + 3] = row;
          words[word + 4] = 0;
        }
        return count;
      },
    };
  });
  lane.step(false, true);
  const packets = counters.get(Counter.inbound_out_packets);
  if (packets !== pieces * count) throw new Error(`${name}: ${packets} packets written`);
  return { name, packets, run: () => void lane.step(false, true) };
}

const subjects: Subject[] = [
  emptyLoop(),
  lookups(10),
  lookups(1_000),
  lookups(10_000, 4),
  lookups(100_000),
  lookups(1_000_000, 16),
  lookups(1_000_000, undefined, true),
  ...sums(),
  outbound('encode single packets', tcpPacket(LOCAL, REMOTE, 100), 0, 64),
  outbound('segment, in one piece, a segment', tcpPacket(LOCAL, REMOTE, 46 * MSS), MSS, 15),
  outbound('segment, scattered, a segment', tcpPacket(LOCAL, REMOTE, 46 * MSS), MSS, 15, true),
  inbound('decapsulate single packets', 1, 64),
  inbound('coalesce trains of 44, a segment', 44, 15),
].filter(({ name }) => name === 'empty loop' || name.includes(given.only));

/** How often to run for a round of at least 20 ms. */
function repeatsOf({ run }: Subject): number {
  for (let repeats = 1; ; repeats *= 2) {
    const begun = process.hrtime.bigint();
    for (let i = 0; i < repeats; i += 1) run();
    if (process.hrtime.bigint() - begun > 20_000_000n) return repeats;
  }
}

function byLoop({ run, packets }: Subject, repeats: number): number {
  const begun = process.hrtime.bigint();
  for (let i = 0; i < repeats; i += 1) run();
  return Number(process.hrtime.bigint() - begun) / repeats / packets;
}

function byBenchmark({ name, run, packets }: Subject): { mean: number; margin: number } {
  const bench = new Benchmark(name, run, { maxTime: 0.5, minSamples: 20 });
  bench.run();
  return { mean: (bench.stats.mean * 1e9) / packets, margin: bench.stats.rme };
}

interface Result {
  readonly name: string;
  /** By the plain loop, ns a packet. */
  readonly loop: Spread;
  /** The loop's median without the empty loop's, for lookups. */
  readonly net?: number;
  /** By the package `benchmark`: ns a packet, and its relative margin of error, %. */
  readonly benchmark: { readonly mean: number; readonly margin: number };
  readonly bar?: number;
}

function measure(): Result[] {
  const repeats = subjects.map(repeatsOf);
  const values = subjects.map((): number[] => []);
  for (let round = 0; round < Number(given.rounds); round += 1) {
    for (const [i, subject] of subjects.entries()) values[i]!.push(byLoop(subject, repeats[i]!));
  }
  const loops = values.map(spread);
  return subjects.map((subject, i) => ({
    name: subject.name,
    loop: loops[i]!,
    ...(subject.name.startsWith('lookup') ? { net: loops[i]!.median - loops[0]!.median } : {}),
    benchmark: byBenchmark(subject),
    ...(subject.bar === undefined ? {} : { bar: subject.bar }),
  }));
}

function show({ name, loop, net, benchmark, bar }: Result): string {
  const cells = [
    loop.median.toFixed(1).padStart(8),
    `(${loop.min.toFixed(1)}–${loop.max.toFixed(1)})`.padStart(16),
    (net?.toFixed(1) ?? '').padStart(7),
    `${benchmark.mean.toFixed(1)} ± ${benchmark.margin.toFixed(0)} %`.padStart(16),
    bar === undefined ? '' : `   bar ${bar}: ${loop.median <= bar ? 'met' : 'missed'}`,
  ];
  return `  ${name.padEnd(40)}${cells.join('')}`;
}

const machine = describeMachine();
console.log(machineLine(machine));
console.log(machine.command);
console.log(
  `ns a packet${' '.repeat(31)}  median  (least–most)      net       benchmark   bar is for the median`,
);
const results = measure();
for (const result of results) console.log(show(result));
console.log(`  (consumed: ${total})`);

if (given.out !== undefined) {
  fs.mkdirSync(given.out, { recursive: true });
  const file = path.join(given.out, 'micro');
  const unit = 'ns a packet';
  fs.writeFileSync(`${file}.json`, `${JSON.stringify({ machine, unit, results }, null, 1)}\n`);
  const panels = results.map(({ name, loop, benchmark: { mean, margin } }) => ({
    title: `${name} (${unit})`,
    bars: [
      { name: 'plain loop', ...loop },
      {
        name: 'benchmark',
        min: mean * (1 - margin / 100),
        median: mean,
        max: mean * (1 + margin / 100),
      },
    ],
  }));
  fs.writeFileSync(`${file}.svg`, plotBars(panels, machineLine(machine)));
  console.log(`written: ${file}.json, ${file}.svg`);
}

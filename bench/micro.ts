/**
 * What the data plane's own code costs, in nanoseconds a packet, without any system call.
 *
 *   npm run bench -- micro [--only=lookup] [--rounds=15] [--out=FOLDER]
 *
 * Twice: by the npm package `benchmark`, and by a plain loop over rounds whose spread is told,
 * since a harness can be fooled by an optimizer. Every result is consumed: lookups and sums into a
 * total that is printed, batches through the lane's own counters. The harness's own part of a
 * lookup (reading an address, adding a result up) is measured as a subject of its own.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { Counter, Counters } from '../src/dataplane/forward/counters.js';
import { Lane } from '../src/dataplane/forward/lane.js';
import { type CaptureFilter, wordsOf } from '../src/dataplane/forward/tap/filter.js';
import { CaptureRing } from '../src/dataplane/forward/tap/ring.js';
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
import { Publisher } from '../src/dataplane/routes/publisher.js';
import { RouteReader } from '../src/dataplane/routes/reader.js';
import * as checksum from '../src/dataplane/wire/checksum.js';
import { createSimdSummer } from '../src/dataplane/wire/checksum-simd.js';
import * as ipv4 from '../src/dataplane/wire/ipv4.js';
import * as tcp from '../src/dataplane/wire/tcp.js';
import * as vnet from '../src/dataplane/wire/vnet.js';
import { describeMachine, machineLine } from './machine.js';
import { writeResult } from './result.js';
import { type Spread, spread } from './statistics.js';
import { HEADERS, tcpPacket } from './tcp-packet.js';

const OWN_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const PEER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const PEER = ipv4.parseAddress('192.168.56.12')!;
const LOCAL = ipv4.parseAddress('10.10.1.2')!;
const REMOTE = ipv4.parseAddress('10.10.2.2')!;
const MSS = 1398;

/** One thing measured: `run` handles `packets` of them, and returns what came of it. */
interface Subject {
  readonly name: string;
  readonly packets: number;
  run(): number;
}

/** So many that their slots do not stay in the processor's first cache by chance. */
const ADDRESSES = 1 << 18;

/** Of which network the n-th route is: side by side, as flannel hands them out, or anywhere. */
const SPREADS = {
  'in one network': (n: number) => (0x0b000000 + (n << 8)) | 0,
  // The multiplier is odd, so no two of 2^24 are the same.
  'all over': (n: number) => Math.imul(n, 0x9e3779b1) << 8,
} as const;

const { values: given } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '15' },
    out: { type: 'string' },
  },
});

/** The loop of `lookups` without the lookup: what of its time is the harness's. */
function nothing(): Subject {
  const addresses = Int32Array.from({ length: ADDRESSES }, () => Math.random() * 2 ** 32);
  return {
    name: 'lookup, the loop without it (harness)',
    packets: addresses.length,
    run() {
      let sum = 0;
      for (let i = 0; i < addresses.length; i += 1) sum = (sum + addresses[i]!) | 0;
      return sum;
    },
  };
}

interface Lookups extends Subject {
  readonly reader: RouteReader;
  readonly addresses: Int32Array;
}

function lookups(routes: number, where: keyof typeof SPREADS): Lookups {
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 1 });
  const networkOf = SPREADS[where];
  const list = Array.from({ length: routes }, (_, i) => ({
    network: networkOf(i),
    length: 24,
    peer: { address: PEER + (i % 200), port: 8472, mac: PEER_MAC },
  }));
  publisher.publish(list, []);
  const reader = new RouteReader(publisher.handle, 0, () => undefined);
  const addresses = Int32Array.from(
    { length: ADDRESSES },
    () => networkOf(Math.floor(Math.random() * routes)) | Math.floor(Math.random() * 256),
  );
  return {
    name: `lookup, ${routes.toLocaleString('en-US')} routes ${where}`,
    packets: addresses.length,
    reader,
    addresses,
    run() {
      let sum = 0;
      for (let i = 0; i < addresses.length; i += 1) sum = (sum + reader.lookup(addresses[i]!)) | 0;
      return sum;
    },
  };
}

/** The same, each lookup begun when the one before has answered, as between other work. */
function oneByOne(routes: number, where: keyof typeof SPREADS): Subject {
  const { name, packets, reader, addresses } = lookups(routes, where);
  return {
    name: `${name}, one by one`,
    packets,
    run() {
      let found = 0;
      // An answer is below 2^20, so the shift gives 0; the processor has to wait to know.
      for (let i = 0; i < addresses.length; i += 1) {
        found = reader.lookup(addresses[i]! ^ (found >>> 20));
      }
      return found;
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
      let all = 0;
      for (let i = 0; i < 40; i += 1) all = (all + sum(LAYOUT.inbound + i * 1472, MSS)) | 0;
      return all;
    },
  });
  const simd = createSimdSummer(memory.memory);
  return [
    over('byte pairs', (at, length) => checksum.sum(memory.bytes, at, length)),
    over('typed arrays', checksum.createSummer(memory.memory.buffer)),
    ...(simd === undefined ? [] : [over('WASM SIMD', simd)]),
  ];
}

/** `weft capture` without a word more, once it has used up what it may take: it only counts. */
const USED_UP: CaptureFilter = {
  ...{ inner: true, outer: true, inbound: true, outbound: true },
  ...{ dropsOnly: false, snap: 262_144, limited: true },
};

/** A lane whose device and underlay give the same batch again and swallow what comes. */
function laneOver(
  fill: (memory: LaneMemory) => { packets?: Device['read']; datagrams?: () => number },
  captured: boolean,
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
    full: () => {},
    socketTo: () => -1,
    receive: datagrams,
    send: (_from, rows) => rows,
    lastError: () => 0,
  };
  const publisher = new Publisher({ vni: 1, ownMac: OWN_MAC, threads: 1 });
  publisher.publish(
    [{ network: REMOTE & ~255, length: 24, peer: { address: PEER, port: 8472, mac: PEER_MAC } }],
    [{ network: LOCAL & ~255, length: 24 }],
  );
  const counters = new Counters();
  const options = { vni: 1, mac: OWN_MAC, mtu: 1450, uso: true, udpSegment: true, vnet: true };
  const reader = new RouteReader(publisher.handle, 0, () => undefined);
  const lane = new Lane(memory, device, underlay, reader, counters, options);
  if (captured) {
    new CaptureRing(memory.memory).want(wordsOf(USED_UP, 0));
    lane.show(() => performance.timeOrigin + performance.now());
  }
  return { lane, counters };
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
  { scattered = false, captured = false } = {},
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
          if (gsoSize === 0) vnet.clear(bytes, at - vnet.HEADER);
          else vnet.writeSuper(bytes, at - vnet.HEADER, vnet.TCPV4, 20, 16, 0, gsoSize);
          const word = (LAYOUT.packets >> 2) + row * PACKET_ROW.words;
          words[word + PACKET_ROW.offset] = at;
          words[word + PACKET_ROW.length] = packet.length;
          words[word + PACKET_ROW.gap] = gap;
        }
        return count;
      },
    };
  }, captured);
  lane.step(true, false);
  const packets = counters.get(Counter.outbound_out_packets);
  if (packets === 0) throw new Error(`${name}: nothing was sent`);
  // The lane asks for gaps once two batches were alike.
  for (let turn = 0; turn < 4; turn += 1) lane.step(true, false);
  if (gaps > 0 !== scattered) throw new Error(`${name}: not the layout that was meant`);
  if (counters.get(Counter.outbound_out_packets) !== 5 * packets) {
    throw new Error(`${name}: not every segment was sent`);
  }
  return { name, packets, run: () => lane.step(true, false) };
}

/** Inbound over `count` datagrams, each a train of `pieces` segments of one flow. */
function inbound(name: string, pieces: number, count: number, captured = false): Subject {
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
  }, captured);
  lane.step(false, true);
  const packets = counters.get(Counter.inbound_out_packets);
  if (packets !== pieces * count) throw new Error(`${name}: ${packets} packets written`);
  return { name, packets, run: () => lane.step(false, true) };
}

const SMALL = tcpPacket(LOCAL, REMOTE, 100);
const LARGE = tcpPacket(LOCAL, REMOTE, 46 * MSS);

/** Made when their turn comes, so that one's table is not another's load on the collector. */
const subjects: (() => Subject)[] = [
  nothing,
  ...[10, 1_000, 10_000, 100_000, 1_000_000].map((n) => () => lookups(n, 'in one network')),
  () => lookups(10_000, 'all over'),
  () => lookups(1_000_000, 'all over'),
  () => oneByOne(10_000, 'in one network'),
  () => oneByOne(1_000_000, 'in one network'),
  () => oneByOne(1_000_000, 'all over'),
  ...sums().map((subject) => () => subject),
  () => outbound('segment in one piece, a segment', LARGE, MSS, 15),
  ...[false, true].flatMap((captured) => {
    const beside = captured ? ', a capture counts' : '';
    return [
      () => outbound(`encode single packets${beside}`, SMALL, 0, 64, { captured }),
      () =>
        outbound(`segment scattered, a segment${beside}`, LARGE, MSS, 15, {
          scattered: true,
          captured,
        }),
      () => inbound(`decapsulate single packets${beside}`, 1, 64, captured),
      () => inbound(`coalesce trains of 44, a segment${beside}`, 44, 15, captured),
    ];
  }),
];

/** Where the results go, so that none can be left out. */
let consumed = 0;

/** Nanoseconds a packet over rounds of at least 20 ms. */
function byLoop({ run, packets }: Subject): Spread {
  let times = 1;
  for (;;) {
    const begun = process.hrtime.bigint();
    for (let i = 0; i < times; i += 1) consumed = (consumed + run()) | 0;
    if (process.hrtime.bigint() - begun > 20_000_000n) break;
    times *= 2;
  }
  const rounds = Array.from({ length: Number(given.rounds) }, () => {
    const begun = process.hrtime.bigint();
    for (let i = 0; i < times; i += 1) consumed = (consumed + run()) | 0;
    return Number(process.hrtime.bigint() - begun) / times / packets;
  });
  return spread(rounds);
}

function byBenchmark({ name, run, packets }: Subject): { ns: number; margin: number } {
  const body = (): void => {
    consumed = (consumed + run()) | 0;
  };
  const bench = new Benchmark(name, body, { maxTime: 0.5, minSamples: 20 });
  bench.run();
  return { ns: (bench.stats.mean * 1e9) / packets, margin: bench.stats.rme };
}

/** Which panel of the plot a subject belongs to. */
function kindOf(name: string): string {
  return /^(lookup|checksum)/.exec(name)?.[0] ?? 'whole packets';
}

const machine = describeMachine();
console.log(machineLine(machine));
console.log(machine.command);
const title = 'ns a packet'.padEnd(54);
console.log(`${title} plain loop  least–most       benchmark     ±`);
const results = subjects
  .map((make) => make())
  .filter(({ name }) => name.includes(given.only))
  .map((subject) => {
    const loop = byLoop(subject);
    const { ns, margin } = byBenchmark(subject);
    const span = `${loop.min.toFixed(1)}–${loop.max.toFixed(1)}`;
    console.log(
      `  ${subject.name.padEnd(52)} ${loop.median.toFixed(1).padStart(10)}  ${span.padEnd(15)}` +
        ` ${ns.toFixed(1).padStart(10)} ${margin.toFixed(1).padStart(5)} %`,
    );
    return { name: subject.name, loop, benchmark: ns, benchmarkMarginPercent: margin };
  });
console.log(`  (consumed: ${consumed})`);
if (given.out !== undefined) {
  const panels = ['lookup', 'checksum', 'whole packets'].map((kind) => ({
    title: kind,
    unit: 'ns a packet',
    bars: results
      .filter(({ name }) => kindOf(name) === kind)
      .map(({ name, loop }) => ({ name: name.replace(/^lookup, /, ''), ...loop })),
  }));
  writeResult(given.out, 'micro', { machine, unit: 'ns a packet', results, consumed }, panels);
}

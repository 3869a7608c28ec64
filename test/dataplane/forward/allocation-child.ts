/**
 * Runs about a million packets through a lane, on a device and an underlay that allocate
 * nothing, between two forced collections. Started by allocation.test.ts with --trace-gc and
 * --expose-gc; with the argument `planted`, an object is made for every batch and packet;
 * with `shown`, the lane shows all of it to somebody who looks.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { Counter, Counters } from '../../../src/dataplane/forward/counters.js';
import { Lane } from '../../../src/dataplane/forward/lane.js';
import { wordsOf } from '../../../src/dataplane/forward/tap/filter.js';
import { CaptureRing, HEAD, TAIL } from '../../../src/dataplane/forward/tap/ring.js';
import type { Device, Underlay } from '../../../src/dataplane/io/device.js';
import {
  ADDRESS_SIZE,
  BATCH,
  INBOUND_HEADROOM,
  LAYOUT,
  LaneMemory,
  OUTBOUND_HEADROOM,
  PACKET_ROW,
} from '../../../src/dataplane/io/memory.js';
import { EAGAIN, ECONNREFUSED, EIO } from '../../../src/dataplane/io/native.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { RouteReader } from '../../../src/dataplane/routes/reader.js';
import { segment } from './oracle.js';
import {
  ACK,
  concat,
  frame,
  leavePartial,
  OUR_MAC,
  PEER_B,
  PSH,
  STRANGER,
  tcpPacket,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { publisherOf } from './rig.js';
import { ALL } from './tap/shown.js';

const PACKETS = 1_000_000;
const WARM_UP = 300_000;
const VNET = 10;

const memory = new LaneMemory();
const { bytes, words } = memory;
const planted = process.argv[2] === 'planted';
const kept: { errno: number }[] = new Array(64);
let turn = 0;

/** What lies in an area at the start of each batch, laid out as the addon does it. */
function batchOf(
  area: number,
  headroom: number,
  packets: readonly { readonly vnet?: Uint8Array; readonly packet: Uint8Array }[],
): { readonly image: Uint8Array; readonly places: readonly number[] } {
  let cursor = area;
  const places = packets.map(({ packet, vnet }) => {
    const at = ((cursor + 63) & ~63) + headroom;
    if (vnet !== undefined) bytes.set(vnet, at - VNET);
    bytes.set(packet, at);
    cursor = at + packet.length;
    return at;
  });
  return { image: new Uint8Array(bytes.subarray(area, cursor)), places };
}

class StubDevice implements Device {
  readonly #packets = outboundPackets();
  readonly #batch = batchOf(LAYOUT.outbound, OUTBOUND_HEADROOM, this.#packets);
  #error = 0;

  read(): number {
    bytes.set(this.#batch.image, LAYOUT.outbound);
    for (let row = 0; row < this.#packets.length; row += 1) {
      const at = (LAYOUT.packets >> 2) + PACKET_ROW.words * row;
      words[at + PACKET_ROW.offset] = this.#batch.places[row]!;
      words[at + PACKET_ROW.length] = this.#packets[row]!.packet.length;
    }
    return this.#packets.length;
  }

  write(_from: number, rows: number, _iovecRows: number): number {
    if (turn % 5 !== 0 || rows < 3) return rows;
    this.#error = EIO;
    return 2;
  }

  lastError(): number {
    return this.#error;
  }
}

class StubUnderlay implements Underlay {
  readonly sender = 0;
  readonly socketTo = () => -1;
  readonly full = () => {};
  readonly #datagrams = inboundDatagrams();
  readonly #batch = batchOf(LAYOUT.inbound, INBOUND_HEADROOM, this.#datagrams);
  #error = 0;

  receive(): number {
    turn += 1;
    if (planted) kept[turn % kept.length] = { errno: turn };
    bytes.set(this.#batch.image, LAYOUT.inbound);
    for (let row = 0; row < this.#datagrams.length; row += 1) {
      const { packet, segment: size, address } = this.#datagrams[row]!;
      const at = (LAYOUT.datagrams >> 2) + 5 * row;
      words[at] = this.#batch.places[row]!;
      words[at + 1] = packet.length;
      words[at + 2] = size;
      words[at + 3] = row;
      words[at + 4] = 2;
      socketAddress.writeIpv4(bytes, LAYOUT.senders + row * ADDRESS_SIZE, address, 40000);
      if (planted) {
        for (let i = 0; i < packet.length; i += 1000) kept[i & 63] = { errno: i };
      }
    }
    return this.#datagrams.length;
  }

  send(_from: number, rows: number, _iovecRows: number): number {
    if (turn % 7 !== 0 || rows < 2) return rows;
    this.#error = turn % 2 === 0 ? EAGAIN : ECONNREFUSED;
    return 1;
  }

  lastError(): number {
    return this.#error;
  }
}

function outboundPackets(): { packet: Uint8Array; vnet: Uint8Array }[] {
  const to = { source: '10.5.52.7', destination: '10.5.72.9' } as const;
  const large = leavePartial(
    tcpPacket({ ...to, sequence: 2 ** 32 - 70_000, payload: new Uint8Array(60000) }),
  );
  const quic = leavePartial(udpPacket({ ...to, payload: new Uint8Array(12000) }));
  const small = leavePartial(udpPacket({ ...to, payload: new Uint8Array(100) }));
  const lost = tcpPacket({ ...to, destination: '10.9.9.9' });
  return Array.from({ length: BATCH }, (_, i) => {
    if (i % 8 === 0) return { packet: large, vnet: vnetHeader(1, 1, 0, 1398, 20, 16) };
    if (i % 8 === 1) return { packet: quic, vnet: vnetHeader(1, 5, 0, 1200, 20, 6) };
    if (i % 8 === 2) return { packet: lost, vnet: vnetHeader(0) };
    return { packet: small, vnet: vnetHeader(1, 0, 0, 0, 20, 6) };
  });
}

function inboundDatagrams(): { packet: Uint8Array; segment: number; address: number }[] {
  // Not all zeros: sums that are 0 take a path of their own.
  const payload = new Uint8Array(30000).map((_, i) => i * 7);
  const stream = { fragment: 0x4000, tos: 2, flags: ACK | PSH } as const;
  const pieces = segment(tcpPacket({ ...stream, sequence: 2 ** 32 - 40_000, payload }), 1398);
  const train = concat(pieces.map((piece) => frame(piece)));
  const datagram = udpPacket({ payload: new Uint8Array(500) });
  const datagrams = concat(new Array<Uint8Array>(20).fill(frame(datagram)));
  const whole = frame(leavePartial(tcpPacket({ payload })));
  return Array.from({ length: BATCH }, (_, i) => {
    if (i % 8 === 0) return { packet: train, segment: 22 + 40 + 1398, address: PEER_B };
    if (i % 8 === 1) return { packet: datagrams, segment: 22 + 528, address: PEER_B };
    if (i % 32 === 2) return { packet: whole, segment: 0, address: PEER_B };
    if (i % 8 === 3) return { packet: frame(datagram), segment: 0, address: STRANGER };
    return { packet: frame(pieces[i % pieces.length]!), segment: 0, address: PEER_B };
  });
}

const counters = new Counters();
const routes = new RouteReader(publisherOf().handle, 0, () => undefined);
const lane = new Lane(memory, new StubDevice(), new StubUnderlay(), routes, counters, {
  vni: 1,
  mac: Uint8Array.from(OUR_MAC),
  mtu: 1450,
  uso: true,
  udpSegment: true,
  vnet: true,
});

// Two words of the ring's header: whoever looks takes all there is, and allocates nothing.
const ring = LAYOUT.capture >> 2;
if (process.argv[2] === 'shown') {
  new CaptureRing(memory.memory).want(wordsOf({ ...ALL, snap: 256 }, 0));
  lane.show(() => turn);
}

function runTo(packets: number): void {
  while (moved() < packets) {
    lane.step();
    words[ring + TAIL] = words[ring + HEAD]!;
  }
}

function moved(): number {
  return counters.get(Counter.outbound_in_packets) + counters.get(Counter.inbound_in_packets);
}

assert.ok(global.gc, 'start with --expose-gc');
runTo(WARM_UP);
global.gc();
runTo(WARM_UP + PACKETS);
global.gc();
if (process.argv[2] === 'shown') assert.ok(words[ring + HEAD]! !== 0, 'nothing was shown');
assert.ok(counters.get(Counter.outbound_out_packets) > PACKETS / 4);
assert.ok(counters.get(Counter.inbound_out_packets) > PACKETS / 4);

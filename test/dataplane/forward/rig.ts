/** One lane without a thread, on an in-memory device and underlay, with two peers. */
import assert from 'node:assert/strict';
import { Counter, type CounterName, Counters } from '../../../src/dataplane/forward/counters.js';
import { DROP_NAMES, type DropName } from '../../../src/dataplane/forward/drops.js';
import type { Accept } from '../../../src/dataplane/forward/inbound.js';
import { Lane } from '../../../src/dataplane/forward/lane.js';
import { LaneMemory } from '../../../src/dataplane/io/memory.js';
import {
  MemoryDevice,
  MemoryUnderlay,
  type ReceivedDatagram,
} from '../../../src/dataplane/io/memory-pair.js';
import type { PeerReport } from '../../../src/dataplane/routes/peer-rows.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { RouteReader } from '../../../src/dataplane/routes/reader.js';
import { receive, type Written } from './oracle.js';
import { ip, MAC_B, MAC_C, OUR_MAC, PEER_B, PEER_C } from './packets.js';

export interface RigOptions {
  readonly vni?: number;
  readonly mtu?: number;
  readonly uso?: boolean;
  readonly udpSegment?: boolean;
  readonly vnet?: boolean;
  readonly merges?: boolean;
  readonly accept?: Accept;
}

/** A datagram that left for a peer. */
export interface Datagram {
  readonly payload: Uint8Array;
  readonly address: number;
  readonly port: number;
  readonly tos: number;
}

/** UDP payloads of an IPv4 packet end here. */
const UDP_MAX = 65507;
/** Over this UDP_GRO merges nothing. */
const MERGED_MAX = 65000;

export function publisherOf(vni = 1): Publisher {
  const publisher = new Publisher({ vni, ownMac: Uint8Array.from(OUR_MAC), threads: 1 });
  publisher.publish(
    [
      {
        network: ip('10.5.72.0'),
        length: 24,
        peer: { address: PEER_B, port: 8472, mac: Uint8Array.from(MAC_B) },
      },
      {
        network: ip('10.5.90.0'),
        length: 24,
        peer: { address: PEER_C, port: 8473, mac: Uint8Array.from(MAC_C) },
      },
    ],
    [{ network: ip('10.5.52.0'), length: 24 }],
  );
  return publisher;
}

export class Rig {
  readonly memory = new LaneMemory();
  readonly device: MemoryDevice;
  readonly underlay = new MemoryUnderlay(this.memory);
  readonly counters = new Counters();
  readonly publisher: Publisher;
  readonly lane: Lane;

  constructor(options: RigOptions = {}) {
    const {
      vni = 1,
      mtu = 1450,
      uso = true,
      udpSegment = true,
      vnet = true,
      merges = true,
      accept = 'peers',
    } = options;
    this.device = new MemoryDevice(this.memory, vnet);
    this.publisher = publisherOf(vni);
    const routes = new RouteReader(this.publisher.handle, 0, () => undefined);
    this.lane = new Lane(this.memory, this.device, this.underlay, routes, this.counters, {
      vni,
      mac: Uint8Array.from(OUR_MAC),
      mtu,
      uso,
      udpSegment,
      vnet,
      merges,
      accept,
    });
  }

  /** Steps until nothing moves; `most` steps at most. */
  run(most = 1000): void {
    for (let i = 0; i < most; i += 1) {
      if (this.lane.step() <= 0) return;
    }
  }

  /** A datagram from B is received, and what was written since then is given. */
  receive(payload: Uint8Array, more: Partial<ReceivedDatagram> = {}): Written[] {
    this.underlay.push({ payload, address: PEER_B, ...more });
    this.run();
    return this.takeWritten();
  }

  /** A packet is read from the device, and what was sent since then is given. */
  read(packet: Uint8Array, vnet?: Uint8Array): Datagram[] {
    this.device.push(packet, vnet);
    this.run();
    return this.takeSent();
  }

  takeWritten(): Written[] {
    return this.device.written.splice(0);
  }

  /** What a receiver behind the TUN has seen since it was asked last. */
  takeReceived(): Uint8Array[] {
    return this.takeWritten().flatMap(receive);
  }

  /** The datagrams that left; a message beyond what every kernel takes fails the test. */
  takeSent(): Datagram[] {
    return this.underlay.sent.splice(0).flatMap(({ payload, segment, ...to }) => {
      assert.ok(payload.length <= UDP_MAX, `a message of ${payload.length} bytes`);
      if (segment === 0) return [{ payload, ...to }];
      assert.ok(payload.length <= MERGED_MAX, `a message of ${payload.length} bytes`);
      const datagrams: Datagram[] = [];
      for (let at = 0; at < payload.length; at += segment) {
        datagrams.push({ payload: payload.slice(at, at + segment), ...to });
      }
      assert.ok(datagrams.length <= 64, `a message of ${datagrams.length} datagrams`);
      return datagrams;
    });
  }

  /** What was seen of the peer at this address. */
  peer(address: number): PeerReport {
    return this.publisher.rows.read(this.publisher.places(address)[0]!);
  }

  setPathMtu(address: number, mtu: number): void {
    for (const place of this.publisher.places(address)) this.publisher.rows.setPathMtu(place, mtu);
  }

  count(name: CounterName): number {
    return this.counters.get(Counter[name]);
  }

  /** The reasons that occurred. */
  drops(): Partial<Record<DropName, number>> {
    const drops: Partial<Record<DropName, number>> = {};
    for (const [reason, name] of DROP_NAMES.entries()) {
      const packets = this.counters.dropped(reason);
      if (packets > 0) drops[name] = packets;
    }
    return drops;
  }

  /** In each direction: in = out + dropped. */
  checkBalance(): void {
    let outbound = 0;
    let inbound = 0;
    for (const [name, packets] of Object.entries(this.drops())) {
      if (name.startsWith('outbound_') || name.startsWith('send_')) outbound += packets;
      else inbound += packets;
    }
    assert.equal(
      this.count('outbound_in_packets'),
      this.count('outbound_out_packets') + outbound,
      'outbound: in = out + dropped',
    );
    assert.equal(
      this.count('inbound_in_packets') + this.count('generated_packets'),
      this.count('inbound_out_packets') + inbound,
      'inbound: in + generated = out + dropped',
    );
  }
}

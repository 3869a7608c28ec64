/**
 * Runs captured packets through the real lane, on in-memory devices, as one host sees them.
 *
 *   1. find      the IPv4 packet behind the link-layer header
 *   2. side      an outer VXLAN datagram for us -> underlay; an inner packet -> TUN; else not ours
 *   3. whole     nothing that the snap length cut goes any further
 *   4. step      the lane takes it: what comes out, or which drop counter went up
 *   5. finish    outer headers in front; super-packets cut, checksums finished
 *
 * No clock and no randomness: the same capture gives the same packets and verdicts.
 */
import { Counters } from '../../dataplane/forward/counters.js';
import { DROP_NAMES } from '../../dataplane/forward/drops.js';
import { Lane } from '../../dataplane/forward/lane.js';
import { LaneMemory } from '../../dataplane/io/memory.js';
import { MemoryDevice, MemoryUnderlay } from '../../dataplane/io/memory-pair.js';
import type { LocalRoute, Route } from '../../dataplane/routes/peer.js';
import { Publisher } from '../../dataplane/routes/publisher.js';
import { RouteReader } from '../../dataplane/routes/reader.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import * as udp from '../../dataplane/wire/udp.js';
import type { CaptureRecord } from './capture.js';
import { describeIpv4, describeVxlan } from './describe.js';
import { findIpv4 } from './link-layer.js';
import { fromTun, offloadOf, sumState, toTun } from './offload.js';
import { OuterHeaders } from './outer.js';

/** The host whose eyes replay looks through. */
export interface ReplayHost {
  /** Its address on the underlay, int32. */
  readonly address: number;
  /** Its VtepMAC, 6 bytes. */
  readonly mac: Uint8Array;
  readonly vni: number;
  /** The UDP port it listens on. */
  readonly port: number;
  /** The MTU of its TUN. */
  readonly mtu: number;
  /** The whole overlay: flannel's Network. */
  readonly network: LocalRoute;
  readonly local: readonly LocalRoute[];
  readonly routes: readonly Route[];
}

/** What became of a record. */
export type Fate = 'wrapped' | 'unwrapped' | 'dropped' | 'not ours';

/** Why a record never reached the lane. */
export type NotOurs =
  | 'not_ipv4'
  | 'cut'
  | 'not_vxlan'
  | 'other_destination'
  | 'outer_malformed'
  | 'outer_fragment'
  | 'outer_checksum'
  | 'longer_than_mtu';

export interface Verdict {
  /** The packet in one line. */
  readonly what: string;
  readonly fate: Fate;
  /** A name of `DROP_NAMES` for what the lane dropped, or of `NotOurs`; '' when all came out. */
  readonly reason: string;
  /** For people: what the reason does not tell; may be ''. */
  readonly detail: string;
  /** What came out: whole IPv4 packets, as they would be on the wire or leave the TUN. */
  readonly packets: readonly Uint8Array[];
}

/** A packet on its way: [at, end) of `bytes`. */
interface Found {
  readonly bytes: Buffer;
  readonly at: number;
  readonly end: number;
  /** The vnet header that it was kept with. */
  readonly offload: Uint8Array | undefined;
}

interface Refusal {
  readonly reason: NotOurs;
  readonly detail: string;
}

const PACKET_MAX = 65535;

export class Replay {
  readonly #host: ReplayHost;
  readonly #device: MemoryDevice;
  readonly #underlay: MemoryUnderlay;
  readonly #counters = new Counters();
  readonly #lane: Lane;
  readonly #outer: OuterHeaders;
  readonly #peers: ReadonlySet<number>;

  constructor(host: ReplayHost) {
    this.#host = host;
    this.#peers = new Set(host.routes.map(({ peer }) => peer.address));
    const publisher = new Publisher({ vni: host.vni, ownMac: host.mac, threads: 1 });
    publisher.publish(host.routes, host.local);
    const memory = new LaneMemory();
    this.#device = new MemoryDevice(memory);
    this.#underlay = new MemoryUnderlay(memory);
    this.#lane = new Lane(
      memory,
      this.#device,
      this.#underlay,
      new RouteReader(publisher.handle, 0, () => undefined),
      this.#counters,
      { vni: host.vni, mac: host.mac, mtu: host.mtu, uso: false, udpSegment: true, vnet: true },
    );
    this.#outer = new OuterHeaders(host.address);
  }

  /** Takes one record of a capture with this link type. Never throws, whatever the bytes. */
  take(linkType: number, record: CaptureRecord): Verdict {
    const { bytes, originalLength } = record;
    const found = findIpv4(linkType, bytes);
    if ('other' in found) {
      const what = `${found.other}, ${originalLength} bytes`;
      return notOurs(what, { reason: 'not_ipv4', detail: found.other });
    }
    const { at } = found;
    const total = at + ipv4.HEADER <= bytes.length ? ipv4.totalLength(bytes, at) : 0;
    // What lies behind the packet is its offload, or Ethernet's padding or check sequence.
    const end = total >= ipv4.HEADER ? Math.min(at + total, bytes.length) : bytes.length;
    const offload = offloadOf(bytes.subarray(end));
    const packet = { bytes, at, end: Math.min(end, at + PACKET_MAX), offload };
    const toUs = this.#isUnderlay(packet);
    const what = this.#describe(packet);

    const refusal = typeof toUs === 'object' ? toUs : undefined;
    if (bytes.length < originalLength && at + total > bytes.length) {
      const also = refusal === undefined ? '' : `; ${refusal.detail}`;
      const detail = `cut by snap length (${bytes.length} of ${originalLength})${also}`;
      return notOurs(what, { reason: 'cut', detail });
    }
    if (refusal !== undefined) return notOurs(what, refusal);
    return toUs === true ? this.#inbound(what, packet) : this.#outbound(what, packet);
  }

  /** Step 2: true = from the underlay for us, false = from the TUN, else why neither. */
  #isUnderlay({ bytes, at, end }: Found): boolean | Refusal {
    const { address } = this.#host;
    // The lane says what is wrong with it; a broken header has no addresses to go by.
    if (ipv4.check(bytes, at, end) !== 0 && !this.#isCut(bytes, at, end)) return false;
    const source = ipv4.source(bytes, at);
    const destination = ipv4.destination(bytes, at);
    const toPort = this.#isToPort(bytes, at, end);
    if (destination === address) {
      const laterUdp = ipv4.protocol(bytes, at) === ipv4.UDP && ipv4.isLaterFragment(bytes, at);
      if (toPort || laterUdp) return true;
      return { reason: 'not_vxlan', detail: `not VXLAN (UDP to port ${this.#host.port})` };
    }
    if (this.#inOverlay(source) || this.#inOverlay(destination)) return false;
    if (toPort) {
      const where = ipv4.formatAddress(destination);
      return { reason: 'other_destination', detail: `VXLAN for ${where}, not for us` };
    }
    if (isMartian(destination)) return false;
    const peers = this.#peers.has(source) || this.#peers.has(destination);
    const detail = peers ? 'not VXLAN: underlay' : 'not VXLAN, and outside the overlay';
    return { reason: 'not_vxlan', detail };
  }

  #describe({ bytes, at, end }: Found): string {
    const isVxlan = this.#isToPort(bytes, at, end) && !this.#inOverlay(ipv4.destination(bytes, at));
    return isVxlan ? describeVxlan(bytes, at, end) : describeIpv4(bytes, at, end);
  }

  /** Whether it is UDP to the port where VTEPs listen, and not a later fragment of it. */
  #isToPort(bytes: Buffer, at: number, end: number): boolean {
    if (at + ipv4.HEADER > end || ipv4.protocol(bytes, at) !== ipv4.UDP) return false;
    const header = ipv4.headerLength(bytes, at);
    const transport = at + header;
    return (
      header >= ipv4.HEADER &&
      !ipv4.isLaterFragment(bytes, at) &&
      transport + udp.HEADER <= end &&
      udp.destinationPort(bytes, transport) === this.#host.port
    );
  }

  /** Whether the header is fine and only the record ends too early. */
  #isCut(bytes: Buffer, at: number, end: number): boolean {
    return (
      at + ipv4.HEADER <= end &&
      ipv4.version(bytes, at) === 4 &&
      ipv4.headerLength(bytes, at) >= ipv4.HEADER &&
      ipv4.totalLength(bytes, at) > end - at
    );
  }

  #inOverlay(address: number): boolean {
    const { network, length } = this.#host.network;
    return length === 0 || (address ^ network) >>> (32 - length) === 0;
  }

  /** The underlay's side: what the kernel's UDP layer looks at, then the lane. */
  #inbound(what: string, { bytes, at, end }: Found): Verdict {
    if (ipv4.isFragment(bytes, at)) {
      const detail = 'outer fragment; the kernel puts them together, replay does not';
      return notOurs(what, { reason: 'outer_fragment', detail });
    }
    const transport = at + ipv4.headerLength(bytes, at);
    if (!udp.check(bytes, transport, end)) {
      return notOurs(what, { reason: 'outer_malformed', detail: 'outer UDP length is wrong' });
    }
    if (sumState(bytes, at) === 'wrong') {
      const detail = 'outer UDP checksum is wrong; the kernel drops it';
      return notOurs(what, { reason: 'outer_checksum', detail });
    }
    const payload = bytes.subarray(
      transport + udp.HEADER,
      transport + udp.length(bytes, transport),
    );
    this.#underlay.push({
      payload,
      address: ipv4.source(bytes, at),
      port: udp.sourcePort(bytes, transport),
      tos: ipv4.tos(bytes, at),
    });
    return this.#step(what, 'unwrapped');
  }

  /** The TUN's side: as the kernel hands over a packet that it routed there. */
  #outbound(what: string, { bytes, at, end, offload }: Found): Verdict {
    const packet = new Uint8Array(bytes.subarray(at, end));
    const header = offload ?? toTun(packet, this.#host.mtu);
    if (header === undefined) {
      const detail = `longer than the TUN's MTU ${this.#host.mtu}; the kernel would not pass it on`;
      return notOurs(what, { reason: 'longer_than_mtu', detail });
    }
    this.#device.push(packet, header);
    return this.#step(what, 'wrapped');
  }

  /** Steps 4 and 5. */
  #step(what: string, fate: Fate): Verdict {
    const before = this.#counters.row.slice();
    while (this.#lane.step() > 0);
    const written = this.#device.written.splice(0);
    const sent = this.#underlay.sent.splice(0);
    const packets = written.flatMap(({ vnet, packet }) => fromTun(vnet, packet));
    for (const { payload, address, port, tos, segment } of sent) {
      const size = segment === 0 ? payload.length : segment;
      for (let from = 0; from < payload.length; from += size) {
        const datagram = payload.subarray(from, from + size);
        packets.push(this.#outer.wrap(datagram, address, port, tos));
      }
    }
    const drops = new Counters();
    this.#counters.row.forEach((value, column) => {
      drops.row[column] = value - before[column]!;
    });
    const reason = DROP_NAMES.filter((_, index) => drops.dropped(index) > 0).join(' ');
    const to = sent[0] === undefined ? '' : `for ${ipv4.formatAddress(sent[0].address)}`;
    return { what, fate: reason === '' ? fate : 'dropped', reason, detail: to, packets };
  }
}

function notOurs(what: string, { reason, detail }: Refusal): Verdict {
  return { what, fate: 'not ours', reason, detail, packets: [] };
}

/** An address that no host has. */
function isMartian(address: number): boolean {
  return (
    ipv4.isMulticast(address) ||
    ipv4.isLoopback(address) ||
    ipv4.isLimitedBroadcast(address) ||
    ipv4.isUnspecified(address)
  );
}

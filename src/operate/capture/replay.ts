/**
 * Runs captured packets through the real lane, on in-memory devices, as one host sees them.
 *
 *   1. find      the IPv4 packet behind the link-layer header
 *   2. side      an outer VXLAN datagram for us -> underlay; an inner packet -> TUN; else not ours
 *   3. whole     nothing that the snap length cut goes any further
 *   4. as given  what the kernel adds: where a train is to be cut, the vnet header of the TUN
 *   5. step      the lane takes it: what comes out, and which drop counters went up
 *   6. finish    outer headers in front; super-packets cut, checksums finished
 *
 * No clock and no randomness: the same capture gives the same packets and verdicts. They are those
 * of the live lane; where a capture does not hold what the lane was told, the verdict says so.
 */
import {
  Counters,
  type CounterTotals,
  createCounters,
  readTotals,
} from '../../dataplane/forward/counters.js';
import { DROP_NAMES } from '../../dataplane/forward/drops.js';
import { Lane } from '../../dataplane/forward/lane.js';
import { LaneMemory } from '../../dataplane/io/memory.js';
import {
  MemoryDevice,
  MemoryUnderlay,
  type ReceivedDatagram,
} from '../../dataplane/io/memory-pair.js';
import { Publisher } from '../../dataplane/routes/publisher.js';
import { RouteReader } from '../../dataplane/routes/reader.js';
import * as ethernet from '../../dataplane/wire/ethernet.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import * as udp from '../../dataplane/wire/udp.js';
import * as vxlan from '../../dataplane/wire/vxlan.js';
import type { CaptureRecord } from './capture.js';
import { describeIpv4, describeVxlan } from './describe.js';
import { findIpv4, refuseLinkType } from './link-layer.js';
import { finished, fromTun, offloadOf, sumState, toTun } from './offload.js';
import { OuterHeaders } from './outer.js';
import { Sides } from './sides.js';
import { beginningFor, trainSize } from './train.js';
import { notOurs, type ReplayHost, type Verdict } from './verdict.js';

/** A packet on its way: [at, end) of `bytes`. */
interface Found {
  readonly bytes: Buffer;
  readonly at: number;
  readonly end: number;
  /** The vnet header that it was kept with. */
  readonly offload: Uint8Array | undefined;
  /** Of a train as `trainSize` tells it; 0 for one datagram. */
  readonly segment: number;
}

/** What the lane is given. */
export type Given =
  | { readonly side: 'underlay'; readonly what: string; readonly datagram: ReceivedDatagram }
  | {
      readonly side: 'tun';
      readonly what: string;
      readonly packet: Uint8Array;
      readonly vnet: Uint8Array;
    };

const PACKET_MAX = 65535;
/** Before an inner packet. */
const ENCAPSULATION = vxlan.HEADER + ethernet.HEADER;

export class Replay {
  readonly #host: ReplayHost;
  readonly #device: MemoryDevice;
  readonly #underlay: MemoryUnderlay;
  readonly #shared = createCounters(1);
  readonly #counters = new Counters(this.#shared);
  readonly #lane: Lane;
  readonly #outer: OuterHeaders;
  readonly #sides: Sides;
  readonly #beginning: Buffer;

  constructor(host: ReplayHost) {
    this.#host = host;
    this.#sides = new Sides(host);
    this.#beginning = beginningFor(host.vni, host.mac);
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
      {
        ...{ vni: host.vni, mac: host.mac, mtu: host.mtu, accept: host.accept ?? 'peers' },
        ...{ uso: false, udpSegment: true, vnet: true },
      },
    );
    this.#outer = new OuterHeaders(host.address);
  }

  /** The lane's counters, as `weft status --json` has them. */
  get totals(): CounterTotals {
    return readTotals(this.#shared);
  }

  /** Takes one record of a capture. Never throws, whatever the bytes. */
  take(record: CaptureRecord): Verdict {
    const given = this.prepare(record);
    return 'fate' in given ? given : this.#step(given);
  }

  /** Runs a batch through the lane for the sake of the time it takes; nothing is kept. */
  run(batch: readonly Given[]): void {
    for (const given of batch) this.#push(given);
    while (this.#lane.step() > 0);
    this.#device.written.length = 0;
    this.#underlay.sent.length = 0;
  }

  /** Steps 1 to 4: what the lane is given, or why nothing is. */
  prepare({ linkType, bytes, originalLength }: CaptureRecord): Given | Verdict {
    const refused = refuseLinkType(linkType);
    if (refused !== undefined) {
      return notOurs(`${originalLength} bytes`, { reason: 'link_type', detail: refused });
    }
    const found = findIpv4(linkType, bytes);
    if ('other' in found) {
      const what = `${found.other}, ${originalLength} bytes`;
      return notOurs(what, { reason: 'not_ipv4', detail: found.other });
    }
    const packet = this.#find(bytes, found.at);
    const side = this.#sides.of(packet.bytes, packet.at, packet.end);
    const what = this.#describe(packet);

    const refusal = typeof side === 'object' ? side : undefined;
    const total = packet.at + ipv4.HEADER <= bytes.length ? ipv4.totalLength(bytes, packet.at) : 0;
    if (bytes.length < originalLength && packet.at + total > bytes.length) {
      const also = refusal === undefined ? '' : `; ${refusal.detail}`;
      const detail = `cut by snap length (${bytes.length} of ${originalLength})${also}`;
      return notOurs(what, { reason: 'cut', detail });
    }
    if (refusal !== undefined) return notOurs(what, refusal);
    return side === 'underlay' ? this.#inbound(what, packet) : this.#outbound(what, packet);
  }

  #find(bytes: Buffer, at: number): Found {
    const total = at + ipv4.HEADER <= bytes.length ? ipv4.totalLength(bytes, at) : 0;
    // What lies behind the packet is its offload, or Ethernet's padding or check sequence.
    const whole = total >= ipv4.HEADER ? Math.min(at + total, bytes.length) : bytes.length;
    const end = Math.min(whole, at + PACKET_MAX);
    const offload = offloadOf(bytes.subarray(whole));
    return { bytes, at, end, offload, segment: this.#segmentOf(bytes, at, end) };
  }

  /** A checksum that holds for the whole was made for one datagram: a train has an unfinished one. */
  #segmentOf(bytes: Buffer, at: number, end: number): number {
    if (!this.#sides.isToPort(bytes, at, end) || ipv4.isFragment(bytes, at)) return 0;
    const payload = at + ipv4.headerLength(bytes, at) + udp.HEADER;
    const size = trainSize(bytes.subarray(payload, end), this.#beginning);
    if (size === 0 || ipv4.check(bytes, at, end) !== 0) return size;
    return sumState(bytes, at) === 'right' ? 0 : size;
  }

  #describe({ bytes, at, end, segment }: Found): string {
    const isVxlan =
      this.#sides.isToPort(bytes, at, end) && !this.#sides.inOverlay(ipv4.destination(bytes, at));
    return isVxlan ? describeVxlan(bytes, at, end, segment) : describeIpv4(bytes, at, end);
  }

  /** The underlay's side: what the kernel's UDP layer looks at, then the lane. */
  #inbound(what: string, { bytes, at, end, segment }: Found): Given | Verdict {
    if (ipv4.isFragment(bytes, at)) {
      const detail = 'outer fragment; the kernel puts them together, replay does not';
      return notOurs(what, { reason: 'outer_fragment', detail });
    }
    const transport = at + ipv4.headerLength(bytes, at);
    if (!udp.check(bytes, transport, end)) {
      return notOurs(what, { reason: 'outer_malformed', detail: 'outer UDP length is wrong' });
    }
    if (segment === 0 && isOuterSumWrong(bytes, at, transport + udp.HEADER + ENCAPSULATION)) {
      const detail = 'outer UDP checksum is wrong; the kernel drops it';
      return notOurs(what, { reason: 'outer_checksum', detail });
    }
    const payload = bytes.subarray(
      transport + udp.HEADER,
      transport + udp.length(bytes, transport),
    );
    if (segment === 0 && isUdpSuper(payload, this.#host.mtu)) {
      return notOurs(what, { reason: 'segment_unknown', detail: SEGMENT_UNKNOWN });
    }
    const datagram = {
      payload,
      address: ipv4.source(bytes, at),
      port: udp.sourcePort(bytes, transport),
      tos: ipv4.tos(bytes, at),
      segment,
    };
    return { side: 'underlay', what, datagram };
  }

  /** The TUN's side: as the kernel hands over a packet that it routed there. */
  #outbound(what: string, { bytes, at, end, offload }: Found): Given | Verdict {
    const packet = new Uint8Array(bytes.subarray(at, end));
    const { mtu } = this.#host;
    const header = offload ?? toTun(packet, mtu);
    if (header !== undefined) return { side: 'tun', what, packet, vnet: header };
    if (ipv4.protocol(packet, 0) === ipv4.UDP && sumState(packet, 0) === 'incomplete') {
      return notOurs(what, { reason: 'segment_unknown', detail: SEGMENT_UNKNOWN });
    }
    const next = ipv4.dontFragment(packet, 0)
      ? 'the kernel tells its sender so'
      : 'the kernel cuts it into fragments first';
    const detail = `longer than the TUN's MTU ${mtu}; ${next}`;
    return notOurs(what, { reason: 'longer_than_mtu', detail });
  }

  #push(given: Given): void {
    if (given.side === 'underlay') this.#underlay.push(given.datagram);
    else this.#device.push(given.packet, given.vnet);
  }

  /** Steps 5 and 6. */
  #step(given: Given): Verdict {
    const before = this.#counters.row.slice();
    this.#push(given);
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
    const drops = this.#dropsSince(before);
    const fate = given.side === 'tun' ? 'wrapped' : 'unwrapped';
    return {
      what: given.what,
      fate: packets.length === 0 ? 'dropped' : fate,
      reason: Object.keys(drops).join(' '),
      drops,
      detail: sent[0] === undefined ? '' : `for ${ipv4.formatAddress(sent[0].address)}`,
      packets,
    };
  }

  #dropsSince(before: Float64Array): Record<string, number> {
    const since = new Counters();
    this.#counters.row.forEach((value, column) => {
      since.row[column] = value - before[column]!;
    });
    const named = DROP_NAMES.map((name, index) => [name, since.dropped(index)] as const);
    return Object.fromEntries(named.filter(([, packets]) => packets > 0));
  }
}

/** For a UDP super-packet of a container that sends with UDP_SEGMENT. */
const SEGMENT_UNKNOWN =
  'a UDP super-packet: the lane is told where to cut it, but a capture does not say';

/**
 * Whether the kernel would drop an outer datagram for its checksum. A kernel VTEP leaves an inner
 * sum to its device and makes the outer one for what the device will send (local checksum offload):
 * seen before that, it is right only once the inner one is finished.
 *
 * @param inner where the inner packet begins
 */
function isOuterSumWrong(bytes: Buffer, at: number, inner: number): boolean {
  if (sumState(bytes, at) !== 'wrong') return false;
  const end = at + ipv4.totalLength(bytes, at);
  if (ipv4.check(bytes, inner, end) !== 0 || sumState(bytes, inner) !== 'incomplete') return true;
  const innerEnd = inner + ipv4.totalLength(bytes, inner);
  const sent = Buffer.from(bytes);
  sent.set(finished(bytes.subarray(inner, innerEnd)), inner);
  return sumState(sent, at) === 'wrong';
}

/** Whether a frame holds one UDP packet that is to be cut: only what has no finished sum is. */
function isUdpSuper(frame: Buffer, mtu: number): boolean {
  const at = ENCAPSULATION;
  if (frame.length - at <= mtu || ipv4.check(frame, at, frame.length) !== 0) return false;
  return ipv4.protocol(frame, at) === ipv4.UDP && sumState(frame, at) === 'incomplete';
}

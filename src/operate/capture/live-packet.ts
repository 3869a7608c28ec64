/**
 * A lane's record as a packet for a capture file: what Wireshark is shown, and what is said of it.
 *
 * The outer IPv4 and UDP headers are made here: a lane sees the payload, the other end's address
 * and port, and the TOS, and the kernel keeps the rest to itself. TTL, id and fragments are not
 * what was on the wire, and there is no UDP checksum.
 */

import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { describeIpv4, describeVxlan } from './describe.js';
import type { LiveRecord } from './live-records.js';
import { offloadBehind } from './offload.js';
import { outerHeaders, SOURCE_PORT } from './outer.js';

const PAYLOAD_MAX = 65_507;

/** Where a weft listens, and how it names its reasons. */
export interface LivePlace {
  /** Int32. */
  readonly address: number;
  readonly port: number;
  readonly drops: readonly string[];
}

export interface LivePacket {
  readonly isInner: boolean;
  readonly direction: 'inbound' | 'outbound';
  readonly seconds: number;
  readonly nanoseconds: number;
  /** What is kept of it, one behind the other. */
  readonly parts: readonly Uint8Array[];
  readonly originalLength: number;
  /** Verdict, peer and reason: `in from 10.0.0.9, which is no peer: dropped unknown_sender`. */
  readonly comment: string;
}

export function livePacket(record: LiveRecord, place: LivePlace): LivePacket {
  const { parts, length } = record.isInner ? inner(record) : outer(record, place);
  const micros = Math.floor(record.time * 1000);
  return {
    isInner: record.isInner,
    direction: record.isOutbound ? 'outbound' : 'inbound',
    seconds: Math.floor(micros / 1_000_000),
    nanoseconds: (micros % 1_000_000) * 1000,
    parts,
    originalLength: length,
    comment: commentOn(record, place.drops),
  };
}

/** One line: time, where, what, and what became of it. */
export function liveText(packet: LivePacket): string {
  const time = new Date(packet.seconds * 1000).toISOString().slice(11, 19);
  const fraction = String(Math.floor(packet.nanoseconds / 1000)).padStart(6, '0');
  const bytes = Buffer.concat(packet.parts);
  const isIpv4 = bytes.length > 0 && bytes[0]! >> 4 === 4;
  const describe = packet.isInner ? describeIpv4 : describeVxlan;
  const what = isIpv4
    ? describe(bytes, 0, bytes.length)
    : `${packet.originalLength} bytes, no IPv4`;
  return `${time}.${fraction} ${packet.isInner ? 'inner' : 'outer'} ${what}: ${packet.comment}`;
}

interface Shown {
  readonly parts: readonly Uint8Array[];
  readonly length: number;
}

/** A super-packet that was kept whole has its vnet header behind it, for `weft replay`. */
function inner({ bytes, length, vnet: header }: LiveRecord): Shown {
  const behind = bytes.length < length ? undefined : offloadBehind(header);
  if (behind === undefined) return { parts: [bytes], length };
  return { parts: [bytes, behind], length: length + behind.length };
}

/** There is no UDP checksum: to sum up what a busy lane shows costs more than all else that is done for it. */
function outer(record: LiveRecord, place: LivePlace): Shown {
  const { address, port, tos, length, isOutbound } = record;
  const here = {
    address: place.address,
    port: isOutbound ? record.ownPort || SOURCE_PORT : place.port,
  };
  const [from, to] = isOutbound ? [here, { address, port }] : [{ address, port }, here];
  const whole = Math.min(length, PAYLOAD_MAX);
  const headers = outerHeaders(whole, {
    source: from.address,
    sourcePort: from.port,
    destination: to.address,
    port: to.port,
    tos,
    id: 0,
  });
  return {
    parts: [headers, record.bytes.subarray(0, PAYLOAD_MAX)],
    length: headers.length + whole,
  };
}

function commentOn(record: LiveRecord, drops: readonly string[]): string {
  const { isOutbound, isOfPeer, isGenerated, reason, lost, address, pieces, pieceSize } = record;
  const other = address === 0 ? '' : ` ${isOutbound ? 'to' : 'from'} ${formatAddress(address)}`;
  const stranger = isOfPeer || address === 0 ? '' : ', which is no peer';
  const maker = isGenerated ? ' made by weft' : '';
  const passed = record.isInner && !isOutbound ? 'delivered' : isOutbound ? 'sent' : 'received';
  const name = drops[reason] ?? `for reason ${reason}`;
  const part = lost < pieces ? ` (${lost} of ${pieces} segments)` : '';
  const verdict = reason === 0 ? passed : `dropped ${name}${part}`;
  const kind = isOutbound ? 'super-packet' : 'merged';
  const parts = pieces === 1 ? '' : `; ${kind}: ${pieces} segments of ${pieceSize} bytes`;
  return `${isOutbound ? 'out' : 'in'}${other}${stranger}${maker}: ${verdict}${parts}`;
}

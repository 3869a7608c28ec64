/** The host that replay is in the tests of this folder, and packets for it. */
import assert from 'node:assert/strict';
import * as checksum from '../../../src/dataplane/wire/checksum.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import * as tcp from '../../../src/dataplane/wire/tcp.js';
import * as udp from '../../../src/dataplane/wire/udp.js';
import { OuterHeaders } from '../../../src/operate/capture/outer.js';
import { Replay } from '../../../src/operate/capture/replay.js';
import type { ReplayHost, Verdict } from '../../../src/operate/capture/verdict.js';
import { hex } from './captures.js';

export const RAW_IP = 101;
export const MTU = 1450;

export function address(text: string): number {
  const parsed = parseAddress(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

export const US = address('192.168.64.3');
export const PEER = address('192.168.64.4');

export function replayOf(host: Partial<ReplayHost> = {}): Replay {
  return new Replay({
    address: US,
    mac: hex('02000000000a'),
    vni: 1,
    port: 8472,
    mtu: MTU,
    overlay: [{ network: address('10.5.0.0'), length: 16 }],
    local: [{ network: address('10.5.52.0'), length: 24 }],
    routes: [
      {
        network: address('10.5.72.0'),
        length: 24,
        peer: { address: PEER, port: 8472, mac: hex('02000000000b') },
      },
    ],
    ...host,
  });
}

export function take(bytes: Buffer, originalLength = bytes.length, linkType = RAW_IP): Verdict {
  return replayOf().take({ number: 1, time: undefined, linkType, bytes, originalLength });
}

/** An inner echo request 10.5.72.9 > 10.5.52.7 as the peer sends it. */
export const D0 = `0800000000000100 02000000000a 02000000000b 0800
  45000024123440003f01998b0a0548090a053407 08003c4a000100017765667477656674`;
export const INNER = hex(D0).subarray(22);

export function outer(
  payload: Uint8Array,
  { from = PEER, to = US, port = 8472, tos = 0 } = {},
): Buffer {
  return Buffer.from(new OuterHeaders(from).wrap(payload, to, port, tos));
}

/** D0 with some bytes replaced. */
export function d0(at: number, bytes: string): Buffer {
  const edited = hex(D0);
  hex(bytes).copy(edited, at);
  return edited;
}

export interface PacketInput {
  readonly protocol: number;
  readonly length: number;
  readonly from?: string;
  readonly to?: string;
  readonly sum?: 'right' | 'incomplete' | 'wrong';
}

/** A TCP or UDP packet of `length` bytes in all. */
export function packetOf({ protocol, length, from, to, sum = 'right' }: PacketInput): Buffer {
  const packet = Buffer.alloc(length, 0x5a);
  hex('4500000012344000400600000000000000000000').copy(packet);
  packet[9] = protocol;
  packet.writeUInt16BE(length, 2);
  packet.writeInt32BE(address(from ?? '10.5.52.7'), 12);
  packet.writeInt32BE(address(to ?? '10.5.72.9'), 16);
  ipv4.seal(packet, 0);
  const isTcp = protocol === ipv4.TCP;
  const header = isTcp ? '30390050 00000064 00000000 5098ffff 00000000' : '30391389 00000000';
  hex(header).copy(packet, 20);
  if (!isTcp) udp.setLength(packet, 20, length - 20);
  const field = 20 + (isTcp ? tcp.SUM_OFFSET : udp.SUM_OFFSET);
  const pseudo = checksum.pseudo(
    packet.readInt32BE(12),
    packet.readInt32BE(16),
    protocol,
    length - 20,
  );
  const full = checksum.complement(checksum.add(pseudo, checksum.sum(packet, 20, length - 20)));
  packet.writeUInt16BE({ right: full, incomplete: pseudo, wrong: full ^ 1 }[sum], field);
  return packet;
}

export function assertVerdict(verdict: Verdict, fate: string, reason: string, detail = /.*/): void {
  assert.deepEqual([verdict.fate, verdict.reason], [fate, reason], verdict.what);
  assert.match(verdict.detail, detail);
  if (fate === 'dropped' || fate === 'not ours') assert.equal(verdict.packets.length, 0);
}

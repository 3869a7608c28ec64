import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DROP_NAMES, Drop } from '../../../src/dataplane/forward/drops.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { livePacket, liveText } from '../../../src/operate/capture/live-packet.js';
import type { LiveRecord } from '../../../src/operate/capture/live-records.js';
import { offloadOf } from '../../../src/operate/capture/offload.js';
import {
  frame,
  headerSumIsRight,
  tcpPacket,
  udpPacket,
  vnetHeader,
} from '../../dataplane/forward/packets.js';
import { withSpoiledMemory } from './spoiled-memory.js';

const PEER = parseAddress('192.168.64.4')!;
const PLACE = { address: parseAddress('192.168.64.3')!, port: 8472, drops: DROP_NAMES };
const NONE = Buffer.alloc(10);

function record(bytes: Uint8Array, more: Partial<LiveRecord> = {}): LiveRecord {
  return {
    ...{ isInner: true, isOutbound: false, isOfPeer: true, isGenerated: false },
    ...{ time: 1_700_000_000_123.456, reason: 0, lost: 0, address: PEER, port: 40_000, ownPort: 0 },
    ...{ tos: 0, pieces: 1, pieceSize: 0, length: bytes.length, vnet: NONE },
    bytes: Buffer.from(bytes),
    ...more,
  };
}

/** With all that is kept of it in one piece. */
function shown(of: LiveRecord) {
  const packet = livePacket(of, PLACE);
  return { ...packet, bytes: Buffer.concat(packet.parts) };
}

describe('a packet of a live capture', () => {
  it('outer: nothing in the headers that are made of what their memory held before', () => {
    const make = () => shown(record(frame(udpPacket({})), { isInner: false })).bytes;
    const bytes = make();
    assert.deepEqual(withSpoiledMemory(make), bytes);
    assert.equal(bytes.readUInt16BE(6), 0, 'no fragment');
    assert.ok(headerSumIsRight(bytes));
    assert.equal(bytes.readUInt16BE(26), 0, 'no sum');
  });

  it('says what became of it', () => {
    const packet = udpPacket({});
    const told = (more: Partial<LiveRecord>) => livePacket(record(packet, more), PLACE).comment;
    const outer = { isInner: false };
    const out = { isOutbound: true };
    assert.equal(told({}), 'in from 192.168.64.4: delivered');
    assert.equal(told(outer), 'in from 192.168.64.4: received');
    assert.equal(told(out), 'out to 192.168.64.4: sent');
    assert.equal(told({ ...out, ...outer }), 'out to 192.168.64.4: sent');
    assert.equal(
      told({ ...outer, isOfPeer: false, reason: Drop.unknown_sender, lost: 1 }),
      'in from 192.168.64.4, which is no peer: dropped unknown_sender',
    );
    assert.equal(
      told({ ...out, address: 0, isOfPeer: false, reason: Drop.outbound_no_route, lost: 1 }),
      'out: dropped outbound_no_route',
    );
    assert.equal(
      told({ ...out, reason: Drop.send_peer_full, lost: 3, pieces: 45, pieceSize: 1398 }),
      'out to 192.168.64.4: dropped send_peer_full (3 of 45 segments); super-packet: 45 segments of 1398 bytes',
    );
    assert.equal(
      told({ pieces: 7, pieceSize: 1000 }),
      'in from 192.168.64.4: delivered; merged: 7 segments of 1000 bytes',
    );
    assert.equal(
      told({ address: 0, isOfPeer: false, isGenerated: true }),
      'in made by weft: delivered',
    );
    assert.equal(told({ reason: 200, lost: 1 }), 'in from 192.168.64.4: dropped for reason 200');
  });

  it('an outer one has headers that fit it, from the one end to the other', () => {
    const payload = frame(tcpPacket({ payload: new Uint8Array(1000) }));
    const inbound = shown(record(payload, { isInner: false, tos: 2 }));
    const outbound = shown(
      record(payload, { isInner: false, isOutbound: true, port: 8473, ownPort: 50_001 }),
    );
    for (const { bytes, originalLength } of [inbound, outbound]) {
      assert.equal(bytes.length, payload.length + 28);
      assert.equal(originalLength, bytes.length);
      assert.ok(headerSumIsRight(bytes.subarray(0, 20)));
      assert.equal(bytes.readUInt16BE(24), payload.length + 8);
      assert.equal(bytes.readUInt16BE(26), 0, 'none, RFC 768');
      assert.ok(Buffer.from(bytes.subarray(28)).equals(Buffer.from(payload)));
    }
    const ends = (bytes: Uint8Array) => Buffer.from(bytes.subarray(12, 24)).toString('hex');
    assert.equal(ends(inbound.bytes), `c0a84004c0a84003${'9c40'}${'2118'}`);
    assert.equal(ends(outbound.bytes), `c0a84003c0a84004${'c351'}${'2119'}`);
    assert.equal(inbound.bytes[1], 2);
  });

  it('an outer one that was cut tells how long it was', () => {
    const payload = frame(tcpPacket({ payload: new Uint8Array(1000) })).subarray(0, 60);
    const cut = shown(record(payload, { isInner: false, length: 1062 }));
    assert.deepEqual([cut.bytes.length, cut.originalLength], [88, 1090]);
    assert.equal(cut.bytes.readUInt16BE(2), 1090);
    assert.equal(cut.bytes.readUInt16BE(24), 1070);
    assert.equal(cut.bytes.readUInt16BE(26), 0);
    assert.ok(headerSumIsRight(cut.bytes.subarray(0, 20)));
  });

  it('a super-packet keeps how it is to be cut, unless it is cut itself', () => {
    const packet = tcpPacket({ payload: new Uint8Array(5000) });
    const header = Buffer.from(vnetHeader(1, 1, 40, 1000, 20, 16));
    const whole = shown(record(packet, { vnet: header }));
    assert.equal(whole.originalLength, whole.bytes.length);
    assert.deepEqual(offloadOf(whole.bytes.subarray(packet.length)), new Uint8Array(header));
    const cut = shown(record(packet.subarray(0, 60), { vnet: header, length: packet.length }));
    assert.deepEqual([cut.bytes.length, cut.originalLength], [60, packet.length]);
  });

  it('as a line: time, what it is, what became of it', () => {
    const line = liveText(livePacket(record(udpPacket({ payload: new Uint8Array(4) })), PLACE));
    assert.equal(
      line,
      '22:13:20.123456 inner UDP 10.5.72.9:40002 > 10.5.52.7:7001 32 bytes: in from 192.168.64.4: delivered',
    );
    const outer = liveText(livePacket(record(frame(udpPacket({})), { isInner: false }), PLACE));
    assert.match(
      outer,
      /^22:13:20\.123456 outer VXLAN 192\.168\.64\.4 > 192\.168\.64\.3 VNI 1: UDP /,
    );
    assert.match(
      liveText(livePacket(record(Buffer.of(0x60, 1)), PLACE)),
      /inner 2 bytes, no IPv4: /,
    );
    assert.match(liveText(livePacket(record(Buffer.alloc(0)), PLACE)), /inner 0 bytes, no IPv4: /);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { beginningFor, trainSize } from '../../../src/operate/capture/train.js';
import * as packets from '../../dataplane/forward/packets.js';

const PORTS = { sourcePort: 1, destinationPort: 2 };
const IN = { source: '10.5.72.2', destination: '10.5.52.2' };
const OURS = beginningFor(1, Uint8Array.from(packets.OUR_MAC));
/** VXLAN, Ethernet, IPv4, UDP. */
const HEADERS = 22 + 28;

/** A frame for us of `length` bytes in all, VXLAN header first. */
function frame(length: number): Buffer {
  const payload = new Uint8Array(length - HEADERS).fill(length);
  return Buffer.from(packets.frame(packets.udpPacket({ ...IN, ...PORTS, payload })));
}

function frames(...lengths: number[]): Buffer {
  return Buffer.concat(lengths.map(frame));
}

function edited(bytes: Buffer, at: number, ...values: number[]): Buffer {
  const copy = Buffer.from(bytes);
  Buffer.from(values).copy(copy, at);
  return copy;
}

describe('the size of a train', () => {
  it('is that of its frames, the last of which may be shorter', () => {
    assert.equal(trainSize(frames(1494, 1494, 1494), OURS), 1494);
    assert.equal(trainSize(frames(1494, 1494, 230), OURS), 1494);
    assert.equal(trainSize(frames(100, 60), OURS), 100);
    assert.equal(trainSize(frames(...Array<number>(43).fill(1494), 51), OURS), 1494);
    assert.equal(trainSize(frames(...Array<number>(128).fill(60)), OURS), 60);
  });

  it('is 0 for one datagram, also with something behind its packet, and for a super-packet', () => {
    assert.equal(trainSize(frame(1494), OURS), 0);
    assert.equal(trainSize(frame(7000), OURS), 0);
    assert.equal(trainSize(Buffer.concat([frame(60), Buffer.alloc(18)]), OURS), 0);
    assert.equal(trainSize(Buffer.concat([frame(60), Buffer.alloc(1400)]), OURS), 0);
    assert.equal(trainSize(Buffer.alloc(0), OURS), 0);
    assert.equal(trainSize(Buffer.alloc(1472), OURS), 0);
    // A beginning behind the packet, but at no place where a train would have one.
    const behind = Buffer.concat([frame(60), Buffer.alloc(40), OURS, Buffer.alloc(140)]);
    assert.equal(trainSize(behind, OURS), 0);
    assert.equal(trainSize(frame(60).subarray(0, 30), OURS), 0);
  });

  it('is 0 where more datagrams would be in it than a kernel puts there', () => {
    assert.equal(trainSize(frames(...Array<number>(129).fill(60)), OURS), 0);
  });

  it('does not depend on one frame: its VNI, its MAC, its length may be wrong', () => {
    const train = frames(200, 200, 200, 90);
    for (const at of [0, 200, 400]) {
      assert.equal(trainSize(edited(train, at + 6, 9), OURS), 200, `VNI at ${at}`);
      assert.equal(trainSize(edited(train, at + 8, 9), OURS), 200, `MAC at ${at}`);
      assert.equal(trainSize(edited(train, at, 0), OURS), 200, `no flag at ${at}`);
      assert.equal(trainSize(edited(train, at + 24, 0, 40), OURS), 200, `too short at ${at}`);
      assert.equal(trainSize(edited(train, at + 24, 5, 220), OURS), 200, `too long at ${at}`);
    }
  });

  it('is told of frames for another host, of another network, and of what is no IPv4', () => {
    const other = edited(frames(200), 4, 0, 0, 7, 0, 2, 2, 2, 2, 2, 2);
    assert.equal(trainSize(Buffer.concat([other, other, other]), OURS), 200);
    for (const [type, length] of [
      [[0x08, 0x06], 50], // ARP
      [[0x08, 0x06], 68], // ARP that Ethernet filled up
      [[0x88, 0xcc], 100], // LLDP, whose length nobody tells
      [[0x86, 0xdd], 100], // IPv6 of no length that makes sense
    ] as const) {
      const one = edited(Buffer.concat([frame(50), Buffer.alloc(length - 50)]), 20, ...type);
      assert.equal(trainSize(Buffer.concat([one, one, one]), OURS), length, `${type}`);
    }
    const ipv6 = edited(frame(162), 20, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 100);
    assert.equal(trainSize(Buffer.concat([ipv6, ipv6]), OURS), 162);
  });

  it('leaves one packet of a container alone that holds VXLAN frames of its own', () => {
    const inner = frames(200, 200);
    const payload = Uint8Array.from(inner);
    const one = Buffer.from(packets.frame(packets.udpPacket({ ...IN, ...PORTS, payload })));
    assert.equal(trainSize(one, OURS), 0);
  });

  it('is found for any train, and is never more than the datagram', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: HEADERS, max: 1494 }),
        fc.integer({ min: 2, max: 40 }),
        fc.integer({ min: HEADERS, max: 1494 }),
        (size, count, last) => {
          const lengths = [...Array<number>(count).fill(size), Math.min(last, size)];
          assert.equal(trainSize(frames(...lengths), OURS), size);
        },
      ),
      { numRuns: 50 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => {
        const payload = Buffer.concat([OURS, bytes, OURS, bytes]);
        const size = trainSize(payload, OURS);
        assert.ok(size >= 0 && size < payload.length);
      }),
    );
  });
});

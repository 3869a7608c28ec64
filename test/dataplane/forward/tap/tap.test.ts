import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Drop } from '../../../../src/dataplane/forward/drops.js';
import { EAGAIN, EINVAL, EIO, EPERM } from '../../../../src/dataplane/io/native.js';
import type { LiveRecord } from '../../../../src/operate/capture/live-records.js';
import { frame, OVERHEAD, PEER_B, PEER_C, STRANGER, tcpPacket, udpPacket } from '../packets.js';
import { offloadOf, pushSuper, TO_B, TO_C } from '../push.js';
import { Random } from '../random.js';
import { Rig } from '../rig.js';
import { OWN_PORT, Shown, TIME } from './shown.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const inner = (records: readonly LiveRecord[]) => records.filter(({ isInner }) => isInner);
const outer = (records: readonly LiveRecord[]) => records.filter(({ isInner }) => !isInner);

describe('what a lane shows', () => {
  it('outbound: the packet as it was read, the datagrams as they left, to whom', () => {
    const rig = new Rig();
    const shown = new Shown(rig);
    const packet = tcpPacket({ ...TO_B, payload: new Random(1).bytes(3000) });
    const read = packet.slice();
    const sent = rig.read(packet, offloadOf(packet, 1, 1000));
    const records = shown.take();
    assert.equal(records.length, 4);
    const [whole] = inner(records);
    assert.equal(hex(whole!.bytes), hex(read));
    assert.equal(hex(whole!.vnet), hex(offloadOf(packet, 1, 1000)));
    assert.deepEqual([whole!.pieces, whole!.pieceSize, whole!.length], [3, 1000, read.length]);
    assert.deepEqual(
      outer(records).map(({ bytes }) => hex(bytes)),
      sent.map(({ payload }) => hex(payload)),
    );
    for (const record of records) {
      assert.equal(record.isOutbound, true);
      assert.equal(record.isOfPeer, true);
      assert.deepEqual([record.address, record.port], [PEER_B, 8472]);
      assert.deepEqual([record.reason, record.lost, record.time], [0, 0, TIME]);
    }
    for (const record of outer(records)) assert.equal(record.ownPort, OWN_PORT);
  });

  it('outbound: a super-packet that was read in pieces is shown in one', () => {
    const rig = new Rig();
    const shown = new Shown(rig, { outer: false });
    const packets: string[] = [];
    for (let i = 0; i < 4; i += 1) {
      // From the third batch on it is read with room for headers in it.
      const packet = tcpPacket({ ...TO_C, payload: new Random(i).bytes(20_000) });
      packets.push(hex(packet));
      rig.read(packet.slice(), offloadOf(packet, 1, 1398));
    }
    assert.deepEqual(
      shown.take().map(({ bytes }) => hex(bytes)),
      packets,
    );
  });

  it('inbound: each datagram of a train as it came, the packet as it is written, from whom', () => {
    const rig = new Rig();
    const shown = new Shown(rig);
    const frames = [0, 1, 2].map((i) =>
      frame(
        tcpPacket({ payload: new Random(i).bytes(1000), sequence: 1 + 1000 * i, fragment: 0x4000 }),
      ),
    );
    const train = Uint8Array.from(Buffer.concat(frames));
    const written = rig.receive(train, { segment: frames[0]!.length, port: 4321, tos: 2 });
    const records = shown.take();
    assert.deepEqual(
      outer(records).map(({ bytes }) => hex(bytes)),
      frames.map(hex),
    );
    const [merged, ...more] = inner(records);
    assert.equal(more.length, 0);
    assert.equal(hex(merged!.bytes), hex(written[0]!.packet));
    assert.deepEqual([merged!.pieces, merged!.pieceSize], [3, 1000]);
    assert.equal(hex(merged!.vnet), hex(written[0]!.vnet));
    for (const record of records) {
      assert.deepEqual([record.isOutbound, record.isOfPeer], [false, true]);
      assert.deepEqual([record.address, record.port, record.tos], [PEER_B, 4321, 2]);
    }
  });

  it('a dropped datagram, and the packet in it, with the reason', () => {
    const rig = new Rig();
    const shown = new Shown(rig);
    const packet = udpPacket({ payload: new Uint8Array(20) });
    rig.underlay.push({ payload: frame(packet), address: STRANGER });
    rig.underlay.push({ payload: frame(packet, { type: 0x806 }), address: PEER_B });
    rig.underlay.push({ payload: frame(packet).subarray(0, 21), address: PEER_B });
    rig.run();
    const records = shown.take();
    assert.deepEqual(
      records.map(({ isInner, reason, isOfPeer }) => [isInner, reason, isOfPeer]),
      [
        [false, Drop.unknown_sender, false],
        [false, Drop.inner_arp, true],
        [false, Drop.truncated, true],
        [true, Drop.unknown_sender, false],
      ],
    );
    assert.equal(hex(records[3]!.bytes), hex(packet));
  });

  it('what a peer’s socket does not take: which datagrams, and how many of the packet', () => {
    const rig = new Rig();
    const shown = new Shown(rig);
    rig.underlay.refuse = ({ address }) => (address === PEER_C ? EAGAIN : 0);
    pushSuper(rig, TO_B, 5000);
    pushSuper(rig, TO_C, 3500);
    rig.device.push(udpPacket({ ...TO_C, payload: new Uint8Array(9) }));
    rig.run();
    const records = shown.take();
    const full = Drop.send_peer_full;
    const told = inner(records).map(({ reason, lost, pieces }) => [reason, lost, pieces]);
    assert.deepEqual(told, [
      [0, 0, 5],
      [full, 4, 4],
      [full, 1, 1],
    ]);
    const dropped = outer(records).filter(({ reason }) => reason === full);
    assert.equal(dropped.length, 5);
    assert.ok(dropped.every(({ address }) => address === PEER_C));
  });

  it('a train that is sent singly and breaks off: the datagrams that did not leave', () => {
    for (const dropsOnly of [false, true]) {
      const rig = new Rig();
      // So that the next one is read with its segments side by side.
      for (let i = 0; i < 3; i += 1) {
        pushSuper(rig, TO_B, 6012, 1002);
        rig.run();
      }
      const shown = new Shown(rig, { dropsOnly });
      let singles = 0;
      rig.underlay.refuse = ({ segment: size }) => {
        if (size > 0) return EINVAL;
        singles += 1;
        return singles > 2 ? EPERM : 0;
      };
      const wanted = pushSuper(rig, TO_B, 6012, 1002).slice(2).map(hex);
      rig.run();
      const lost = shown.take().filter(({ reason }) => reason === Drop.send_denied);
      assert.deepEqual(
        outer(lost).map(({ bytes }) => hex(bytes.subarray(OVERHEAD))),
        wanted,
      );
      const packets = inner(lost);
      if (dropsOnly)
        assert.deepEqual(
          packets.map(({ bytes }) => hex(bytes)),
          wanted,
        );
      else
        assert.deepEqual(
          packets.map((one) => [one.lost, one.pieces]),
          [[4, 6]],
        );
    }
  });

  it('what the TUN does not take, and what weft makes itself', () => {
    const rig = new Rig();
    const shown = new Shown(rig, { outer: false });
    rig.device.refuse = () => EIO;
    rig.receive(frame(udpPacket({ payload: new Uint8Array(20) })));
    rig.device.refuse = undefined;
    rig.setPathMtu(PEER_B, 1400);
    rig.read(udpPacket({ ...TO_B, fragment: 0x4000, payload: new Uint8Array(1400) }));
    const [refused, long, told] = shown.take();
    assert.deepEqual([refused!.reason, refused!.lost], [Drop.tun_refused, 1]);
    assert.equal(long!.reason, 0);
    assert.deepEqual([told!.isGenerated, told!.isOutbound, told!.address], [true, false, 0]);
    assert.equal(hex(told!.bytes), hex(rig.takeWritten()[0]!.packet));
  });

  it('bytes up to the snap length, and how many there were', () => {
    const rig = new Rig();
    const shown = new Shown(rig, { snap: 50 });
    const packet = udpPacket({ ...TO_B, payload: new Random(3).bytes(100) });
    rig.read(packet);
    const [one, datagram] = shown.take();
    assert.deepEqual([one!.length, hex(one!.bytes)], [128, hex(packet.subarray(0, 50))]);
    assert.deepEqual([datagram!.length, datagram!.bytes.length], [150, 50]);
  });

  it('nothing before, and nothing any more', () => {
    const rig = new Rig();
    rig.read(udpPacket(TO_B));
    const shown = new Shown(rig);
    rig.lane.show(undefined);
    rig.read(udpPacket(TO_B));
    assert.deepEqual(shown.take(), []);
  });

  it('begins anew: what an earlier one left is gone, and so are its counts', () => {
    const rig = new Rig();
    const first = new Shown(rig);
    for (let i = 0; i < 200; i += 1)
      rig.read(tcpPacket({ ...TO_B, payload: new Uint8Array(30_000) }));
    assert.ok(first.ring.missed.inner > 0);
    rig.lane.show(undefined);
    const second = new Shown(rig);
    rig.read(udpPacket(TO_B));
    assert.equal(second.take().length, 2);
    assert.deepEqual(second.missed, { inner: 0, outer: 0 });
  });
});

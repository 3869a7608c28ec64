/** What shares a message, in which order all leaves, and what is counted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  EAGAIN,
  ECONNREFUSED,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENOBUFS,
  EPERM,
} from '../../../src/dataplane/io/native.js';
import { D0 } from '../wire/frames.js';
import {
  frame,
  get32,
  ipv4Packet,
  leavePartial,
  NEEDS_CSUM,
  OVERHEAD,
  PEER_B,
  PEER_C,
  tcpPacket,
  vnetHeader,
} from './packets.js';
import { innerOf, pushSuper, pushUdp, TO_B, TO_C } from './push.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(23);

test('a socket is told whether to cut by the route', () => {
  const rig = new Rig();
  const told: boolean[] = [];
  rig.underlay.socketTo = (_address, _port, cutByRoute) => {
    told.push(cutByRoute);
    return -1;
  };
  for (const cut of [false, true, false]) {
    for (const place of rig.publisher.places(PEER_B)) {
      rig.publisher.rows.setPathMtu(place, 1400, cut);
    }
    rig.read(ipv4Packet(TO_B, random.bytes(50)));
    rig.read(ipv4Packet(TO_C, random.bytes(50)));
  }
  assert.deepEqual(told, [false, false, true, false, false, false]);
});

test('each peer has its packets and bytes counted', () => {
  const rig = new Rig();
  const toB = pushSuper(rig, TO_B, 5300);
  const single = ipv4Packet(TO_C, random.bytes(50));
  rig.device.push(single);
  rig.run();
  const bytes = toB.reduce((sum, { length }) => sum + length, 0);
  const b = rig.peer(PEER_B);
  assert.deepEqual([b.sentPackets, b.sentBytes], [toB.length, bytes]);
  const c = rig.peer(PEER_C);
  assert.deepEqual([c.sentPackets, c.sentBytes], [1, single.length]);
});

test('what does not fit a path whole leaves singly, what does shares sends', () => {
  const rig = new Rig();
  rig.setPathMtu(PEER_B, 1050);
  const fits = pushSuper(rig, TO_B, 9000, 960); // 20 + 20 + 960 + 50 = 1050
  const long = pushSuper(rig, TO_B, 9000, 961);
  const other = pushSuper(rig, TO_C, 9000, 961);
  rig.run();
  const segments = rig.underlay.sent.map(({ segment }) => segment);
  const inner = innerOf(rig);
  assert.deepEqual(inner, [...fits, ...long, ...other]);
  assert.equal(segments[0], 20 + 20 + 960 + OVERHEAD);
  assert.equal(segments.filter((size) => size === 0).length >= long.length - 1, true);
  assert.equal(segments.at(-1)! > 0, true, 'the other peer is not concerned');
  // However long its last segment is, it may stand with those that fit.
  const small = pushSuper(rig, TO_B, 4000, 100);
  rig.run();
  assert.equal(rig.underlay.sent.length, 1);
  assert.deepEqual(innerOf(rig), small);
});

test('datagrams of any length make progress: over 65,000 bytes each goes alone', () => {
  for (const [gso, pathMtu] of [64_900, 64_954, 65_000, 32_500].flatMap((size) => [
    [size, 0] as const,
    [size, 65_535] as const,
  ])) {
    const rig = new Rig({ mtu: 65_485 });
    rig.setPathMtu(PEER_B, pathMtu);
    // From the third batch on they are read as they will be cut.
    for (let batch = 0; batch < 4; batch += 1) {
      const packets = pushUdp(rig, gso, 2 * gso > 65_000 ? 65_400 : 2 * gso);
      rig.run(5);
      assert.deepEqual(innerOf(rig), packets, `${gso}`);
    }
    rig.checkBalance();
  }
});

test('exactly as many segments as the queue holds, and a packet behind them', () => {
  for (const segments of [true, false]) {
    for (const count of segments ? [2047, 2048, 2049] : [255, 256, 257]) {
      const rig = new Rig({ udpSegment: segments });
      const packets = pushSuper(rig, TO_B, count * 20, 20);
      const last = ipv4Packet(TO_B, random.bytes(33));
      rig.device.push(last);
      rig.run(3);
      assert.deepEqual(innerOf(rig), [...packets, last], `${count}`);
      assert.equal(rig.count('outbound_in_packets'), count + 1);
      assert.equal(rig.peer(PEER_B).sentPackets, count + 1);
      rig.checkBalance();
    }
  }
});

test('the slots of dropped messages are given back', () => {
  const rig = new Rig();
  rig.underlay.refuse = () => EAGAIN;
  let dropped = 0;
  for (let i = 0; i < 60; i += 1) {
    dropped += pushSuper(rig, TO_B, 5000, 100).length;
    rig.run();
  }
  assert.ok(dropped > 2048, 'more than there are slots');
  rig.underlay.refuse = undefined;
  const packets = pushSuper(rig, TO_B, 60_000, 100);
  rig.run();
  assert.deepEqual(innerOf(rig), packets);
});

test('without UDP_SEGMENT a batch still leaves by one call, and nothing is told a segment size', () => {
  const rig = new Rig({ udpSegment: false });
  let calls = 0;
  const send = rig.underlay.send.bind(rig.underlay);
  rig.underlay.send = (from, rows, iovecs) => {
    calls += 1;
    return send(from, rows, iovecs);
  };
  const expected = pushSuper(rig, TO_B, 60000);
  rig.run();
  assert.equal(calls, 1);
  assert.ok(rig.underlay.sent.every((message) => message.segment === 0));
  assert.deepEqual(innerOf(rig), expected);
});

test('whatever fails in whatever order: in = out + dropped after every step', (t) => {
  const any = new Random();
  t.diagnostic(`WEFT_SEED=${any.seed}`);
  const rigs = [new Rig(), new Rig({ udpSegment: false })];
  const errnos = [EAGAIN, EAGAIN, EIO, ECONNREFUSED, EPERM, EMSGSIZE, EINVAL, ENOBUFS];
  for (const rig of rigs) {
    let oneIn = 1000000;
    rig.underlay.refuse = () => (any.chance(oneIn) ? any.pick(errnos) : 0);
    rig.device.refuse = () => (any.chance(oneIn) ? any.pick([EIO, EINVAL]) : 0);
    let number = 0;
    let sent = 0;
    const newest = new Map<number, number>();
    // Sequence numbers grow with every packet read: none twice, none out of order.
    const checkSent = (): void => {
      for (const { payload, address } of rig.takeSent()) {
        const sequence = get32(payload, OVERHEAD + 24);
        assert.ok(sequence > (newest.get(address) ?? 0), `WEFT_SEED=${any.seed}`);
        newest.set(address, sequence);
        sent += 1;
      }
    };
    for (let turn = 0; turn < 400; turn += 1) {
      if (any.chance(10)) oneIn = any.pick([2, 3, 10, 1000000]);
      for (let i = any.between(0, 6); i > 0; i -= 1) {
        const to = any.pick([TO_B, TO_C, { ...TO_B, destination: '10.9.9.9' }]);
        const sequence = 1 + number * 10_000;
        number += 1;
        const packet = tcpPacket({ ...to, sequence, payload: any.bytes(3000) });
        if (any.chance(2)) rig.device.push(packet);
        else {
          const vnet = vnetHeader(NEEDS_CSUM, 1, 0, any.pick([100, 1000, 0]), 20, 16);
          rig.device.push(leavePartial(packet), vnet);
        }
        const inner = tcpPacket({ sequence: i * 500, id: i, payload: any.bytes(500) });
        rig.underlay.push({ payload: any.chance(9) ? D0.slice(1) : frame(inner), address: PEER_B });
      }
      rig.lane.step();
      rig.checkBalance();
      checkSent();
      rig.takeReceived();
    }
    rig.underlay.refuse = undefined;
    rig.device.refuse = undefined;
    rig.run();
    checkSent();
    assert.equal(rig.count('outbound_out_packets'), sent);
    rig.checkBalance();
    assert.ok(sent > 1000 && Object.keys(rig.drops()).length > 5);
  }
});

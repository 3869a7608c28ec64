import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropName } from '../../../src/dataplane/forward/drops.js';
import {
  EACCES,
  EAGAIN,
  ECONNREFUSED,
  EHOSTUNREACH,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
  EPERM,
} from '../../../src/dataplane/io/native.js';
import type { SeenName } from '../../../src/dataplane/routes/peer-rows.js';
import { D0 } from '../wire/frames.js';
import { segment } from './oracle.js';
import {
  frame,
  get32,
  ihl,
  ipv4Packet,
  leavePartial,
  NEEDS_CSUM,
  OVERHEAD,
  PEER_B,
  PEER_C,
  sumAt,
  tcpPacket,
  udpPacket,
  vnetHeader,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(23);
const TO_B = { source: '10.5.52.7', destination: '10.5.72.9' } as const;
const TO_C = { source: '10.5.52.7', destination: '10.5.90.9' } as const;

/** Queues a super-packet; gives the packets that it stands for. */
function pushSuper(
  rig: Rig,
  to: typeof TO_B | typeof TO_C,
  size: number,
  gso = 1000,
): Uint8Array[] {
  const packet = tcpPacket({ ...to, payload: random.bytes(size) });
  rig.device.push(
    leavePartial(packet.slice()),
    vnetHeader(NEEDS_CSUM, 1, 0, gso, ihl(packet), sumAt(packet) - ihl(packet)),
  );
  return segment(packet, gso);
}

/** Queues a UDP super-packet; gives the packets that it stands for. */
function pushUdp(rig: Rig, gso: number, size: number): Uint8Array[] {
  const packet = udpPacket({ ...TO_B, payload: random.bytes(size) });
  rig.device.push(leavePartial(packet.slice()), vnetHeader(NEEDS_CSUM, 5, 28, gso, 20, 6));
  return segment(packet, gso);
}

const innerOf = (rig: Rig): Uint8Array[] =>
  rig.takeSent().map(({ payload }) => payload.slice(OVERHEAD));

test('a full socket costs its own peer that message, and nobody waits', () => {
  const rig = new Rig();
  const full: number[][] = [];
  rig.underlay.told = (...what) => full.push(what);
  rig.underlay.refuse = ({ address }) => (address === PEER_C ? EAGAIN : 0);
  const expected: Uint8Array[] = [];
  let lost = 0;
  for (let i = 0; i < 40; i += 1) {
    expected.push(...pushSuper(rig, TO_B, 5000));
    lost += pushSuper(rig, TO_C, 5000).length;
  }
  rig.run();
  assert.deepEqual(innerOf(rig), expected);
  assert.deepEqual(rig.drops(), { send_peer_full: lost });
  assert.equal(rig.peer(PEER_C).droppedFull, lost);
  assert.equal(rig.peer(PEER_B).droppedFull, 0);
  assert.deepEqual(full[0], [PEER_C, 0, 1]);
  rig.checkBalance();
});

const ERRORS: readonly (readonly [string, number, DropName, SeenName])[] = [
  ['ECONNREFUSED', ECONNREFUSED, 'send_peer_unreachable', 'droppedUnreachable'],
  ['EHOSTUNREACH', EHOSTUNREACH, 'send_peer_unreachable', 'droppedUnreachable'],
  ['ENETUNREACH', ENETUNREACH, 'send_peer_unreachable', 'droppedUnreachable'],
  ['EINVAL (a blackhole route)', EINVAL, 'send_failed', 'droppedFailed'],
  ['EPERM', EPERM, 'send_denied', 'droppedDenied'],
  ['EACCES (a prohibit route)', EACCES, 'send_denied', 'droppedDenied'],
  ['EMSGSIZE', EMSGSIZE, 'send_too_long', 'droppedFailed'],
  ['ENOBUFS', ENOBUFS, 'send_peer_full', 'droppedFull'],
  ['an errno nobody thought of', 77, 'send_failed', 'droppedFailed'],
];

for (const [name, errno, reason, seen] of ERRORS) {
  test(`${name} for good: ${reason}, that message only`, () => {
    const rig = new Rig();
    rig.underlay.refuse = ({ address }) => (address === PEER_C ? errno : 0);
    const expected: Uint8Array[] = [];
    expected.push(...pushSuper(rig, TO_B, 5000));
    const lost = pushSuper(rig, TO_C, 7300);
    expected.push(...pushSuper(rig, TO_B, 5000));
    rig.device.push(ipv4Packet(TO_C, random.bytes(50)));
    const last = ipv4Packet(TO_B, random.bytes(50));
    rig.device.push(last);
    rig.run();
    assert.deepEqual(innerOf(rig), [...expected, last]);
    assert.deepEqual(rig.drops(), { [reason]: lost.length + 1 });
    assert.equal(rig.peer(PEER_C)[seen], lost.length + 1);
    assert.equal(rig.peer(PEER_C).segmentAgainIn, 0, 'its tier stays');
    assert.equal(rig.count('segmentation_refused'), 0);
    rig.checkBalance();
  });
}

for (const [name, errno] of [
  ['EIO', EIO],
  ['EINVAL', EINVAL],
  ['EMSGSIZE', EMSGSIZE],
] as const) {
  test(`${name} on a UDP_SEGMENT send: the datagrams go singly, that peer's so for a while`, () => {
    const rig = new Rig();
    rig.underlay.refuse = ({ segment, address }) => (segment > 0 && address === PEER_C ? errno : 0);
    const expected: Uint8Array[] = [];
    for (let i = 0; i < 5; i += 1) {
      expected.push(...pushSuper(rig, i % 2 === 0 ? TO_B : TO_C, 10300));
      const single = ipv4Packet({ ...TO_B, id: i }, random.bytes(100));
      rig.device.push(single);
      expected.push(single);
    }
    rig.run();
    const sent = [...rig.underlay.sent];
    assert.deepEqual(innerOf(rig), expected);
    assert.ok(sent.some(({ segment, address }) => segment > 0 && address === PEER_B));
    assert.deepEqual(rig.drops(), {});
    assert.equal(rig.count('outbound_out_bytes'), rig.count('outbound_in_bytes'));
    assert.equal(rig.peer(PEER_C).segmentRefused, 1, 'both messages of the batch are one refusal');
    assert.equal(rig.peer(PEER_C).segmentAgainIn, 1);
    assert.equal(rig.peer(PEER_B).segmentAgainIn, 0);
    rig.checkBalance();

    // The kernel is not asked again until the time is over; then it may, each time later.
    let asked = 0;
    rig.underlay.refuse = ({ segment, address }) => {
      if (segment === 0 || address !== PEER_C) return 0;
      asked += 1;
      return errno;
    };
    const askedAt: number[] = [];
    for (let second = 1; second < 40; second += 1) {
      rig.publisher.rows.tick(second);
      const before = asked;
      const packets = pushSuper(rig, TO_C, 10300);
      rig.run();
      assert.deepEqual(innerOf(rig), packets);
      if (asked > before) askedAt.push(second);
    }
    assert.deepEqual(askedAt, [2, 4, 8, 16, 32]);
    rig.underlay.refuse = undefined;
    rig.publisher.rows.tick(64);
    pushSuper(rig, TO_C, 10300);
    rig.run();
    assert.ok(rig.underlay.sent.some(({ segment }) => segment > 0));
  });
}

test('a message that is taken apart meets a full socket: the rest of it is lost', () => {
  const rig = new Rig();
  const packets = pushSuper(rig, TO_B, 20300);
  const after = pushSuper(rig, TO_C, 3000);
  let turn = 0;
  rig.underlay.refuse = ({ segment, address }) => {
    if (address !== PEER_B) return 0;
    if (segment > 0) return EIO;
    turn += 1;
    return turn === 6 ? EAGAIN : 0;
  };
  rig.run();
  assert.deepEqual(innerOf(rig), [...packets.slice(0, 5), ...after]);
  assert.deepEqual(rig.drops(), { send_peer_full: packets.length - 5 });
  rig.checkBalance();
});

test('an error in the middle of a message that is taken apart costs the rest of it', () => {
  const rig = new Rig();
  const expected = pushSuper(rig, TO_C, 10000);
  let sends = 0;
  rig.underlay.refuse = (message) => {
    if (message.segment > 0) return EIO;
    sends += 1;
    return sends >= 4 && message.address === PEER_C ? EHOSTUNREACH : 0;
  };
  const last = ipv4Packet(TO_B, random.bytes(50));
  rig.device.push(last);
  rig.run();
  assert.deepEqual(innerOf(rig), [...expected.slice(0, 3), last]);
  assert.deepEqual(rig.drops(), { send_peer_unreachable: 7 });
  rig.checkBalance();
});

for (const errno of [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EMSGSIZE, 71, 92, 95, 112]) {
  test(`errno ${errno} is news of an earlier datagram: the same message goes again, whole`, () => {
    const rig = new Rig();
    let news = 3;
    rig.underlay.refuse = ({ address }) => {
      if (address !== PEER_C || news === 0) return 0;
      news -= 1;
      return errno;
    };
    const expected = [...pushSuper(rig, TO_C, 5000), ...pushSuper(rig, TO_B, 5000)];
    rig.run();
    assert.ok(rig.underlay.sent.every(({ segment }) => segment > 0));
    assert.deepEqual(innerOf(rig), expected);
    assert.deepEqual(rig.drops(), {});
    const { portUnreachable, otherErrors } = rig.peer(PEER_C);
    assert.deepEqual([portUnreachable, otherErrors], errno === ECONNREFUSED ? [3, 0] : [0, 3]);
    assert.equal(rig.peer(PEER_B).otherErrors, 0);
  });
}

test('news that never ends: bounded tries, and the next message has its own', () => {
  const rig = new Rig();
  let tries = 0;
  rig.underlay.refuse = ({ address }) => {
    if (address !== PEER_C) return 0;
    tries += 1;
    return ECONNREFUSED;
  };
  pushSuper(rig, TO_C, 5000);
  const expected = pushSuper(rig, TO_B, 5000);
  rig.device.push(ipv4Packet(TO_C, random.bytes(50)));
  rig.run();
  assert.deepEqual(innerOf(rig), expected);
  assert.equal(tries, 16);
});

test('each message has tries of its own', () => {
  const rig = new Rig();
  const left = new Map<string, number>();
  rig.underlay.refuse = ({ payload, address }) => {
    const key = `${address} ${payload.length}`;
    const news = left.get(key) ?? 5;
    left.set(key, news - 1);
    return news > 0 ? EHOSTUNREACH : 0;
  };
  const expected = [...pushSuper(rig, TO_C, 5000), ...pushSuper(rig, TO_B, 7000)];
  expected.push(...pushSuper(rig, TO_C, 9000));
  rig.run();
  assert.deepEqual(innerOf(rig), expected);
  assert.deepEqual(rig.drops(), {});
});

for (const errno of [EAGAIN, ENOBUFS, EPERM, EACCES, EINVAL, EIO]) {
  test(`errno ${errno} is the send's own, which is not made again`, () => {
    const rig = new Rig();
    let sends = 0;
    rig.underlay.refuse = () => {
      sends += 1;
      return errno;
    };
    rig.device.push(ipv4Packet(TO_B, random.bytes(50)));
    rig.run();
    assert.equal(sends, 1);
    assert.equal(rig.peer(PEER_B).otherErrors, 0);
  });
}

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

test('EIO on a single datagram is that datagram’s fault', () => {
  const rig = new Rig();
  rig.underlay.refuse = ({ address }) => (address === PEER_C ? EIO : 0);
  rig.device.push(ipv4Packet(TO_C, random.bytes(50)));
  rig.device.push(ipv4Packet(TO_B, random.bytes(50)));
  rig.run();
  assert.equal(rig.takeSent().length, 1);
  assert.deepEqual(rig.drops(), { send_failed: 1 });
  assert.equal(rig.peer(PEER_C).segmentRefused, 0);
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

/** What a send that fails costs: its own peer, and no more than its message. */
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
import { ipv4Packet, PEER_B, PEER_C } from './packets.js';
import { innerOf, pushSuper, TO_B, TO_C } from './push.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

const random = new Random(24);

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

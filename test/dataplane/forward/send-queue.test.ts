import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropName } from '../../../src/dataplane/forward/drops.js';
import {
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

const innerOf = (rig: Rig): Uint8Array[] =>
  rig.takeSent().map(({ payload }) => payload.slice(OVERHEAD));

test('EAGAIN: outbound waits, nothing is lost or doubled, inbound goes on', () => {
  const rig = new Rig();
  const expected: Uint8Array[] = [];
  for (let i = 0; i < 40; i += 1) expected.push(...pushSuper(rig, TO_B, 20000));
  let room = 3;
  let reads = 0;
  const read = rig.device.read.bind(rig.device);
  rig.device.read = () => {
    reads += 1;
    return read();
  };
  rig.underlay.refuse = () => {
    room -= 1;
    return room >= 0 ? 0 : EAGAIN;
  };
  const got: Uint8Array[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    rig.lane.step();
    assert.equal(rig.lane.blocked, true);
    assert.ok(rig.lane.queued > 0);
    rig.checkBalance();
    assert.deepEqual(rig.receive(frame(ipv4Packet({}, random.bytes(turn)))).length, 1);
    assert.equal(reads, 1, 'the TUN is not read while the underlay is full');
  }
  got.push(...innerOf(rig));
  while (rig.lane.blocked) {
    room = random.between(0, 3);
    rig.lane.step();
    rig.checkBalance();
    got.push(...innerOf(rig));
  }
  rig.underlay.refuse = undefined;
  rig.run();
  got.push(...innerOf(rig));
  assert.deepEqual(got, expected);
  assert.deepEqual(rig.drops(), {});
  assert.equal(rig.lane.queued, 0);
  assert.ok(rig.count('underlay_full') >= 4);
  rig.checkBalance();
});

test('EAGAIN for a packet whose checksum was finished already: finished once', () => {
  const rig = new Rig();
  rig.underlay.refuse = () => EAGAIN;
  const packets = Array.from({ length: 64 }, (_, i) =>
    udpPacket({ ...(i % 2 === 0 ? TO_B : TO_C), id: i, payload: random.bytes(30) }),
  );
  for (const packet of packets) {
    rig.device.push(leavePartial(packet.slice()), vnetHeader(NEEDS_CSUM, 0, 0, 0, 20, 6));
  }
  rig.run(5);
  rig.underlay.refuse = undefined;
  rig.run();
  assert.deepEqual(innerOf(rig), packets);
});

const ERRORS: readonly (readonly [string, number, DropName])[] = [
  ['ECONNREFUSED', ECONNREFUSED, 'send_peer_unreachable'],
  ['EHOSTUNREACH', EHOSTUNREACH, 'send_peer_unreachable'],
  ['ENETUNREACH', ENETUNREACH, 'send_peer_unreachable'],
  ['EINVAL (a blackhole route)', EINVAL, 'send_peer_unreachable'],
  ['EPERM', EPERM, 'send_denied'],
  ['EMSGSIZE', EMSGSIZE, 'send_too_long'],
  ['ENOBUFS', ENOBUFS, 'send_failed'],
  ['an errno nobody thought of', 77, 'send_failed'],
];

for (const [name, errno, reason] of ERRORS) {
  test(`${name}: ${reason}, that message only`, () => {
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
    assert.equal(rig.lane.segments, true, 'the tier stays');
    assert.equal(rig.lane.blocked, false);
    rig.checkBalance();
  });
}

test('EIO on a UDP_SEGMENT send: the same datagrams go singly, once each, and the tier is off', () => {
  const rig = new Rig();
  let messages = 0;
  rig.underlay.refuse = (message) => {
    messages += 1;
    return message.segment > 0 && messages > 2 ? EIO : 0;
  };
  const expected: Uint8Array[] = [];
  for (let i = 0; i < 5; i += 1) {
    expected.push(...pushSuper(rig, i % 2 === 0 ? TO_B : TO_C, 10300));
    const single = ipv4Packet({ ...TO_B, id: i }, random.bytes(100));
    rig.device.push(single);
    expected.push(single);
  }
  rig.run();
  assert.equal(rig.lane.segments, false);
  assert.deepEqual(innerOf(rig), expected);
  assert.deepEqual(rig.drops(), {});
  assert.equal(rig.count('segmentation_refused'), 1);
  assert.equal(rig.count('outbound_out_bytes'), rig.count('outbound_in_bytes'));
  rig.checkBalance();

  expected.splice(0, expected.length, ...pushSuper(rig, TO_B, 10300));
  rig.run();
  assert.ok(rig.underlay.sent.every((message) => message.segment === 0));
  assert.deepEqual(innerOf(rig), expected);
  assert.equal(rig.count('segmentation_refused'), 1);
});

test('EIO, then EAGAIN in the middle of a message that is taken apart', () => {
  const rig = new Rig();
  const expected = [...pushSuper(rig, TO_B, 20300), ...pushSuper(rig, TO_C, 20300)];
  let turn = 0;
  rig.underlay.refuse = (message) => {
    if (message.segment > 0) return EIO;
    turn += 1;
    return turn % 3 === 0 ? EAGAIN : 0;
  };
  for (let i = 0; i < 200 && (i === 0 || rig.lane.blocked); i += 1) {
    rig.lane.step();
    rig.checkBalance();
  }
  assert.deepEqual(innerOf(rig), expected);
  assert.equal(rig.count('outbound_out_bytes'), rig.count('outbound_in_bytes'));
  assert.deepEqual(rig.drops(), {});
});

test('an error in the middle of a message that is taken apart costs the rest of it', () => {
  const rig = new Rig();
  const expected = pushSuper(rig, TO_C, 10000);
  let sends = 0;
  rig.underlay.refuse = (message) => {
    if (message.segment > 0) return EIO;
    sends += 1;
    return sends === 4 ? EHOSTUNREACH : 0;
  };
  const last = ipv4Packet(TO_B, random.bytes(50));
  rig.device.push(last);
  rig.run();
  assert.deepEqual(innerOf(rig), [...expected.slice(0, 3), last]);
  assert.deepEqual(rig.drops(), { send_peer_unreachable: 7 });
  rig.checkBalance();
});

test('ECONNREFUSED once is news of an earlier datagram: the message goes again', () => {
  const rig = new Rig();
  let refusals = 0;
  rig.underlay.refuse = ({ address }) => {
    if (address !== PEER_C || refusals === 1) return 0;
    refusals += 1;
    return ECONNREFUSED;
  };
  const expected = [...pushSuper(rig, TO_C, 5000), ...pushSuper(rig, TO_B, 5000)];
  rig.run();
  assert.deepEqual(innerOf(rig), expected);
  assert.deepEqual(rig.drops(), {});
  assert.equal(rig.count('peer_refused'), 1);
});

test('EIO on a single datagram is that datagram’s fault', () => {
  const rig = new Rig();
  rig.underlay.refuse = ({ address }) => (address === PEER_C ? EIO : 0);
  rig.device.push(ipv4Packet(TO_C, random.bytes(50)));
  rig.device.push(ipv4Packet(TO_B, random.bytes(50)));
  rig.run();
  assert.equal(rig.takeSent().length, 1);
  assert.deepEqual(rig.drops(), { send_failed: 1 });
  assert.equal(rig.lane.segments, true);
});

test('without UDP_SEGMENT a batch still leaves by one call, and nothing is told a segment size', () => {
  const rig = new Rig({ segments: false });
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

test('whatever fails in whatever order: in = out + dropped + queued after every step', (t) => {
  const any = new Random();
  t.diagnostic(`WEFT_SEED=${any.seed}`);
  const rigs = [new Rig(), new Rig({ segments: false })];
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
    assert.equal(rig.lane.queued, 0);
    assert.equal(rig.count('outbound_out_packets'), sent);
    rig.checkBalance();
    assert.ok(sent > 1000 && Object.keys(rig.drops()).length > 5);
  }
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as checksum from '../../../src/dataplane/wire/checksum.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import * as tcp from '../../../src/dataplane/wire/tcp.js';
import * as udp from '../../../src/dataplane/wire/udp.js';
import { sumState } from '../../../src/operate/capture/offload.js';
import { hex } from './captures.js';
import {
  address,
  assertVerdict,
  D0,
  d0,
  INNER,
  MTU,
  outer,
  PEER,
  packetOf,
  RAW_IP,
  replayOf,
  take,
  US,
} from './host.js';

describe('replay, from the underlay', () => {
  it('unwraps a datagram for us', () => {
    const verdict = take(outer(hex(D0)));
    assertVerdict(verdict, 'unwrapped', '');
    assert.deepEqual(
      verdict.packets.map((p) => Buffer.from(p).toString('hex')),
      [INNER.toString('hex')],
    );
    assert.equal(
      verdict.what,
      'VXLAN 192.168.64.4 > 192.168.64.3 VNI 1: ICMP 10.5.72.9 > 10.5.52.7 DF 36 bytes',
    );
  });

  const dropped: readonly (readonly [reason: string, at: number, bytes: string])[] = [
    ['no_vni_flag', 0, '00'],
    ['no_vni_flag', 0, 'f7'],
    ['foreign_vni', 4, '000002'],
    ['foreign_mac', 8, '02000000000c'],
    ['inner_arp', 20, '0806'],
    ['inner_ipv6', 20, '86dd'],
    ['inner_vlan', 20, '81000005'],
    ['bad_ipv4_checksum', 32, '0000'],
  ];
  for (const [reason, at, bytes] of dropped) {
    it(`tells the lane's reason: ${reason} (${bytes} at ${at})`, () => {
      assertVerdict(take(outer(d0(at, bytes))), 'dropped', reason);
    });
  }

  it('drops what comes from a stranger', () => {
    const verdict = take(outer(hex(D0), { from: address('192.168.64.77') }));
    assertVerdict(verdict, 'dropped', 'unknown_sender');
  });

  it('is not for us: another destination, another port, another protocol', () => {
    const elsewhere = outer(hex(D0), { from: US, to: PEER });
    assertVerdict(take(elsewhere), 'not ours', 'other_destination', /192\.168\.64\.4, not for us/);
    assertVerdict(take(outer(hex(D0), { port: 4789 })), 'not ours', 'not_vxlan');
    const tcpToUs = { from: '192.168.64.4', to: '192.168.64.3', protocol: ipv4.TCP, length: 60 };
    assertVerdict(take(packetOf(tcpToUs)), 'not ours', 'not_vxlan');
    const foreign = { from: '192.0.2.1', to: '192.0.2.2', protocol: ipv4.TCP, length: 60 };
    assertVerdict(take(packetOf(foreign)), 'not ours', 'not_vxlan', /outside the overlay/);
  });

  it('never forwards what the snap length cut', () => {
    const whole = outer(hex(D0));
    for (let length = 20; length < whole.length; length += 1) {
      const verdict = take(whole.subarray(0, length), whole.length);
      const detail = new RegExp(`cut by snap length \\(${length} of ${whole.length}\\)`);
      assertVerdict(verdict, 'not ours', 'cut', detail);
    }
  });

  it('takes a packet as whole when only what lies behind it was cut', () => {
    const ethernet = Buffer.concat([hex('02000000000a02000000000b0800'), outer(hex(D0))]);
    const padded = Buffer.concat([ethernet, Buffer.alloc(10)]);
    assertVerdict(take(padded, padded.length, 1), 'unwrapped', '');
    assertVerdict(take(ethernet, padded.length, 1), 'unwrapped', '');
  });

  it('looks at the outer checksum as the kernel does: 0 and unfinished pass, wrong does not', () => {
    const datagram = outer(hex(D0));
    const right = udp.sum(datagram, 20);
    const pseudo = checksum.pseudo(PEER, US, ipv4.UDP, datagram.length - 20);
    for (const [sum, passes] of [
      [right, true],
      [0, true],
      [pseudo, true],
      [right ^ 1, false],
    ] as const) {
      udp.setSum(datagram, 20, sum);
      const verdict = take(datagram);
      if (passes) assertVerdict(verdict, 'unwrapped', '');
      else assertVerdict(verdict, 'not ours', 'outer_checksum');
    }
  });

  it('leaves outer fragments to the kernel', () => {
    for (const word of ['2000', '0010']) {
      const fragment = outer(hex(D0));
      hex(word).copy(fragment, 6);
      ipv4.seal(fragment, 0);
      assertVerdict(take(fragment), 'not ours', 'outer_fragment');
    }
  });

  it('carries the outer ECN in', () => {
    const ect = hex(D0);
    ipv4.setTos(ect, 22, 2);
    const verdict = take(outer(ect, { tos: 3 }));
    assertVerdict(verdict, 'unwrapped', '');
    assert.equal(ipv4.tos(verdict.packets[0]!, 0), 3);
  });

  it('writes a super-packet as the segments that leave the TUN', () => {
    const inner = packetOf({
      protocol: ipv4.TCP,
      length: 7042,
      from: '10.5.72.9',
      to: '10.5.52.7',
      sum: 'incomplete',
    });
    const verdict = take(outer(Buffer.concat([hex(D0).subarray(0, 22), inner])));
    assertVerdict(verdict, 'unwrapped', '');
    assertSegments(verdict.packets, inner);
  });
});

/** They carry the payload of the super-packet once, in order, with right sums and flags. */
function assertSegments(packets: readonly Uint8Array[], whole: Buffer): void {
  const payload = Buffer.concat(packets.map((packet) => packet.subarray(40)));
  assert.ok(payload.equals(whole.subarray(40)));
  let sequence = tcp.sequence(whole, 20);
  packets.forEach((packet, index) => {
    const last = index === packets.length - 1;
    assert.equal(ipv4.check(packet, 0, packet.length), 0);
    assert.equal(sumState(packet, 0), 'right');
    assert.equal(last || packet.length === MTU, true);
    assert.equal(ipv4.id(packet, 0), ipv4.id(whole, 0) + index);
    assert.equal(tcp.sequence(packet, 20), sequence);
    sequence += packet.length - 40;
    const flags = tcp.flags(packet, 20);
    assert.equal((flags & tcp.PSH) !== 0, last);
    assert.equal((flags & tcp.CWR) !== 0, index === 0);
  });
}

describe('replay, from the TUN', () => {
  it('wraps an inner packet with the outer headers of a kernel VTEP', () => {
    const inner = packetOf({ protocol: ipv4.UDP, length: 100 });
    const verdict = take(inner);
    assertVerdict(verdict, 'wrapped', '', /192\.168\.64\.4/);
    const [packet] = verdict.packets;
    assert.ok(packet !== undefined);
    // version and length, total length, id 0, DF clear, TTL 64, UDP
    const head = Buffer.from(packet).toString('hex');
    assert.match(head, /^45000096000000004011.{4}c0a84003c0a84004c0002118/);
    assert.equal(sumState(packet, 0), 'right');
    assert.notEqual(udp.sum(packet, 20), 0);
    assert.equal(
      head.slice(56, 56 + 44),
      '0800000000000100 02000000000b 02000000000a 0800'.replaceAll(' ', ''),
    );
    assert.equal(head.slice(100), inner.toString('hex'));
  });

  it('counts the outer id up', () => {
    const replay = replayOf();
    const ids = [0, 1, 2].map((number) => {
      const bytes = packetOf({ protocol: ipv4.UDP, length: 60 });
      const record = { number, time: undefined, linkType: RAW_IP, bytes, originalLength: 60 };
      return ipv4.id(replay.take(record).packets[0]!, 0);
    });
    assert.deepEqual(ids, [0, 1, 2]);
  });

  for (const sum of ['right', 'incomplete'] as const) {
    it(`segments a super-packet whose checksum is ${sum}`, () => {
      const inner = packetOf({ protocol: ipv4.TCP, length: 6052, sum });
      const verdict = take(inner);
      assertVerdict(verdict, 'wrapped', '');
      for (const packet of verdict.packets) assert.equal(sumState(packet, 0), 'right');
      assertSegments(
        verdict.packets.map((packet) => packet.subarray(50)),
        inner,
      );
    });
    for (const protocol of [ipv4.TCP, ipv4.UDP]) {
      it(`sends a right checksum when it was ${sum} (protocol ${protocol})`, () => {
        const [packet] = take(packetOf({ protocol, length: 101, sum })).packets;
        assert.ok(packet !== undefined);
        assert.equal(sumState(packet, 50), 'right');
      });
    }
  }

  it('passes a wrong inner checksum on as it is: that is for the receiver to find', () => {
    const inner = packetOf({ protocol: ipv4.TCP, length: 100, sum: 'wrong' });
    const [packet] = take(inner).packets;
    assert.ok(packet !== undefined && inner.equals(packet.subarray(50)));
  });

  it("tells the lane's reason", () => {
    const reason = (to: string, from?: string) =>
      take(packetOf({ protocol: ipv4.UDP, length: 60, to, ...(from && { from }) })).reason;
    assert.equal(reason('10.5.99.1'), 'outbound_no_route');
    assert.equal(reason('10.5.52.9'), 'outbound_local');
    assert.equal(reason('224.0.0.251'), 'outbound_multicast');
    // As int32 these are -1 and 0: neither may match a route.
    assert.equal(reason('0.0.0.0', '255.255.255.255'), 'outbound_no_route');
    assert.equal(reason('255.255.255.255', '0.0.0.0'), 'outbound_multicast');
  });

  it('does not take VXLAN between containers for our own', () => {
    const inner = packetOf({ protocol: ipv4.UDP, length: 100 });
    inner.writeUInt16BE(8472, 22);
    assertVerdict(take(inner), 'wrapped', '');
  });

  it('refuses what the kernel would never hand over: longer than the MTU', () => {
    const datagram = packetOf({ protocol: ipv4.UDP, length: MTU + 1 });
    assertVerdict(take(datagram), 'not ours', 'longer_than_mtu', /1450/);
    assertVerdict(take(datagram.subarray(0, MTU), MTU), 'dropped', 'outbound_malformed');
  });

  it('names what is malformed and what is no IPv4', () => {
    const short = hex('45000013123440003f01000000000000000000000000');
    assertVerdict(take(short), 'dropped', 'outbound_malformed');
    assertVerdict(take(hex('6000000000000000')), 'not ours', 'not_ipv4', /IPv6/);
    assertVerdict(take(hex('45')), 'dropped', 'outbound_malformed');
  });
});

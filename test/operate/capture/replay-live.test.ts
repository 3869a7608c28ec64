/** What a capture on a weft host shows and the wire does not: replay tells what the lane did. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as checksum from '../../../src/dataplane/wire/checksum.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import * as udp from '../../../src/dataplane/wire/udp.js';
import { Summary, verdictJson, verdictText } from '../../../src/operate/capture/report.js';
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

/** As UDP_GRO and UDP_SEGMENT leave it: the pseudo header's sum alone. */
function unfinished(datagram: Buffer): Buffer {
  udp.setSum(datagram, 20, checksum.pseudo(PEER, US, ipv4.UDP, datagram.length - 20));
  return datagram;
}

function train(...frames: Uint8Array[]): Buffer {
  return unfinished(outer(Buffer.concat(frames)));
}

const FRAME = hex(D0);
const FROM_PEER = { from: '10.5.72.9', to: '10.5.52.7' };
const HEAD = FRAME.subarray(0, 22);

describe('replay of what was merged', () => {
  it('cuts a train, and unwraps each of its datagrams', () => {
    const verdict = take(train(FRAME, FRAME, FRAME));
    assertVerdict(verdict, 'unwrapped', '');
    assert.deepEqual(
      verdict.packets.map((packet) => Buffer.from(packet).toString('hex')),
      Array(3).fill(INNER.toString('hex')),
    );
    assert.match(verdict.what, /ICMP 10\.5\.72\.9 > 10\.5\.52\.7 .*, first of a train of 3$/);
  });

  it('counts what the lane drops of a train, and tells that the rest came out', () => {
    const verdict = take(train(FRAME, d0(4, '000007'), FRAME, d0(24, '05dc'), d0(4, '000007')));
    assertVerdict(verdict, 'unwrapped', 'wrong_length foreign_vni');
    assert.deepEqual(verdict.drops, { wrong_length: 1, foreign_vni: 2 });
    assert.equal(verdict.packets.length, 2);
    const record = {
      ...{ number: 7, time: undefined, linkType: RAW_IP, bytes: FRAME },
      originalLength: FRAME.length,
    };
    assert.match(
      verdictText(record, verdict),
      /^ {4}7 {2}at unknown time {2}.*: unwrapped, 2 packets; dropped: wrong_length 1, foreign_vni 2$/,
    );
    const summary = new Summary();
    summary.add(verdict);
    const odd = { longerThanOriginal: 0, longerThanSnapLength: 0 };
    assert.equal(
      summary.text(odd),
      '1 record: 0 wrapped into 0 datagrams, 1 unwrapped into 2 packets, 0 dropped, 0 not ours\n' +
        'dropped:  wrong_length 1, foreign_vni 2',
    );
    const json = JSON.parse(verdictJson(record, verdict)) as Record<string, unknown>;
    assert.equal(json.time, null);
    assert.deepEqual(json.drops, verdict.drops);
  });

  it('drops a train of which nothing comes out', () => {
    const verdict = take(train(d0(4, '000007'), d0(4, '000007')));
    assertVerdict(verdict, 'dropped', 'foreign_vni');
    assert.deepEqual(verdict.drops, { foreign_vni: 2 });
  });

  it('takes a datagram with a finished checksum for one, whatever it looks like', () => {
    const one = take(outer(Buffer.concat([FRAME, FRAME])));
    assertVerdict(one, 'unwrapped', '');
    assert.equal(one.packets.length, 1);
    assert.doesNotMatch(one.what, /train/);
  });

  it('does not judge the checksum of a train: it was looked at before the merge', () => {
    const merged = train(FRAME, FRAME);
    udp.setSum(merged, 20, 0x1234);
    assert.equal(take(merged).packets.length, 2);
  });

  it('describes a train for another host, too', () => {
    const elsewhere = outer(Buffer.concat([FRAME, FRAME]), { from: US, to: PEER });
    udp.setSum(elsewhere, 20, checksum.pseudo(US, PEER, ipv4.UDP, elsewhere.length - 20));
    const verdict = take(elsewhere);
    assertVerdict(verdict, 'not ours', 'other_destination');
    assert.match(verdict.what, /first of a train of 2$/);
  });

  it('takes no outer fragment for a train', () => {
    const fragment = train(FRAME, FRAME);
    hex('2000').copy(fragment, 6);
    ipv4.seal(fragment, 0);
    const verdict = take(fragment);
    assertVerdict(verdict, 'not ours', 'outer_fragment');
    assert.doesNotMatch(verdict.what, /train/);
  });

  it("finishes a kernel peer's inner checksum before it judges the outer one", () => {
    for (const protocol of [ipv4.TCP, ipv4.UDP]) {
      const input = { ...FROM_PEER, protocol, length: 101 };
      const sent = outer(Buffer.concat([HEAD, packetOf({ ...input, sum: 'right' })]));
      const seen = outer(Buffer.concat([HEAD, packetOf({ ...input, sum: 'incomplete' })]));
      udp.setSum(seen, 20, udp.sum(sent, 20));
      const verdict = take(seen);
      assertVerdict(verdict, 'unwrapped', '');
      assert.ok(packetOf({ ...input, sum: 'right' }).equals(verdict.packets[0]!));
      // And what is wrong all the same stays so: the outer sum, or the inner.
      udp.setSum(seen, 20, udp.sum(sent, 20) ^ 1);
      assertVerdict(take(seen), 'not ours', 'outer_checksum');
      const wrong = outer(Buffer.concat([HEAD, packetOf({ ...input, sum: 'wrong' })]));
      udp.setSum(wrong, 20, udp.sum(sent, 20));
      assertVerdict(take(wrong), 'not ours', 'outer_checksum');
    }
  });

  it('says that it cannot know where a UDP super-packet is cut, either way', () => {
    const super_ = { protocol: ipv4.UDP, length: 5000, sum: 'incomplete' } as const;
    assertVerdict(take(packetOf(super_)), 'not ours', 'segment_unknown', /a capture does not say/);
    const inner = packetOf({ ...super_, ...FROM_PEER });
    const inward = take(unfinished(outer(Buffer.concat([HEAD, inner]))));
    assertVerdict(inward, 'not ours', 'segment_unknown', /a capture does not say/);
    // With a finished sum it is one packet, which no TUN of this MTU takes.
    const whole = packetOf({ ...super_, ...FROM_PEER, sum: 'right' });
    assertVerdict(take(outer(Buffer.concat([HEAD, whole]))), 'dropped', 'too_long');
  });
});

describe('replay, which side a packet was on', () => {
  it('does not send what a peer sent us: it is seen again on the TUN and on the bridge', () => {
    assertVerdict(take(Buffer.from(INNER)), 'not ours', 'from_peer', /come out of the tunnel/);
    const local = { protocol: ipv4.UDP, length: 60, from: '10.5.52.7', to: '10.5.52.9' };
    assertVerdict(take(packetOf(local)), 'dropped', 'outbound_local');
    const bytes = packetOf(local);
    const record = { number: 1, time: undefined, linkType: RAW_IP, bytes, originalLength: 60 };
    const peer = { address: PEER, port: 8472, mac: hex('02000000000b') };
    const routes = [{ network: address('10.5.0.0'), length: 16, peer }];
    assertVerdict(replayOf({ routes }).take(record), 'dropped', 'outbound_local');
    const stranger = { ...local, from: '10.5.99.1' };
    assertVerdict(take(packetOf(stranger)), 'dropped', 'outbound_local');
  });

  it('knows VXLAN by UDP and its port, not by the bytes where UDP has the port', () => {
    const toUs = packetOf({
      protocol: ipv4.TCP,
      length: 60,
      from: '192.168.64.4',
      to: '192.168.64.3',
    });
    toUs.writeUInt16BE(8472, 22);
    assertVerdict(take(toUs), 'not ours', 'not_vxlan', /not VXLAN \(UDP to port 8472\)/);
    const toPeer = packetOf({
      protocol: ipv4.TCP,
      length: 60,
      from: '192.168.64.3',
      to: '192.168.64.4',
    });
    toPeer.writeUInt16BE(8472, 22);
    const verdict = take(toPeer);
    assertVerdict(verdict, 'not ours', 'not_vxlan', /^not VXLAN: underlay$/);
    assert.match(verdict.what, /^TCP /);
  });

  it('says of a cut packet what can still be seen: whose it is, and that it is no VXLAN', () => {
    const cut = (bytes: Buffer, to: number) => take(bytes.subarray(0, to), bytes.length);
    const detail = (bytes: Buffer, to: number) => cut(bytes, to).detail.replace(/^.*?\)/, '');
    const vxlan = outer(FRAME);
    assert.equal(detail(vxlan, 60), '');
    // Before its ports it may still be VXLAN for us.
    assert.equal(detail(vxlan, 24), '');
    assert.equal(detail(outer(FRAME, { port: 53 }), 60), '; not VXLAN (UDP to port 8472)');
    const elsewhere = outer(FRAME, { from: US, to: PEER });
    assert.equal(detail(elsewhere, 60), '; VXLAN for 192.168.64.4, not for us');
    const other = { protocol: ipv4.TCP, length: 60, from: '192.0.2.1', to: '192.0.2.2' };
    assert.equal(detail(packetOf(other), 30), '; not VXLAN, and outside the overlay');
    assert.equal(detail(packetOf({ ...other, to: '192.168.64.4' }), 30), '; not VXLAN: underlay');
    assert.equal(detail(packetOf({ protocol: ipv4.TCP, length: 60 }), 30), '');
    assert.match(cut(vxlan, 60).what, /VNI 1: IPv4 header of 10 bytes, too short$/);
  });

  it('says what the kernel does with a packet longer than the MTU', () => {
    const long = packetOf({ protocol: ipv4.UDP, length: MTU + 1 });
    assertVerdict(
      take(long),
      'not ours',
      'longer_than_mtu',
      /1450; the kernel tells its sender so/,
    );
    hex('0000').copy(long, 6);
    ipv4.seal(long, 0);
    assertVerdict(
      take(long),
      'not ours',
      'longer_than_mtu',
      /1450; the kernel cuts it into fragments first/,
    );
  });

  it('names a link type that it does not read, record by record', () => {
    const verdict = take(Buffer.from(INNER), INNER.length, 229);
    assertVerdict(verdict, 'not ours', 'link_type', /link type 229 \(raw IPv6/);
  });

  it('takes the addresses of all that is known for the overlay', () => {
    const overlay = [
      { network: address('10.5.52.0'), length: 24 },
      { network: address('10.5.72.0'), length: 24 },
    ];
    const to = (destination: string) => {
      const bytes = packetOf({
        protocol: ipv4.UDP,
        length: 60,
        from: '10.5.99.1',
        to: destination,
      });
      const record = { number: 1, time: undefined, linkType: RAW_IP, bytes, originalLength: 60 };
      return replayOf({ overlay }).take(record);
    };
    assertVerdict(to('10.5.72.9'), 'wrapped', '');
    assertVerdict(to('10.5.98.1'), 'not ours', 'not_vxlan', /outside the overlay/);
  });

  it('lets in whose packets it is told to', () => {
    const stranger = outer(FRAME, { from: address('192.168.64.77') });
    const record = { number: 1, time: undefined, linkType: RAW_IP, bytes: stranger };
    const fate = (accept: 'peers' | 'any') =>
      replayOf({ accept }).take({ ...record, originalLength: stranger.length }).fate;
    assert.equal(fate('peers'), 'dropped');
    assert.equal(fate('any'), 'unwrapped');
  });
});

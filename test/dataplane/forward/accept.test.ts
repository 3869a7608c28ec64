/** Whose packets are let in: `-accept=peers`, `strict`, `any`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropName } from '../../../src/dataplane/forward/drops.js';
import type { Accept } from '../../../src/dataplane/forward/inbound.js';
import {
  concat,
  type FrameFields,
  frame,
  ip,
  MAC_B,
  MAC_C,
  OVERHEAD,
  PEER_B,
  PEER_C,
  STRANGER,
  seal,
  tcpPacket,
} from './packets.js';
import { Rig } from './rig.js';

/** Peer B has 10.5.72.0/24 and 10.5.73.0/24 (a MAC each), C has 10.5.90.0/24, we 10.5.52.0/24. */
function rigOf(accept: Accept): Rig {
  const rig = new Rig({ accept });
  const peer = (address: number, mac: number[]) => ({
    address,
    port: 8472,
    mac: Uint8Array.from(mac),
  });
  rig.publisher.publish(
    [
      { network: ip('10.5.72.0'), length: 24, peer: peer(PEER_B, MAC_B) },
      { network: ip('10.5.73.0'), length: 24, peer: peer(PEER_B, [2, 0, 0, 0, 0, 0x1b]) },
      { network: ip('10.5.90.0'), length: 24, peer: peer(PEER_C, MAC_C) },
    ],
    [{ network: ip('10.5.52.0'), length: 24 }],
  );
  return rig;
}

const OURS = '10.5.52.7';
const OF_B = '10.5.72.9';
const OF_C = '10.5.90.9';

interface Case {
  readonly what: string;
  readonly source?: string;
  readonly destination?: string;
  readonly sender?: number;
  readonly frame?: FrameFields;
  /** What becomes of it with -accept=peers, strict, any; undefined: it is delivered. */
  readonly drops: readonly (DropName | undefined)[];
}

const both = (reason: DropName): DropName[] => [reason, reason];
const all = (reason: DropName): DropName[] => [reason, reason, reason];

const CASES: readonly Case[] = [
  { what: 'a container of the sender', drops: [] },
  { what: 'one of its other subnet', source: '10.5.73.9', drops: [] },
  { what: 'the overlay address of the sender', source: '10.5.72.0', drops: [] },
  { what: 'to our own overlay address', destination: '10.5.52.0', drops: [] },
  {
    what: "an address that is nobody's",
    source: '192.0.2.1',
    drops: [undefined, 'foreign_source'],
  },
  { what: "another peer's source", source: OF_C, drops: both('foreign_source') },
  { what: 'a source of ours', source: '10.5.52.8', drops: both('spoofed_source') },
  { what: 'a martian source', source: '127.0.0.1', drops: both('spoofed_source') },
  { what: 'to a host of the LAN', destination: '192.168.64.9', drops: both('not_for_us') },
  { what: 'to the internet', destination: '8.8.8.8', drops: both('not_for_us') },
  { what: 'to the metadata service', destination: '169.254.169.254', drops: both('not_for_us') },
  { what: "to another peer's subnet", destination: OF_C, drops: both('not_for_us') },
  { what: 'back to the sender', destination: OF_B, drops: both('not_for_us') },
  { what: 'to a group', destination: '224.0.0.251', drops: both('multicast') },
  { what: 'to a martian', destination: '127.0.0.1', drops: both('martian_destination') },
  { what: 'to a group MAC', frame: { to: [1, 0, 0x5e, 0, 0, 1] }, drops: both('multicast') },
  { what: 'to a foreign MAC', frame: { to: MAC_C }, drops: all('foreign_mac') },
  { what: 'from a stranger', sender: STRANGER, drops: both('unknown_sender') },
  { what: "from another peer than the source's", sender: PEER_C, drops: both('foreign_source') },
];

for (const [i, accept] of (['peers', 'strict', 'any'] as const).entries()) {
  for (const { what, drops, ...fields } of CASES) {
    const { source = OF_B, destination = OURS, sender = PEER_B } = fields;
    const reason = drops[i];
    test(`-accept=${accept}: ${what}: ${reason ?? 'delivered'}`, () => {
      const rig = rigOf(accept);
      const packet = tcpPacket({ source, destination, payload: new Uint8Array(20) });
      const written = rig.receive(frame(packet, fields.frame), { address: sender });
      assert.deepEqual(rig.drops(), reason === undefined ? {} : { [reason]: 1 });
      assert.deepEqual(
        written.map((one) => one.packet),
        reason === undefined ? [packet] : [],
      );
      rig.checkBalance();
    });
  }
}

test('a frame that continues a run has the addresses that were let in, to the last bit', () => {
  const segment = (i: number): Uint8Array =>
    tcpPacket({ fragment: 0x4000, sequence: 1 + 100 * i, payload: new Uint8Array(100) });
  for (let bit = 0; bit < 64; bit += 1) {
    // The checksums are right for the address as it is now: nothing else is wrong with it.
    const changed = segment(2);
    changed[12 + (bit >> 3)]! ^= 1 << (bit & 7);
    const source = changed.slice(12, 16).join('.');
    const destination = changed.slice(16, 20).join('.');
    const forged = tcpPacket({
      fragment: 0x4000,
      sequence: 201,
      source,
      destination,
      payload: new Uint8Array(100),
    });
    const frames = [segment(0), segment(1), forged, segment(2)];
    const train = concat(frames.map((packet) => frame(packet)));
    const rig = rigOf('strict');
    rig.receive(train, { segment: OVERHEAD + 140 });
    const alone = rigOf('strict');
    alone.receive(frame(forged));
    assert.deepEqual(rig.drops(), alone.drops(), `bit ${bit}: ${source} > ${destination}`);
    rig.checkBalance();
  }
});

test('the run of a peer is not continued by whoever sends the same next', () => {
  for (const accept of ['peers', 'strict', 'any'] as const) {
    for (const other of [PEER_C, STRANGER]) {
      const rig = rigOf(accept);
      const packets = [0, 1, 2].map((i) =>
        tcpPacket({ fragment: 0x4000, sequence: 1 + 100 * i, payload: new Uint8Array(100) }),
      );
      for (const [i, address] of [PEER_B, PEER_B, other].entries()) {
        rig.underlay.push({ payload: frame(packets[i]!), address });
      }
      rig.run();
      assert.equal(rig.takeWritten().length, accept === 'any' ? 2 : 1);
      rig.checkBalance();
    }
  }
});

test('what a peer sent is counted for it, what a stranger sent is not', () => {
  const rig = rigOf('any');
  const packet = tcpPacket({ payload: new Uint8Array(100) });
  rig.publisher.rows.tick(70);
  rig.receive(concat([frame(packet), frame(packet)]), { segment: OVERHEAD + packet.length });
  rig.receive(frame(packet), { address: STRANGER });
  rig.publisher.rows.tick(75);
  const reports = [PEER_B, PEER_C].flatMap((address) =>
    rig.publisher.places(address).map((place) => rig.publisher.rows.read(place)),
  );
  assert.deepEqual(
    reports.map((report) => [report.receivedPackets, report.receivedBytes, report.heardSecondsAgo]),
    [
      [2, 280, 5],
      [0, 0, undefined],
      [0, 0, undefined],
    ],
  );
  assert.equal(rig.count('inbound_in_bytes'), 420);
});

test('a frame of another peer is counted for its sender, let in or not', () => {
  const rig = rigOf('peers');
  rig.receive(frame(seal(tcpPacket({ source: OF_C }))));
  const [place] = rig.publisher.places(PEER_B);
  assert.equal(rig.publisher.rows.read(place!).receivedPackets, 1);
});

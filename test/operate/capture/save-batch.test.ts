/** What is kept of a lane that stood still goes through `weft replay` as through the lane. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { Batch } from '../../../src/dataplane/forward/batch.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import * as udp from '../../../src/dataplane/wire/udp.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { PcapWriter } from '../../../src/operate/capture/pcap-writer.js';
import { Replay } from '../../../src/operate/capture/replay.js';
import { saveBatch } from '../../../src/operate/capture/save-batch.js';
import type { Verdict } from '../../../src/operate/capture/verdict.js';
import { segment } from '../../dataplane/forward/oracle.js';
import * as packets from '../../dataplane/forward/packets.js';
import { offloadOf } from '../../dataplane/forward/push.js';
import { pattern } from '../../dataplane/io/arena.js';
import { temporaryFolder } from './captures.js';

const ip = (text: string) => packets.ip(text) | 0;
const [US, PEER] = [packets.US, packets.PEER_B];
const OUT = { source: '10.5.52.2', destination: '10.5.72.2' };
const IN = { source: '10.5.72.2', destination: '10.5.52.2' };
const MAC = Uint8Array.from(packets.OUR_MAC);
const PORTS = { sourcePort: 1, destinationPort: 2 };

const DATAGRAM = packets.frame(packets.udpPacket({ ...IN, ...PORTS, payload: new Uint8Array(9) }));
const BATCH: Batch = {
  packets: [
    {
      packet: packets.udpPacket({ ...OUT, ...PORTS, payload: new Uint8Array(5) }),
      vnet: new Uint8Array(10),
    },
  ],
  datagrams: [
    { payload: DATAGRAM, address: PEER, port: 50_000, tos: 0 },
    { payload: DATAGRAM, address: packets.STRANGER, port: 50_000, tos: 0 },
    { payload: DATAGRAM.subarray(0, 12), address: PEER, port: 50_001, tos: 0 },
    { payload: new Uint8Array(65_535), address: PEER, port: 50_001, tos: 0 },
  ],
};

const place = (directory: string, seconds = 0) => ({
  ...{ directory, device: 'flannel.1', address: US, port: 8472 },
  now: new Date(Date.UTC(2026, 10, 28, 2, 3, seconds)),
});

function replayed(file: string): Verdict[] {
  const replay = new Replay({
    ...{ address: US, mac: MAC, vni: 1, port: 8472, mtu: 1450 },
    overlay: [{ network: ip('10.5.0.0'), length: 16 }],
    local: [{ network: ip('10.5.52.0'), length: 24 }],
    routes: [
      {
        network: ip('10.5.72.0'),
        length: 24,
        peer: { address: PEER, port: 8472, mac: Uint8Array.from(packets.MAC_B) },
      },
    ],
  });
  const capture = openCapture(file);
  const verdicts = [...capture.records()].map((record) => replay.take(record));
  capture.close();
  return verdicts;
}

test('packets go in at the TUN, datagrams at the underlay, from whom they came', () => {
  const file = saveBatch([BATCH], place(temporaryFolder()))!;
  assert.equal(path.basename(file), 'flannel.1-20261128T020300Z.pcap');
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(
    replayed(file).map(({ fate, reason }) => `${fate} ${reason}`.trim()),
    ['wrapped', 'unwrapped', 'dropped unknown_sender', 'dropped truncated', 'dropped no_vni_flag'],
  );
});

test("a datagram's record has the sender's address and port, ours, and its TOS", () => {
  const sent = { payload: DATAGRAM, address: PEER, port: 50_000, tos: 3 };
  const batch = { packets: [], datagrams: [sent, { ...sent, port: 65_535, tos: 0 }] };
  const capture = openCapture(saveBatch([batch], place(temporaryFolder()))!);
  const records = [...capture.records()].map(({ bytes }) => bytes);
  capture.close();
  assert.deepEqual(
    records.map((bytes) => [
      ipv4.source(bytes, 0),
      udp.sourcePort(bytes, 20),
      ipv4.destination(bytes, 0),
      udp.destinationPort(bytes, 20),
      ipv4.tos(bytes, 0),
    ]),
    [
      [PEER, 50_000, US, 8472, 3],
      [PEER, 65_535, US, 8472, 0],
    ],
  );
});

test('a super-packet is cut as it was to be, be it UDP, or TCP in other segments than the MTU’s', () => {
  const payload = pattern(5000);
  for (const [type, size, whole] of [
    [5, 1200, packets.udpPacket({ ...OUT, ...PORTS, payload })],
    [5, 333, packets.udpPacket({ ...OUT, ...PORTS, payload })],
    [1, 777, packets.tcpPacket({ ...OUT, ...PORTS, payload })],
  ] as const) {
    const given = {
      packet: packets.leavePartial(whole.slice()),
      vnet: offloadOf(whole, type, size),
    };
    const file = saveBatch([{ packets: [given], datagrams: [] }], place(temporaryFolder()))!;
    const [verdict] = replayed(file);
    assert.equal(`${verdict!.fate} ${verdict!.reason}`.trim(), 'wrapped');
    assert.deepEqual(
      verdict!.packets.map((packet) => Uint8Array.from(packet.subarray(28 + packets.OVERHEAD))),
      segment(whole, size),
    );
  }
});

test('an offload that does not fit its packet is a drop; of another make it is padding', () => {
  const whole = packets.udpPacket({ ...OUT, ...PORTS, payload: new Uint8Array(99) });
  const good = Buffer.from(offloadOf(whole, 5, 50));
  const take = (behind: Uint8Array): Verdict => {
    const file = path.join(temporaryFolder(), 'one.pcap');
    const writer = new PcapWriter(file);
    writer.write(undefined, Buffer.concat([whole, behind]));
    writer.close();
    return replayed(file)[0]!;
  };
  const behind = (mark: string, header: Uint8Array) =>
    take(Buffer.concat([Buffer.from(mark), header]));
  assert.equal(behind('vnet', good).packets.length, 2);
  assert.equal(behind('vnet', offloadOf(whole, 1, 50)).reason, 'outbound_bad_offload');
  assert.equal(behind('vnet', offloadOf(whole, 5, 0)).reason, 'outbound_bad_offload');
  for (const padding of [behind('vnot', good), behind('vnet', good.subarray(1)), take(good)]) {
    assert.deepEqual([padding.fate, padding.packets.length], ['wrapped', 1]);
  }
});

test('nothing in hand makes no file', () => {
  const folder = temporaryFolder();
  assert.equal(saveBatch([{ packets: [], datagrams: [] }], place(folder)), undefined);
  assert.deepEqual(fs.readdirSync(folder), []);
});

test('the last three of a device are kept, and nothing else is touched', () => {
  const folder = temporaryFolder();
  const others = ['flannel.1.json', 'flannel.1.sock', 'flannel.12-20200101T000000Z.pcap'];
  for (const name of others) fs.writeFileSync(path.join(folder, name), '');
  for (let i = 0; i < 6; i += 1) saveBatch([BATCH], place(folder, i));
  const kept = [3, 4, 5].map((i) => `flannel.1-20261128T02030${i}Z.pcap`);
  assert.deepEqual(fs.readdirSync(folder).sort(), [...others, ...kept].sort());
});

test('a folder that cannot be written is the file system’s error', () => {
  assert.throws(() => saveBatch([BATCH], place('/nonexistent')), { code: 'ENOENT' });
});

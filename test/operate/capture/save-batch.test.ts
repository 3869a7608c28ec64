/** What is kept of a lane that stood still goes through `weft replay` as through the lane. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { Batch } from '../../../src/dataplane/forward/batch.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { Replay } from '../../../src/operate/capture/replay.js';
import { saveBatch } from '../../../src/operate/capture/save-batch.js';
import * as packets from '../../dataplane/forward/packets.js';
import { temporaryFolder } from './captures.js';

const ip = (text: string) => packets.ip(text) | 0;
const [US, PEER] = [packets.US, packets.PEER_B];
const OUT = { source: '10.5.52.2', destination: '10.5.72.2' };
const IN = { source: '10.5.72.2', destination: '10.5.52.2' };
const MAC = Uint8Array.from(packets.OUR_MAC);
const PORTS = { sourcePort: 1, destinationPort: 2 };

const DATAGRAM = packets.frame(packets.udpPacket({ ...IN, ...PORTS, payload: new Uint8Array(9) }));
const BATCH: Batch = {
  packets: [packets.udpPacket({ ...OUT, ...PORTS, payload: new Uint8Array(5) })],
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

test('packets go in at the TUN, datagrams at the underlay, from whom they came', () => {
  const file = saveBatch([BATCH], place(temporaryFolder()));
  assert.equal(path.basename(file!), 'flannel.1-20261128T020300Z.pcap');
  assert.equal(fs.statSync(file!).mode & 0o777, 0o600);
  const replay = new Replay({
    ...{ address: US, mac: MAC, vni: 1, port: 8472, mtu: 1450 },
    network: { network: ip('10.5.0.0'), length: 16 },
    local: [{ network: ip('10.5.52.0'), length: 24 }],
    routes: [
      {
        network: ip('10.5.72.0'),
        length: 24,
        peer: { address: PEER, port: 8472, mac: Uint8Array.from(packets.MAC_B) },
      },
    ],
  });
  const capture = openCapture(file!);
  const verdicts = [...capture.records()].map((record) => replay.take(capture.linkType, record));
  capture.close();
  assert.deepEqual(
    verdicts.map(({ fate, reason }) => `${fate} ${reason}`.trim()),
    ['wrapped', 'unwrapped', 'dropped unknown_sender', 'dropped truncated', 'dropped no_vni_flag'],
  );
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

/**
 * The golden captures, recorded with tcpdump by
 *
 *   unshare --net --mount --pid --fork --kill-child --mount-proc bash test/captures/record.sh
 *
 * and replayed as host 192.168.56.11 of network.json: NAME.out.pcap and NAME.verdicts.txt are
 * what came out, looked through by hand. To write them anew, and then read the difference:
 *
 *   WEFT_WRITE_GOLDEN=1 node scripts/test.mjs capture/golden
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { CaptureRecord } from '../../../src/operate/capture/capture.js';
import { openCapture } from '../../../src/operate/capture/open.js';
import { CAPTURES, ROOT, temporaryFolder } from './captures.js';

const NAMES = ['underlay', 'bridge', 'tun'] as const;
const HOST1 = '192.168.56.11';
const HOST2 = '192.168.56.12';
/** Outer IPv4 and UDP, VXLAN, inner Ethernet. */
const WRAPPING = 50;

const folder = temporaryFolder();

function replay(file: string, as: string, out: string): string {
  const done = spawnSync(
    process.execPath,
    [
      path.join(ROOT, 'dist/src/cli/weft.js'),
      ...['replay', file, '-routes', path.join(CAPTURES, 'network.json')],
      ...['-as', as, '-o', out, '-verdicts'],
    ],
    { encoding: 'utf8', timeout: 30_000 },
  );
  assert.equal(done.status, 0, done.stderr);
  assert.equal(done.stderr, '');
  return done.stdout;
}

function recordsOf(file: string): CaptureRecord[] {
  const capture = openCapture(file);
  try {
    return [...capture.records()];
  } finally {
    capture.close();
  }
}

const hasTshark = spawnSync('tshark', ['--version']).error === undefined;
const withTshark = { skip: hasTshark ? false : 'tshark is not installed: nothing checks the sums' };

const CHECKS = [
  ...['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'],
  ...['-o', 'tcp.check_checksum:TRUE', '-d', 'udp.port==8472,vxlan'],
];
const FAULTS = [
  '_ws.malformed',
  ...['ip', 'udp', 'tcp', 'icmp'].map((name) => `${name}.checksum.status == "Bad"`),
].join(' || ');

/** The numbers of the frames for which the filter holds. */
function framesWhere(file: string, filter: string): number[] {
  const args = ['-r', file, ...CHECKS, '-Y', filter, '-T', 'fields', '-e', 'frame.number'];
  const done = spawnSync('tshark', args, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout.split('\n').filter(Boolean).map(Number);
}

describe('golden captures', () => {
  for (const name of NAMES) {
    it(`${name}: the same packets and verdicts, to the byte`, () => {
      const out = path.join(folder, `${name}.out.pcap`);
      const verdicts = replay(path.join(CAPTURES, `${name}.pcap`), HOST1, out);
      const golden = path.join(CAPTURES, `${name}.out.pcap`);
      const goldenVerdicts = path.join(CAPTURES, `${name}.verdicts.txt`);
      if (process.env.WEFT_WRITE_GOLDEN === '1') {
        fs.copyFileSync(out, golden);
        fs.writeFileSync(goldenVerdicts, verdicts);
      }
      assert.equal(verdicts, fs.readFileSync(goldenVerdicts, 'utf8'));
      assert.ok(fs.readFileSync(out).equals(fs.readFileSync(golden)), `${name}.out.pcap differs`);
    });

    it(`${name}: tshark finds no bad checksum and nothing malformed`, withTshark, () => {
      const golden = path.join(CAPTURES, `${name}.out.pcap`);
      assert.deepEqual(framesWhere(golden, FAULTS), []);
      const all = recordsOf(golden).length;
      const expected = name === 'underlay' ? 0 : all;
      assert.equal(framesWhere(golden, 'vxlan.vni == 1').length, expected);
    });
  }

  it('tshark finds a planted fault at each layer', withTshark, () => {
    const golden = fs.readFileSync(path.join(CAPTURES, 'tun.out.pcap'));
    const records = recordsOf(path.join(CAPTURES, 'tun.out.pcap'));
    const victim = records.find(({ bytes }) => bytes.length > 1000 && bytes[WRAPPING + 9] === 6);
    assert.ok(victim);
    const before = records.slice(0, victim.number - 1);
    const start = before.reduce((at, { bytes }) => at + 16 + bytes.length, 24) + 16;
    const plants = [
      { offset: 8, status: 'ip' }, // the outer TTL
      { offset: WRAPPING + 8, status: 'ip' }, // the inner TTL
      { offset: WRAPPING + 8, status: 'udp' },
      { offset: victim.bytes.length - 1, status: 'tcp' },
    ];
    for (const { offset, status } of plants) {
      const planted = Buffer.from(golden);
      planted[start + offset]! ^= 1;
      const file = path.join(folder, 'planted.pcap');
      fs.writeFileSync(file, planted);
      const found = framesWhere(file, `${status}.checksum.status == "Bad"`);
      assert.deepEqual(found, [victim.number], `${status} at ${offset}`);
    }
  });

  it('the other host unwraps what came out, and gets the very packets', () => {
    for (const name of ['bridge', 'tun']) {
      const wrapped = path.join(CAPTURES, `${name}.out.pcap`);
      const out = path.join(folder, `${name}.back.pcap`);
      const verdicts = replay(wrapped, HOST2, out);
      const records = recordsOf(wrapped);
      assert.match(verdicts, new RegExp(`${records.length} unwrapped into ${records.length} `));
      assert.deepEqual(
        recordsOf(out).map(({ bytes }) => bytes.toString('hex')),
        records.map(({ bytes }) => bytes.subarray(WRAPPING).toString('hex')),
      );
    }
  });

  it('what came from the TUN without offloads is wrapped unchanged, its time kept', () => {
    const inner = recordsOf(path.join(CAPTURES, 'tun.pcap')).filter(({ bytes }) =>
      bytes.subarray(16, 19).equals(Buffer.of(10, 10, 26)),
    );
    const wrapped = recordsOf(path.join(CAPTURES, 'tun.out.pcap'));
    assert.ok(inner.length > 20);
    const key = (r: CaptureRecord, from: number) =>
      `${r.time?.seconds}.${r.time?.nanoseconds} ${r.bytes.toString('hex', from)}`;
    assert.deepEqual(
      wrapped.map((r) => key(r, WRAPPING)),
      inner.map((r) => key(r, 0)),
    );
  });
});

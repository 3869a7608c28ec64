/**
 * What weft puts on the wire, judged by tshark with every checksum check switched on: no
 * malformed packet and no bad sum in a capture of the underlay, and a planted one is found.
 * The outer header is the kernel VTEP's: TTL 64, DF clear, VXLAN flags 08, UDP checksum there.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Running, run } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { type Overlay, openOverlay, ping, tcpTransfer, udpSizes } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'tcpdump', 'tshark', 'ethtool'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const DECODE = ['-d', 'udp.port==8472,vxlan', '-o', 'ip.check_checksum:TRUE'];
const CHECKS = [...DECODE, '-o', 'udp.check_checksum:TRUE', '-o', 'tcp.check_checksum:TRUE'];
/** What tshark calls a packet that is not right. */
const WRONG =
  '_ws.malformed || ip.checksum.status == "Bad" || udp.checksum.status == "Bad" || ' +
  'tcp.checksum.status == "Bad" || icmp.checksum.status == "Bad"';

describe('weft on the wire', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let capture: string;

  const select = async (file: string, filter: string, ...fields: string[]): Promise<string[]> => {
    const columns =
      fields.length === 0 ? [] : ['-T', 'fields', ...fields.flatMap((f) => ['-e', f])];
    const { stdout } = await run(
      ['tshark', '-n', '-r', file, ...CHECKS, '-Y', filter, ...columns],
      { timeout: 60_000 },
    );
    return stdout.split('\n').filter((line) => line !== '');
  };

  before(async () => {
    // The plain wire: every datagram is a packet with finished sums.
    overlay = await openOverlay(['weft', 'weft'], false);
    capture = overlay.hosts[1].path('/run/underlay.pcap');
    // On the switch's port of host2: on the host itself GRO would merge first.
    const dump = new Running('tcpdump', [
      ...['tcpdump', '-i', 'host2', '-n', '-U', '-B', '16384', '-Z', 'root', '-w', capture],
      ...['udp', 'port', '8472'],
    ]);
    await dump.waitFor(/listening on/, 60_000);
    const [xbox1, xbox2] = overlay.containers;
    await ping(xbox1, xbox2);
    await tcpTransfer(xbox1, xbox2, 3_000_000);
    await tcpTransfer(xbox2, xbox1, 3_000_000);
    await udpSizes(xbox1, xbox2, '0-40,1400-1422,2000,9000,65000');
    await sleep(300);
    await dump.stop();
  });
  after(() => overlay?.close());

  test('no malformed packet and no bad checksum, outer or inner', async () => {
    const all = await select(capture, 'vxlan');
    console.log(`# ${all.length} VXLAN packets looked at`);
    assert.ok(all.length > 4_000, `only ${all.length} packets`);
    assert.deepEqual((await select(capture, WRONG)).slice(0, 5), []);
  });

  test('a planted bad sum is found: inner TCP, inner IPv4, outer UDP', async () => {
    const original = fs.readFileSync(capture);
    const [number] = await select(capture, 'tcp.len > 500', 'frame.number');
    let record = 24;
    for (let i = 1; i < Number(number); i += 1) record += 16 + original.readUInt32LE(record + 8);
    const packet = record + 16;
    const inner = packet + 14 + 20 + 8 + 8 + 14;
    for (const [what, at] of [
      ['inner TCP payload', inner + 60],
      ['inner IPv4 id', inner + 4],
      ['outer UDP checksum', packet + 14 + 20 + 6],
    ] as const) {
      const damaged = Buffer.from(original);
      damaged[at]! ^= 0x40;
      const file = `${capture}.damaged`;
      fs.writeFileSync(file, damaged);
      const found = await select(file, WRONG, 'frame.number');
      assert.deepEqual(found, [number], what);
    }
  });

  test('the outer header is that of a kernel VTEP', async () => {
    const rows = await select(
      capture,
      'vxlan',
      ...['ip.ttl', 'ip.flags.df', 'udp.dstport', 'udp.checksum', 'vxlan.flags', 'vxlan.vni'],
    );
    for (const row of rows) {
      const [ttl, df, port, checksum, flags, vni] = row
        .split('\t')
        .map((text) => text.split(',')[0]);
      assert.equal(ttl, '64');
      assert.match(df!, /^(0|False)$/);
      assert.equal(port, '8472');
      assert.notEqual(checksum, '0x0000');
      assert.equal(flags, '0x0800');
      assert.equal(vni, '1');
    }
  });
});

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { describePortUser, parseSockets } from '../../../src/control/host/ports.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const VXLAN = 'ip -j -d link show type vxlan';
const HEAD =
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n';
const line = (local: string, inode: string) =>
  `15976: ${local} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 ${inode} 2 0000000014742915 0\n`;

test('the lines of /proc/net/udp and udp6', () => {
  const text =
    HEAD +
    line('0B38A8C0:2118', '11') +
    line('00000000000000000000000000000000:12B5', '12') +
    line('0000000000000000FFFF00000B38A8C0:2118', '13') +
    line('000080FE00000000FF1FA6FE5E2BD790:2118', '14');
  assert.deepEqual(parseSockets(text), [
    { address: 0xc0a8380b, port: 8472, inode: '11' },
    { address: 0, port: 4789, inode: '12' },
    { address: 0xc0a8380b, port: 8472, inode: '13' },
  ]);
});

test('a process is named, on the same address or on any', async (t) => {
  const root = scratch(t);
  plant(root, { 'net/udp': HEAD + line('0B38A8C0:2118', '14658'), '42/comm': 'flanneld\n' });
  fs.mkdirSync(path.join(root, '42/fd'));
  fs.symlinkSync('socket:[14658]', path.join(root, '42/fd/7'));
  for (const address of ['192.168.56.11', '0.0.0.0']) {
    const told = await describePortUser(new FakeRunner(), address, 8472, root);
    assert.match(
      told!,
      /UDP port 8472 on .* in use by process 42 \(flanneld\); stop it, or set another "Port"/,
    );
  }
  assert.equal(await describePortUser(new FakeRunner(), '192.168.56.12', 8472, root), null);
  assert.equal(await describePortUser(new FakeRunner(), '192.168.56.11', 4789, root), null);
});

test('a kernel VXLAN device is named, else the way to find out', async (t) => {
  const root = scratch(t);
  plant(root, { 'net/udp': HEAD + line('00000000:2118', '14658') });
  const links = [
    { ifname: 'down', flags: [], linkinfo: { info_data: { port: 8472 } } },
    { ifname: 'other', flags: ['UP'], linkinfo: { info_data: { port: 4789 } } },
    { ifname: 'vx', flags: ['UP'], linkinfo: { info_data: { port: 8472 } } },
  ];
  const runner = new FakeRunner({ [VXLAN]: { stdout: JSON.stringify(links) } });
  const told = await describePortUser(runner, '192.168.56.11', 8472, root);
  assert.match(told!, /VXLAN device vx; remove it \(ip link del vx\), or set another "Port"/);
  const none = new FakeRunner({ [VXLAN]: { stdout: '[ ]\n' } });
  assert.match((await describePortUser(none, '192.168.56.11', 8472, root))!, /ss -lnup/);
});

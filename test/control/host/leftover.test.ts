import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import {
  findFlanneld,
  findLeftover,
  removeLeftover,
  seesAllProcesses,
} from '../../../src/control/host/leftover.js';
import { listVxlans } from '../../../src/control/host/vxlan.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const LIST = 'ip -j -d link show type vxlan';
const DELETE = 'ip link del dev flannel.1';
const CLAIM = { device: 'flannel.1', vni: 1, port: 8472 };

/** A row as `ip` prints it beside a flanneld, as far as it matters. */
const row = (ifname: string, data: object = {}, flags = ['BROADCAST', 'UP', 'LOWER_UP']) => ({
  ifindex: 4,
  ifname,
  flags,
  address: '2a:2e:cc:73:34:04',
  linkinfo: {
    info_kind: 'vxlan',
    info_data: { id: 1, local: '192.168.56.11', link: 'ens33', port: 8472, ...data },
  },
});
const showing = (...rows: object[]) =>
  new FakeRunner({ [LIST]: { stdout: JSON.stringify(rows) }, [DELETE]: {} });

/** A /proc with processes by id and name; those of `elsewhere` have another network namespace. */
function fakeProc(root: string, processes: Record<string, string>, elsewhere: string[] = []) {
  plant(root, { 'self/net/dev': 'ours', 'other/net/dev': 'another' });
  for (const [pid, name] of Object.entries(processes)) {
    plant(root, { [`${pid}/comm`]: `${name}\n` });
    fs.mkdirSync(path.join(root, pid, 'net'));
    const namespace = elsewhere.includes(pid) ? 'other' : 'self';
    fs.linkSync(path.join(root, namespace, 'net/dev'), path.join(root, pid, 'net/dev'));
  }
  return root;
}

test('the VXLAN devices of a host', async () => {
  const ipv6 = row('flannel-v6.1', { local: undefined, local6: '2001:db8::1' });
  const runner = showing({}, row('flannel.1'), ipv6, row('vx', { id: 7, port: 4789 }, []));
  const mac = '2a:2e:cc:73:34:04';
  assert.deepEqual(await listVxlans(runner), [
    { name: 'flannel.1', vni: 1, port: 8472, up: true, mac, ipv6: false },
    { name: 'flannel-v6.1', vni: 1, port: 8472, up: true, mac, ipv6: true },
    { name: 'vx', vni: 7, port: 4789, up: false, mac, ipv6: false },
  ]);
  assert.deepEqual(await listVxlans(new FakeRunner({ [LIST]: { stdout: '[ ]\n' } })), []);
  assert.deepEqual(await listVxlans(new FakeRunner({ [LIST]: { code: 255 } })), []);
});

test('a flanneld is one of that name in our network namespace', (t) => {
  const root = fakeProc(
    scratch(t),
    { '7': 'flanneld', '8': 'etcd', '9': 'flanneld-old', '41': 'flanneld' },
    ['7'],
  );
  assert.equal(findFlanneld(root), 41);
  fs.rmSync(path.join(root, '41/net'), { recursive: true });
  assert.equal(findFlanneld(root), null, 'it has ended, and its parent has not looked yet');
  fs.rmSync(path.join(root, 'self'), { recursive: true });
  assert.equal(findFlanneld(root), null);
});

test('weft itself, which may be called flanneld, is none', (t) => {
  assert.equal(findFlanneld(fakeProc(scratch(t), { [process.pid]: 'flanneld' })), null);
});

test('only a VXLAN device of our name and VNI is a leftover', async (t) => {
  const proc = fakeProc(scratch(t), { '8': 'etcd' });
  const left = await findLeftover(
    showing(row('vx', { port: 4789 }), row('flannel.1')),
    CLAIM,
    proc,
  );
  assert.equal(left?.mac, '2a:2e:cc:73:34:04');
  for (const rows of [[], [row('flannel.2')], [row('flannel.1', { id: 2 })]]) {
    assert.equal(await findLeftover(showing(...rows), CLAIM, proc), null);
    assert.equal(await removeLeftover(showing(...rows), CLAIM, proc), false);
  }
});

test('a flanneld that runs keeps its device, and is named', async (t) => {
  const proc = fakeProc(scratch(t), { '41': 'flanneld' });
  const runner = showing(row('flannel.1'));
  const refused = /flannel\.1 is in use by flanneld, process 41; stop it \(.*kill 41\)/;
  await assert.rejects(findLeftover(runner, CLAIM, proc), refused);
  await assert.rejects(removeLeftover(runner, CLAIM, proc), refused);
  assert.deepEqual(runner.ran, [LIST, LIST], 'nothing is removed');
});

test('another VXLAN device would keep the port: nothing is removed', async (t) => {
  const proc = fakeProc(scratch(t), {});
  const both = showing(row('flannel.1'), row('flannel.2', { id: 2 }));
  await assert.rejects(
    removeLeftover(both, CLAIM, proc),
    /flannel\.2 uses UDP port 8472 as well; remove it \(ip link del flannel\.2\), or set another "Port"/,
  );
  assert.deepEqual(both.ran, [LIST]);
  for (const harmless of [
    row('vx', { id: 2, port: 4789 }),
    row('vx', { id: 2 }, ['BROADCAST']),
    row('flannel-v6.1', { local6: '2001:db8::1' }),
  ]) {
    assert.ok(await findLeftover(showing(row('flannel.1'), harmless), CLAIM, proc));
  }
});

test('the leftover is removed; what ip says when it refuses is told', async (t) => {
  const proc = fakeProc(scratch(t), {});
  const runner = showing(row('flannel.1'));
  assert.equal(await removeLeftover(runner, CLAIM, proc), true);
  assert.deepEqual(runner.ran, [LIST, DELETE]);
  const stubborn = new FakeRunner({
    [LIST]: { stdout: JSON.stringify([row('flannel.1')]) },
    [DELETE]: { code: 2, stderr: 'RTNETLINK answers: Operation not permitted\n' },
  });
  await assert.rejects(
    removeLeftover(stubborn, CLAIM, proc),
    /^HostError: cannot remove flanneld's flannel\.1: RTNETLINK answers: Operation not permitted$/,
  );
});

test('whether processes of other containers would be seen', (t) => {
  const root = scratch(t);
  assert.equal(seesAllProcesses(root), false);
  fs.mkdirSync(path.join(root, 'self/ns'), { recursive: true });
  const link = path.join(root, 'self/ns/pid');
  fs.symlinkSync('pid:[4026531836]', link);
  assert.equal(seesAllProcesses(root), true);
  fs.rmSync(link);
  fs.symlinkSync('pid:[4026532800]', link);
  assert.equal(seesAllProcesses(root), false);
});

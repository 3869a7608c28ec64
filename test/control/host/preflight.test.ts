import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { HostError } from '../../../src/control/host/errors.js';
import { preflight } from '../../../src/control/host/preflight.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const V = 'ip -V';
const good = new FakeRunner({ [V]: { stdout: 'ip utility, iproute2-6.1.0, libbpf 1.1.2\n' } });

function places(root: string, capEff: string, tun = '/dev/null') {
  plant(root, { 'self/status': `Name:\tnode\nCapPrm:\t0\nCapEff:\t${capEff}\n` });
  return { tun, proc: root };
}

test('nothing is missing', async (t) => {
  const none = { tun: null, others: [] };
  assert.deepEqual(await preflight(good, places(scratch(t), '000001ffffffffff')), none);
  assert.deepEqual(await preflight(good, places(scratch(t), '0000000000001000')), none);
});

test('each lack is a sentence with a way out', async (t) => {
  const root = scratch(t);
  const busybox = new FakeRunner({
    [V]: { code: 1, stderr: 'BusyBox v1.35.0 multi-call binary.' },
  });
  const told = await preflight(busybox, places(root, 'ffffffffffffefff', path.join(root, 'tun')));
  assert.equal(told.others.length, 2);
  assert.match(told.tun!, /modprobe tun.*--device .*mknod .* c 10 200/);
  assert.match(told.others[0]!, /no CAP_NET_ADMIN/);
  assert.match(told.others[1]!, /BusyBox's, which lacks -batch and -j; install iproute2/);

  const none = new FakeRunner({ [V]: new HostError('ENOENT', 'cannot run ip: install iproute2') });
  const file = places(root, '0000000000001000', path.join(root, 'self/status'));
  const more = await preflight(none, file);
  assert.match(more.tun!, /not a character device/);
  assert.match(more.others[0]!, /install iproute2/);
});

test('a capability that the ip program would not inherit is a lack too', async (t) => {
  const status = (user: number, ambient: string) => {
    const root = scratch(t);
    const caps = `CapEff:\t0000000000001000\nCapAmb:\t${ambient}\n`;
    plant(root, {
      'self/status': `Name:\tnode\nUid:\t${user}\t${user}\t${user}\t${user}\n${caps}`,
    });
    return { tun: '/dev/null', proc: root };
  };
  const [only, ...more] = (await preflight(good, status(1000, '0000000000000000'))).others;
  assert.match(only!, /has CAP_NET_ADMIN, but ip, .*AmbientCapabilities=CAP_NET_ADMIN/);
  assert.deepEqual(more, []);
  assert.deepEqual((await preflight(good, status(1000, '0000000000001000'))).others, []);
  assert.deepEqual((await preflight(good, status(0, '0000000000000000'))).others, []);
});

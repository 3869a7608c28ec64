/** What becomes of a packet, from a status and the kernel's word. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Finding } from '../../../../src/operate/findings/finding.js';
import type { Status } from '../../../../src/operate/status/status.js';
import { fateOf, type KernelRoute } from '../../../../src/operate/status/views/fate.js';
import { fullStatus } from '../full.js';

const well: Status = { ...fullStatus, findings: [] };
const by = (device: string, type = 'unicast'): KernelRoute => ({ device, gateway: null, type });
const error = (about: string, scope: Finding['scope'], text: string): Finding => ({
  ...{ code: 'x', severity: 'error', scope, about, text, cure: '' },
});
const ends = (address: string, kernel: KernelRoute, status = well): [boolean, string] => {
  const { arrives, lines } = fateOf(address, status, kernel);
  return [arrives, lines.at(-1)!.slice(0, 2).join(' ')];
};

test('a packet to a peer arrives where the kernel leads it into the tunnel', () => {
  const [arrives, end] = ends('10.10.60.9', by('flannel.1'));
  assert.equal(arrives, true);
  assert.match(end, /^arrives it would be sent to 203\.0\.113\.250; weft probe 203\.0\.113\.250 /);
  assert.deepEqual(ends('10.10.60.9', by('tun0')).slice(0, 1), [false]);
  const direct = ends('10.10.59.9', by('ens33'));
  assert.deepEqual(direct, [true, 'arrives routed by ens33 to 192.168.56.12, past the tunnel']);
});

test('the longest of the subnets that hold an address is the one it goes to', () => {
  const [first, second] = well.peers;
  const peers = [
    { ...first!, subnet: '10.10.0.0/17' },
    { ...second!, subnet: '10.10.60.0/24' },
  ];
  const [, end] = ends('10.10.60.9', by('flannel.1'), { ...well, peers });
  assert.match(end, /203\.0\.113\.250/);
});

test('what is wrong with another peer, whose address begins the same, says nothing of this one', () => {
  const [first] = well.peers;
  const peer = { ...first!, publicIp: '192.168.56.1', direct: false };
  const other = error('peer 192.168.56.12', 'peer', '192.168.56.12 does not answer');
  const status = { ...well, peers: [peer], findings: [other] };
  assert.equal(ends('10.10.59.9', by('flannel.1'), status)[0], true);
  const own = error('peer 192.168.56.1', 'peer', '192.168.56.1 does not answer');
  const { arrives, lines } = fateOf('10.10.59.9', { ...status, findings: [own] }, by('flannel.1'));
  assert.equal(arrives, false);
  assert.deepEqual(
    lines.filter(([label]) => label === 'error').map(([, text]) => text),
    ['192.168.56.1 does not answer'],
  );
});

test('while nothing passes between this host and others, no packet arrives at one', () => {
  const down = error('ens33', 'host', 'the underlay interface ens33 is down');
  const status = { ...well, findings: [down] };
  assert.deepEqual(ends('10.10.60.9', by('flannel.1'), status), [
    ...[false, 'LOST it would be sent to 203.0.113.250, see the error above'],
  ]);
  assert.equal(ends('10.10.59.9', by('ens33'), status)[0], false, 'nor past the tunnel');
  const store = error('store', 'store', 'etcd does not answer');
  assert.equal(ends('10.10.60.9', by('flannel.1'), { ...well, findings: [store] })[0], true);
});

test('our own subnet: an address of this host, a bridge, or nothing that carries it', () => {
  assert.deepEqual(ends('10.10.58.0', by('lo', 'local')), [
    ...[true, 'arrives it is an address of this host itself'],
  ]);
  assert.equal(ends('10.10.58.7', by('docker0'))[0], true);
  assert.match(ends('10.10.58.7', by('flannel.1'))[1], /dropped there \(outbound_local\)/);
  assert.match(ends('10.10.58.7', { refused: 'Invalid argument' })[1], /^LOST no bridge/);
});

test('what no host has leased, what goes to many, and what is none of ours', () => {
  assert.match(ends('10.10.61.1', by('flannel.1'))[1], /weft drops it \(outbound_no_route\)$/);
  assert.match(ends('10.10.61.1', by('ens33'))[1], /the kernel treats it as any other$/);
  assert.match(ends('224.0.0.1', by('ens33'))[1], /^LOST to many/);
  assert.equal(ends('192.0.2.1', by('ens33'))[0], true);
});

test('the size that reaches a peer in one piece: that of its path', () => {
  const size = (status: Status) =>
    fateOf('10.10.60.9', status, by('flannel.1')).lines.find(([label]) => label === 'size')![1];
  assert.match(size(well), /^up to 1350 bytes in one piece, up to 1450 in fragments/);
  const peers = well.peers.map((peer) => ({ ...peer, pathMtu: null }));
  assert.match(
    size({ ...well, peers }),
    /^up to 1450 bytes in one piece; longer ones are answered/,
  );
});

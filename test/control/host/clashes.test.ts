import assert from 'node:assert/strict';
import test from 'node:test';
import {
  describeAddress,
  describeKept,
  judgeNetworks,
  judgeRoutes,
  localNetworks,
  type OverlayNetworks,
  PeerSubnets,
} from '../../../src/control/host/clashes.js';
import type { Row } from '../../../src/control/host/route.js';

const OVERLAY: OverlayNetworks = {
  network: '10.5.0.0/16',
  own: '10.5.52.0/24',
  tunnel: 'flannel.1',
  uplink: 'eth0',
  peers: new PeerSubnets(new Map([['10.5.93.0/24', '192.168.64.4']])),
};
const DOCKER: Row = { dst: '10.5.52.0/24', dev: 'docker0', scope: 'link', protocol: 'kernel' };
const ETH0: Row = { dst: '192.168.64.0/24', dev: 'eth0', scope: 'link', protocol: 'kernel' };

const networks = (...rows: Row[]) =>
  judgeNetworks(localNetworks([ETH0, ...rows], 'flannel.1'), OVERLAY);
const connected = (dst: string, dev: string): Row => ({ dst, dev, scope: 'link' });

test("the networks of a host as they should be: the containers' bridge, the underlay, others", () => {
  const veth = connected('10.5.52.7', 'veth1');
  const ours = connected('10.5.52.0', 'flannel.1');
  const free = connected('10.5.200.0/24', 'br-y');
  assert.deepEqual(networks(DOCKER, veth, ours, free, connected('172.17.0.0/16', 'br-z')), []);
});

test("a network that is a peer's subnet or a part of it is named, and both of them", () => {
  const [whole] = networks(connected('10.5.93.0/24', 'br-x'));
  assert.match(
    whole!.text,
    /^the subnet 10\.5\.93\.0\/24 of the peer 192\.168\.64\.4 is the network of br-x/,
  );
  const [part] = networks(connected('10.5.93.128/25', 'br-x'));
  assert.match(
    part!.text,
    /^the network 10\.5\.93\.128\/25 of br-x is a part of the subnet .* 192\.168\.64\.4/,
  );
});

test('a network that is wider than subnets, or than all of the overlay, is named', () => {
  for (const wide of ['10.5.92.0/23', '10.5.48.0/20', '10.5.0.0/16', '10.0.0.0/8']) {
    const faults = networks(DOCKER, connected(wide, 'eth1'));
    assert.equal(faults.length, 1, wide);
    assert.match(
      faults[0]!.text,
      /^the network 10\.\S+ of eth1 overlaps the overlay's 10\.5\.0\.0\/16/,
    );
  }
  assert.deepEqual(networks(connected('10.5.96.0/20', 'eth1')), [], 'no lease is in there');
});

test("the underlay's network inside the overlay's is named, in our own subnet above all", () => {
  for (const dst of ['10.5.52.0/24', '10.5.52.128/25', '10.5.200.0/24']) {
    const [fault] = networks(connected(dst, 'eth0'));
    assert.match(
      fault!.text,
      /^the network 10\.5\.\S+ of eth0 overlaps the overlay's 10\.5\.0\.0\/16/,
      dst,
    );
  }
});

test('our subnet on two bridges is named; its own containers are not', () => {
  assert.match(
    networks(DOCKER, { ...DOCKER, dev: 'cni0' })[0]!.text,
    /several devices \(docker0, cni0\)/,
  );
  assert.deepEqual(networks(DOCKER, connected('10.5.52.128/25', 'br-v')), []);
});

function routes(...rows: Row[]) {
  const connecteds = localNetworks(
    [ETH0, ...rows.filter(({ protocol }) => protocol === 'kernel')],
    'flannel.1',
  );
  return judgeRoutes(rows, connecteds, OVERLAY);
}

test("what leads our own subnet away is removed in flannel's form only", () => {
  const LEFT: Row[] = [
    { dst: '10.5.52.0/24', gateway: '192.168.64.4', dev: 'eth0' },
    { dst: '10.5.52.0/24', gateway: '10.5.52.0', dev: 'flannel.9' },
    { dst: '10.5.52.0/24', type: 'blackhole' },
  ];
  for (const row of LEFT) {
    for (const rows of [[row], [row, DOCKER]]) {
      const { stale, faults } = routes(...rows);
      assert.deepEqual([stale.length, faults], [1, []], JSON.stringify(row));
    }
  }
  assert.deepEqual(routes(LEFT[0]!).stale, [
    '10.5.52.0/24 via 192.168.64.4 dev eth0 proto boot metric 0',
  ]);
  assert.deepEqual(routes(LEFT[2]!).stale, ['blackhole 10.5.52.0/24 proto boot metric 0']);
});

test('all else that leads it, or a part of it, away is named with the command that removes it', () => {
  const via = { gateway: '192.168.64.4', dev: 'eth0' };
  const OTHERS: [Row, string][] = [
    [
      { dst: '10.5.52.0/24', ...via, protocol: 'static' },
      '10.5.52.0/24 via 192.168.64.4 dev eth0 proto static metric 0',
    ],
    [
      { dst: '10.5.52.0/24', gateway: '10.9.9.9', dev: 'eth1' },
      '10.5.52.0/24 via 10.9.9.9 dev eth1 proto boot metric 0',
    ],
    [
      { dst: '10.5.52.0/24', dev: 'tun0', scope: 'link' },
      '10.5.52.0/24 dev tun0 proto boot metric 0',
    ],
    [{ dst: '10.5.52.0/25', ...via }, '10.5.52.0/25 via 192.168.64.4 dev eth0 proto boot metric 0'],
    [
      { dst: '10.5.52.128/25', ...via, metric: 50 },
      '10.5.52.128/25 via 192.168.64.4 dev eth0 proto boot metric 50',
    ],
    [{ dst: '10.5.52.9', ...via }, '10.5.52.9 via 192.168.64.4 dev eth0 proto boot metric 0'],
    [{ dst: '10.5.52.9', dev: 'eth0', scope: 'link' }, '10.5.52.9 dev eth0 proto boot metric 0'],
    [{ dst: '10.5.52.0/24', type: 'unreachable' }, 'unreachable 10.5.52.0/24 proto boot metric 0'],
    [
      { dst: '10.5.52.64/26', type: 'blackhole', protocol: 'static' },
      'blackhole 10.5.52.64/26 proto static metric 0',
    ],
    [
      { dst: '10.5.52.0/24', type: 'blackhole', protocol: 'static' },
      'blackhole 10.5.52.0/24 proto static metric 0',
    ],
    [
      { dst: '10.5.52.0/25', dev: 'flannel.1', protocol: 'static' },
      '10.5.52.0/25 dev flannel.1 proto static metric 0',
    ],
    [
      {
        dst: '10.5.52.0/24',
        nexthops: [{ gateway: '192.168.64.4', dev: 'eth0' }, { dev: 'tun0' }],
      },
      '10.5.52.0/24 nexthop via 192.168.64.4 dev eth0 nexthop dev tun0 proto boot metric 0',
    ],
  ];
  for (const [row, route] of OTHERS) {
    const { stale, faults } = routes(row, DOCKER);
    assert.deepEqual([stale, faults.length], [[], 1], route);
    assert.match(
      faults[0]!.text,
      /^the route .* leads (a part of )?our own subnet 10\.5\.52\.0\/24 away/,
    );
    assert.equal(faults[0]!.cure, `ip route del ${route}   (unless it is wanted)`);
    const isWhole = row.dst === '10.5.52.0/24';
    assert.equal(faults[0]!.loses, isWhole ? 'all' : 'some', route);
  }
});

test("what does not keep packets from our containers is nobody's business", () => {
  const via = { gateway: '192.168.64.4', dev: 'eth0' };
  for (const row of [
    { dst: '10.5.52.0/24', ...via, metric: 50 },
    { dst: '10.5.52.0/24', type: 'blackhole', metric: 4294967295 },
    { dst: '10.5.52.9', dev: 'veth9', scope: 'link' },
    { dst: '10.5.52.64/26', gateway: '10.5.52.9', dev: 'docker0' },
    { dst: '10.5.52.0/24', gateway: '10.5.52.0', dev: 'flannel.1' },
    { dst: '10.5.200.0/24', ...via },
  ] as Row[]) {
    assert.deepEqual(routes(row, DOCKER), { stale: [], faults: [] }, JSON.stringify(row));
  }
  // A bridge whose own route is weaker than the one that leads away.
  const weak = { ...DOCKER, metric: 425 };
  const stronger = { dst: '10.5.52.0/24', ...via, metric: 50 };
  assert.equal(routes(stronger, weak).faults.length, 1);
});

test("routes of others for a peer's subnet are named, those of weft and of the kernel are not", () => {
  const peer = { dst: '10.5.93.0/24' };
  const [weaker] = routes({ ...peer, dev: 'tun0', protocol: 'static', metric: 50 }).faults;
  assert.match(
    weaker!.text,
    /^the route 10\.5\.93\.0\/24 dev tun0 proto static metric 50 is for the subnet .* weaker/,
  );
  const [part] = routes({ dst: '10.5.93.128/25', dev: 'tun0' }).faults;
  assert.match(
    part!.text,
    /leads a part of the subnet 10\.5\.93\.0\/24 of the peer 192\.168\.64\.4 away/,
  );
  for (const row of [
    { ...peer, dev: 'flannel.1', scope: 'link' },
    { ...peer, dev: 'eth0', gateway: '192.168.64.4' },
    { ...peer, dev: 'tun0', protocol: 'static' },
    { ...peer, dev: 'br-x', protocol: 'kernel' },
    { dst: '10.5.93.7', dev: 'flannel.1', scope: 'link' },
  ] as Row[]) {
    assert.deepEqual(routes(row), { stale: [], faults: [] }, JSON.stringify(row));
  }
});

test('what is lost by a clash: nothing, what some containers send, or all of this host', () => {
  const loses = (found: readonly { readonly loses: string }[]) => found.map((one) => one.loses);
  assert.deepEqual(loses(networks(DOCKER, connected('10.0.0.0/8', 'eth1'))), ['none']);
  assert.deepEqual(loses(networks(connected('10.5.93.0/24', 'br-x'))), ['some']);
  assert.deepEqual(loses(networks(DOCKER, { ...DOCKER, dev: 'cni0' })), ['some']);
  const to = (dst: string, more: Partial<Row> = {}): Row => ({ dst, dev: 'tun0', ...more });
  assert.deepEqual(loses(routes(DOCKER, to('10.5.93.0/24', { metric: 50 })).faults), ['none']);
  assert.deepEqual(loses(routes(DOCKER, to('10.5.93.0/25')).faults), ['some']);
  assert.deepEqual(loses(routes(DOCKER, to('10.5.52.0/24')).faults), ['all']);
});

test('names in what is to be typed are words for a shell, whatever characters they have', () => {
  const peer = { subnet: '10.5.93.0/24', host: '192.168.64.4' };
  const { cure } = describeAddress('10.5.93.7', 'a;reboot', peer);
  assert.equal(cure, "ip addr del 10.5.93.7 dev 'a;reboot'   (unless it is wanted)");
  const kept = describeKept('10.5.52.0/24 via 192.168.64.9 dev a*', 'it is busy');
  assert.equal(kept.cure, "ip route del 10.5.52.0/24 via 192.168.64.9 dev 'a*'");
});

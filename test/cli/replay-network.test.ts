/** Where `weft replay` gets the network from: a status of a running weft, or etcd. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { hostFromStatus } from '../../src/cli/replay/status.js';
import { StoreError } from '../../src/control/store/store.js';
import { formatMac } from '../../src/dataplane/wire/ethernet.js';
import { formatAddress, parseAddress } from '../../src/dataplane/wire/ipv4.js';
import { EtcdServer, noEtcd } from '../control/store/etcd-server.js';
import { CAPTURES, ROOT, temporaryFolder } from '../operate/capture/captures.js';

const folder = temporaryFolder();
const TUN = path.join(CAPTURES, 'tun.pcap');
const NETWORK = path.join(CAPTURES, 'network.json');

function weft(
  args: readonly string[],
  input = '',
): { code: number | null; out: string; err: string } {
  const argv = [path.join(ROOT, 'dist/src/cli/weft.js'), 'replay', ...args];
  const done = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 30_000, input });
  return { code: done.status, out: done.stdout, err: done.stderr };
}

/** The network of network.json, as its first host tells it: the members that matter. */
const STATUS = {
  backend: 'vxlan',
  accept: 'strict',
  device: { name: 'flannel.1', address: '10.10.58.0/32', mtu: 1450, taken: 0 },
  underlay: { address: '192.168.56.11', port: 8472, publicIp: '203.0.113.11' },
  lease: { subnet: '10.10.58.0/24', vtepMac: '02:00:00:00:00:0a', vni: 1 },
  peers: [
    { subnet: '10.10.26.0/24', publicIp: '192.168.56.12', vtepMac: '02:00:00:00:00:0b' },
    { subnet: '10.10.27.0/24', publicIp: '192.168.56.12', vtepMac: '02:00:00:00:00:0b' },
  ],
};

const seenFrom = (as?: string) => {
  const host = hostFromStatus(STATUS, 's', as === undefined ? undefined : parseAddress(as));
  const { address, mac, local, routes, accept } = host;
  return {
    host: `${formatAddress(address)} ${formatMac(mac)} ${accept}`,
    local: local.map(({ network }) => formatAddress(network)),
    routes: routes.map(
      ({ network, peer }) => `${formatAddress(network)} ${formatAddress(peer.address)}`,
    ),
  };
};

describe('weft replay -routes of a running weft', () => {
  const golden = fs.readFileSync(path.join(CAPTURES, 'tun.verdicts.txt'), 'utf8');

  it('takes what weft status --json prints, from a file or standard input, without -as', () => {
    const file = path.join(folder, 'status.json');
    fs.writeFileSync(file, JSON.stringify(STATUS));
    for (const { code, out, err } of [
      weft([TUN, '-routes', file, '-verdicts']),
      weft([TUN, '-routes', '-', '-verdicts'], JSON.stringify(STATUS)),
    ]) {
      assert.deepEqual([code, err], [0, '']);
      assert.equal(out, golden);
    }
  });

  it('sees from the weft that told it, or from one of its peers', () => {
    const own = {
      host: '192.168.56.11 02:00:00:00:00:0a strict',
      local: ['10.10.58.0'],
      routes: ['10.10.26.0 192.168.56.12', '10.10.27.0 192.168.56.12'],
    };
    assert.deepEqual(seenFrom(), own);
    assert.deepEqual(seenFrom('192.168.56.11'), own);
    assert.deepEqual(seenFrom('203.0.113.11'), own);
    assert.deepEqual(seenFrom('192.168.56.12'), {
      host: '192.168.56.12 02:00:00:00:00:0b undefined',
      local: ['10.10.26.0', '10.10.27.0'],
      routes: ['10.10.58.0 203.0.113.11'],
    });
    assert.throws(() => seenFrom('192.168.56.99'), {
      name: 'StoreError',
      message:
        /no host has the PublicIP 192\.168\.56\.99 .* are: 203\.0\.113\.11, 192\.168\.56\.12$/,
    });
  });

  it('names what is missing from a status, or why it has no tunnel', () => {
    const wrong: readonly (readonly [status: unknown, why: RegExp])[] = [
      [{ waitingFor: 'etcd' }, /is starting and knows no network yet/],
      [{ ...STATUS, backend: 'host-gw' }, /backend is host-gw, so there is no VXLAN/],
      [{ ...STATUS, lease: {} }, /"lease\.vtepMac" is no text; take what weft status --json/],
      [{ ...STATUS, lease: { ...STATUS.lease, subnet: '10.1' } }, /"lease\.subnet" is no subnet/],
      [{ ...STATUS, peers: 7 }, /"peers" is no list/],
      [{ ...STATUS, peers: [{ publicIp: 'x' }] }, /"peers\[0\]\.publicIp" is no IPv4 address/],
      [
        { ...STATUS, peers: [{ ...STATUS.peers[0], vtepMac: '' }] },
        /"peers\[0\]\.vtepMac" is no MAC/,
      ],
      [{ ...STATUS, device: null }, /"device\.mtu" is no number/],
      [{ ...STATUS, underlay: { ...STATUS.underlay, port: 'x' } }, /"underlay\.port" is no number/],
    ];
    for (const [status, why] of wrong) {
      assert.throws(
        () => hostFromStatus(status, 'status.json', undefined),
        (error) => error instanceof StoreError && why.test(error.message),
        `${why}`,
      );
    }
    for (const input of ['', '{}', '[1', '{"config": {}}']) {
      const { code, err } = weft([TUN, '-routes', '-'], input);
      assert.equal(code, 1);
      assert.match(err, /standard input: is no status of weft; pipe weft status --json into it/);
    }
  });
});

describe('weft replay of a network in etcd', { skip: noEtcd }, () => {
  let etcd: EtcdServer;
  before(async () => {
    etcd = await EtcdServer.start();
    const { config, subnets } = JSON.parse(fs.readFileSync(NETWORK, 'utf8'));
    etcd.ctl('put', '/net/config', JSON.stringify(config));
    for (const [key, value] of Object.entries(subnets)) {
      etcd.ctl('put', `/net/subnets/${key}`, JSON.stringify(value));
    }
  });
  after(() => etcd?.end());

  it('gives the verdicts that a file with the same network gives', () => {
    const place = ['-etcd-endpoints', etcd.endpoint, '-etcd-prefix', '/net'];
    const as = ['-as', '192.168.56.11', '-verdicts'];
    const { code, out, err } = weft([TUN, ...place, ...as]);
    assert.deepEqual([code, err], [0, '']);
    assert.equal(out, fs.readFileSync(path.join(CAPTURES, 'tun.verdicts.txt'), 'utf8'));
    assert.match(weft([TUN, ...place]).err, /-as is missing/);
    assert.match(
      weft([TUN, '-etcd-endpoints', etcd.endpoint, '-etcd-prefix', '/none', ...as]).err,
      /etcd \/none: has no "config"/,
    );
  });
});

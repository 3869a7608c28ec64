import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import type { OwnLease } from '../../../src/control/overlay/acquire.js';

import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { Overlay } from '../../../src/control/overlay/network.js';
import type { Membership } from '../../../src/control/overlay/peers.js';
import { formatSubnet, parseSubnet } from '../../../src/control/overlay/subnet.js';
import { FileStore } from '../../../src/control/store/file.js';
import { formatMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines, realClock, seeded, settle, until } from '../fakes.js';
import { EtcdServer, noEtcd } from '../store/etcd-server.js';
import { Host } from './etcd-host.js';
import { MemoryStore } from './memory-store.js';

const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const ip = (text: string): number => parseAddress(text) as number;

describe('an overlay waiting', () => {
  let store: MemoryStore;
  let clock: FakeClock;
  let log: Lines;
  let overlay: Overlay;

  beforeEach(() => {
    store = new MemoryStore();
    clock = new FakeClock();
    log = new Lines();
    overlay = new Overlay({ store, clock, random: seeded(1), log });
  });

  test('polls each second, and logs when the reason changes', async () => {
    store.away = true;
    let vni: number | undefined;
    void overlay.waitForConfig().then(({ backend }) => {
      vni = backend.type === 'vxlan' ? backend.vni : undefined;
    });
    await clock.pass(5_000);
    store.away = false;
    store.hint = 'put one';
    await clock.pass(5_000);
    store.hint = 'it is elsewhere';
    await clock.pass(10_000);
    store.config = 'hello';
    await clock.pass(5_000);
    store.config = CONFIG;
    await clock.pass(1_000);
    assert.equal(vni, 1);
    assert.deepEqual(log.lines, [
      'warn: waiting for the network config: memory does not answer',
      'warn: waiting for the network config: there is none at /net/config (memory): put one',
      'warn: waiting for the network config: there is none at /net/config (memory): it is elsewhere',
      'warn: waiting for the network config: network config /net/config: it is not JSON: ' +
        'line 1, column 1: unexpected "h"',
    ]);
  });

  test('gives up on a config that it cannot serve', async () => {
    store.config = '{"Network":"10.5.0.0/16"}';
    await assert.rejects(overlay.waitForConfig(), /udp backend/);
  });

  test('waits with joining while the store is away, and can be stopped', async () => {
    store.config = CONFIG;
    const config = await overlay.waitForConfig();
    store.away = true;
    let own: OwnLease | undefined;
    void overlay.join(config, { publicIp: ip('192.168.64.3') }).then((lease) => {
      own = lease;
    });
    await clock.pass(3_000);
    assert.deepEqual(log.lines, ['warn: waiting for a lease: memory does not answer']);
    store.away = false;
    await clock.pass(1_000);
    assert.ok(own);

    const other = new Overlay({ store, clock, random: seeded(1), log });
    store.config = undefined;
    const waiting = assert.rejects(other.waitForConfig(), { name: 'OverlayStopped' });
    await settle();
    await other.stop();
    await waiting;
    assert.deepEqual(clock.waits, []);
  });

  test('moved: the lease says so, and another host may have the address of before', async () => {
    store.config = CONFIG;
    const config = await overlay.waitForConfig();
    const own = await overlay.join(config, { publicIp: ip('192.168.64.3') });
    const lost: string[] = [];
    const seen: Membership[] = [];
    overlay.follow({ members: (now) => seen.push(now), lost: (reason) => lost.push(reason) });
    overlay.changePublicIp(ip('192.168.64.33'));
    await settle();
    assert.equal(store.reconnects, 1);
    assert.equal(JSON.parse(store.entries.get(own.key)!.value).PublicIP, '192.168.64.33');
    const value = (host: number) =>
      formatLeaseValue(ip(`192.168.64.${host}`), 1, Uint8Array.of(2, 0, 0, 0, 0, host));
    store.put('10.5.200.0-24', value(3));
    store.put('10.5.201.0-24', value(33));
    assert.deepEqual(
      seen.at(-1)?.peers.map(({ key }) => key),
      ['10.5.200.0-24'],
    );
    assert.match(log.lines.join(), /10\.5\.201\.0-24 is not used: it has our own public IP/);
    // The same address, from another interface: only connections are new.
    const { length } = store.written;
    overlay.changePublicIp(ip('192.168.64.33'));
    await settle();
    assert.deepEqual([store.reconnects, store.written.length, lost], [2, length, []]);
    await overlay.stop();
  });
});

test('a store that is only read must hold our entry, of the backend of the network', async () => {
  const store = new MemoryStore();
  Object.assign(store, {
    writes: { kind: 'none' },
    subnets: { kind: 'assigned', remedy: (example: string) => `add one, such as ${example}` },
  });
  store.config = '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}';
  const overlay = new Overlay({
    store,
    clock: new FakeClock(),
    random: seeded(1),
    log: new Lines(),
  });
  const config = await overlay.waitForConfig();
  const join = () => overlay.join(config, { publicIp: ip('192.168.64.3') });
  await assert.rejects(join, /add one, such as .*"BackendType":"host-gw"\}$/);
  store.put(
    '10.5.52.0-24',
    formatLeaseValue(ip('192.168.64.3'), 1, new Uint8Array([2, 0, 0, 0, 0, 1])),
  );
  await assert.rejects(
    join,
    /our entry 10\.5\.52\.0-24: its BackendType is "vxlan", not "host-gw"/,
  );
  store.put('10.5.52.0-24', '{"PublicIP":"192.168.64.3","BackendType":"host-gw"}');
  assert.equal((await join()).key, '10.5.52.0-24');
});

describe('an overlay on etcd', { skip: noEtcd }, () => {
  let etcd: EtcdServer;
  const hosts: Host[] = [];

  before(async () => {
    etcd = await EtcdServer.start();
  });
  after(async () => {
    for (const host of hosts) await host.stop();
    await etcd.end();
  });

  /** A host on this etcd. */
  function enter(prefix: string, seed = hosts.length, endpoint = etcd.endpoint): Host {
    const made = new Host({ prefix, endpoints: [endpoint], seed });
    hosts.push(made);
    return made;
  }

  /** The only key under a prefix, as etcd has it. */
  function onlyKey(prefix: string): { value: string; lease: string; version: number } {
    const { kvs } = JSON.parse(etcd.ctl('get', '--prefix', `${prefix}/subnets/`, '-w', 'json'));
    assert.equal(kvs.length, 1);
    const [{ value, lease = '0', version }] = kvs;
    return { value: Buffer.from(value, 'base64').toString(), lease: String(lease), version };
  }

  test('two hosts find each other; a restart keeps subnet, MAC and a 24 h lease', async () => {
    etcd.ctl(
      'put',
      '/pair/config',
      '{\n"Network":"10.10.0.0/16",\n"Subnetlen":24,\n"Backend":{"Type":"Vxlan"}\n}',
    );
    const a = enter('/pair');
    const b = enter('/pair');
    const ownA = await a.join({ publicIp: '192.168.56.11' });
    const ownB = await b.join({ publicIp: '192.168.56.12' });
    const asPeer = (own: OwnLease, at: string) =>
      `${formatSubnet(own.subnet)} at ${at} (${formatMac(own.vtepMac)})`;
    await until(() => a.peers[0] === asPeer(ownB, '192.168.56.12'));
    await until(() => b.peers[0] === asPeer(ownA, '192.168.56.11'));

    const value = etcd.ctl('get', `/pair/subnets/${ownA.key}`, '--print-value-only').trim();
    assert.equal(
      value,
      `{"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${formatMac(ownA.vtepMac)}"}}`,
    );
    await a.stop();
    const again = enter('/pair');
    const own = await again.join({ publicIp: '192.168.56.11' });
    assert.equal(own.key, ownA.key);
    assert.deepEqual(own.vtepMac, ownA.vtepMac);
    assert.notEqual(own.lease, ownA.lease);
    const ttl = etcd.ctl('lease', 'timetolive', own.lease.toString(16), '--keys');
    assert.match(ttl, new RegExp(`granted with TTL\\(86400s\\).*/pair/subnets/${own.key}`));
    const left = etcd.ctl('lease', 'list').split('\n');
    assert.ok(!left.includes(ownA.lease.toString(16)), 'the earlier lease was revoked');
    assert.deepEqual(b.lost, []);
    assert.deepEqual(b.peers, [asPeer(ownA, '192.168.56.11')]);
  });

  test('ten hosts at once get ten subnets', async () => {
    etcd.ctl('put', '/ten/config', CONFIG);
    // All with the same numbers, so that they all want the same subnet.
    const joining = Array.from({ length: 10 }, (_, i) =>
      enter('/ten', 5).join({ publicIp: `192.168.56.${20 + i}` }),
    );
    const owns = await Promise.all(joining);
    assert.equal(new Set(owns.map(({ key }) => key)).size, 10);
    await until(() => hosts.slice(-10).every(({ peers }) => peers.length === 9));
  });

  test('of two hosts and one subnet, one is told that there is none', async () => {
    etcd.ctl(
      'put',
      '/one/config',
      CONFIG.replace('{', '{"SubnetMin":"10.5.7.0","SubnetMax":"10.5.7.0",'),
    );
    const outcomes = await Promise.allSettled([
      enter('/one').join({ publicIp: '192.168.56.11' }),
      enter('/one').join({ publicIp: '192.168.56.12' }),
    ]);
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    const loser = outcomes.find((outcome) => outcome.status === 'rejected');
    assert.match(String(loser?.reason), /^OutOfSubnets: out of subnets: /);
  });

  test('two hosts with one subnet.env do not share the subnet', async () => {
    etcd.ctl('put', '/twins/config', CONFIG);
    const previousSubnet = parseSubnet('10.5.43.1/24');
    const owns = await Promise.all([
      enter('/twins').join({ publicIp: '192.168.56.11', previousSubnet }),
      enter('/twins').join({ publicIp: '192.168.56.12', previousSubnet }),
    ]);
    const keys = new Set(owns.map(({ key }) => key));
    assert.equal(keys.size, 2);
    assert.ok(keys.has('10.5.43.0-24'));
  });

  test('a reservation stays without a lease', async () => {
    etcd.ctl('put', '/kept/config', CONFIG);
    etcd.ctl('put', '/kept/subnets/10.5.9.0-24', '{"PublicIP":"192.168.56.11"}');
    const own = await enter('/kept').join({ publicIp: '192.168.56.11' });
    assert.equal(own.key, '10.5.9.0-24');
    const { value, lease, version } = onlyKey('/kept');
    assert.equal(value, own.value);
    assert.equal(lease, '0');
    assert.equal(version, 2);
  });

  test('a deleted key, a revoked lease and a new owner are told', async () => {
    etcd.ctl('put', '/gone/config', CONFIG);
    const ways: [(own: OwnLease) => unknown, RegExp][] = [
      [({ key }) => etcd.ctl('del', `/gone/subnets/${key}`), /was removed/],
      [({ lease }) => etcd.ctl('lease', 'revoke', lease.toString(16)), /was removed/],
      [
        ({ key }) => etcd.ctl('put', `/gone/subnets/${key}`, '{"PublicIP":"192.168.56.77"}'),
        /taken by the host with public IP 192.168.56.77/,
      ],
    ];
    for (const [act, reason] of ways) {
      const host = enter('/gone');
      const own = await host.join({ publicIp: '192.168.56.11' });
      await until(() => host.members !== undefined);
      act(own);
      await until(() => host.lost.length === 1);
      assert.match(host.lost[0] ?? '', reason);
      await host.stop();
    }
  });

  test('bad values cost one peer each and no one else', async () => {
    etcd.ctl('put', '/bad/config', CONFIG);
    const host = enter('/bad');
    await host.join({ publicIp: '192.168.56.11' });
    const good =
      '{"PublicIP":"192.168.56.12","BackendType":"vxlan","BackendData":{"VtepMAC":"02-00-00-00-00-0c"}}';
    etcd.ctl('put', '/bad/subnets/10.5.222.0-24', 'garbage');
    etcd.ctl('put', '/bad/subnets/10.5.204.0-24&2001:db8::-64', good);
    etcd.ctl('put', '/bad/subnets/10.5.223.0-24', good);
    await until(() => host.peers.length === 1);
    assert.deepEqual(host.peers, ['10.5.223.0/24 at 192.168.56.12 (02:00:00:00:00:0c)']);
    assert.equal(host.log.matching(/^warn: lease .* is not used/).length, 2);
  });

  test('an etcd that comes late is waited for', async () => {
    const late = await EtcdServer.prepare();
    try {
      const host = enter('/late', 1, late.endpoint);
      const joining = host.join({ publicIp: '192.168.56.11' });
      await until(() => host.log.lines.length > 0);
      await late.run();
      late.ctl('put', '/late/config', CONFIG);
      const start = performance.now();
      await joining;
      assert.ok(performance.now() - start < 10_000);
      assert.match(
        host.log.lines[0] ?? '',
        /^warn: waiting for the network config: etcd does not answer/,
      );
      await host.stop();
    } finally {
      await late.end();
    }
  });
});

test('an overlay on a file: our entry is the one with our public IP', async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-overlay-'));
  const file = path.join(directory, 'routes.json');
  const log = new Lines();
  const lease = (host: number) => ({
    PublicIP: `192.168.64.${host}`,
    BackendType: 'vxlan',
    BackendData: { VtepMAC: `02:00:00:00:00:0${host}` },
  });
  const write = (subnets: object) =>
    fs.writeFileSync(file, JSON.stringify({ config: JSON.parse(CONFIG), subnets }));
  write({ '10.5.52.0-24': lease(3), '10.5.72.0-24': lease(4) });
  const store = new FileStore({ file, clock: realClock, log });
  const overlay = new Overlay({ store, clock: realClock, random: seeded(1), log });
  try {
    const config = await overlay.waitForConfig();
    await assert.rejects(
      overlay.join(config, { publicIp: ip('192.168.64.9') }),
      /routes.json: no entry has our public IP 192.168.64.9; add one under "subnets", such as "10\.5\.1\.0-24": /,
    );
    write({ '10.5.1.0-24': lease(3), '10.5.2.0-24': lease(4), '10.5.3.0-24': 'what is this' });
    const free = await until(() =>
      overlay.join(config, { publicIp: ip('192.168.64.9') }).then(
        () => undefined,
        (error: Error) => /such as "([^"]*)": (?!.*02:00:00:00:00:0)/.exec(error.message)?.[1],
      ),
    );
    assert.equal(free, '10.5.4.0-24', 'no subnet and no MAC of another host is proposed');
    write({ '10.5.52.0-24': lease(3), '10.5.72.0-24': lease(4) });
    const own = await overlay.join(config, { publicIp: ip('192.168.64.3') });
    assert.equal(own.key, '10.5.52.0-24');
    assert.equal(formatMac(own.vtepMac), '02:00:00:00:00:03');
    const seen: Membership[] = [];
    const lost: string[] = [];
    overlay.follow({ members: (m) => seen.push(m), lost: (reason) => lost.push(reason) });
    await until(() => seen.at(-1)?.peers.length === 1);
    write({ '10.5.52.0-24': lease(3), '10.5.72.0-24': lease(4), '10.5.80.0-24': lease(5) });
    await until(() => seen.at(-1)?.peers.length === 2);
    assert.deepEqual(lost, []);
    write({ '10.5.72.0-24': lease(4) });
    await until(() => lost.length === 1);
    assert.deepEqual(
      seen.at(-1)?.peers.map(({ key }) => key),
      ['10.5.72.0-24'],
    );
  } finally {
    await overlay.stop();
    await store.close();
    fs.rmSync(directory, { recursive: true });
  }
});

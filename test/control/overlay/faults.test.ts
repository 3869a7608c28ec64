/**
 * What happens to leases and peers on a real etcd when things go wrong: each case ends as
 * docs/flannel.md says, with one line of log that names it.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OwnLease } from '../../../src/control/overlay/acquire.js';
import { LeaseHolder } from '../../../src/control/overlay/lease/holder.js';
import { formatMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines, until } from '../fakes.js';
import { CuttingProxy } from '../store/cutting-proxy.js';
import { EtcdServer, freePort, noEtcd } from '../store/etcd-server.js';
import { Host, type HostOptions } from './etcd-host.js';

const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const A = '192.168.56.11';
const B = '192.168.56.12';

const value = (at: string, mac: string) =>
  `{"PublicIP":"${at}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;

describe('leases and peers on etcd', { skip: noEtcd, timeout: 600_000 }, () => {
  let etcd: EtcdServer;
  let prefix: string;
  let prefixes = 0;
  const hosts: Host[] = [];

  before(async () => {
    etcd = await EtcdServer.start();
  });
  after(() => etcd.end());
  beforeEach(() => {
    prefix = `/faults/${prefixes++}`;
    etcd.ctl('put', `${prefix}/config`, CONFIG);
  });
  afterEach(async () => {
    for (const host of hosts.splice(0)) await host.stop();
  });

  function host(options: Partial<HostOptions> = {}): Host {
    const made = new Host({ prefix, endpoints: [etcd.endpoint], seed: hosts.length, ...options });
    hosts.push(made);
    return made;
  }

  const put = (key: string, text: string) => etcd.ctl('put', `${prefix}/subnets/${key}`, text);
  const get = (key: string) =>
    etcd.ctl('get', `${prefix}/subnets/${key}`, '--print-value-only').trim();
  const del = (key: string) => etcd.ctl('del', `${prefix}/subnets/${key}`);
  const keys = () =>
    etcd.ctl('get', '--prefix', '--keys-only', `${prefix}/subnets/`).split('\n').filter(Boolean);

  test('thirty hosts start at once on an empty etcd, and all start again at once', async () => {
    const start = (seed: number) =>
      Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          // Pairs with the same numbers, so that races are lost.
          host({ seed: seed + (i >> 1) }).join({ publicIp: `192.168.56.${20 + i}` }),
        ),
      );
    const first = await start(100);
    assert.equal(new Set(first.map(({ key }) => key)).size, 30);
    assert.equal(new Set(first.map(({ vtepMac }) => formatMac(vtepMac))).size >= 15, true);
    assert.equal(keys().length, 30);
    const races = hosts.flatMap(({ log }) => log.matching(/another host wrote that key first/));
    assert.ok(races.length > 0, 'the test had races');
    await until(() => hosts.every(({ peers }) => peers.length === 29));

    for (const old of hosts.splice(0)) await old.stop();
    const again = await start(500);
    const told = (owns: OwnLease[]) => owns.map((own) => `${own.key} ${formatMac(own.vtepMac)}`);
    assert.deepEqual(told(again), told(first));
    assert.equal(keys().length, 30);
    await until(() => hosts.every(({ peers }) => peers.length === 29));
    assert.deepEqual(
      hosts.flatMap(({ lost }) => lost),
      [],
    );
    assert.deepEqual(
      hosts.flatMap(({ log }) => log.matching(/^(warn|error)/)),
      [],
    );
  });

  test('a peer with another MAC or public IP, while watching and while cut off', async (t) => {
    const port = await freePort();
    const proxy = new CuttingProxy(port, etcd.port, false);
    t.after(() => proxy.close());
    await proxy.listen();
    put('10.5.7.0-24', value(B, '02:00:00:00:00:01'));
    const a = host({ endpoints: [`http://127.0.0.1:${port}`] });
    await a.join({ publicIp: A });
    const is = (at: string, mac: string) =>
      until(() => a.peers[0] === `10.5.7.0/24 at ${at} (${mac})`);
    await is(B, '02:00:00:00:00:01');
    put('10.5.7.0-24', value(B, '02:00:00:00:00:02'));
    await is(B, '02:00:00:00:00:02');
    put('10.5.7.0-24', value('192.168.56.13', '02:00:00:00:00:02'));
    await is('192.168.56.13', '02:00:00:00:00:02');
    await proxy.close();
    put('10.5.7.0-24', value('192.168.56.14', '02:00:00:00:00:03'));
    await sleep(300);
    await proxy.listen();
    await is('192.168.56.14', '02:00:00:00:00:03');
  });

  test('a value that is spoilt, while watching and while cut off, costs that peer alone', async (t) => {
    const port = await freePort();
    const proxy = new CuttingProxy(port, etcd.port, false);
    t.after(() => proxy.close());
    await proxy.listen();
    put('10.5.7.0-24', value(B, '02:00:00:00:00:01'));
    put('10.5.8.0-24', value('192.168.56.13', '02:00:00:00:00:02'));
    const a = host({ endpoints: [`http://127.0.0.1:${port}`] });
    await a.join({ publicIp: A });
    await until(() => a.peers.length === 2);
    put('10.5.7.0-24', 'garbage');
    await until(() => a.peers.length === 1);
    await proxy.close();
    put('10.5.8.0-24', '{"PublicIP":7}');
    await proxy.listen();
    await until(() => a.peers.length === 0);
    const said = a.log.matching(/is not used/);
    assert.equal(said.length, 2, said.join('\n'));
    assert.match(said[0] ?? '', /lease 10.5.7.0-24 is not used: line 1, column 1/);
    assert.match(said[1] ?? '', /lease 10.5.8.0-24 is not used: PublicIP is 7/);
    assert.deepEqual(a.lost, []);
  });

  test('two hosts with one public IP: the one that ran before names the other', async () => {
    const first = host();
    const own = await first.join({ publicIp: A });
    const second = host();
    const same = await second.join({ publicIp: A });
    assert.equal(same.key, own.key);
    await until(() => first.log.matching(/two hosts/).length > 0);
    assert.match(
      first.log.matching(/two hosts/)[0] ?? '',
      /^warn: our lease 10.5.\d+.0-24 was rewritten by another process: two hosts have the public IP 192.168.56.11; /,
    );
    // A flanneld would write its own MAC.
    put(own.key, value(A, '02:00:00:00:00:99'));
    await until(() => second.log.matching(/02:00:00:00:00:99.*two hosts/).length === 1);
    assert.deepEqual(first.lost, []);
  });

  test('our subnet taken by another: lost, named, and not touched', async () => {
    const a = host({ reacquire: true });
    const { key } = await a.join({ publicIp: A });
    const theirs = value(B, '02:00:00:00:00:99');
    put(key, theirs);
    await until(() => a.lost.length === 1);
    assert.equal(a.lost[0], `our lease ${key} was taken by the host with public IP ${B}`);
    assert.equal(get(key), theirs);
    const again = host();
    assert.notEqual((await again.join({ publicIp: A })).key, key);
  });

  test('reacquire: a removed, a revoked and a spoilt lease are written again', async () => {
    const a = host({ reacquire: true });
    const b = host();
    const own = await a.join({ publicIp: A });
    await b.join({ publicIp: B });
    await until(() => b.peers.length === 1);
    const [before] = b.peers;
    const acts = [
      () => del(own.key),
      () => {
        const entry = etcd.ctl('get', `${prefix}/subnets/${own.key}`, '-w', 'json');
        const [, lease = '0'] = /"lease":(\d+)/.exec(entry) ?? [];
        etcd.ctl('lease', 'revoke', BigInt(lease).toString(16));
      },
      () => put(own.key, 'garbage'),
    ];
    for (const [i, act] of acts.entries()) {
      act();
      await until(() => a.log.matching(/writing it again/).length === i + 1);
      await until(() => get(own.key) === own.value);
      await until(() => b.peers[0] === before);
    }
    assert.deepEqual(a.lost, []);
  });

  test('an emptied etcd: the key is written again, the peers are kept, nobody leaves', async () => {
    const mortal = await EtcdServer.start();
    try {
      mortal.ctl('put', '/mortal/config', CONFIG);
      for (let i = 0; i < 20; i++) mortal.ctl('put', '/elsewhere', `${i}`);
      const two = [A, B].map(() => host({ prefix: '/mortal', endpoints: [mortal.endpoint] }));
      const owns = await Promise.all(
        two.map((one, i) => one.join({ publicIp: [A, B][i] as string })),
      );
      await until(() => two.every(({ peers }) => peers.length === 1));
      const fewest: number[] = [1, 1];
      const watching = setInterval(() => {
        for (const [i, { peers }] of two.entries()) {
          fewest[i] = Math.min(fewest[i] as number, peers.length);
        }
      }, 5);
      await mortal.halt();
      mortal.wipe();
      await mortal.run();
      for (const [i, own] of owns.entries()) {
        await until(
          () => mortal.ctl('get', `/mortal/subnets/${own.key}`, '--print-value-only') !== '',
        );
        const said = two[i]?.log.matching(/emptied or set back; writing it again/);
        assert.equal(said?.length, 1);
      }
      await sleep(200);
      clearInterval(watching);
      assert.deepEqual(fewest, [1, 1], 'never without the peer');
      assert.deepEqual(
        two.flatMap(({ lost }) => lost),
        [],
      );
      for (const one of two) await one.stop();
    } finally {
      await mortal.end();
    }
  });

  test('an etcd restored from a backup: who is missing in it writes its key again', async () => {
    const aged = await EtcdServer.start();
    try {
      aged.ctl('put', '/aged/config', CONFIG);
      const here = (seed: number) => host({ prefix: '/aged', endpoints: [aged.endpoint], seed });
      const old = here(1);
      const first = await old.join({ publicIp: A });
      await aged.halt();
      aged.backUp();
      await aged.run();
      const young = here(2);
      const second = await young.join({ publicIp: B });
      await until(() => old.peers.length === 1 && young.peers.length === 1);
      for (let i = 0; i < 20; i++) aged.ctl('put', '/elsewhere', `${i}`);
      await until(() => (young.overlay.held?.lease ?? 0n) !== 0n);
      // Each watch has seen a revision that the backup does not have.
      aged.ctl('put', '/aged/subnets/10.5.250.0-24', value('192.168.56.13', '02:00:00:00:00:03'));
      await until(() => old.peers.length === 2 && young.peers.length === 2);
      await aged.halt();
      aged.restore();
      await aged.run();
      for (const { key } of [first, second]) {
        await until(() => aged.ctl('get', `/aged/subnets/${key}`, '--print-value-only') !== '');
      }
      assert.equal(young.log.matching(/emptied or set back; writing it again/).length, 1);
      assert.equal(old.log.matching(/writing it again/).length, 0, 'its key was in the backup');
      await until(() => old.log.matching(/emptied or set back: \d peers are missing/).length === 1);
      for (const one of [old, young]) {
        assert.equal(one.peers.length, 2);
        assert.deepEqual(one.lost, []);
        assert.equal(one.log.matching(/two hosts/).length, 0);
        await one.stop();
      }
    } finally {
      await aged.end();
    }
  });

  test('a key that was removed while weft was down: the same subnet and VTEP address', async () => {
    const saveTo = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-saved-'));
    try {
      const first = host({ saveTo });
      const own = await first.join({ publicIp: A });
      await until(() => fs.readdirSync(saveTo).length === 1);
      await first.stop();
      del(own.key);
      const again = await host({ saveTo }).join({ publicIp: A, previousSubnet: own.subnet });
      assert.deepEqual([again.key, again.vtepMac], [own.key, own.vtepMac]);
    } finally {
      for (const one of hosts.splice(0)) await one.stop();
      fs.rmSync(saveTo, { recursive: true });
    }
  });

  test('an etcd out of space: a start and a renewal get by with KeepAlive', async () => {
    const full = await EtcdServer.start('--quota-backend-bytes=1000000');
    try {
      full.ctl('put', '/full/config', CONFIG);
      const first = new Host({ prefix: '/full', endpoints: [full.endpoint], seed: 1 });
      const own = await first.join({ publicIp: A });
      await first.stop();
      assert.throws(() => {
        for (let i = 0; i < 40; i++) full.ctl('put', `/fill/${i}`, 'x'.repeat(100_000));
      }, /database space exceeded/);

      const again = host({ prefix: '/full', endpoints: [full.endpoint] });
      const kept = await again.join({ publicIp: A });
      assert.deepEqual([kept.key, kept.vtepMac, kept.lease], [own.key, own.vtepMac, own.lease]);
      assert.equal(again.log.matching(/space exceeded; .* is ours as it is/).length, 1);
      assert.ok(kept.ttl > 86_000);

      const clock = new FakeClock();
      const log = new Lines();
      const holder = new LeaseHolder({
        store: again.store,
        own: kept,
        publicIp: parseAddress(A) as number,
        marginMs: 3_600_000,
        clock,
        random: () => 0,
        log,
        lost: assert.fail,
      });
      await clock.pass(23 * 3_600_000);
      await until(() => log.matching(/kept alive for 86400 s: .*space exceeded/).length === 1);
      assert.equal(holder.held.endsIn, 24 * 3_600_000);
      holder.stop();

      // A new host needs a put, and is told why it gets none.
      await assert.rejects(
        host({ prefix: '/full', endpoints: [full.endpoint] }).join({ publicIp: B }),
        /StoreError: .* refuses to .*database space exceeded/,
      );
      for (const one of hosts.splice(0)) await one.stop();
    } finally {
      await full.end();
    }
  });

  test('a start without etcd comes up as saved, and takes the truth when etcd is back', async () => {
    const saveTo = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-saved-'));
    const away = await EtcdServer.start();
    const start = () => host({ prefix: '/away', endpoints: [away.endpoint], saveTo });
    try {
      away.ctl('put', '/away/config', CONFIG);
      away.ctl('put', '/away/subnets/10.5.7.0-24', value(B, '02:00:00:00:00:01'));
      const first = start();
      const own = await first.join({ publicIp: A });
      await until(() => first.peers.length === 1);
      await first.stop();
      await away.halt();

      const other = start();
      let joined = false;
      other.join({ publicIp: B }).then(
        () => {
          joined = true;
        },
        () => {},
      );
      await until(() => other.log.matching(/waiting for a lease/).length > 0);
      assert.match(other.log.lines.join('\n'), /of the public IP 192.168.56.11, and ours is/);
      assert.equal(joined, false);
      await other.stop();

      const second = start();
      const saved = await second.join({ publicIp: A });
      assert.deepEqual([saved.key, saved.vtepMac], [own.key, own.vtepMac]);
      assert.deepEqual(second.peers, [`10.5.7.0/24 at ${B} (02:00:00:00:00:01)`]);
      const said = second.log.matching(/^warn: forwarding on the network saved 20/);
      assert.equal(said.length, 1);
      assert.match(second.overlay.storeState?.savedAt ?? '', /^20\d\d-/);
      assert.ok((second.overlay.storeState?.awaySeconds ?? -1) >= 0);

      await away.run();
      away.ctl('put', '/away/subnets/10.5.8.0-24', value('192.168.56.13', '02:00:00:00:00:02'));
      away.ctl('del', '/away/subnets/10.5.7.0-24');
      await until(() => second.peers[0]?.startsWith('10.5.8.0/24') && second.peers.length === 1);
      assert.equal(second.overlay.storeState?.savedAt, null);
      // The watch comes after the list.
      await until(() => second.overlay.storeState?.awaySeconds === null);
      await until(() => (second.overlay.held?.lease ?? 0n) !== 0n);
      assert.deepEqual(second.lost, []);
      assert.equal(second.log.matching(/two hosts/).length, 0);
      await second.stop();

      // Taken meanwhile by another: lost, as if it had been watched.
      await away.halt();
      const third = start();
      await third.join({ publicIp: A });
      await away.run();
      // The store answers already; a key that is removed and given to another in one step.
      away.ctl('put', `/away/subnets/${own.key}`, value(B, '02:00:00:00:00:09'));
      await until(() => third.lost.length === 1);
      assert.match(third.lost[0] ?? '', /was taken by the host with public IP 192.168.56.12/);
      assert.deepEqual(fs.readdirSync(saveTo), [], 'what is not ours is not kept');
    } finally {
      for (const one of hosts.splice(0)) await one.stop();
      await away.end();
      fs.rmSync(saveTo, { recursive: true });
    }
  });
});

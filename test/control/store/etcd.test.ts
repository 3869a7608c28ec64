import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Change, Listener, Listing } from '../../../src/control/store/store.js';
import { Lines, realClock, until } from '../fakes.js';
import { CuttingProxy } from './cutting-proxy.js';
import { EtcdServer, freePort, noEtcd, noV2, V2_ON } from './etcd-server.js';

/** The state that a follower knows, and how it came to it. */
class Follower implements Listener {
  readonly state = new Map<string, string>();
  /** When each value came. */
  readonly seen = new Map<string, number>();
  snapshots = 0;
  revision = 0n;

  snapshot({ entries, revision }: Listing): void {
    this.snapshots++;
    this.revision = revision;
    this.state.clear();
    for (const { key, value } of entries) this.state.set(key, value);
  }

  changes(batch: readonly Change[]): void {
    for (const change of batch) {
      const revision = change.type === 'put' ? change.entry.revision : change.revision;
      assert.ok(revision >= this.revision, 'revisions never go back');
      this.revision = revision;
      if (change.type === 'delete') this.state.delete(change.key);
      else {
        this.state.set(change.entry.key, change.entry.value);
        this.seen.set(change.entry.value, performance.now());
      }
    }
  }
}

describe('etcd store', { skip: noEtcd }, () => {
  let etcd: EtcdServer;
  const log = new Lines();
  const stores: EtcdStore[] = [];

  function open(prefix: string, endpoints = [etcd.endpoint], relistEveryMs?: number): EtcdStore {
    const more = relistEveryMs === undefined ? {} : { relistEveryMs };
    const store = new EtcdStore({ endpoints, prefix, clock: realClock, log, ...more });
    stores.push(store);
    return store;
  }

  before(async () => {
    etcd = await EtcdServer.start(...V2_ON);
  });
  after(async () => {
    for (const store of stores) await store.close();
    await etcd.end();
  });

  test('builds its keys as flannel does', async () => {
    etcd.ctl('put', '/keys/net/config', 'the config');
    const store = open('//keys//net/');
    assert.equal(store.configName, '/keys/net/config');
    assert.equal(store.description, `etcd at ${etcd.endpoint}, prefix /keys/net`);
    assert.equal(await store.readConfig(), 'the config');
    assert.equal(await open('/nothing').readConfig(), undefined);

    await store.leases.create('10.5.1.0-24', 'value', 60);
    assert.equal(etcd.ctl('get', '/keys/net/subnets/10.5.1.0-24', '--print-value-only'), 'value\n');
    etcd.ctl('put', '/keys/net/subnetsX/10.5.2.0-24', 'no lease');
    const { entries, revision } = await store.list();
    assert.deepEqual(
      entries.map(({ key, value }) => [key, value]),
      [['10.5.1.0-24', 'value']],
    );
    assert.equal(revision, (entries[0]?.revision ?? 0n) + 1n);
  });

  test('creates a key once, on a fresh lease, and leaves no lease behind for the loser', async () => {
    const { leases } = open('/create');
    const won = await leases.create('10.5.1.0-24', 'first', 86_400);
    assert.ok(won);
    assert.equal(won.ttl, 86_400);
    const before = etcd.ctl('lease', 'list').split('\n').length;
    assert.equal(await leases.create('10.5.1.0-24', 'second', 86_400), undefined);
    assert.equal(etcd.ctl('lease', 'list').split('\n').length, before);
    const { entry, ttl: left } = await leases.look('10.5.1.0-24');
    assert.equal(entry?.lease, won.lease);
    assert.ok(left > 86_300 && left <= 86_400, `${left}`);
    const none = await leases.look('10.5.2.0-24');
    assert.deepEqual([none.entry, none.ttl], [undefined, 0]);
    assert.ok(none.revision >= won.revision);
    assert.equal(leases.granted(won.lease), true);
    assert.equal(open('/create').leases.granted(won.lease), false, "another process's");
  });

  test('gives a lease its whole time again; one that is gone has none', async () => {
    const { leases } = open('/alive');
    const written = (await leases.create('10.5.1.0-24', 'here', 3)) ?? assert.fail();
    const left = async () => (await leases.look('10.5.1.0-24')).ttl;
    await until(async () => (await left()) < 2);
    assert.equal(await leases.keepAlive(written.lease), 3);
    assert.ok((await left()) >= 2);
    assert.equal(await leases.keepAlive(123n), 0);
  });

  test('updates and removes a key only at the revision it is expected at', async () => {
    const store = open('/update');
    const { leases } = store;
    const first = await leases.create('10.5.1.0-24', 'a', 60);
    assert.ok(first);
    const second = await leases.update('10.5.1.0-24', 'b', 60, first.revision);
    assert.ok(second);
    assert.notEqual(second.lease, first.lease);
    assert.equal(await leases.update('10.5.1.0-24', 'c', 60, first.revision), undefined);

    await leases.discard(second.lease);
    assert.equal((await store.list()).entries.length, 1, 'a lease that holds a key is not revoked');
    await leases.discard(first.lease);
    const gone = etcd.ctl('lease', 'timetolive', first.lease.toString(16));
    assert.match(gone, /already expired/, 'an empty one is');

    const third = await leases.update('10.5.1.0-24', 'd', undefined, second.revision);
    assert.equal(third?.lease, 0n);
    const [entry] = (await store.list()).entries;
    assert.deepEqual(entry, {
      key: '10.5.1.0-24',
      value: 'd',
      created: first.revision,
      revision: third?.revision,
      lease: 0n,
    });
    assert.equal(await leases.remove('10.5.1.0-24', second.revision), false);
    assert.equal(await leases.remove('10.5.1.0-24', entry?.revision ?? 0n), true);
    assert.deepEqual((await store.list()).entries, []);
  });

  test('follows puts and deletions at once', async (t) => {
    const store = open('/follow');
    const follower = new Follower();
    const following = store.follow(follower);
    await until(() => follower.snapshots === 1);
    const { leases } = store;
    for (let i = 0; i < 50; i++) assert.ok(await leases.create(`10.5.${i}.0-24`, 'x', 600));
    let { revision } = (await leases.create('10.5.50.0-24', 'x', 600)) ?? assert.fail();
    const late: number[] = [];
    for (let i = 0; i < 50; i++) {
      const value = `value ${i}`;
      const start = performance.now();
      const written = await leases.update('10.5.50.0-24', value, undefined, revision);
      revision = (written ?? assert.fail()).revision;
      const seen = await until(() => follower.seen.get(value));
      late.push(seen - start);
    }
    late.sort((a, b) => a - b);
    t.diagnostic(`put -> callback: p50 ${late[25]?.toFixed(2)} ms, max ${late[49]?.toFixed(2)} ms`);
    etcd.ctl('del', '/follow/subnets/10.5.7.0-24');
    await until(() => !follower.state.has('10.5.7.0-24'));
    assert.equal(follower.state.size, 50);
    assert.equal(follower.snapshots, 1);

    await following.stop();
    etcd.ctl('put', '/follow/subnets/10.5.99.0-24', 'x');
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(follower.state.has('10.5.99.0-24'), false, 'nothing comes after stop');
  });

  test('lists again now and then although the watch lives', async () => {
    const dead = `http://127.0.0.1:${await freePort()}`;
    const store = open('/relist', [etcd.endpoint, dead], 50);
    const follower = new Follower();
    const following = store.follow(follower);
    await until(() => follower.snapshots >= 4);
    assert.equal(store.member, etcd.endpoint, 'a watch that we end ourselves is no failure');
    await following.stop();
  });

  test('misses nothing through a network that cuts every connection', async (t) => {
    const port = await freePort();
    const proxy = new CuttingProxy(port, etcd.port);
    t.after(() => proxy.close());
    await proxy.listen();
    const follower = new Follower();
    const following = open('/cut', [`http://127.0.0.1:${port}`]).follow(follower);
    await until(() => follower.snapshots > 0);

    const { leases } = open('/cut');
    const expected = new Map<string, string>();
    const written: bigint[] = [];
    for (let i = 0; i < 600; i++) {
      const key = `10.5.${i % 256}.0-24`;
      const value = `value ${i}`;
      const at = written[i - 256];
      const done =
        at === undefined
          ? await leases.create(key, value, 600)
          : await leases.update(key, value, undefined, at);
      assert.ok(done);
      written.push(done.revision);
      expected.set(key, value);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    const at = written.at(-1) ?? 0n;
    assert.ok(await leases.remove('10.5.87.0-24', at));
    expected.delete('10.5.87.0-24');
    await until(() => {
      try {
        assert.deepEqual(new Map([...follower.state].sort()), new Map([...expected].sort()));
        return true;
      } catch {
        return false;
      }
    }, 20_000);
    t.diagnostic(`${proxy.cuts} cuts, ${follower.snapshots} lists`);
    assert.ok(proxy.cuts > 8, 'the proxy did cut');
    await following.stop();
  });

  test('catches up after a compaction while it was cut off', async (t) => {
    const port = await freePort();
    const proxy = new CuttingProxy(port, etcd.port, false);
    t.after(() => proxy.close());
    await proxy.listen();
    etcd.ctl('put', '/compact/subnets/10.5.1.0-24', 'old');
    etcd.ctl('put', '/compact/subnets/10.5.2.0-24', 'goes');
    const follower = new Follower();
    const following = open('/compact', [`http://127.0.0.1:${port}`]).follow(follower);
    await until(() => follower.state.size === 2);
    await proxy.close();
    etcd.ctl('put', '/compact/subnets/10.5.1.0-24', 'new');
    etcd.ctl('del', '/compact/subnets/10.5.2.0-24');
    etcd.ctl('put', '/compact/subnets/10.5.3.0-24', 'comes');
    const [, revision = ''] = /"revision":(\d+)/.exec(etcd.ctl('get', 'x', '-w', 'json')) ?? [];
    etcd.ctl('compact', revision);
    await proxy.listen();
    await until(() => follower.state.has('10.5.3.0-24'));
    assert.deepEqual(Object.fromEntries(follower.state), {
      '10.5.1.0-24': 'new',
      '10.5.3.0-24': 'comes',
    });
    await following.stop();
  });

  test('goes to the next endpoint when one is dead', async () => {
    const dead = `http://127.0.0.1:${await freePort()}`;
    etcd.ctl('put', '/two/config', 'here');
    for (const endpoints of [
      [dead, etcd.endpoint],
      [etcd.endpoint, dead],
    ]) {
      const store = open('/two', endpoints);
      assert.equal(await store.readConfig(), 'here');
      assert.equal(store.member, etcd.endpoint);
    }
  });

  test('says which endpoints do not answer', async () => {
    const dead = `http://127.0.0.1:${await freePort()}`;
    await assert.rejects(open('/x', [dead]).readConfig(), (error: Error) => {
      assert.equal(error.name, 'StoreUnreachable');
      assert.match(error.message, new RegExp(`cannot read /x/config .*${dead}`));
      return true;
    });
  });

  test('hints at a config put at the prefix itself', async () => {
    etcd.ctl('put', '/wrong/net', '{\n"Network":"10.5.0.0/16"\n}');
    const hint = await open('/wrong/net').hintForMissingConfig();
    assert.equal(
      hint,
      'there is a value at /wrong/net, did you mean /wrong/net/config? Put it there with: ' +
        `ETCDCTL_API=3 etcdctl --endpoints=${etcd.endpoint} put /wrong/net/config ` +
        `'{"Network":"10.5.0.0/16"}'`,
    );
  });

  test('hints at a config put with the v2 API', { skip: noV2 }, async () => {
    await fetch(`${etcd.endpoint}/v2/keys/old/net/config`, {
      method: 'PUT',
      body: new URLSearchParams({ value: '{"Network":"10.5.0.0/16"}' }),
    });
    const hint = await open('/old/net').hintForMissingConfig();
    assert.match(hint ?? '', /^\/old\/net\/config is there in the v2 API of etcd only/);
    assert.match(hint ?? '', /put \/old\/net\/config '\{"Network":"10.5.0.0\/16"\}'$/);
    const none = await open('/none').hintForMissingConfig();
    assert.match(none ?? '', /^put one with: .*etcdctl .* put \/none\/config '\{.*"vxlan"\}\}'$/);
  });

  test('comes back when etcd was away, with one line each', async () => {
    const away = await EtcdServer.prepare();
    const lines = new Lines();
    const store = new EtcdStore({
      endpoints: [away.endpoint],
      prefix: '/away',
      clock: realClock,
      log: lines,
    });
    const follower = new Follower();
    const following = store.follow(follower);
    try {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await away.run();
      await until(() => lines.matching(/^info: .*answers again/).length === 1);
      await away.halt();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await away.run();
      away.ctl('put', '/away/subnets/10.5.1.0-24', 'x');
      await until(() => follower.state.has('10.5.1.0-24'));
      assert.equal(lines.matching(/^warn: .*cannot follow the leases/).length, 2, `${lines.lines}`);
      await until(() => lines.matching(/^info: .*answers again/).length === 2);
      assert.equal(lines.lines.length, 4);
    } finally {
      await following.stop();
      await store.close();
      await away.end();
    }
  });
});

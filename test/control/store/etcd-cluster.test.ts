/** Which cluster an answer is of: the decision alone, and with two real ones. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import { EtcdCluster } from '../../../src/control/store/etcd-cluster.js';
import { Lines, realClock, until } from '../fakes.js';
import { EtcdServer, noEtcd } from './etcd-server.js';

const A = { cluster_id: '10276657743932975437' };
const B = { cluster_id: '255' };
const HEX = '8e9e05c52164694d';

function decide(...endpoints: string[]): { cluster: EtcdCluster; log: Lines } {
  const log = new Lines();
  return { cluster: new EtcdCluster({ endpoints, log }), log };
}

test('the first answer says what is joined, in hex; another one is not used, and named once', () => {
  const { cluster, log } = decide('http://a:1', 'http://b:1');
  assert.equal(cluster.joined, undefined);
  assert.equal(cluster.check(0, A), undefined);
  assert.equal(cluster.joined, HEX);
  for (let i = 0; i < 3; i++) {
    assert.match(cluster.check(1, B) ?? '', /another etcd cluster, ff, than .*, 8e9e05c52164694d/);
  }
  assert.equal(log.matching(/^warn: http:\/\/b:1 is not used: .*-etcd-endpoints/).length, 1);
  assert.equal(cluster.joined, HEX);
});

test('an answer without an id says nothing, whatever was joined', () => {
  const { cluster } = decide('http://a:1');
  for (const silent of [undefined, null, { cluster_id: '0' }]) {
    assert.equal(cluster.check(0, silent), undefined);
  }
  assert.equal(cluster.joined, undefined);
  cluster.check(0, A);
  assert.equal(cluster.check(0, { cluster_id: '0' }), undefined);
  assert.equal(cluster.joined, HEX);
});

test('what was joined before this start counts, but not against an answer that came already', () => {
  const before = decide('http://a:1', 'http://b:1');
  before.cluster.expect(HEX);
  assert.match(before.cluster.check(1, B) ?? '', /another etcd cluster/);
  assert.equal(before.cluster.check(0, A), undefined);
  const late = decide('http://a:1', 'http://b:1');
  late.cluster.check(0, B);
  late.cluster.expect(HEX);
  assert.equal(late.cluster.joined, 'ff');
});

test('when every endpoint is of one other cluster, the joined one is no more', () => {
  const { cluster, log } = decide('http://a:1', 'http://b:1', 'http://c:1');
  for (const index of [0, 1, 2]) cluster.check(index, A);
  assert.notEqual(cluster.check(0, B), undefined);
  assert.notEqual(cluster.check(1, B), undefined);
  assert.equal(cluster.check(2, A), undefined, 'one is still there');
  assert.notEqual(cluster.check(0, B), undefined);
  assert.equal(cluster.check(2, B), undefined);
  assert.equal(cluster.joined, 'ff');
  assert.equal(
    log.matching(/^warn: etcd's cluster 8e9e05c52164694d is no more.* ff now/).length,
    1,
  );
  assert.notEqual(cluster.check(1, A), undefined, 'that is another one now');
});

test('two other clusters are no successor; nor are endpoints that never answered', () => {
  const two = decide('http://a:1', 'http://b:1').cluster;
  two.expect('1');
  assert.notEqual(two.check(0, A), undefined);
  assert.notEqual(two.check(1, B), undefined);
  const silent = decide('http://a:1', 'http://b:1').cluster;
  silent.expect('1');
  for (let i = 0; i < 5; i++) assert.notEqual(silent.check(0, A), undefined);
  assert.equal(silent.joined, '1');
});

describe('two clusters behind the endpoints', { skip: noEtcd, timeout: 600_000 }, () => {
  let ours: EtcdServer;
  let other: EtcdServer;
  const stores: EtcdStore[] = [];
  let log: Lines;

  beforeEach(async () => {
    log = new Lines();
    ours = await EtcdServer.start('--initial-cluster-token=ours');
    other = await EtcdServer.start('--initial-cluster-token=other');
    for (const etcd of [ours, other]) etcd.ctl('put', '/net/config', 'the same');
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    await ours.end();
    await other.end();
  });

  function open(...endpoints: string[]): EtcdStore {
    const store = new EtcdStore({ endpoints, prefix: '/net', clock: realClock, log });
    stores.push(store);
    return store;
  }

  const idOf = (etcd: EtcdServer) => {
    const [, id = '0'] = /"cluster_id":(\d+)/.exec(etcd.ctl('get', 'x', '-w', 'json')) ?? [];
    return BigInt(id).toString(16);
  };
  const keysOf = (etcd: EtcdServer) =>
    etcd.ctl('get', '--prefix', '--keys-only', '/net/subnets/').split('\n').filter(Boolean);

  for (const [what, ahead] of [
    ['behind', false],
    ['ahead', true],
  ] as const) {
    test(`ours stops for 20 s, the other is ${what} in its revisions: nothing is read or written there`, async () => {
      for (let i = 0; i < 40; i++) (ahead ? other : ours).ctl('put', '/elsewhere', `${i}`);
      const store = open(ours.endpoint, other.endpoint);
      const keys = new Set<string>();
      let snapshots = 0;
      const following = store.follow({
        snapshot: ({ entries }) => {
          snapshots++;
          keys.clear();
          for (const { key } of entries) keys.add(key);
        },
        changes: (batch) => {
          for (const change of batch) {
            if (change.type === 'put') keys.add(change.entry.key);
            else keys.delete(change.key);
          }
        },
      });
      const written = await store.leases.create('10.5.1.0-24', 'x', 60);
      assert.ok(written);
      await until(() => keys.has('10.5.1.0-24'));
      assert.equal(store.cluster, idOf(ours));
      ours.signal('SIGSTOP');
      const before = snapshots;
      const trying = setInterval(() => {
        store.leases.create('10.5.2.0-24', 'x', 60).catch(() => {});
        store.leases.update('10.5.1.0-24', 'y', 60, written.revision).catch(() => {});
        store.readConfig().catch(() => {});
      }, 1_000);
      await sleep(20_000);
      clearInterval(trying);
      await assert.rejects(
        store.list(),
        new RegExp(`cluster, ${idOf(other)}, than .*${store.cluster}`),
      );
      assert.deepEqual(keysOf(other), []);
      assert.equal(snapshots, before);
      assert.deepEqual([...keys], ['10.5.1.0-24']);
      assert.equal(log.matching(/is not used: it is of another etcd cluster/).length, 1);
      ours.signal('SIGCONT');
      await until(() => following.state.awaySince === undefined, 21_000);
      ours.ctl('put', '/net/subnets/10.5.3.0-24', 'z');
      await until(() => keys.has('10.5.3.0-24'));
      assert.equal(store.cluster, idOf(ours));
    });
  }

  test('what was joined before this start is waited for', async () => {
    const store = open(other.endpoint, ours.endpoint);
    store.expectCluster(idOf(ours));
    assert.equal(await store.readConfig(), 'the same');
    assert.equal(store.member, ours.endpoint);
    assert.notEqual(await store.leases.create('10.5.1.0-24', 'x', 60), undefined);
    assert.deepEqual([keysOf(other).length, keysOf(ours).length], [0, 1]);
  });

  test('a first write goes to the joined cluster, too, and leaves no lease in another', async () => {
    const store = open(other.endpoint, ours.endpoint);
    store.expectCluster(idOf(ours));
    assert.notEqual(await store.leases.create('10.5.1.0-24', 'x', 60), undefined);
    assert.match(other.ctl('lease', 'list'), /found 0 leases/);
    assert.deepEqual([keysOf(other).length, keysOf(ours).length], [0, 1]);
  });

  test('the joined cluster replaced altogether at its address is taken, with one warning', async () => {
    const store = open(ours.endpoint);
    const was = idOf(ours);
    assert.equal(await store.readConfig(), 'the same');
    await ours.halt();
    ours.wipe();
    await ours.run('--initial-cluster-token=anew');
    assert.equal(await store.readConfig(), undefined);
    assert.notEqual(await store.leases.create('10.5.1.0-24', 'x', 60), undefined);
    assert.equal(store.cluster, idOf(ours));
    assert.notEqual(store.cluster, was);
    assert.equal(
      log.matching(new RegExp(`cluster ${was} is no more.*${store.cluster} now`)).length,
      1,
    );
  });
});

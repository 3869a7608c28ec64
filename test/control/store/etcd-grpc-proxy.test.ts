/**
 * Following through an etcd grpc-proxy, which answers itself where it can: it keeps answers of
 * ranges, and joins the watches of its clients into one.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Etcd3 } from 'etcd3';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Change, Following, Listing } from '../../../src/control/store/store.js';
import { Lines, realClock, until } from '../fakes.js';
import { CuttingProxy } from './cutting-proxy.js';
import { ETCD, EtcdServer, freePort, noEtcd } from './etcd-server.js';

/** What one follower was told. */
class Told {
  readonly keys = new Map<string, string>();
  snapshots = 0;
  readonly changes: bigint[] = [];
  following: Following | undefined;

  follow(store: EtcdStore): this {
    this.following = store.follow({
      snapshot: ({ entries }: Listing) => {
        this.snapshots++;
        this.keys.clear();
        for (const { key, value } of entries) this.keys.set(key, value);
      },
      changes: (batch) => {
        for (const change of batch) this.#change(change);
      },
    });
    return this;
  }

  #change(change: Change): void {
    if (change.type === 'put') this.keys.set(change.entry.key, change.entry.value);
    else this.keys.delete(change.key);
    this.changes.push(change.type === 'put' ? change.entry.revision : change.revision);
  }
}

describe('behind an etcd grpc-proxy', { skip: noEtcd, timeout: 600_000 }, () => {
  let etcd: EtcdServer;
  let client: Etcd3;
  let proxy: ChildProcess;
  let endpoint: string;
  let directory: string;
  const stores: EtcdStore[] = [];
  const log = new Lines();

  before(async () => {
    etcd = await EtcdServer.start();
    client = new Etcd3({ hosts: etcd.endpoint });
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-etcd-'));
    const place = `127.0.0.1:${await freePort()}`;
    endpoint = `http://${place}`;
    const args = [`--endpoints=127.0.0.1:${etcd.port}`, `--listen-addr=${place}`];
    const more = [`--advertise-client-url=${place}`, `--data-dir=${path.join(directory, 'proxy')}`];
    proxy = spawn(ETCD, ['grpc-proxy', 'start', ...args, ...more], { stdio: 'ignore' });
    await until(async () => {
      const answered = await open('/ready')
        .list()
        .catch(() => undefined);
      return answered !== undefined;
    });
  });
  after(async () => {
    for (const store of stores) await store.close();
    client.close();
    proxy.kill('SIGKILL');
    await etcd.end();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  function open(prefix: string, at = endpoint): EtcdStore {
    const store = new EtcdStore({ endpoints: [at], prefix, clock: realClock, log });
    stores.push(store);
    return store;
  }

  async function put(key: string, value: string): Promise<bigint> {
    const { header } = await client.put(key).value(value);
    return BigInt(header.revision);
  }

  test('a listing is never of the past, and names the cluster behind', async () => {
    const store = open('/fresh');
    for (let i = 0; i < 20; i++) {
      const revision = await put('/fresh/subnets/10.5.1.0-24', `value ${i}`);
      const listing = await store.list();
      assert.equal(listing.entries[0]?.value, `value ${i}`);
      assert.equal(listing.revision, revision);
      assert.match(etcd.ctl('endpoint', 'status', '-w', 'fields'), /"ClusterID" : \d+/);
      assert.equal(
        listing.cluster,
        await open('/fresh', etcd.endpoint)
          .list()
          .then((l) => l.cluster),
      );
    }
  });

  test('5,000 leases come in pages of one revision', async () => {
    for (let i = 0; i < 5_000; i += 100) {
      const puts = Array.from({ length: 100 }, (_, j) =>
        client.put(`/many/subnets/${String(i + j).padStart(5, '0')}`).value('x'.repeat(200)),
      );
      await client
        .if('no', 'Version', '==', 0)
        .then(...puts)
        .commit();
    }
    const { entries } = await open('/many').list();
    assert.equal(new Set(entries.map(({ key }) => key)).size, 5_000);
  });

  test('followers that begin at different revisions are told all from theirs on, once', async () => {
    const followers: Told[] = [];
    const written: bigint[] = [];
    for (let i = 0; i < 40; i++) {
      if (i % 8 === 0) followers.push(new Told().follow(open('/joined')));
      written.push(await put(`/joined/subnets/10.5.${i}.0-24`, `value ${i}`));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    written.push(await put('/joined/subnets/10.5.0.0-24', 'again'));
    etcd.ctl('del', '/joined/subnets/10.5.1.0-24');
    for (const { keys, snapshots, changes } of followers) {
      await until(() => keys.get('10.5.0.0-24') === 'again' && !keys.has('10.5.1.0-24'));
      assert.equal(keys.size, 39);
      assert.equal(snapshots, 1);
      assert.equal(new Set(changes).size, changes.length, 'nothing is told twice');
      assert.deepEqual(
        changes,
        [...changes].sort((a, b) => Number(a - b)),
      );
    }
  });

  test('what was compacted while it was cut off is found by listing again', async (t) => {
    const port = await freePort();
    const cut = new CuttingProxy(port, Number(new URL(endpoint).port), false);
    t.after(() => cut.close());
    await cut.listen();
    await put('/compact/subnets/10.5.1.0-24', 'old');
    await put('/compact/subnets/10.5.2.0-24', 'goes');
    const told = new Told().follow(open('/compact', `http://127.0.0.1:${port}`));
    await until(() => told.keys.size === 2);
    await cut.close();
    etcd.ctl('del', '/compact/subnets/10.5.2.0-24');
    const revision = await put('/compact/subnets/10.5.1.0-24', 'new');
    await client.kv.compact({ revision: String(revision), physical: true });
    await cut.listen();
    await until(() => told.keys.get('10.5.1.0-24') === 'new');
    assert.deepEqual([...told.keys.keys()], ['10.5.1.0-24']);
    await until(() => told.following?.state.awaySince === undefined);
  });

  test('a watch from a revision that was compacted is said to be one', async () => {
    /** Follows from a listing that is old. */
    class Behind extends EtcdStore {
      old = super.list();
      lists = 0;
      override list() {
        return this.lists++ === 0 ? this.old : super.list();
      }
    }
    const options = { endpoints: [endpoint], prefix: '/behind', clock: realClock, log };
    const behind = new Behind(options);
    stores.push(behind);
    await behind.old;
    let revision = 0n;
    for (let i = 0; i < 5; i++) revision = await put('/behind/subnets/10.5.1.0-24', `value ${i}`);
    await client.kv.compact({ revision: String(revision), physical: true });
    const told = new Told().follow(behind);
    await until(() => told.keys.get('10.5.1.0-24') === 'value 4');
    await until(() => told.following?.state.awaySince === undefined);
    assert.ok(behind.lists < 5, `listed ${behind.lists} times`);
    await put('/behind/subnets/10.5.2.0-24', 'later');
    await until(() => told.keys.has('10.5.2.0-24'));
  });

  test('events of more than 4 MB are told, and the look agrees with them', async () => {
    const told = new Told().follow(open('/large'));
    await until(() => told.snapshots === 1);
    for (let i = 0; i < 5; i++) await put(`/large/subnets/10.5.${i}.0-24`, 'x'.repeat(1_400_000));
    await until(() => told.keys.size === 5);
    // A look that disagreed would make it list again, within 11 s.
    await new Promise((resolve) => setTimeout(resolve, 11_500));
    assert.equal(told.snapshots, 1);
    assert.equal(told.following?.state.mended, 0);
  });
});

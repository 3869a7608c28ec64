/** A store whose past is another one, with the cluster id of before; and one that is the same. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Etcd3 } from 'etcd3';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Following, Listing } from '../../../src/control/store/store.js';
import { Lines, realClock, until } from '../fakes.js';
import { EtcdServer, noEtcd } from './etcd-server.js';

describe('the history of a store', { skip: noEtcd, timeout: 600_000 }, () => {
  let etcd: EtcdServer;
  let store: EtcdStore;
  let following: Following;
  let told: { listing: Listing; keys: string[] }[];

  beforeEach(async () => {
    etcd = await EtcdServer.start();
    const { endpoint } = etcd;
    store = new EtcdStore({
      endpoints: [endpoint],
      prefix: '/net',
      clock: realClock,
      log: new Lines(),
    });
    told = [];
    etcd.ctl('put', '/net/config', '{}');
    etcd.ctl('put', '/net/subnets/first', 'x');
  });
  afterEach(async () => {
    await store.close();
    await etcd.end();
  });

  /** Begins to follow `first` and `second`. */
  async function follow(): Promise<void> {
    etcd.ctl('put', '/net/subnets/second', 'x');
    following = store.follow({
      snapshot: (listing) => told.push({ listing, keys: listing.entries.map(({ key }) => key) }),
      changes: () => {},
    });
    await until(() => told.length === 1 && following.state.awaySince === undefined);
    assert.deepEqual(told[0]?.keys, ['first', 'second']);
  }

  /** The next listing, of the server that was started again after `change` was done to it. */
  async function after(change: (client: Etcd3) => Promise<void>) {
    // Nobody listens yet where the follower looks, so it comes when all is done.
    const hidden = await EtcdServer.prepare();
    hidden.takeDataOf(etcd);
    await hidden.run();
    const client = new Etcd3({ hosts: hidden.endpoint });
    await change(client);
    client.close();
    await hidden.halt();
    etcd.takeDataOf(hidden);
    await hidden.end();
    const before = told.length;
    await etcd.run();
    await until(() => told.length > before);
    return told.at(-1) ?? assert.fail();
  }

  const write = async (client: Etcd3, key: string, times: number): Promise<void> => {
    for (let i = 0; i < times; i++) await client.put(key).value(`${i}`);
  };

  test('a key that was removed while etcd was away was removed', async () => {
    await follow();
    await etcd.halt();
    const { listing, keys } = await after(async (client) => {
      await client.delete().key('/net/subnets/second');
      await write(client, '/other', 20);
    });
    assert.deepEqual(keys, ['first']);
    assert.equal(listing.replaced, undefined);
    assert.equal(listing.cluster, told[0]?.listing.cluster);
  });

  test('nor is a key that was removed and made again a sign of another store', async () => {
    await follow();
    await etcd.halt();
    const { listing } = await after(async (client) => {
      await client.delete().key('/net/subnets/second');
      await write(client, '/net/subnets/second', 3);
    });
    assert.equal(listing.replaced, undefined);
  });

  test('a backup that has outgrown what we know is another store, though it went nowhere back', async () => {
    await etcd.halt();
    etcd.backUp();
    await etcd.run();
    await follow();
    await etcd.halt();
    etcd.restore();
    const { listing, keys } = await after((client) => write(client, '/other', 20));
    assert.deepEqual(keys, ['first']);
    assert.ok(listing.revision > (told[0]?.listing.revision ?? 0n));
    assert.equal(listing.cluster, told[0]?.listing.cluster, 'the id says nothing');
    assert.equal(listing.replaced, true);
  });

  test('the same when its past was compacted, and a lease tells it', async () => {
    await etcd.halt();
    etcd.backUp();
    await etcd.run();
    await follow();
    await etcd.halt();
    etcd.restore();
    const { listing } = await after(async (client) => {
      await write(client, '/net/subnets/first', 1);
      await write(client, '/other', 20);
      const { header } = await client.put('/other').value('last');
      await client.kv.compact({ revision: header.revision, physical: true });
    });
    assert.equal(listing.replaced, true);
  });
});

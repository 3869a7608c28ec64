/** A member that does what it is asked for, and whose answer is lost: the next one is asked, too. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Written } from '../../../src/control/store/store.js';
import { Lines, realClock, seeded, until } from '../fakes.js';
import { EtcdServer, noEtcd } from './etcd-server.js';
import { SlowProxy } from './slow-proxy.js';

const KEY = '10.10.77.0-24';

describe('a member whose answer is lost', { skip: noEtcd, timeout: 120_000 }, () => {
  let server: EtcdServer;
  let proxy: SlowProxy;
  let store: EtcdStore;
  /** Without another member. */
  let alone: EtcdStore;

  before(async () => {
    server = await EtcdServer.start();
    server.ctl('put', '/net/config', 'here');
  });
  beforeEach(async () => {
    proxy = new SlowProxy(server.port, 0);
    const endpoints = [`http://127.0.0.1:${await proxy.listen()}`, server.endpoint];
    const around = { clock: realClock, random: seeded(1), log: new Lines() };
    const more = { prefix: '/net', callTimeoutMs: 1_500, ...around };
    store = new EtcdStore({ endpoints, ...more });
    alone = new EtcdStore({ endpoints: endpoints.slice(0, 1), ...more });
    await Promise.all([store.readConfig(), alone.readConfig()]);
    assert.equal(store.member, endpoints[0]);
    proxy.delay = 300;
  });
  afterEach(async () => {
    await store.close();
    await alone.close();
    await proxy.close();
    server.ctl('del', '/net/subnets/', '--prefix');
    for (const id of leases()) server.ctl('lease', 'revoke', id);
  });
  after(() => server.end());

  const leases = () => server.ctl('lease', 'list').trim().split('\n').slice(1).filter(Boolean);
  const idOf = (written?: Written) => written?.lease.toString(16).padStart(16, '0') ?? '';
  const value = () => server.ctl('get', `/net/subnets/${KEY}`, '--print-value-only').trim();

  /** The first member's answer to what is under way is lost once `isDone`. */
  async function loseAnswer(isDone: () => boolean): Promise<void> {
    await until(isDone);
    proxy.silent = true;
  }

  test('a lease is granted once', async () => {
    const created = store.leases.create(KEY, 'x', 600);
    await loseAnswer(() => leases().length > 0);
    const written = await created;
    assert.deepEqual(leases(), [idOf(written)]);
    assert.ok((written?.ttl ?? 0) > 500, `${written?.ttl}`);
    assert.equal(store.leases.granted(written?.lease ?? 0n), true);
  });

  test('a key that was created is created', async () => {
    const created = store.leases.create(KEY, 'x', 600);
    await loseAnswer(() => value() === 'x');
    const first = await created;
    assert.deepEqual(leases(), [idOf(first)]);
    assert.equal((await store.leases.look(KEY)).entry?.revision, first?.revision);
  });

  test('a key that was updated is updated', async () => {
    const first = await store.leases.create(KEY, 'x', 600);
    const updated = store.leases.update(KEY, 'y', 600, first?.revision ?? 0n);
    await loseAnswer(() => value() === 'y');
    const second = await updated;
    assert.deepEqual(leases().sort(), [idOf(first), idOf(second)].sort());
    assert.equal((await store.leases.look(KEY)).entry?.revision, second?.revision);
  });

  test('what another wrote is not taken for it, be it the same text', async () => {
    const other = server.ctl('lease', 'grant', '600').split(' ')[1] ?? '';
    server.ctl('put', `/net/subnets/${KEY}`, 'x', `--lease=${other}`);
    assert.equal(await store.leases.create(KEY, 'x', 600), undefined);
    assert.equal(await store.leases.create(KEY, 'x', undefined), undefined);
    assert.equal(await store.leases.update(KEY, 'x', 600, 1n), undefined);
    assert.equal(await store.leases.remove(KEY, 1n), false);
    assert.equal(value(), 'x');
    assert.deepEqual(leases(), [other]);
  });

  test('nor is an earlier write of ours with another text, on the lease of which the next goes', async () => {
    const lost = alone.leases.create(KEY, 'x', 600);
    await loseAnswer(() => value() === 'x');
    await assert.rejects(lost);
    proxy.silent = false;
    alone.reconnect();
    assert.equal(await alone.leases.create(KEY, 'y', 600), undefined);
    assert.equal(value(), 'x');
    assert.equal(leases().length, 1);
  });

  test('a key that was removed is removed', async () => {
    const written = await store.leases.create(KEY, 'x', 600);
    const removed = store.leases.remove(KEY, written?.revision ?? 0n);
    await loseAnswer(() => value() === '');
    assert.equal(await removed, true);
  });
});

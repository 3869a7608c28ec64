/** Keys that are no text: etcd takes any bytes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Following, Listing } from '../../../src/control/store/store.js';
import { Lines, realClock, seeded, until } from '../fakes.js';
import { CuttingProxy } from './cutting-proxy.js';
import { EtcdServer, freePort, noEtcd } from './etcd-server.js';

describe('keys that are no text', { skip: noEtcd, timeout: 120_000 }, () => {
  let server: EtcdServer;
  let proxy: CuttingProxy;
  let store: EtcdStore;
  let following: Following;
  const log = new Lines();
  const snapshots: Listing[] = [];

  before(async () => {
    server = await EtcdServer.start();
    const port = await freePort();
    proxy = new CuttingProxy(port, server.port, false);
    await proxy.listen();
    const around = { clock: realClock, random: seeded(1), log };
    store = new EtcdStore({ endpoints: [`http://127.0.0.1:${port}`], prefix: '/net', ...around });
    // Names that any decoder makes the same of.
    for (const name of ['x\\377', 'x\\376', 'x\\357\\277\\275']) etcdctl('put', name, 'text');
    const listener = { snapshot: (listing: Listing) => snapshots.push(listing), changes() {} };
    following = store.follow(listener);
    await until(() => following.state.awaySince === undefined);
  });
  after(async () => {
    await store.close();
    await proxy.close();
    await server.end();
  });

  /** `name` is in the shell's words: no argument of a program that Node starts is but text. */
  function etcdctl(what: string, name: string, ...more: string[]): void {
    const key = `"$(printf '/net/subnets/${name}')"`;
    const line = `etcdctl --endpoints=${server.endpoint} ${what} ${key} ${more.join(' ')}`;
    const ran = spawnSync('sh', ['-c', line], { env: { ...process.env, ETCDCTL_API: '3' } });
    assert.equal(ran.status, 0, String(ran.stderr));
  }

  test('are told apart, and no change is missed on account of them', async () => {
    const keys = snapshots[0]?.entries.map(({ key }) => key) ?? [];
    assert.equal(new Set(keys).size, 3);
    assert.ok(keys.includes('x\ufffd'));
    await sleep(10_000);
    assert.deepEqual([snapshots.length, following.state.mended, log.lines], [1, 0, []]);
  });

  test('are looked for in the past by their own bytes: to remove one does not make another store', async () => {
    await proxy.close();
    etcdctl('del', 'x\\377');
    await proxy.listen();
    await until(() => snapshots.length > 1);
    assert.deepEqual(snapshots[1]?.entries.length, 2);
    assert.equal(snapshots[1]?.replaced ?? false, false);
  });
});

/** An etcd that is far away, slow, or silent: how many connections that costs, and how long. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Access } from '../../../src/control/store/access.js';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Following } from '../../../src/control/store/store.js';
import { Lines, realClock, seeded, until } from '../fakes.js';
import { noOpenssl } from './certificates.js';
import { EtcdServer, freePort, noEtcd } from './etcd-server.js';
import { SecureEtcd } from './secure-etcd.js';
import { SlowProxy } from './slow-proxy.js';

const PASSWORDS = { root: 'r00t-pass', weft: 'w3ft-pass' };
const AUTH = { username: 'weft', password: PASSWORDS.weft };

describe('a far etcd', { skip: noEtcd || noOpenssl, timeout: 600_000 }, () => {
  let secure: SecureEtcd;
  let plain: EtcdServer;
  const proxies: SlowProxy[] = [];
  const stores: EtcdStore[] = [];
  let log: Lines;

  before(async () => {
    secure = await SecureEtcd.start();
    secure.ctl('put', '/net/config', 'here');
    secure.addUsers('/net', PASSWORDS);
    secure.ctl('auth', 'enable');
    plain = await EtcdServer.start();
    plain.ctl('put', '/net/config', 'here');
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    for (const proxy of proxies.splice(0)) await proxy.close();
  });
  after(async () => {
    await secure.end();
    await plain.end();
  });

  async function behind(port: number, delay: number): Promise<{ proxy: SlowProxy; port: number }> {
    const proxy = new SlowProxy(port, delay);
    proxies.push(proxy);
    return { proxy, port: await proxy.listen() };
  }

  function open(endpoints: readonly string[], access?: Access): EtcdStore {
    log = new Lines();
    const readAccess = () => access ?? {};
    const more = { prefix: '/net', clock: realClock, random: seeded(1), log };
    const store = new EtcdStore({ endpoints, readAccess, ...more });
    stores.push(store);
    return store;
  }

  /** Every key that is told of. */
  function follow(store: EtcdStore): {
    keys: Set<string>;
    following: Following;
    lists: () => number;
  } {
    const keys = new Set<string>();
    let lists = 0;
    const following = store.follow({
      snapshot: ({ entries }) => {
        lists++;
        for (const { key } of entries) keys.add(key);
      },
      changes: (batch) => {
        for (const change of batch) if (change.type === 'put') keys.add(change.entry.key);
      },
    });
    return { keys, following, lists: () => lists };
  }

  for (const delay of [700, 1_000]) {
    test(`${2 * delay} ms there and back, TLS and a password: joined on one connection, and followed`, async (t) => {
      const { proxy, port } = await behind(Number(new URL(secure.endpoint).port), delay);
      const store = open([`https://127.0.0.1:${port}`], {
        credentials: { rootCertificate: fs.readFileSync(secure.certificates.ca) },
        auth: AUTH,
      });
      const begun = performance.now();
      const read = [store.readConfig(), store.list(), store.readConfig()];
      assert.equal((await Promise.all(read))[0], 'here');
      const key = `10.10.${delay / 50}.0-24`;
      assert.notEqual(await store.leases.create(key, 'x', 60), undefined);
      const { keys, following, lists } = follow(store);
      await until(() => following.state.awaySince === undefined, 20_000);
      const took = performance.now() - begun;
      t.diagnostic(`joined in ${took.toFixed(0)} ms, ${proxy.connections} connections`);
      assert.ok(took < 20_000, `${took}`);
      assert.ok(keys.has(key));
      assert.ok(proxy.connections <= 2, `${proxy.connections} connections`);
      // Longer than a look, and a keep-alive ping, take.
      await sleep(25_000);
      const user = ['--user', `root:${PASSWORDS.root}`];
      secure.ctl(...user, 'put', `/net/subnets/10.10.${delay / 50 + 1}.0-24`, 'y');
      await until(() => keys.has(`10.10.${delay / 50 + 1}.0-24`), 20_000);
      assert.equal(lists(), 1, 'the watch stayed');
      assert.ok(proxy.connections <= 2, `${proxy.connections} connections`);
      assert.deepEqual(log.lines, []);
    });
  }

  test('a silent endpoint alone has one connection being made at a time, and is noticed when it is back', async (t) => {
    const { proxy, port } = await behind(plain.port, 0);
    const store = open([`http://127.0.0.1:${port}`]);
    const { following } = follow(store);
    await until(() => following.state.awaySince === undefined);
    proxy.silent = true;
    let most = 0;
    const counting = setInterval(() => {
      most = Math.max(most, proxy.open);
    }, 5);
    await sleep(40_000);
    clearInterval(counting);
    // The proxy learns of the end of one after the beginning of the next.
    assert.ok(most <= 2, `${most} at once`);
    t.diagnostic(`${proxy.connections} connections in 40 s of silence`);
    // The first one was made, and lost.
    const waits = proxy.times.slice(2).map((time, i) => time - (proxy.times[i + 1] as number));
    assert.ok(waits.length >= 2, `${waits}`);
    for (const [i, wait] of waits.slice(1).entries()) {
      assert.ok(wait > 1.1 * (waits[i] as number), `${waits}: each is waited for longer`);
    }
    proxy.silent = false;
    await until(() => following.state.awaySince === undefined, 21_000);
  });

  test('a slow member gets company, and no second connection of its own', async () => {
    const far = await behind(plain.port, 600);
    const near = await behind(plain.port, 0);
    const store = open([far.port, near.port].map((port) => `http://127.0.0.1:${port}`));
    const begun = performance.now();
    assert.equal(await store.readConfig(), 'here');
    assert.ok(performance.now() - begun < 10_000);
    assert.equal(store.member, `http://127.0.0.1:${near.port}`);
    assert.deepEqual([far.proxy.connections, near.proxy.connections], [1, 1]);
  });

  test('a silent member is left for another within seconds, by reads and by writes', async () => {
    for (const write of [false, true]) {
      const one = await behind(plain.port, 0);
      const other = await behind(plain.port, 0);
      const store = open([one.port, other.port].map((port) => `http://127.0.0.1:${port}`));
      await store.readConfig();
      one.proxy.silent = true;
      const begun = performance.now();
      if (write) await store.leases.create(`10.10.9${Number(write)}.0-24`, 'x', 60);
      else await store.readConfig();
      const took = performance.now() - begun;
      assert.ok(took < (write ? 5_500 : 2_000), `${took}`);
      assert.equal(store.member, `http://127.0.0.1:${other.port}`);
    }
  });

  test('a grant whose answer was lost leaves one lease, which the next write takes', async () => {
    const { proxy, port } = await behind(plain.port, 300);
    const store = open([`http://127.0.0.1:${port}`]);
    await store.readConfig();
    const leases = () => plain.ctl('lease', 'list').trim().split('\n').slice(1);
    const before = leases();
    const lost = store.leases.create('10.10.77.0-24', 'x', 600);
    await until(() => leases().length > before.length);
    proxy.silent = true;
    await assert.rejects(lost);
    proxy.silent = false;
    store.reconnect();
    const written = await store.leases.create('10.10.77.0-24', 'x', 600);
    const [one, ...more] = leases().filter((id) => !before.includes(id));
    assert.deepEqual(more, []);
    assert.equal(written?.lease, BigInt(`0x${one}`));
    assert.equal(store.leases.granted(written?.lease ?? 0n), true);
    assert.ok((written?.ttl ?? 0) > 500);
  });

  test('a dead endpoint is tried again and again, and refuses quickly', async () => {
    const store = open([`http://127.0.0.1:${await freePort()}`]);
    for (let i = 0; i < 5; i++) await assert.rejects(store.readConfig(), /ECONNREFUSED/);
  });
});

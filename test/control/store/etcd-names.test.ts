/** An etcd that is given by its name, while the resolver fails. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import { ResolvedNames } from '../../../src/control/store/names.js';
import { Lines, realClock, until } from '../fakes.js';
import { noOpenssl } from './certificates.js';
import { EtcdServer, noEtcd } from './etcd-server.js';
import { SecureEtcd } from './secure-etcd.js';

describe('an etcd by its name', { skip: noEtcd || noOpenssl, timeout: 600_000 }, () => {
  test('is found again after a restart although the resolver is silent', async () => {
    const etcd = await EtcdServer.start();
    let lookups = 0;
    const names = new ResolvedNames(realClock, async (name) => {
      assert.equal(name, 'etcd.test');
      // The first address refuses: the next one is tried.
      if (lookups++ === 0) return ['127.0.0.9', '127.0.0.1'];
      return new Promise(() => {});
    });
    const log = new Lines();
    const endpoints = [`http://etcd.test:${etcd.port}`];
    const store = new EtcdStore({ endpoints, prefix: '/net', clock: realClock, log, names });
    const keys = new Set<string>();
    const first = store.readConfig();
    const following = store.follow({
      snapshot: ({ entries }) => {
        for (const { key } of entries) keys.add(key);
      },
      changes: (batch) => {
        for (const change of batch) if (change.type === 'put') keys.add(change.entry.key);
      },
    });
    try {
      assert.equal(await first, undefined, 'in one try');
      await until(() => following.state.awaySince === undefined);
      await etcd.halt();
      await until(() => following.state.awaySince !== undefined);
      await etcd.run();
      etcd.ctl('put', '/net/subnets/10.10.1.0-24', 'x');
      await until(() => keys.has('10.10.1.0-24'));
      assert.ok(lookups <= 2, `${lookups} look-ups`);
    } finally {
      await store.close();
      await etcd.end();
    }
  });

  test('its certificate is for the name, wherever that leads', async () => {
    const etcd = await SecureEtcd.start();
    const credentials = { rootCertificate: fs.readFileSync(etcd.certificates.ca) };
    const names = new ResolvedNames(realClock, async () => ['127.0.0.1']);
    const { port } = new URL(etcd.endpoint);
    const read = async (host: string) => {
      const store = new EtcdStore({
        ...{ endpoints: [`https://${host}:${port}`], prefix: '/net', clock: realClock, names },
        ...{ log: new Lines(), readAccess: () => ({ credentials }) },
      });
      try {
        return await store.readConfig();
      } finally {
        await store.close();
      }
    };
    try {
      etcd.ctl('put', '/net/config', 'here');
      assert.equal(await read('localhost'), 'here');
      await assert.rejects(read('etcd.test'), /TLS: .*etcd\.test/);
    } finally {
      await etcd.end();
    }
  });
});

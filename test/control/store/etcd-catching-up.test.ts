/** A member that comes back and is far behind the others, and is the only endpoint. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Etcd3 } from 'etcd3';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Listing } from '../../../src/control/store/store.js';
import { Lines, realClock, until } from '../fakes.js';
import { EtcdServer, noEtcd } from './etcd-server.js';

const COUNT = 800;
const BYTES = 50_000;

describe('a member that is catching up', { skip: noEtcd, timeout: 600_000 }, () => {
  let members: EtcdServer[];
  let client: Etcd3;
  let args: string[];
  const stores: EtcdStore[] = [];
  const names = ['one', 'two', 'three'];
  const run = (i: number) => members[i]?.run(`--name=${names[i]}`, ...args);

  before(async () => {
    members = [];
    for (const _ of names) members.push(await EtcdServer.prepare());
    const cluster = members.map(({ peer }, i) => `${names[i]}=${peer}`).join(',');
    args = [`--initial-cluster=${cluster}`, '--snapshot-count=50'];
    await Promise.all(names.map((_, i) => run(i)));
    client = new Etcd3({ hosts: members[0]?.endpoint as string });
  });
  after(async () => {
    for (const store of stores) await store.close();
    client.close();
    for (const member of members) await member.end();
  });

  function open(...endpoints: string[]): EtcdStore {
    const store = new EtcdStore({ endpoints, prefix: '/net', clock: realClock, log: new Lines() });
    stores.push(store);
    return store;
  }

  test('tells nothing of the past: the first listing has everything, and the watch goes on', async () => {
    const [, , late] = members as [EtcdServer, EtcdServer, EtcdServer];
    await client.put('/net/subnets/00000').value('old');
    await late.halt();
    const value = 'x'.repeat(BYTES);
    for (let i = 0; i < COUNT; i += 20) {
      const puts = Array.from({ length: 20 }, (_, j) =>
        client.put(`/net/subnets/${String(i + j).padStart(5, '0')}`).value(value),
      );
      await client
        .if('no', 'Version', '==', 0)
        .then(...puts)
        .commit();
    }
    const store = open(late.endpoint);
    const snapshots: Listing[] = [];
    const changed: string[] = [];
    store.follow({
      snapshot: (listing) => snapshots.push(listing),
      changes: (batch) => {
        for (const change of batch) if (change.type === 'put') changed.push(change.entry.key);
      },
    });
    const running = run(2);
    await until(() => snapshots.length > 0, 30_000);
    const [first] = snapshots;
    assert.equal(first?.entries.length, COUNT);
    assert.ok(first.entries.every((entry) => entry.value.length === BYTES));
    assert.ok(snapshots.every(({ replaced }) => replaced !== true));
    await client.put('/net/subnets/later').value('y');
    await until(() => changed.includes('later'));
    await running;
    assert.notEqual(await store.leases.create('10.5.1.0-24', 'x', 60), undefined);
  });

  test('without the others it has no say, and tells so: the peers are kept', async () => {
    const [one, two, late] = members as [EtcdServer, EtcdServer, EtcdServer];
    const store = open(late.endpoint);
    const snapshots: Listing[] = [];
    const following = store.follow({
      snapshot: (listing) => snapshots.push(listing),
      changes: () => {},
    });
    await until(() => following.state.awaySince === undefined);
    await Promise.all([one.halt(), two.halt()]);
    await until(() => following.state.awaySince !== undefined, 20_000);
    await until(() => /leader|no answer|timed out/.test(following.state.reason ?? ''), 20_000);
    assert.equal(snapshots.length, 1);
    await assert.rejects(store.leases.create('10.5.2.0-24', 'x', 60), /does not answer/);
    await Promise.all([run(0), run(1)]);
    await until(() => following.state.awaySince === undefined, 20_000);
    assert.ok(snapshots.every(({ replaced }) => replaced !== true));
  });
});

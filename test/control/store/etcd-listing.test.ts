/** Listings larger than a page, than gRPC's default limit, and written to meanwhile. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Etcd3 } from 'etcd3';
import type { IRangeRequest, IRangeResponse } from 'etcd3/lib/rpc.js';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import { clusterOf, listPages } from '../../../src/control/store/etcd-listing.js';
import type { Listing } from '../../../src/control/store/store.js';
import { Lines, realClock, until } from '../fakes.js';
import { EtcdServer, noEtcd } from './etcd-server.js';

const RANGE = { key: Buffer.from('k'), range_end: Buffer.from('l') };

describe('pages', () => {
  /** What a made-up etcd has: the keys, and how large each value is. */
  let store: Map<string, number>;
  let revision: number;
  let asked: string[];
  /** Called before each answer, with how many there were. */
  let between: (answers: number) => void;
  let cluster: string;
  /** No answer may be larger. */
  let most: number;
  let compacted: number;

  beforeEach(() => {
    store = new Map(Array.from({ length: 10 }, (_, i) => [`k${i}`, 1]));
    revision = 50;
    asked = [];
    between = () => {};
    cluster = '255';
    most = 1_000;
    compacted = 0;
  });

  const read = async (request: IRangeRequest): Promise<IRangeResponse> => {
    between(asked.length);
    const { key = '', limit, revision: at = 'newest' } = request;
    asked.push(`${String(key).replace('\0', '+')} ${limit} at ${at}`);
    if (Number(at) < compacted) throw new Error('mvcc: required revision has been compacted');
    const names = [...store.keys()].filter((name) => name >= String(key)).sort();
    const page = names.slice(0, Number(limit));
    const size = page.reduce((sum, name) => sum + (store.get(name) ?? 0), 0);
    if (size > most) throw new Error(`Received message larger than max (${size} vs ${most})`);
    return {
      header: { cluster_id: cluster, member_id: '1', raft_term: '1', revision: String(revision) },
      kvs: page.map((name) => ({ key: Buffer.from(name), value: Buffer.alloc(0) })),
      more: page.length < names.length,
      count: String(names.length),
    } as IRangeResponse;
  };
  const list = (pageKeys: number) => listPages(read, RANGE, pageKeys);
  const names = (pages: Awaited<ReturnType<typeof list>>) => pages.kvs.map(({ key }) => `${key}`);

  test('follow each other without a gap, at the revision of the first', async () => {
    between = () => revision++;
    const pages = await list(4);
    assert.deepEqual(names(pages), [...store.keys()]);
    assert.equal(pages.revision, 51n);
    assert.equal(pages.cluster, 'ff');
    assert.deepEqual(asked, ['k 4 at newest', 'k3+ 4 at 51', 'k7+ 4 at 51']);
  });

  test('become smaller where one is refused as too large', async () => {
    most = 3;
    assert.deepEqual(names(await list(16)), [...store.keys()]);
    assert.deepEqual(asked.slice(0, 3), ['k 16 at newest', 'k 4 at newest', 'k 1 at newest']);
  });

  test('one value that is too large by itself is named', async () => {
    store.set('k2', 5_000);
    await assert.rejects(list(16), (error: Error) => {
      assert.equal(error.name, 'StoreError');
      assert.match(error.message, /the value of the key after k1 is larger than 64 MiB/);
      return true;
    });
  });

  test('begin anew when their revision is compacted, but not for ever', async () => {
    between = (answers) => {
      revision++;
      if (answers === 1) compacted = revision;
    };
    const pages = await list(4);
    assert.equal(pages.revision, 53n);
    assert.equal(asked.length, 5);
    between = () => {
      compacted = ++revision;
    };
    await assert.rejects(list(4), /compacted faster than it can be listed/);
    assert.equal(asked.length, 15);
  });

  test('begin anew when another cluster answers for one of them', async () => {
    between = (answers) => {
      if (answers === 2) cluster = '254';
    };
    const pages = await list(4);
    assert.equal(pages.cluster, 'fe');
    assert.equal(asked.length, 6);
  });

  test('pass on any other refusal', async () => {
    between = () => {
      throw new Error('permission denied');
    };
    await assert.rejects(list(4), /^Error: permission denied$/);
  });
});

describe('listing a real etcd', { skip: noEtcd }, () => {
  let etcd: EtcdServer;
  let client: Etcd3;
  const stores: EtcdStore[] = [];

  before(async () => {
    etcd = await EtcdServer.start('--auto-compaction-retention=0');
    client = new Etcd3({ hosts: etcd.endpoint });
  });
  after(async () => {
    for (const store of stores) await store.close();
    client.close();
    await etcd.end();
  });

  function open(prefix: string): EtcdStore {
    const store = new EtcdStore({
      endpoints: [etcd.endpoint],
      prefix,
      clock: realClock,
      log: new Lines(),
    });
    stores.push(store);
    return store;
  }

  async function fill(prefix: string, count: number, bytes: number): Promise<void> {
    const value = 'x'.repeat(bytes);
    const together = Math.max(1, Math.min(100, Math.floor(1_000_000 / bytes)));
    for (let i = 0; i < count; i += together) {
      const puts = Array.from({ length: Math.min(together, count - i) }, (_, j) =>
        client.put(`${prefix}/subnets/${String(i + j).padStart(5, '0')}`).value(value),
      );
      await client
        .if('no', 'Version', '==', 0)
        .then(...puts)
        .commit();
    }
  }

  for (const [what, count, bytes] of [
    ['three values of 1.4 MB', 3, 1_400_000],
    ['150 of 36 kB', 150, 36_000],
    ['5,000 leases', 5_000, 200],
  ] as const) {
    test(`${what} arrive whole`, async () => {
      const prefix = `/${count}`;
      await fill(prefix, count, bytes);
      const { entries, revision, cluster } = await open(prefix).list();
      assert.equal(entries.length, count);
      assert.ok(entries.every(({ value }) => value.length === bytes));
      assert.equal(new Set(entries.map(({ key }) => key)).size, count);
      const { header } = await client.maintenance.status();
      assert.equal(revision, BigInt(header.revision));
      const told = etcd.ctl('endpoint', 'status', '-w', 'fields');
      assert.equal(cluster, clusterOf(header));
      assert.match(told, new RegExp(`"ClusterID" : ${header.cluster_id}`));
    });
  }

  test('a message that is too large is a refusal, and no outage', async () => {
    // etcd's gRPC says the same of a request that is larger than it takes.
    await assert.rejects(
      open('/limit').leases.create('10.5.1.0-24', 'x'.repeat(4_000_000), 60),
      (error: Error) => {
        assert.equal(error.name, 'StoreError');
        assert.match(error.message, /refuses to write 10.5.1.0-24: .*(larger than max|too large)/);
        return true;
      },
    );
  });

  test('what is written and removed between two pages is not in the listing', async () => {
    await fill('/between', 50, 10);
    const { key, range_end } = rangeOf('/between/subnets/');
    let pages = 0;
    const { kvs, revision } = await listPages(
      async (request) => {
        const page = await client.kv.range(request);
        if (++pages === 2) {
          await client.put('/between/subnets/00045').value('later');
          await client.put('/between/subnets/00003x').value('new');
          await client.delete().key('/between/subnets/00047');
        }
        return page;
      },
      { key, range_end },
      7,
    );
    assert.equal(pages, 8);
    assert.equal(kvs.length, 50);
    assert.ok(
      kvs.every(
        ({ value, mod_revision }) => value.length === 10 && BigInt(mod_revision) <= revision,
      ),
    );
    assert.equal((await open('/between').list()).entries.length, 50);
  });

  test('a compaction between two pages begins the listing anew', async () => {
    await fill('/gone', 30, 10);
    const requests: IRangeRequest[] = [];
    const { kvs, revision } = await listPages(
      async (request) => {
        requests.push(request);
        const page = await client.kv.range(request);
        if (requests.length === 1) {
          const { header } = await client.put('/gone/subnets/00031').value('new');
          await client.kv.compact({ revision: header.revision });
        }
        return page;
      },
      rangeOf('/gone/subnets/'),
      20,
    );
    assert.equal(kvs.length, 31);
    assert.equal(requests.length, 4);
    const { header } = await client.maintenance.status();
    assert.equal(revision, BigInt(header.revision));
  });

  test('a watch that has much to tell at once tells all of it', async () => {
    /** Follows from a listing that is old. */
    class Behind extends EtcdStore {
      old = super.list();
      override list() {
        return this.old;
      }
    }
    const behind = new Behind({
      endpoints: [etcd.endpoint],
      prefix: '/much',
      clock: realClock,
      log: new Lines(),
    });
    stores.push(behind);
    await behind.old;
    await fill('/much', 6, 1_400_000);
    const snapshots: Listing[] = [];
    const seen = new Map<string, number>();
    const following = behind.follow({
      snapshot: (listing) => snapshots.push(listing),
      changes: (batch) => {
        for (const change of batch) {
          if (change.type === 'put') seen.set(change.entry.key, change.entry.value.length);
        }
      },
    });
    await until(() => seen.size === 6);
    assert.equal(snapshots.length, 1);
    assert.ok([...seen.values()].every((bytes) => bytes === 1_400_000));
    await following.stop();
  });
});

function rangeOf(prefix: string): { key: Buffer; range_end: Buffer } {
  return { key: Buffer.from(prefix), range_end: Buffer.from(prefix.replace(/\/$/, '0')) };
}

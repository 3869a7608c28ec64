/** Following a source whose every answer is made up. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { beforeEach, test } from 'node:test';
import type { IKeyValue, IWatchResponse } from 'etcd3/lib/rpc.js';
import { follow, type Known, type WatchStream } from '../../../src/control/store/etcd-follow.js';
import type { Change, Entry, Following, Listing } from '../../../src/control/store/store.js';
import { FakeClock, Lines, settle } from '../fakes.js';

class FakeStream extends EventEmitter implements WatchStream {
  over = false;
  write = () => {};
  end = () => {};
  cancel = () => {
    this.over = true;
  };
}

let clock: FakeClock;
let log: Lines;
let stream: FakeStream;
/** What the store has, and its revision. */
let store: Map<string, bigint>;
let revision: bigint;
/** Whether the member in use answers `look`. */
let answers: boolean;
let looks: number;
let lists: number;
let left: number;
let snapshots: Listing[];
let batches: (readonly Change[])[];
let following: Following;
let chance: number;

const entries = (): Entry[] =>
  [...store].map(([key, at]) => ({ key, value: `v${at}`, revision: at, lease: 1n }));

beforeEach(async () => {
  clock = new FakeClock();
  log = new Lines();
  store = new Map([['a', 3n]]);
  revision = 3n;
  answers = true;
  looks = lists = left = 0;
  chance = 0;
  snapshots = [];
  batches = [];
  following = follow(
    {
      list: async () => {
        lists++;
        return { entries: entries(), revision };
      },
      watch: async () => {
        stream = new FakeStream();
        return {
          stream,
          request: {},
          entry: (kv: IKeyValue) => kv as unknown as Entry,
          failed: () => left++,
        };
      },
      look: async (): Promise<Known> => {
        looks++;
        if (!answers) throw new Error('no answer within 3000 ms');
        const newest = [...store.values()].reduce((a, b) => (a > b ? a : b), 0n);
        return { count: store.size, revision: newest };
      },
      description: 'fake',
      relistEvery: 300_000,
      clock,
      random: () => chance,
      log,
    },
    {
      snapshot: (listing) => snapshots.push(listing),
      changes: (batch) => batches.push(batch),
    },
  );
  await settle();
  stream.emit('data', { created: true, events: [] } as unknown as IWatchResponse);
});

/** A write; `told` says whether the watch tells of it. */
function put(key: string, told = true): void {
  store.set(key, ++revision);
  if (told) tell('Put', key);
}

function tell(type: string, key: string): void {
  const kv = { key, value: `v${revision}`, revision, lease: 1n };
  stream.emit('data', { events: [{ type, kv }] } as unknown as IWatchResponse);
}

test('a member that answers is asked every 10 s, and nothing is listed again', async () => {
  put('b');
  await clock.pass(60_000);
  assert.equal(looks, 6);
  assert.equal(lists, 1);
  assert.deepEqual(
    batches.map((batch) => batch.length),
    [1],
  );
  await following.stop();
  assert.deepEqual(clock.waits, []);
});

test('the looks of many hosts come apart, up to a fifth earlier', async () => {
  chance = 0.999;
  await clock.pass(60_000);
  assert.equal(looks, 7, 'the first after 10 s, six more after 8 s each');
});

test('a member that does not answer the look is left, and its watch with it', async () => {
  answers = false;
  const first = stream;
  await clock.pass(10_000);
  assert.ok(first.over);
  await clock.pass(1_000);
  assert.equal(lists, 2);
  assert.equal(following.state.awaySince === undefined, false);
});

test('a put or a deletion that the watch swallowed is mended within 11 s, and counted', async () => {
  put('b', false);
  await clock.pass(10_500);
  assert.equal(lists, 2);
  assert.equal(snapshots.at(-1)?.entries.length, 2);
  stream.emit('data', { created: true, events: [] });
  store.delete('a');
  revision++;
  await clock.pass(10_500);
  assert.equal(lists, 3);
  assert.deepEqual(
    snapshots.at(-1)?.entries.map(({ key }) => key),
    ['b'],
  );
  assert.equal(following.state.mended, 2);
  assert.equal(log.matching(/missed changes; mended by listing again/).length, 2);
});

test('a change that is on its way is waited for', async () => {
  put('b', false);
  await clock.pass(10_200);
  tell('Put', 'b');
  await clock.pass(5_000);
  assert.equal(lists, 1);
  assert.equal(following.state.mended, 0);
});

test('an old change that the watch swallowed is mended by the routine list', async () => {
  put('a', false);
  put('b');
  await clock.pass(299_000);
  assert.equal(lists, 1, 'number and newest are right, so the look sees nothing');
  await clock.pass(1_000);
  assert.equal(lists, 2);
  assert.equal(following.state.mended, 1);
});

test('a store that went back in its revisions is told as another one', async () => {
  const relist = async (keys: [string, bigint][], at: bigint): Promise<boolean> => {
    store = new Map(keys);
    revision = at;
    stream.emit('error', new Error('cut'));
    await clock.pass(1_000);
    stream.emit('data', { created: true, events: [] });
    return snapshots.at(-1)?.replaced ?? false;
  };
  assert.equal(await relist([['a', 50n]], 50n), false, 'newer is no sign');
  assert.equal(await relist([], 60n), false, 'nor is that all were removed');
  assert.equal(await relist([], 1n), true, 'emptied');
  assert.equal(await relist([['a', 2n]], 2n), false, 'that is the truth from now on');
  assert.equal(await relist([['a', 70n]], 70n), false);
  assert.equal(await relist([['a', 9n]], 100n), true, 'began anew, and has outgrown ours');
  assert.equal(following.state.mended, 0);
});

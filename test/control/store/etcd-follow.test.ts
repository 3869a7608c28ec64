/** Following a source whose every answer is made up. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { beforeEach, test } from 'node:test';
import type { IKeyValue, IWatchResponse } from 'etcd3/lib/rpc.js';
import type { Known, StoredEntry } from '../../../src/control/store/etcd-applied.js';
import { follow, type WatchStream } from '../../../src/control/store/etcd-follow.js';
import type { Change, Following, Listing } from '../../../src/control/store/store.js';
import { FakeClock, Lines, settle } from '../fakes.js';

class FakeStream extends EventEmitter implements WatchStream {
  over = false;
  write = () => {};
  end = () => {};
  /** A cancelled call ends with an error, in gRPC. */
  cancel = () => {
    this.over = true;
    if (this.listenerCount('error') > 0) this.emit('error', new Error('Cancelled on client'));
  };
}

let clock: FakeClock;
let log: Lines;
let stream: FakeStream;
/** What the store has, with revision of making and last write, and its own revision. */
let store: Map<string, { created: bigint; revision: bigint }>;
let revision: bigint;
let cluster: string;
/** The revision of `a` in the store's past. */
let past: bigint | 'absent' | 'compacted';
let asked: string[];
/** What `list` rejects with, if anything. */
let refusal: string | undefined;
/** Whether the member in use answers `look`. */
let answers: boolean;
let looks: number;
let lookWithinMs: number[];
let watchedFrom: bigint[];
let lists: number;
let left: number;
let snapshots: Listing[];
let batches: (readonly Change[])[];
let following: Following;
let chance: number;
/** Called with each snapshot. */
let heard: () => void;

const entries = (): StoredEntry[] =>
  [...store].map(([key, at]) => ({ key, value: `v${at.revision}`, ...at, lease: 1n }));
const at = (written: bigint, created = written) => ({ created, revision: written });

beforeEach(async () => {
  clock = new FakeClock();
  log = new Lines();
  store = new Map([['a', at(3n)]]);
  revision = 3n;
  cluster = 'c1';
  past = 'absent';
  asked = [];
  refusal = undefined;
  lookWithinMs = [];
  watchedFrom = [];
  answers = true;
  looks = lists = left = 0;
  chance = 0;
  heard = () => {};
  snapshots = [];
  batches = [];
  following = follow(
    {
      list: async () => {
        lists++;
        if (refusal !== undefined) throw new Error(refusal);
        return { entries: entries(), revision, cluster };
      },
      past: async (key, revision) => {
        asked.push(`${key} at ${revision}`);
        return past;
      },
      watch: async (from) => {
        watchedFrom.push(from);
        stream = new FakeStream();
        return {
          stream,
          request: {},
          entry: (kv: IKeyValue) => kv as unknown as StoredEntry,
          failed: () => left++,
        };
      },
      look: async (withinMs): Promise<Known> => {
        looks++;
        lookWithinMs.push(withinMs);
        if (!answers) {
          await new Promise<void>((resolve) => clock.after(withinMs, resolve));
          throw new Error(`no answer within ${withinMs} ms`);
        }
        const [newest = 0n] = entries()
          .map((entry) => entry.revision)
          .sort((a, b) => Number(b - a));
        return { count: store.size, revision: newest };
      },
      description: 'fake',
      relistEveryMs: 300_000,
      clock,
      random: () => chance,
      log,
    },
    {
      snapshot: (listing) => {
        snapshots.push(listing);
        heard();
      },
      changes: (batch) => batches.push(batch),
    },
  );
  await settle();
  confirm();
});

/** etcd's answers on the stream. */
function answer(response: object): void {
  const header = { cluster_id: String(BigInt(`0x${cluster}`)) };
  const whole = { header, events: [], compact_revision: '0', ...response };
  stream.emit('data', whole as unknown as IWatchResponse);
}

function confirm(): void {
  answer({ created: true });
}

/** A write; `told` says whether the watch tells of it. */
function put(key: string, told = true): void {
  const created = store.get(key)?.created ?? revision + 1n;
  store.set(key, at(++revision, created));
  if (told) tell('Put', key);
}

function tell(type: string, key: string, more: object = {}): void {
  const written = store.get(key) ?? at(revision);
  const kv = { key, value: `v${written.revision}`, ...written, lease: 1n };
  answer({ events: [{ type, kv }], ...more });
}

test('a member that answers is asked every 4 s, and nothing is listed again', async () => {
  put('b');
  await clock.pass(60_000);
  assert.equal(looks, 15);
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
  assert.equal(looks, 18, 'the first after 4 s, the others after 3.2 s each');
});

test('a member that does not answer the look is left, and its watch with it', async () => {
  answers = false;
  const first = stream;
  await clock.pass(7_000);
  assert.ok(first.over);
  await clock.pass(50);
  assert.equal(lists, 2);
  assert.equal(following.state.awaySince, 4_000, 'since it was asked');
});

test('a put or a deletion that the watch swallowed is mended within 5 s, and counted', async () => {
  put('b', false);
  await clock.pass(4_600);
  assert.equal(lists, 2);
  assert.equal(snapshots.at(-1)?.entries.length, 2);
  confirm();
  store.delete('a');
  revision++;
  past = 3n;
  await clock.pass(4_600);
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
  await clock.pass(4_200);
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
  assert.equal(left, 0, 'a watch that we end ourselves is no reason to leave the member');
});

/** Cuts the watch; the next listing is of these keys and this revision. Whether it was told as another store's. */
async function relisted(keys: [string, { created: bigint; revision: bigint }][], now: bigint) {
  store = new Map(keys);
  revision = now;
  stream.emit('error', new Error('cut'));
  await clock.pass(1_000);
  confirm();
  return snapshots.at(-1)?.replaced ?? false;
}

test('a store that went back in its revisions is told as another one', async () => {
  past = 3n;
  assert.equal(await relisted([['a', at(50n, 3n)]], 50n), false, 'newer is no sign');
  past = 50n;
  assert.equal(await relisted([], 60n), false, 'nor is that all were removed');
  assert.deepEqual(asked, ['a at 50'], 'it was there when it was last seen');
  assert.equal(await relisted([], 1n), true, 'emptied');
  assert.equal(await relisted([['a', at(2n)]], 2n), false, 'that is the truth from now on');
  assert.equal(await relisted([['a', at(70n, 2n)]], 70n), false);
  assert.equal(await relisted([['a', at(9n, 2n)]], 100n), true, 'began anew, has outgrown ours');
  assert.equal(following.state.mended, 0);
});

test('a store of another cluster is told as another one, whatever its revision', async () => {
  cluster = 'c2';
  assert.equal(await relisted([['a', at(3n)]], 3n), true);
  assert.equal(snapshots.at(-1)?.cluster, 'c2');
  assert.equal(await relisted([['a', at(3n)]], 3n), false, 'it is ours from now on');
});

test('keys whose revisions cannot be of our history tell another store of the same cluster id', async () => {
  assert.equal(await relisted([['a', at(3n)]], 40n), false);
  const b = (): [string, ReturnType<typeof at>] => ['b', at(20n)];
  assert.equal(await relisted([['a', at(3n)], b()], 50n), true, 'b is older than our listing');
  assert.equal(await relisted([['a', at(45n, 3n)], b()], 60n), true, 'a was not written at 45');
  assert.equal(await relisted([['a', at(65n, 44n)], b()], 70n), true, 'a was not made at 44');
  assert.equal(await relisted([['a', at(75n, 44n)], b()], 80n), false, 'written since');
  put('a');
  assert.equal(await relisted([...store], 90n), false, 'as the watch said');
  assert.deepEqual(asked, []);
});

test('the past of a key that is missing tells a removal from another store', async () => {
  await relisted([['a', at(3n)]], 40n);
  assert.equal(await relisted([], 50n), true, 'in that store it never was');
  assert.deepEqual(asked, ['a at 40']);
  await relisted([['a', at(60n)]], 60n);
  past = 2n;
  assert.equal(await relisted([['a', at(65n)]], 70n), true, 'it was another one');
  past = 'compacted';
  assert.equal(await relisted([], 80n), false, 'what nobody can tell is taken for a removal');
});

test('the watch goes on behind the listing, and behind what it has told', async () => {
  put('b');
  tell('Put', 'b');
  put('c');
  assert.deepEqual(watchedFrom, [4n]);
  assert.deepEqual(
    batches.map((batch) => batch.map((change) => change.type === 'put' && change.entry.key)),
    [['b'], ['c']],
    'an event that comes twice is told once',
  );
});

test('a revision that comes in two fragments is told whole', async () => {
  put('b', false);
  store.set('c', at(revision));
  tell('Put', 'b', { fragment: true });
  tell('Put', 'c');
  assert.equal(batches.length, 2);
  tell('Put', 'c');
  assert.equal(batches.length, 2);
});

test('a watch of another cluster than the listing is not followed', async () => {
  stream.emit('error', new Error('cut'));
  await clock.pass(60);
  cluster = 'c2';
  confirm();
  await settle();
  assert.ok(stream.over);
  assert.equal(left, 2);
  assert.match(following.state.reason ?? '', /the watch is of cluster c2, the list of c1/);
});

test('a watch that is refused is no watch: the pauses grow, and the reason is kept', async () => {
  stream.emit('error', new Error('cut'));
  for (let tries = 0; tries < 6; tries++) {
    await clock.pass(1_000);
    answer({ created: true, canceled: true, cancel_reason: 'permission denied' });
    await settle();
  }
  assert.deepEqual(clock.waits, [1_000]);
  assert.match(following.state.reason ?? '', /etcd cancelled the watch: permission denied/);
  assert.equal(following.state.nextTryAt, clock.now() + 1_000);
  assert.equal(log.matching(/cannot follow .*permission denied/).length, 1);
  await clock.pass(1_000);
  confirm();
  const { awaySince, reason, nextTryAt } = following.state;
  assert.deepEqual(
    { awaySince, reason, nextTryAt },
    { awaySince: undefined, reason: undefined, nextTryAt: undefined },
  );
});

test('a compaction is said as one', async () => {
  answer({ canceled: true, compact_revision: '77' });
  await settle();
  assert.match(following.state.reason ?? '', /before revision 77 \(compacted\)/);
  await clock.pass(50);
  assert.equal(lists, 2);
});

test('the last reason is told, a new one in the log too, but never each second', async () => {
  refusal = 'connect ECONNREFUSED 127.0.0.1:2379';
  stream.emit('error', new Error('cut'));
  await clock.pass(20_000);
  refusal = 'connect ECONNREFUSED 127.0.0.1:2380';
  await clock.pass(20_000);
  assert.equal(log.lines.length, 1, 'the same in kind');
  refusal = 'certificate has expired';
  await clock.pass(2_000);
  assert.equal(following.state.reason, refusal);
  assert.match(log.lines.at(-1) ?? '', /still cannot follow .*certificate has expired/);
  for (let seconds = 0; seconds < 3_600; seconds++) {
    refusal = seconds % 2 === 0 ? 'one reason' : 'another reason';
    await clock.pass(1_000);
  }
  assert.ok(log.lines.length > 5 && log.lines.length < 20, `${log.lines.length} lines in an hour`);
});

test('a store that needs long to confirm a watch gets longer from try to try', async () => {
  stream.emit('error', new Error('cut'));
  await clock.pass(50);
  const tries: (string | undefined)[] = [];
  for (let tried = 0; tried < 6; tried++) {
    const open = stream;
    while (!open.over) await clock.pass(100);
    tries.push(/within (\d+) ms/.exec(following.state.reason ?? '')?.[1]);
    while (stream === open) await clock.pass(100);
  }
  assert.deepEqual(tries, ['3000', '6000', '12000', '24000', '30000', '30000']);
  await clock.pass(8_000);
  confirm();
  stream.emit('error', new Error('cut'));
  await clock.pass(50);
  const open = stream;
  await clock.pass(23_000);
  assert.equal(open.over, false, 'three times what it took the last time');
  await clock.pass(2_000);
  assert.ok(open.over, 'and no longer');
});

test('the looks of a far store get longer too, and are short again when it is near', async () => {
  answers = false;
  for (let tries = 0; tries < 3; tries++) {
    await clock.pass(4_000 + 3_000 * 2 ** tries);
    await clock.pass(60);
    confirm();
  }
  answers = true;
  await clock.pass(8_000);
  assert.deepEqual(lookWithinMs, [3_000, 6_000, 12_000, 24_000, 3_000]);
});

test('the deadlines and pauses of many hosts come apart', async () => {
  chance = 0.999;
  stream.emit('error', new Error('cut'));
  await settle();
  assert.deepEqual(clock.waits.map(Math.round), [40]);
  await clock.pass(50);
  assert.deepEqual(
    clock.waits.map((ms) => Math.round(ms / 100)),
    [36],
  );
});

test('who stops following when a snapshot is told is not kept waiting, and nothing is watched', async () => {
  let ended: Promise<void> | undefined;
  heard = () => {
    ended = following.stop();
  };
  await clock.pass(300_000);
  assert.equal(await Promise.race([ended, settle().then(() => 'waits')]), undefined);
  assert.deepEqual([snapshots.length, stream.over, watchedFrom.length], [2, true, 1]);
});

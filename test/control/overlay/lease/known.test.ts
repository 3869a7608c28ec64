/** Which of two tellings counts, in whatever order they arrive. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  begin,
  discarded,
  failed,
  type Known,
  keptAlive,
  leaseTime,
  looked,
  moved,
  refused,
  tell,
  type Wanted,
  written,
} from '../../../../src/control/overlay/lease/known.js';
import { formatLeaseValue } from '../../../../src/control/overlay/lease-value.js';
import { parseAddress } from '../../../../src/dataplane/wire/ipv4.js';

const int = (text: string) => parseAddress(text) as number;
const US = int('192.168.64.3');
const THERE = int('192.168.64.33');
const FOREIGN = int('192.168.64.77');
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const KEY = '10.5.52.0-24';
const HOUR = 3_600_000;
const DAY = 86_400;
const at = (publicIp: number, mac = MAC) => formatLeaseValue(publicIp, 1, mac);
const wantedAt = (publicIp: number): Wanted => {
  return {
    key: KEY,
    publicIp,
    value: at(publicIp),
    vtepMac: MAC,
    writes: 'leased',
    reacquire: false,
  };
};
const wanted = wantedAt(US);
const moment = { nowMs: 0, marginMs: HOUR, luck: 0 };
const joined = { revision: 10n, lease: 5n, ttl: DAY, value: at(US), unverified: false };
const start = begin(wanted, { ...joined, reserved: false }, moment);
const saved = begin(
  wanted,
  { ...joined, revision: 0n, lease: 0n, unverified: true, reserved: true },
  moment,
);

const entry = (revision: bigint, value = at(US), lease = 5n) => ({
  key: KEY,
  revision,
  value,
  lease,
});
const told = (revision: bigint, its: Partial<Parameters<typeof tell>[2]> = {}) => {
  return { entry: undefined, revision, replaced: false, listed: false, byUs: false, ...its };
};
const put = (revision: bigint, value?: string, lease?: bigint) =>
  told(revision, { entry: entry(revision, value, lease) });
const hear = (known: Known, telling: ReturnType<typeof told>, nowMs = 0, at = wanted) =>
  tell(known, at, telling, nowMs);
const update = (known: Known, publicIp = US) => {
  const { key } = known;
  assert.ok('lease' in key);
  const [{ revision }, lease] = [key, key.lease?.id];
  return { do: 'update', value: at(publicIp), publicIp, ttl: DAY, revision, lease } as const;
};
const create = { do: 'create', value: at(US), publicIp: US, ttl: DAY } as const;
const asking = (asked: bigint | undefined) => ({ asked, byUs: false, moment });

test('an older telling says nothing', () => {
  const now = hear(start, put(20n, at(US), 6n));
  assert.equal(hear(now, told(19n)), now);
  assert.equal(hear(now, put(15n, at(FOREIGN), 7n)), now);
  assert.equal(hear(now, { ...told(19n), entry: entry(20n), listed: true }), now);
});

test('the same telling again changes nothing of the key', () => {
  const now = hear(start, put(20n, at(US), 6n));
  assert.equal(hear(now, put(20n, at(US), 6n)).key, now.key);
  assert.equal(hear(now, { ...told(30n), entry: entry(20n, at(US), 6n) }).key, now.key);
});

test('an older listing without our last write is a reason to look', () => {
  assert.equal(hear(start, told(9n, { listed: true })).key.is, 'untold');
  assert.equal(hear(start, told(9n, { listed: true, entry: entry(4n) })).key.is, 'untold');
  const gone = hear(start, told(11n));
  assert.equal(hear(gone, told(9n, { listed: true, entry: entry(4n) })), gone);
});

test('of a store that was replaced also an older revision counts, and failures begin anew', () => {
  const failing = failed(start, update(start), 'no', 0);
  const now = hear(failing, told(1n, { replaced: true }));
  assert.deepEqual(now.key, { is: 'missing', why: 'replaced' });
  assert.equal(now.asOf, 1n);
  assert.equal(now.failures.size, 0);
});

test('the revision of a key goes back with the whole store alone', () => {
  const now = hear(start, told(12n, { entry: entry(4n, at(US), 3n) }));
  assert.deepEqual(now.key, {
    is: 'ours',
    value: at(US),
    revision: 4n,
    lease: { id: 3n, time: undefined },
  });
  assert.deepEqual(now.emptied, []);
});

test('why a key is missing: removed, run out, or unseen by a saved start', () => {
  const why = ({ key }: Known) => (key.is === 'missing' ? key.why : key.is);
  assert.equal(why(hear(start, told(11n))), 'removed');
  assert.equal(why(hear(start, told(11n), DAY * 1_000 - 10_001)), 'removed');
  assert.equal(why(hear(start, told(11n), DAY * 1_000 - 10_000)), 'ran out');
  assert.equal(why(hear(saved, told(11n))), 'unseen');
  const ranOut = hear(start, told(11n), DAY * 1_000);
  assert.equal(why(hear(ranOut, told(12n), 0)), 'ran out', 'it is said once');
});

test('a saved network is believed until anything is told', () => {
  assert.equal(saved.asOf, undefined);
  assert.equal(saved.reserved, true);
  assert.deepEqual(saved.key, { is: 'untold', lookAtMs: 60_000 });
  const now = hear(saved, put(1n, at(US), 5n));
  assert.equal(now.reserved, false);
  assert.equal(now.key.is, 'ours');
});

test('a look answers for its revision: before a change it says nothing, after it all', () => {
  const changed = hear(start, put(20n, at(US), 6n));
  const before = looked(
    changed,
    wanted,
    { entry: entry(10n), revision: 19n, ttl: 50 },
    asking(10n),
  );
  assert.equal(before.key, changed.key);
  const after = looked(changed, wanted, { entry: undefined, revision: 21n, ttl: 0 }, asking(10n));
  assert.equal(after.key.is, 'missing');
});

test('a look that is older than what was known when it was asked tells of a store set back', () => {
  const now = looked(start, wanted, { entry: undefined, revision: 9n, ttl: 0 }, asking(10n));
  assert.deepEqual(now.key, { is: 'missing', why: 'replaced' });
});

test('a look at a store that did not change is an answer', () => {
  const doubted = refused(start, update(start), start.asOf);
  assert.equal(doubted.key.is, 'untold');
  assert.deepEqual(doubted.emptied, [5n]);
  const now = looked(
    doubted,
    wanted,
    { entry: entry(10n), revision: 10n, ttl: 7_200 },
    asking(10n),
  );
  assert.deepEqual(now.key, {
    ...{ is: 'ours', value: at(US), revision: 10n },
    lease: { id: 5n, time: { endsAtMs: 2 * HOUR, renewAtMs: HOUR } },
  });
  assert.equal(now.endsAtMs, 2 * HOUR);
});

test('our write that the watch tells before its answer is the same write', () => {
  const writing = { ...start, underWay: update(start) };
  const heard = hear(writing, { ...put(11n, at(US), 6n), byUs: true });
  const now = written(heard, wanted, update(start), { revision: 11n, lease: 6n, ttl: DAY }, moment);
  const untold = written(
    writing,
    wanted,
    update(start),
    { revision: 11n, lease: 6n, ttl: DAY },
    moment,
  );
  assert.deepEqual(now, untold);
  assert.deepEqual(now.emptied, [5n]);
  assert.equal(now.underWay, undefined);
});

test('what was told after our write and before its answer is newer', () => {
  const writing = { ...start, underWay: update(start) };
  const taken = hear(writing, put(12n, at(FOREIGN), 9n));
  const now = written(taken, wanted, update(start), { revision: 11n, lease: 6n, ttl: DAY }, moment);
  assert.deepEqual(now.key, { is: 'another', publicIp: FOREIGN });
});

test('a move while the write of the address before is under way leaves a former self', () => {
  const moving = moved(start, wantedAt(THERE));
  assert.equal(moving.key.is, 'former');
  const writing = { ...moving, underWay: update(moving, THERE) };
  const back = moved(writing, wanted);
  const answer = { revision: 11n, lease: 6n, ttl: DAY };
  const now = written(back, wanted, update(moving, THERE), answer, moment);
  assert.equal(now.key.is, 'former');
  assert.equal(now.publicIp, THERE);
});

test('moved back, nothing is to be written, and nothing has failed', () => {
  const away = moved(start, wantedAt(THERE));
  const failing = failed(away, update(away, THERE), 'no', 0);
  const back = moved(failing, wanted);
  assert.equal(back.key.is, 'ours');
  assert.equal(back.failures.size, 0);
  const renewal = failed(start, update(start), 'no', 0);
  assert.equal(moved(renewal, wanted).failures.size, 1, 'a renewal that fails still does');
});

test('a refused write leaves what was told meanwhile', () => {
  const heard = hear({ ...start, underWay: update(start) }, put(12n, at(US), 9n));
  assert.equal(refused(heard, update(start), start.asOf).key, heard.key);
});

test('a write without an answer may take place later: its address is ours until it cannot', () => {
  const away = moved(start, wantedAt(THERE));
  const lost = failed(away, update(away, THERE), 'no', 0);
  const back = moved(lost, wanted);
  assert.equal(hear(back, put(11n, at(THERE), 5n)).key.is, 'former');
  // The key was written since, so that the update cannot take place any more.
  const since = hear(back, put(11n, at(US), 8n));
  assert.deepEqual(since.unanswered, []);
  assert.equal(hear(since, put(12n, at(THERE), 8n)).key.is, 'another');
});

test('a look that finds the key as it was leaves a write without an answer possible', () => {
  const reserved = hear(start, put(15n, at(US), 0n));
  const unanswered = failed(reserved, update(reserved, THERE), 'no answer', 0);
  const untold = refused(unanswered, update(unanswered), unanswered.asOf);
  const seen = looked(
    untold,
    wanted,
    { entry: entry(15n, at(US), 0n), revision: 16n, ttl: 0 },
    asking(15n),
  );
  assert.equal(seen.key.is, 'ours');
  assert.equal(hear(seen, put(17n, at(THERE), 0n)).key.is, 'former');
});

test('a creation without an answer cannot take place where there is a key', () => {
  const gone = hear(start, told(11n));
  const lost = failed(gone, create, 'no', 0);
  assert.deepEqual(lost.unanswered, [{ publicIp: US, revision: undefined }]);
  assert.deepEqual(hear(lost, put(12n)).unanswered, []);
});

test('a former self is told by its etcd lease; a reservation by its VTEP address', () => {
  const away = moved(start, wantedAt(THERE));
  const is = (known: Known, telling: ReturnType<typeof told>) =>
    hear(known, telling, 0, wantedAt(THERE)).key.is;
  assert.equal(is(away, put(11n, at(US), 5n)), 'former', 'the same lease');
  assert.equal(is(away, { ...put(11n, at(FOREIGN), 9n), byUs: true }), 'former', 'asked for by us');
  assert.equal(is(away, put(11n, at(US), 9n)), 'another', 'a lease of somebody else');
  assert.equal(is(away, put(11n, at(US), 0n)), 'former', 'an operator');
  assert.equal(is(away, put(11n, '{"PublicIP":"192.168.64.3"}', 0n)), 'former', 'and without MAC');
  assert.equal(is(away, put(11n, at(US, OTHER_MAC), 0n)), 'another');
  const replaced = (mac: typeof MAC) =>
    is(away, told(3n, { replaced: true, entry: entry(2n, at(US, mac), 9n) }));
  assert.equal(replaced(MAC), 'former');
  assert.equal(replaced(OTHER_MAC), 'another', 'whoever has got that address since');
  assert.equal(
    is(away, told(3n, { replaced: true, entry: entry(2n, at(US, OTHER_MAC), 5n) })),
    'another',
    'the ids of another store mean nothing',
  );
});

test('a saved network whose key has the address of before is ours to write', () => {
  const there = wantedAt(THERE);
  const behind = begin(
    there,
    { ...joined, revision: 0n, lease: 0n, unverified: true, reserved: false },
    moment,
  );
  assert.equal(behind.publicIp, US);
  assert.equal(hear(behind, put(11n), 0, there).key.is, 'former');
  const garbage = { ...joined, value: 'garbage', unverified: true, reserved: false };
  assert.equal(begin(there, garbage, moment).publicIp, THERE);
});

test('a reservation that the watch tells before the answer is a former self after another move', () => {
  const reserved = { ...joined, lease: 0n, ttl: 0, reserved: true };
  const away = moved(begin(wanted, reserved, moment), wantedAt(THERE));
  const writing = { ...away, underWay: update(away, THERE) };
  const farther = wantedAt(FOREIGN);
  const heard = hear(moved(writing, farther), put(11n, at(THERE), 0n), 0, farther);
  assert.equal(heard.key.is, 'former');
});

test('a creation that was told by the watch has not failed, though its answer was lost', () => {
  const gone = hear(start, told(11n));
  const creating = { ...gone, underWay: create };
  const heard = hear(creating, { ...put(12n, at(US), 8n), byUs: true });
  const now = failed(heard, create, 'no', 0);
  assert.equal(now.failures.size, 0);
  assert.deepEqual(now.unanswered, []);
  assert.equal(now.underWay, undefined);
});

test('a key of another host is looked at again where this host has just got its address', () => {
  const taken = hear(start, put(11n, at(FOREIGN), 9n));
  assert.equal(moved(taken, wantedAt(FOREIGN)).key.is, 'untold');
  assert.equal(moved(taken, wantedAt(THERE)).key, taken.key);
});

test('in a replaced store the same revision, or the same etcd lease, means nothing', () => {
  const back = told(10n, { replaced: true, entry: entry(10n) });
  const { key } = hear(start, back);
  assert.ok('lease' in key);
  assert.deepEqual(key.lease, { id: 5n, time: undefined });
  assert.equal(hear(start, { ...told(12n), entry: entry(10n, at(FOREIGN), 9n) }).key.is, 'another');
  assert.equal(hear(start, { ...told(12n), entry: entry(10n, at(US), 0n) }).reserved, true);
});

test('a spoilt key keeps its kind', () => {
  const spoilt = hear(start, put(11n, 'garbage', 0n));
  assert.equal(spoilt.key.is, 'unreadable');
  assert.equal(spoilt.reserved, false);
});

test('a lease kept alive lasts longer; one that is gone is looked at', () => {
  const alive = keptAlive(start, 5n, 7_200, moment);
  assert.equal(alive.endsAtMs, 2 * HOUR);
  assert.equal(alive.keptAlive, true);
  assert.equal(keptAlive(start, 5n, 0, moment).key.is, 'untold');
  assert.equal(keptAlive(start, 4n, 0, moment).key, start.key);
  assert.equal(keptAlive(start, 4n, 60, moment).key, start.key);
  assert.equal(hear(alive, put(11n, at(US), 9n)).keptAlive, false);
});

test('what failed is tried again later and later; a success, or our key anew, begins anew', () => {
  let known = start;
  const pauses = Array.from({ length: 9 }, () => {
    known = failed(known, update(start), 'no', 0);
    return known.failures.get('update')!.nextAtMs / 1_000;
  });
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  assert.equal(hear(known, put(11n, at(US), 6n)).failures.size, 0);
  const answer = { revision: 11n, lease: 6n, ttl: DAY };
  assert.equal(written(known, wanted, update(start), answer, moment).failures.size, 0);
  assert.equal(hear(known, put(11n, 'garbage', 0n)).failures.size, 1);
});

test('an emptied etcd lease is remembered until it was given back', () => {
  const gone = hear(start, told(11n));
  assert.deepEqual(gone.emptied, [5n]);
  const discard = { do: 'discard', lease: 5n } as const;
  assert.deepEqual(failed(gone, discard, 'no', 0).emptied, [5n]);
  assert.deepEqual(discarded(gone, 5n).emptied, []);
  assert.deepEqual(hear(start, put(11n, at(US), 6n)).emptied, [5n]);
  assert.deepEqual(hear(start, put(11n, at(US), 5n)).emptied, []);
  assert.deepEqual(hear(start, told(1n, { replaced: true })).emptied, []);
  const on = { revision: 11n, lease: 5n, ttl: DAY };
  assert.deepEqual(written(start, wanted, update(start), on, moment).emptied, []);
});

test('the time of a lease: clamped, one margin early, and hosts part', () => {
  const wait = (ttl: number, its = {}) => leaseTime(ttl, { ...moment, ...its }).renewAtMs;
  assert.equal(wait(DAY), 23 * HOUR);
  assert.equal(wait(2 * DAY), 23 * HOUR);
  assert.equal(wait(DAY, { luck: 0.5 }), 23 * HOUR * 0.95);
  assert.equal(wait(3_600), 60_000);
  assert.equal(wait(60), 30_000);
  assert.equal(wait(-1), 1_000);
  assert.equal(wait(DAY, { nowMs: 7 }), 23 * HOUR + 7);
  assert.equal(leaseTime(-1, moment).endsAtMs, 0);
});

/** What is done about our key in each state: a row a state. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Action } from '../../../../src/control/overlay/lease/action.js';
import { decide, problemOf } from '../../../../src/control/overlay/lease/decide.js';
import type { Failure, Key, Known, Wanted } from '../../../../src/control/overlay/lease/known.js';
import { formatLeaseValue } from '../../../../src/control/overlay/lease-value.js';
import { lineOf } from '../../../../src/control/runtime.js';
import { parseAddress } from '../../../../src/dataplane/wire/ipv4.js';

const US = parseAddress('192.168.64.3') as number;
const BEFORE = parseAddress('192.168.64.2') as number;
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const VALUE = formatLeaseValue(US, 1, MAC);
const OLD_VALUE = formatLeaseValue(BEFORE, 1, MAC);
const NOW = 1_000_000;
const TTL = 86_400;

const wanted: Wanted = {
  key: '10.5.52.0-24',
  publicIp: US,
  value: VALUE,
  vtepMac: MAC,
  writes: 'leased',
  reacquire: false,
};
const known = (its: Partial<Known>): Known => ({
  key: { is: 'untold', lookAtMs: 0 },
  asOf: 7n,
  reserved: false,
  endsAtMs: undefined,
  keptAlive: false,
  publicIp: US,
  unanswered: [],
  underWay: undefined,
  emptied: [],
  failures: new Map(),
  ...its,
});
const on = (renewAtMs: number) => ({ id: 5n, time: { renewAtMs, endsAtMs: renewAtMs + 100 } });
const lasting = on(NOW + 50);
const ending = on(NOW);
const untimed = { id: 5n, time: undefined };
const ours = (lease: typeof lasting | typeof untimed | undefined): Key => {
  return { is: 'ours', value: VALUE, revision: 6n, lease };
};
const former = (lease: typeof lasting | undefined): Key => {
  return { is: 'former', value: OLD_VALUE, revision: 6n, lease };
};
const missing = (why: 'removed' | 'ran out' | 'replaced' | 'unseen'): Key => {
  return { is: 'missing', why };
};
const spoilt: Key = { is: 'unreadable', problem: 'no JSON', revision: 6n };
const another: Key = { is: 'another', publicIp: BEFORE };
const failing = (...all: [Action['do'], number][]): ReadonlyMap<Action['do'], Failure> => {
  return new Map(all.map(([what, at]) => [what, { times: 1, nextAtMs: NOW + at, reason: 'no' }]));
};

const again = { reacquire: true };
const kept = { writes: 'kept' } as const;
const readOnly = { writes: 'none' } as const;
const reserved = { reserved: true };

/** `create` and `update` end with `leased` or `kept`; `update` has what is written over in between. */
function told(wants: Partial<Wanted>, knows: Partial<Known>): string {
  const { action, askAgainAtMs } = decide({ ...wanted, ...wants }, known(knows), NOW);
  if (action === undefined) {
    return askAgainAtMs === undefined ? 'nothing' : `wait ${askAgainAtMs - NOW}`;
  }
  switch (action.do) {
    case 'create':
    case 'update': {
      assert.equal(action.value, VALUE);
      assert.equal(action.publicIp, US);
      assert.ok(action.ttl === undefined || action.ttl === TTL);
      const over =
        action.do === 'update' ? ` ${action.revision} off ${action.lease ?? 'none'}` : '';
      return `${action.do}${over}, ${action.ttl === undefined ? 'kept' : 'leased'}`;
    }
    case 'give up':
      return `give up: ${action.reason}`;
    case 'look':
      return 'look';
    default:
      return `${action.do} ${action.lease}`;
  }
}

const REMOVED = 'give up: was removed from the store, or has run out';
const ROWS: [string, Partial<Wanted>, Partial<Known>, string][] = [
  ['an answer is awaited', {}, { key: another, underWay: { do: 'look' } }, 'nothing'],

  ['untold', {}, {}, 'look'],
  ['untold, not yet', {}, { key: { is: 'untold', lookAtMs: NOW + 9 } }, 'wait 9'],
  ['untold, now', {}, { key: { is: 'untold', lookAtMs: NOW } }, 'look'],
  ['untold, looks fail', {}, { failures: failing(['look', 4]) }, 'wait 4'],
  ['untold, a failed look is due', {}, { failures: failing(['look', 0]) }, 'look'],
  ['untold, only read', readOnly, {}, 'nothing'],

  ['removed', {}, { key: missing('removed') }, REMOVED],
  ['removed, reacquire', again, { key: missing('removed') }, 'create, leased'],
  ['removed, only read', { ...again, ...readOnly }, { key: missing('removed') }, REMOVED],
  ['ran out', {}, { key: missing('ran out') }, 'create, leased'],
  ['unseen', {}, { key: missing('unseen') }, 'create, leased'],
  ['replaced', {}, { key: missing('replaced') }, 'create, leased'],
  ['a missing reservation', {}, { key: missing('replaced'), ...reserved }, 'create, kept'],
  ['missing where keys stay', kept, { key: missing('unseen') }, 'create, kept'],
  [
    'missing, creating fails',
    {},
    { key: missing('unseen'), failures: failing(['create', 8]) },
    'wait 8',
  ],

  ['former', {}, { key: former(lasting) }, 'update 6 off 5, leased'],
  ['a former reservation', {}, { key: former(undefined), ...reserved }, 'update 6 off none, kept'],
  ['former, only read', readOnly, { key: former(lasting) }, 'nothing'],
  [
    'former, updating fails, time enough',
    {},
    { key: former(lasting), failures: failing(['update', 20]) },
    'wait 20',
  ],
  [
    'former, updating fails for longer than there is time',
    {},
    { key: former(lasting), failures: failing(['update', 70]) },
    'wait 50',
  ],
  [
    'former, updating fails, it ends',
    {},
    { key: former(ending), failures: failing(['update', 20]) },
    'keep alive 5',
  ],
  [
    'former, both fail',
    {},
    { key: former(ending), failures: failing(['update', 20], ['keep alive', 10]) },
    'wait 10',
  ],
  [
    'a former reservation, updating fails',
    {},
    { key: former(undefined), ...reserved, failures: failing(['update', 20]) },
    'wait 20',
  ],

  ['ours, time enough', {}, { key: ours(lasting) }, 'wait 50'],
  ['ours, within the margin', {}, { key: ours(ending) }, 'update 6 off 5, leased'],
  ['ours, a reservation', {}, { key: ours(undefined), ...reserved }, 'nothing'],
  ['ours, only read', readOnly, { key: ours(ending) }, 'nothing'],
  ['ours, its time is unknown', {}, { key: ours(untimed) }, 'look'],
  [
    'ours, its time cannot be asked for',
    {},
    { key: ours(untimed), failures: failing(['look', 9]) },
    'update 6 off 5, leased',
  ],
  [
    'ours, neither asked for nor updated',
    {},
    { key: ours(untimed), failures: failing(['look', 9], ['update', 9]) },
    'keep alive 5',
  ],
  [
    'ours, kept alive, and what failed is due',
    {},
    { key: ours(lasting), failures: failing(['update', 0]) },
    'update 6 off 5, leased',
  ],
  [
    'ours, kept alive, and what failed is not due yet',
    {},
    { key: ours(lasting), failures: failing(['update', 30]) },
    'wait 30',
  ],
  ['ours, an emptied etcd lease', {}, { key: ours(lasting), emptied: [3n, 4n] }, 'discard 3'],
  [
    'ours, ending, an emptied one',
    {},
    { key: ours(ending), emptied: [3n] },
    'update 6 off 5, leased',
  ],
  [
    'reserved, an emptied one',
    {},
    { key: ours(undefined), ...reserved, emptied: [3n] },
    'discard 3',
  ],
  [
    'ours, discarding fails',
    {},
    { key: ours(lasting), emptied: [3n], failures: failing(['discard', 7]) },
    'wait 7',
  ],
  [
    'ours, discarding fails for longer than there is time',
    {},
    { key: ours(lasting), emptied: [3n], failures: failing(['discard', 70]) },
    'wait 50',
  ],

  [
    'unreadable',
    {},
    { key: spoilt },
    'give up: was overwritten with a value that cannot be read: no JSON',
  ],
  ['unreadable, reacquire', again, { key: spoilt }, 'update 6 off none, leased'],
  ['an unreadable reservation', again, { key: spoilt, ...reserved }, 'update 6 off none, kept'],
  [
    'unreadable, only read',
    { ...again, ...readOnly },
    { key: spoilt },
    'give up: was overwritten with a value that cannot be read: no JSON',
  ],
  [
    'unreadable, updating fails',
    again,
    { key: spoilt, failures: failing(['update', 6]) },
    'wait 6',
  ],

  [
    'another',
    again,
    { key: another },
    'give up: was taken by the host with public IP 192.168.64.2',
  ],
];

describe('what is done about our key', () => {
  for (const [state, wants, knows, does] of ROWS) {
    test(`${state}: ${does}`, () => assert.equal(told(wants, knows), does));
  }
});

describe('what is wrong with our lease', () => {
  /** With its cure, if there is one. */
  const problem = (knows: Partial<Known>, wants: Partial<Wanted> = {}) => {
    const found = problemOf({ ...wanted, ...wants }, known(knows), NOW);
    return found && lineOf(found);
  };
  const failed = (what: Action['do']) => ({ failures: failing([what, 0]) });

  test('nothing, where it is ours, is another’s, or nobody told', () => {
    for (const key of [ours(lasting), another, { is: 'untold', lookAtMs: 0 } as const]) {
      assert.equal(problem({ key }), undefined);
    }
    assert.equal(problem({ key: ours(undefined), ...failed('update') }), undefined);
  });

  test('it is missing, unreadable, has an old address, or ends; and why that lasts', () => {
    assert.match(problem({ key: missing('unseen') })!, /while weft was down; it is written again$/);
    assert.match(problem({ key: missing('ran out'), ...failed('create') })!, /written again: no$/);
    assert.match(problem({ key: spoilt, ...failed('update') })!, /no JSON; .* again: no$/);
    const untold = { is: 'untold', lookAtMs: 0 } as const;
    const before = wanted.publicIp - 1;
    assert.match(problem({ key: untold, publicIp: before })!, /another public IP.*192.168.64.3$/);
    assert.match(problem({ key: former(lasting) })!, /not have the public IP 192.168.64.3 yet$/);
    assert.match(problem({ key: former(lasting), ...failed('update') })!, /yet: no$/);
    assert.match(
      problem({ key: former(lasting) }, readOnly)!,
      /IP than ours; do: put 192.168.64.3 into its entry$/,
    );
    const ends = { key: ours(lasting), endsAtMs: NOW + 125_000, ...failed('update') };
    assert.match(problem(ends)!, /cannot be written again, it ends in 2 min: no$/);
    assert.match(problem({ ...ends, endsAtMs: NOW - 125_000 })!, /ends in 0 min/);
  });
});

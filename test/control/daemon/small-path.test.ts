/** Paths that take small packets alone, and paths that merely lose: what is said of each, and when. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { takeResult, UNWATCHED } from '../../../src/control/daemon/health.js';
import { A_SECOND } from '../../../src/control/daemon/peer-health.js';
import {
  fullLosses,
  isSmallPath,
  PAIRS,
  type Pair,
} from '../../../src/control/daemon/small-path.js';
import { seeded } from '../fakes.js';
import { begin, FILTERED, type Nature, SECOND, SILENT } from './fakes/peer-world.js';

const SMALL: Nature = { full: 'silent' };

/** In signs, oldest first: `=` both answered, `s` the small one, `f` the full one, `x` none, `-` no full one. */
function pairs(signs: string): Pair[] {
  return [...signs].map((sign) => ({
    small: sign === '=' || sign === 's' || sign === '-',
    full: sign === '-' ? undefined : sign === '=' || sign === 'f',
  }));
}

/** Each echo is lost with this chance. */
function lossy(share: number, random: () => number, also: Nature = {}): Nature {
  return { ...also, echo: () => random() >= share };
}

for (const [signs, losses, isSmall] of [
  ['', 0, false],
  ['====================', 0, false],
  ['================ssss', 4, false],
  ['===============sssss', 5, true],
  // What was answered since is proof.
  ['sssssssssssssssssss=', 0, false],
  ['sssssssssssssssssssf', 0, false],
  ['=sssssssssssssssssss', 19, true],
  ['ssssssssssssssssssss', 20, true],
  // Nothing is known before: more of them must be lost.
  ['sssss', 5, false],
  ['ssssssss', 8, true],
  // What is lost beside a small one that is lost proves nothing.
  ['============xxxxxxxx', 0, false],
  ['===============ssxss', 4, false],
  // A path that loses loses large ones too.
  ['=f=xs==x=f=s=f=sssss', 5, false],
  // Where no large one was sent nothing is known of them.
  ['---------------', 0, false],
  ['===============ssss-', 4, false],
  ['===============ss--sss', 5, true],
] as const) {
  test(`echoes that went ${signs || 'not at all'}: ${losses} losses of large ones, ${isSmall ? '' : 'not '}a small path`, () => {
    const last = pairs(signs).slice(-PAIRS);
    assert.deepEqual([fullLosses(last), isSmallPath(last)], [losses, isSmall]);
  });
}

test('a large echo with an answer proves a peer as well as a small one', () => {
  const { fails, answers, answeredAt } = takeResult(
    UNWATCHED,
    SILENT,
    { kind: 'answered' },
    950,
    7,
  );
  assert.deepEqual([fails, answers, answeredAt], [0, true, 7]);
});

test('the more echoes a path loses, the more large ones in a row are chance', () => {
  const needed = (lost: number): number => {
    for (let losses = 1; ; losses += 1) {
      const before = Array.from({ length: 10 }, (_, i): Pair => ({ small: i >= lost, full: true }));
      const run = Array.from({ length: losses }, (): Pair => ({ small: true, full: false }));
      if (isSmallPath([...before, ...run])) return losses;
    }
  };
  const all = [0, 1, 2, 4, 6, 8].map(needed);
  assert.deepEqual(
    all,
    [...all].sort((a, b) => a - b),
    all.join(),
  );
  assert.ok(all[0]! <= 6 && all.at(-1)! >= 9, all.join());
});

test('small packets pass and large ones do not: told in eight seconds, and over in three, each time', async () => {
  for (let well = 20; well < 26; well += 1) {
    const { until, during, health } = begin();
    await during({}, well);
    const told = await until(SMALL, 'small-mtu');
    assert.ok(told <= 8, `told after ${told} s`);
    assert.match(health().words, /^small packets pass the tunnel to .* of 1450 bytes do not/);
    assert.deepEqual([...(await during(SMALL, 60 + well))], ['small-mtu']);
    const over = await until({}, 'well');
    assert.ok(over <= 3, `over after ${over} s`);
    assert.deepEqual([...(await during({}, 60))], ['well']);
  }
});

test('a path that is small as soon as the peer is back from an outage is told of as soon', async () => {
  for (const away of [6, 12, 60, 300]) {
    const { until, during } = begin();
    await during({}, 60);
    await during(FILTERED, away);
    await until({}, 'well');
    const told = await until(SMALL, 'small-mtu');
    assert.ok(told <= 8, `${away} s away: told after ${told} s`);
  }
});

test('it is so from the start: told in eleven seconds', async () => {
  assert.ok((await begin().until(SMALL, 'small-mtu')) <= 11);
});

test('a peer with much traffic, either way, is told of as soon', async () => {
  for (const traffic of [{ sends: 50 }, { hears: 50 }, { sends: 50, hears: 50 }]) {
    const { until, during } = begin();
    await during(traffic, 30);
    assert.ok((await until({ ...SMALL, ...traffic }, 'small-mtu')) <= 8);
    assert.ok((await until(traffic, 'well')) <= 3);
  }
});

test('where senders are told that packets do not fit, there is no fault; nor is there any more once they are', async () => {
  const { during, until } = begin();
  assert.deepEqual([...(await during({ full: 'too big' }, 90))].at(-1), 'well');
  await until(SMALL, 'small-mtu');
  assert.ok((await until({ full: 'too big' }, 'well')) <= 3);
});

test('a peer that goes silent, stands still or restarts is never one with a small path', async () => {
  const random = seeded(3);
  for (let away = 1; away <= 20; away += 1) {
    for (const traffic of [{}, { sends: 9, hears: 9 }]) {
      const { during, clock } = begin();
      await during(traffic, 12 + away);
      await clock.pass(Math.floor(random() * SECOND));
      const said = await during({ ...FILTERED, sends: traffic.sends ?? 0 }, away);
      for (const one of await during(traffic, 30)) said.add(one);
      assert.ok(!said.has('small-mtu'), `${away} s away: ${[...said].join()}`);
    }
  }
});

test('silence is told within ten seconds also where large ones did not pass before', async () => {
  const { until } = begin();
  await until(SMALL, 'small-mtu');
  assert.ok((await until(FILTERED, 'silent')) <= 10);
  assert.ok((await until({}, 'well')) <= 10);
});

/** How often a small path is told of where there is none, in so many seconds of 20 such peers. */
async function alarms(nature: Nature, seconds: number): Promise<number> {
  const world = begin(20);
  for (let i = 1; i <= 20; i += 1) world.natures.set(i, nature);
  let count = 0;
  const said = new Map<number, string>();
  for (let second = 0; second < seconds; second += 1) {
    await world.clock.pass(SECOND);
    for (let i = 1; i <= 20; i += 1) {
      if (world.is(i) === 'small-mtu' && said.get(i) !== 'small-mtu') count += 1;
      said.set(i, world.is(i));
    }
  }
  return count;
}

for (const share of [0.01, 0.05, 0.1, 0.2, 0.3, 0.5]) {
  test(`${100 * share} % of all echoes are lost: no small path is told of in two hours`, async () => {
    for (const seed of [11, 12]) {
      assert.equal(await alarms(lossy(share, seeded(seed)), 180), 0, `seed ${seed}`);
    }
  });
}

test('loss that comes and goes is no small path', async () => {
  for (const share of [0.1, 0.3]) {
    const random = seeded(21);
    let echoes = 0;
    // Of all twenty peers together: some twenty seconds without loss, and ten with it.
    const echo = (): boolean => {
      echoes += 1;
      return echoes % 600 < 400 || random() >= share;
    };
    assert.equal(await alarms({ echo }, 600), 0, `${share}`);
  }
});

test('bursts of loss, short and long, are no small path', async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { clock, during } = begin();
    const random = seeded(seed);
    // In a burst nearly all is lost; it may begin and end at each echo, or with the second.
    let second = -1;
    let isBurst = false;
    const echo = (): boolean => {
      const now = Math.floor(clock.now() / SECOND);
      if (seed % 2 === 0 || now !== second) isBurst = random() < (isBurst ? 0.6 : 0.08);
      second = now;
      return random() >= (isBurst ? 0.9 : 0.01);
    };
    const said = await during({ echo }, 600);
    assert.ok(!said.has('small-mtu'), `seed ${seed}: ${[...said].join()}`);
  }
});

test('a small path that loses one in a hundred or in twenty: told a little later, or loss is told', async () => {
  for (const [share, half, most] of [
    [0.01, 8, 12],
    [0.05, 9, 25],
    [0.1, 12, 60],
  ] as const) {
    const took: number[] = [];
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seeded(seed);
      const { during, until } = begin();
      await during(lossy(share, random), 40 + (seed % 3));
      took.push(await until(lossy(share, random, SMALL), 'small-mtu', 120));
    }
    took.sort((a, b) => a - b);
    assert.ok(took[19]! <= half, `half of them in ${took[19]} s`);
    assert.ok(took[37]! <= most, `most of them in ${took[37]} s: ${took.join()}`);
  }
});

test('of thousands the one that packets leave for is told of, and its end, in ten seconds', async () => {
  const { clock, natures, until, during } = begin(2000);
  const used = { sends: 20, hears: 20 };
  for (let i = 1; i <= 50; i += 1) natures.set(i, used);
  await clock.pass(30 * SECOND);
  await during(used, 5);
  const told = await until({ ...SMALL, ...used }, 'small-mtu');
  assert.ok(told <= 10, `told after ${told} s`);
  // What is stuck is sent again ever more rarely.
  await during(SMALL, 60);
  const over = await until({}, 'well');
  assert.ok(over <= 10, `over after ${over} s`);
});

test('a thousand paths that become small at once: a bounded cost, and the first are told of soon', async () => {
  const { clock, natures, sent, is } = begin(1000);
  for (let i = 1; i <= 1000; i += 1) natures.set(i, { sends: 20, hears: 20 });
  await clock.pass(60 * SECOND);
  for (let i = 1; i <= 1000; i += 1) natures.set(i, { ...SMALL, sends: 20, hears: 20 });
  const begun = clock.now();
  const told = (): number =>
    Array.from({ length: 1000 }, (_, i) => is(i + 1)).filter((s) => s === 'small-mtu').length;
  let first = 0;
  for (let seconds = 1; seconds <= 200; seconds += 1) {
    await clock.pass(SECOND);
    if (first === 0 && told() > 0) first = seconds;
  }
  assert.ok(first > 0 && first <= 10, `the first after ${first} s`);
  assert.ok(told() > 500, `${told()} of 1000`);
  const perSecond = new Map<number, number>();
  for (const { at } of sent.filter((one) => one.at >= begun)) {
    const second = Math.floor(at / SECOND);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  }
  const all = A_SECOND['in turn'] + A_SECOND['in use'] + A_SECOND.urgent;
  assert.ok(Math.max(...perSecond.values()) <= 2 * all);
});

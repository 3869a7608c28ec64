import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { type Member, Reconciler } from '../../../src/control/daemon/reconcile.js';
import { HostError } from '../../../src/control/host/errors.js';
import { FakeClock, Lines, settle } from '../fakes.js';

let clock: FakeClock;
let log: Lines;
let loop: Reconciler;

beforeEach(() => {
  clock = new FakeClock();
  log = new Lines();
  loop = new Reconciler(clock, log);
});

/** A member that finds what `wrong` has, and the times at which it looked. */
function member(name: string) {
  const made = {
    name,
    looks: [] as number[],
    wrong: [] as string[],
    fault: undefined as string | undefined,
    async reconcile() {
      made.looks.push(clock.now());
      if (made.fault !== undefined) throw new Error(made.fault);
      return made.wrong.splice(0);
    },
  };
  return made;
}

test('all members look in their order, soon after the start and then each period', async () => {
  const order: string[] = [];
  for (const name of ['one', 'two', 'three']) {
    const slow: Member = {
      name,
      async reconcile() {
        await new Promise(setImmediate);
        order.push(name);
        return [];
      },
    };
    loop.add(slow);
  }
  await clock.pass(10_000);
  assert.deepEqual(order, []);
  loop.start();
  await clock.pass(500);
  assert.deepEqual(order, ['one', 'two', 'three']);
  await clock.pass(3_000);
  assert.equal(order.length, 6);
  await clock.pass(30_000);
  assert.equal(order.length, 36);
  assert.deepEqual(log.lines, []);
});

test('what was put right in one look is one line; a quiet look says nothing', async () => {
  const [device, routes] = [member('device'), member('routes')];
  loop.add(device);
  loop.add(routes);
  loop.start();
  await clock.pass(500);
  device.wrong = ['flannel.1: up'];
  routes.wrong = ['2 missing routes', '1 stale route'];
  await clock.pass(60_000);
  assert.deepEqual(log.lines, ['warn: put right: flannel.1: up; 2 missing routes; 1 stale route']);
});

test('a change is looked at within 100 ms, however many changes there are', async () => {
  const one = member('one');
  loop.add(one);
  loop.start();
  await clock.pass(2_000);
  one.looks.splice(0);
  for (let i = 0; i < 50; i += 1) loop.soon();
  await clock.pass(99);
  assert.deepEqual(one.looks, []);
  await clock.pass(1);
  assert.deepEqual(one.looks, [2_100]);
});

/** Something changes all the time, for so many hundredths of a second; the gaps between the looks. */
async function changeOnAndOn(looks: readonly number[], times: number): Promise<number[]> {
  const from = looks.length;
  for (let i = 0; i < times; i += 1) {
    loop.soon();
    await clock.pass(10);
  }
  const made = looks.slice(from);
  return made.slice(1).map((at, i) => at - made[i]!);
}

test('changes that go on and on are looked at twice a second at first, then less often in vain', async () => {
  const one = member('one');
  loop.add(one);
  loop.start();
  await clock.pass(1_000);
  const first = await changeOnAndOn(one.looks, 450);
  assert.ok(Math.min(...first) >= 500 && Math.max(...first) <= 600, String(first));
  assert.equal(first.length, 8);
  await changeOnAndOn(one.looks, 4_000);
  const late = await changeOnAndOn(one.looks, 2_000);
  assert.ok(Math.min(...late) >= 3_000 && Math.max(...late) <= 3_100, String(late));
});

test('a quiet period, or something to put right, ends that: a change is looked at soon again', async () => {
  const one = member('one');
  loop.add(one);
  loop.start();
  await changeOnAndOn(one.looks, 5_000);
  await clock.pass(6_500);
  one.looks.splice(0);
  const soon = await changeOnAndOn(one.looks, 300);
  assert.ok(Math.max(...soon) <= 600, String(soon));
  await changeOnAndOn(one.looks, 5_000);
  one.wrong = ['a route'];
  await changeOnAndOn(one.looks, 400);
  const again = await changeOnAndOn(one.looks, 200);
  assert.ok(Math.max(...again) <= 600, String(again));
});

test('what changes during a look is looked at once more', async () => {
  const one = member('one');
  let changes = 1;
  loop.add(one);
  loop.add({
    name: 'two',
    async reconcile() {
      if (changes-- > 0) loop.soon();
      return [];
    },
  });
  loop.start();
  await clock.pass(1_000);
  assert.deepEqual(one.looks, [500, 1_000]);
  await clock.pass(2_999);
  assert.equal(one.looks.length, 2);
});

test('an earlier look can be asked for, and a later one changes nothing', async () => {
  const one = member('one');
  loop.add(one);
  loop.start();
  await clock.pass(600);
  loop.soon(2_000);
  loop.soon(1_000);
  loop.soon(60_000);
  await clock.pass(5_000);
  assert.deepEqual(one.looks, [500, 1_600, 4_600]);
});

test('what cannot be put right is a fault while it lasts, and holds up nobody', async () => {
  const [bad, good] = [member('IPv4 forwarding'), member('good')];
  loop.add(bad);
  loop.add(good);
  loop.start();
  bad.fault = 'cannot write it';
  await clock.pass(60_000);
  assert.deepEqual(loop.faults, ['cannot write it']);
  assert.ok(good.looks.length > 15);
  bad.fault = 'cannot read it either';
  await clock.pass(60_000);
  assert.deepEqual(loop.faults, ['cannot read it either']);
  bad.fault = undefined;
  await clock.pass(60_000);
  assert.deepEqual(loop.faults, []);
  assert.deepEqual(log.matching(/^(info|warn)/), [], 'the teller says it');
});

test('somebody who undoes it each time is told of once, and again after a quiet look', async () => {
  const one = member('one');
  loop.add(one);
  loop.start();
  for (let i = 0; i < 10; i += 1) {
    one.wrong = ['flannel.1: up'];
    await clock.pass(3_000);
  }
  assert.equal(log.lines.length, 1);
  await clock.pass(3_000);
  one.wrong = ['flannel.1: up'];
  await clock.pass(3_000);
  assert.equal(log.lines.length, 2);
});

test('a first look is a part of the start, with its own words, and is remembered', async () => {
  const [good, bad] = [member('good'), member('bad')];
  good.wrong = ['wrote subnet.env'];
  await loop.begin(good);
  bad.fault = 'cannot';
  await loop.begin(bad);
  assert.deepEqual(log.matching(/^(info|warn)/), ['info: wrote subnet.env']);
  assert.deepEqual(loop.faults, ['cannot']);
  loop.start();
  await clock.pass(30_000);
  assert.equal(log.matching(/^(info|warn)/).length, 1);
  assert.ok(good.looks.length > 5);
});

test('stop waits for the look under way, which asks nobody else; then nothing happens', async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const after = member('after');
  loop.add({
    name: 'held',
    async reconcile() {
      await held;
      throw new Error('it is being closed');
    },
  });
  loop.add(after);
  loop.start();
  await clock.pass(600);
  let stopped = false;
  const stopping = loop.stop().then(() => {
    stopped = true;
  });
  await settle();
  assert.equal(stopped, false);
  release();
  await stopping;
  loop.soon();
  await clock.pass(60_000);
  assert.deepEqual(after.looks, []);
  assert.deepEqual(log.lines, []);
  assert.deepEqual(clock.waits, []);
});

test('what is ended with weft, in the midst of a start, is no fault', async () => {
  const ended = { name: 'device', reconcile: async () => Promise.reject(CLOSED) };
  await loop.begin(ended);
  assert.deepEqual([log.lines, loop.faults], [[], []]);
});

const CLOSED = new HostError('ECANCELED', 'ip is closed');

test('now: looks at once, and is over when it has looked', async () => {
  const one = member('one');
  loop.add(one);
  await loop.now();
  assert.deepEqual(one.looks, [], 'not before the start');
  loop.start();
  await clock.pass(1_000);
  one.looks.splice(0);
  await loop.now();
  assert.deepEqual(one.looks, [clock.now()]);
  await clock.pass(2_999);
  assert.equal(one.looks.length, 1, 'and a period from there');
  await clock.pass(1);
  assert.equal(one.looks.length, 2);
});

/** One whose look takes so long. */
function slow(name: string, ms: number) {
  const made = member(name);
  const cost = { ms };
  return Object.assign(made, {
    cost,
    async reconcile() {
      made.looks.push(clock.now());
      await new Promise<void>((resolve) => void clock.after(cost.ms, resolve));
      return made.wrong.splice(0);
    },
  });
}

test('a look that costs much is rare, a four hundredth of the time at most; others look as ever', async () => {
  const [costly, cheap] = [slow('costly', 50), member('cheap')];
  loop.add(costly);
  loop.add(cheap);
  loop.start();
  await clock.pass(300_000);
  const steady = costly.looks.slice(4);
  const gaps = steady.slice(1).map((at, i) => at - steady[i]!);
  assert.ok(Math.min(...gaps) >= 20_000, String(gaps));
  assert.ok(Math.max(...gaps) <= 24_000, String(gaps));
  assert.ok(cheap.looks.length > 90, String(cheap.looks.length));
});

test('changes that go on and on make no costly look more frequent', async () => {
  const costly = slow('costly', 15);
  loop.add(costly);
  loop.start();
  for (let i = 0; i < 6_000; i += 1) {
    loop.soon();
    await clock.pass(10);
  }
  assert.ok(costly.looks.length * 15 < 200, String(costly.looks.length));
  assert.ok(costly.looks.length > 7, String(costly.looks.length));
});

test('no look is put off for longer than a minute, and one that was slow once not at all', async () => {
  const [costly, once] = [slow('costly', 5_000), slow('once', 0)];
  loop.add(costly);
  loop.add(once);
  loop.start();
  await clock.pass(100_000);
  once.cost.ms = 2_000;
  await clock.pass(3_000);
  once.cost.ms = 0;
  await clock.pass(5_000);
  const looked = once.looks.length;
  await clock.pass(15_000);
  assert.ok(once.looks.length >= looked + 3);
  await clock.pass(400_000);
  const gaps = costly.looks.slice(1).map((at, i) => at - costly.looks[i]!);
  assert.ok(Math.max(...gaps) <= 70_000, String(gaps));
  assert.ok(clock.now() - costly.looks.at(-1)! <= 70_000);
});

test('what was put right is followed at once by those behind it, whatever their looks cost', async () => {
  const [device, routes] = [member('device'), slow('routes', 300)];
  loop.add(device);
  loop.add(routes);
  loop.start();
  await clock.pass(60_000);
  const before = routes.looks.length;
  device.wrong = ['flannel.1 was gone: made anew'];
  await clock.pass(3_000);
  assert.equal(routes.looks.length, before + 1);
  const now = loop.now();
  await clock.pass(300);
  await now;
  assert.equal(routes.looks.length, before + 2, 'whoever asks for it gets it');
});

test('what has to be put right again and again, or cannot be, is looked at as ever, however long it takes', async () => {
  const repaired = slow('repaired', 300);
  const moving = Object.assign(slow('moving', 300), { isUnsettled: true });
  const failing = { looks: 0, fails: true };
  loop.add(moving);
  loop.add(repaired);
  loop.add({
    name: 'failing',
    async reconcile() {
      failing.looks += 1;
      await new Promise<void>((resolve) => void clock.after(300, resolve));
      throw new Error('cannot');
    },
  });
  loop.start();
  for (let i = 0; i < 20; i += 1) {
    repaired.wrong = ['flannel.1 was gone: made anew'];
    await clock.pass(3_900);
  }
  assert.ok(repaired.looks.length >= 19, String(repaired.looks.length));
  assert.ok(failing.looks >= 19, String(failing.looks));
  assert.ok(moving.looks.length >= 19, String(moving.looks.length));
  const before = moving.looks.length;
  moving.isUnsettled = false;
  repaired.cost.ms = 0;
  await clock.pass(100_000);
  assert.ok(moving.looks.length < before + 8, String(moving.looks.length - before));
});

test('what to type is beside the text of a fault', async () => {
  let cure = 'umount /run/flannel';
  const reconcile = async (): Promise<never> => {
    throw new HostError('EROFS', 'cannot write it', cure);
  };
  loop.add({ name: 'subnet.env', kind: { code: 'subnet-env', severity: 'error' }, reconcile });
  loop.start();
  await clock.pass(10_000);
  const [finding] = loop.findings;
  assert.deepEqual([finding?.text, finding?.cure], ['cannot write it', cure]);
  assert.deepEqual(loop.faults, ['cannot write it']);
  cure = '';
  await clock.pass(10_000);
  assert.equal(loop.findings[0]?.cure, '', 'as it is now');
});

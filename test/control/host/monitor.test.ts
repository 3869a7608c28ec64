import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { HostError } from '../../../src/control/host/errors.js';
import { Monitor } from '../../../src/control/host/monitor.js';
import type { Ended, Listener } from '../../../src/control/host/runner.js';
import { FakeClock, Lines, settle } from '../fakes.js';

let clock: FakeClock;
let log: Lines;
let changes: number;
let started: { argv: readonly string[]; listener: Listener; killed: boolean }[];

beforeEach(() => {
  clock = new FakeClock();
  log = new Lines();
  changes = 0;
  started = [];
});

function open(): Monitor {
  return new Monitor({
    runner: {
      start(argv, listener) {
        const child = { argv, listener, killed: false };
        started.push(child);
        return {
          write: () => assert.fail('nothing is to be written'),
          kill: () => {
            child.killed = true;
          },
        };
      },
    },
    clock,
    log,
    changed: () => {
      changes += 1;
    },
  });
}

const end = (how: Partial<Ended> = { code: 255 }, error?: HostError) =>
  started.at(-1)!.listener.ended({ code: null, signal: null, ...how }, error);

test('each thing that ip says is a change', () => {
  open();
  assert.deepEqual(started[0]!.argv, ['ip', 'monitor', 'link', 'address', 'route', 'netconf']);
  started[0]!.listener.stdout('Deleted 10.10.2.0/24 dev flannel.1');
  started[0]!.listener.stdout(' scope link\n');
  assert.equal(changes, 2);
  assert.deepEqual(log.lines, []);
});

test('one that ends is said once with its words, and started again at ever longer intervals', async () => {
  open();
  const starts: number[] = [];
  for (let i = 0; i < 8; i += 1) {
    started.at(-1)!.listener.stderr('Object "monitor" is unknown\n');
    end();
    const before = started.length;
    while (started.length === before) await clock.pass(1_000);
    starts.push(clock.now() / 1_000);
  }
  const gaps = starts.map((at, i) => at - (starts[i - 1] ?? 0));
  assert.deepEqual(gaps, [1, 2, 4, 8, 16, 32, 60, 60]);
  assert.equal(log.lines.length, 1);
  assert.match(
    log.lines[0]!,
    /^warn: ip monitor ended \(code 255, Object "monitor" is unknown\): changes .* every few seconds/,
  );
  // What changed while it did not run was not seen.
  assert.equal(changes, 8);
});

test('one that ran well begins anew: soon again, and said again', async () => {
  open();
  end();
  await clock.pass(1_000);
  end();
  await clock.pass(2_000);
  assert.equal(log.lines.length, 1);
  await clock.pass(10_000);
  end({ signal: 'SIGKILL' });
  assert.match(log.lines[1]!, /ended \(SIGKILL\)/);
  const before = started.length;
  await clock.pass(1_000);
  assert.equal(started.length, before + 1);
});

test('one that cannot be started at all', async () => {
  open();
  end({}, new HostError('ENOENT', 'cannot run ip: there is no such program'));
  assert.match(log.lines[0]!, /^warn: cannot run ip: there is no such program: changes of links/);
  await clock.pass(1_000);
  assert.equal(started.length, 2);
});

test('stop ends it and waits for that; it is not said, and not started again', async () => {
  const monitor = open();
  let stopped = false;
  const stopping = monitor.stop().then(() => {
    stopped = true;
  });
  await settle();
  assert.ok(started[0]!.killed);
  assert.equal(stopped, false);
  end({ signal: 'SIGKILL' });
  await stopping;
  await clock.pass(120_000);
  assert.equal(started.length, 1);
  assert.deepEqual(log.lines, []);
});

test('stop between two starts', async () => {
  const monitor = open();
  end();
  await monitor.stop();
  await clock.pass(120_000);
  assert.equal(started.length, 1);
  assert.deepEqual(clock.waits, []);
});

/** A daemon that changes `count` routes, each told by itself. */
function churn(count = 1_000): void {
  const { listener } = started.at(-1)!;
  for (let i = 0; i < count; i += 1) listener.stdout('20.1.0.1 dev eth0 proto bird metric 32\n');
}

test('routes that change by the thousand are left out for a while; links are heard all the same', async () => {
  open();
  churn();
  assert.ok(started[0]!.killed);
  assert.ok(changes < 600, 'and not each of them is a change');
  end({ signal: 'SIGKILL' });
  assert.deepEqual(started[1]!.argv, ['ip', 'monitor', 'link', 'address', 'netconf']);
  const before = changes;
  started[1]!.listener.stdout('2: eth0: <BROADCAST>\n');
  assert.equal(changes, before + 1);
  assert.deepEqual(log.matching(/^(warn|info)/), [], 'it is no fault');
});

test('what is not listened to may have changed every few seconds', async () => {
  open();
  churn();
  end({ signal: 'SIGKILL' });
  changes = 0;
  await clock.pass(29_000);
  assert.equal(changes, 9);
});

test('after a while all is listened to again; as loud again at once, for twice as long not', async () => {
  open();
  const rests: number[] = [];
  for (let i = 0; i < 7; i += 1) {
    churn();
    end({ signal: 'SIGKILL' });
    const from = clock.now();
    for (let n = 0; n < 601 && !started.at(-1)!.killed; n += 1) await clock.pass(1_000);
    end({ signal: 'SIGKILL' });
    rests.push((clock.now() - from) / 1_000);
    assert.ok(started.at(-1)!.argv.includes('route'));
  }
  assert.deepEqual(rests, [30, 60, 120, 240, 480, 600, 600]);
  await clock.pass(60_000);
  changes = 0;
  await clock.pass(10_000);
  assert.equal(changes, 0, 'nothing is guessed while all is heard');
  churn();
  end({ signal: 'SIGKILL' });
  await clock.pass(30_000);
  assert.ok(started.at(-1)!.killed, 'quiet for so long, it begins anew');
});

test('links that change by the thousand, too: nothing is listened to, until all is again', async () => {
  const monitor = open();
  churn();
  end({ signal: 'SIGKILL' });
  churn();
  end({ signal: 'SIGKILL' });
  assert.equal(started.length, 2);
  await clock.pass(30_000);
  assert.equal(started.length, 3);
  assert.ok(started[2]!.argv.includes('route'));
  churn();
  end({ signal: 'SIGKILL' });
  const stopped = monitor.stop();
  end({ signal: 'SIGKILL' });
  await stopped;
  await clock.pass(600_000);
  assert.equal(started.length, 4);
  assert.deepEqual(clock.waits, []);
});

test('a change now and then is never too much, however long it goes on', async () => {
  open();
  for (let i = 0; i < 3_000; i += 1) {
    churn(5);
    await clock.pass(100);
  }
  assert.equal(started.length, 1);
  assert.equal(changes, 15_000);
});

test('a burst, as of containers that start, is followed; 150 changes a second on and on are not', async () => {
  open();
  churn(300);
  await clock.pass(60_000);
  assert.equal(started.length, 1);
  for (let i = 0; i < 10; i += 1) {
    churn(150);
    await clock.pass(1_000);
  }
  assert.ok(started[0]!.killed);
});

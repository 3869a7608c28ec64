import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FirewallOptions, startFirewall } from '../../../src/control/daemon/firewall.js';
import type { Keeper } from '../../../src/control/daemon/keeper.js';
import { FakeClock, Lines } from '../fakes.js';
import { FakeIptables, FakeJournal } from '../host/firewall/fake-iptables.js';

const WANTED = { network: '10.20.0.0/16', subnet: '10.20.23.0/24', nftables: false, guarded: null };
/** What flannel 0.8 to 0.18 made. */
const OLDER = [
  '-s 10.20.0.0/16 -d 10.20.0.0/16 -j RETURN',
  '-s 10.20.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE',
  '! -s 10.20.0.0/16 -d 10.20.23.0/24 -j RETURN',
  '! -s 10.20.0.0/16 -d 10.20.0.0/16 -j MASQUERADE',
];
const OPTIONS: FirewallOptions = {
  masquerade: true,
  fullyRandom: true,
  forward: true,
  guard: true,
  resyncMs: 5_000,
};

function surroundings(runner = new FakeIptables()) {
  const clock = new FakeClock();
  const log = new Lines();
  const steps: (() => void | Promise<void>)[] = [];
  const lifecycle = {
    onLeave: (_: string, stop: () => void | Promise<void>) => void steps.push(stop),
  };
  const stop = async () => {
    for (const step of steps) await step();
  };
  return {
    runner,
    nftGeneration: () => null as number | null,
    journal: new FakeJournal(),
    clock,
    log,
    lifecycle,
    stop,
  };
}

const warnings = (log: Lines) => log.matching(/^warn/);

const textsOf = ({ faults }: Pick<Keeper, 'faults'>) => faults.map(({ text }) => text);

test('rules are made at the start, told in one line, and stay at the end', async () => {
  const around = surroundings();
  await startFirewall(around, WANTED, OPTIONS);
  assert.deepEqual(around.log.matching(/^(info|warn)/), [
    'info: masquerade and forward rules for 10.20.0.0/16 set with iptables 1.8.9 (nf_tables)',
  ]);
  const before = around.runner.save();
  await around.stop();
  assert.equal(around.runner.save(), before);
  assert.deepEqual(around.clock.waits, []);
});

test('what was taken away is back after the period, and said once', async () => {
  const around = surroundings();
  await startFirewall(around, WANTED, { ...OPTIONS, resyncMs: 7_000 });
  const before = around.runner.save();
  around.runner.chain('nat', 'FLANNEL-POSTRTG')!.splice(1, 1);
  await around.clock.pass(6_900);
  assert.notEqual(around.runner.save(), before);
  await around.clock.pass(200);
  assert.equal(around.runner.save(), before);
  assert.deepEqual(warnings(around.log), [
    'warn: firewall rules set again: FLANNEL-POSTRTG lacked 1 rule',
  ]);
  await around.clock.pass(3_600_000);
  assert.equal(warnings(around.log).length, 1);
});

test('somebody who takes them away each time is told of once; after a quiet period again', async () => {
  const around = surroundings();
  await startFirewall(around, WANTED, OPTIONS);
  for (let i = 0; i < 10; i += 1) {
    around.runner.chain('filter', 'FLANNEL-FWD')!.splice(0);
    await around.clock.pass(5_000);
  }
  assert.equal(warnings(around.log).length, 1);
  await around.clock.pass(5_000);
  around.runner.chain('filter', 'FLANNEL-FWD')!.splice(0);
  await around.clock.pass(5_000);
  assert.equal(warnings(around.log).length, 2);
});

test('a refusal while running is a fault and does not end the looking', async () => {
  const around = surroundings();
  const keeper = await startFirewall(around, WANTED, OPTIONS);
  const before = around.runner.save();
  around.runner.chain('filter', 'FLANNEL-FWD')!.splice(0);
  around.runner.refusal = 'Another app is currently holding the xtables lock.';
  await around.clock.pass(20_000);
  assert.equal(keeper.faults.length, 1);
  assert.match(textsOf(keeper)[0]!, /cannot be looked after: .*xtables lock/);
  around.runner.refusal = undefined;
  await around.clock.pass(5_000);
  assert.equal(around.runner.save(), before);
});

test('a rule of others that takes everything before the jump is a fault', async () => {
  const around = surroundings();
  const keeper = await startFirewall(around, WANTED, OPTIONS);
  around.runner.chain('filter', 'FORWARD')!.unshift('-j DROP');
  around.runner.chain('nat', 'POSTROUTING')!.unshift('-j MASQUERADE');
  await around.clock.pass(20_000);
  assert.equal(keeper.faults.length, 1, 'what drops packets, a check of the firewall tells');
  assert.match(
    textsOf(keeper)[0]!,
    /-A POSTROUTING -j MASQUERADE stands before the jump to FLANNEL-POSTRTG/,
  );
});

/** Whatever is in the way of the rules at the start, and what takes it away. */
const IN_THE_WAY: readonly [string, (runner: FakeIptables) => () => void, RegExp][] = [
  [
    'no iptables at all',
    (runner) => {
      runner.absent = /tables|nft/;
      return () => Object.assign(runner, { absent: /^nft$/ });
    },
    /cannot run iptables/,
  ],
  [
    'no iptables-restore',
    (runner) => {
      runner.absent = /restore|nft/;
      return () => Object.assign(runner, { absent: /^nft$/ });
    },
    /cannot run iptables-restore/,
  ],
  [
    'the lock held, whatever is asked',
    (runner) => {
      Object.assign(runner, { broken: true, exit: 4 });
      return () => Object.assign(runner, { broken: false });
    },
    /iptables: exit 4/,
  ],
  [
    'the lock held',
    (runner) => {
      Object.assign(runner, { refusal: 'Another app is holding the xtables lock', exit: 4 });
      return () => Object.assign(runner, { refusal: undefined });
    },
    /iptables-restore: Another app is holding the xtables lock/,
  ],
  [
    'no table nat',
    (runner) => {
      runner.lacking = 'nat';
      return () => Object.assign(runner, { lacking: '' });
    },
    /table `nat': Table does not exist/,
  ],
];

for (const [name, spoil, why] of IN_THE_WAY) {
  test(`${name}: weft starts all the same, is at fault, and tries again each period`, async () => {
    const around = surroundings();
    const { runner, log, clock } = around;
    const mend = spoil(runner);
    const keeper = await startFirewall(around, WANTED, OPTIONS);
    const said = () => textsOf(keeper).filter((text) => /^no masquerade and forward /.test(text));
    const [first] = said();
    assert.match(first!, why);
    assert.match(first!, /containers reach nothing outside the overlay until there are$/);
    await clock.pass(600_000);
    assert.deepEqual(said(), [first]);
    mend();
    await clock.pass(5_000);
    assert.deepEqual(keeper.faults, []);
    assert.equal(runner.chain('nat', 'FLANNEL-POSTRTG')!.length, 6);
    assert.equal(log.matching(/info: masquerade and forward rules .* set with/).length, 1);
    await around.stop();
    assert.deepEqual(clock.waits, []);
  });
}

test('forward rules alone, or nft: the same, with what it means', async () => {
  for (const [options, nftables, said] of [
    [
      { ...OPTIONS, masquerade: false },
      false,
      /cannot run iptables.*-iptables-forward-rules=false/,
    ],
    [OPTIONS, true, /cannot run nft/],
  ] as const) {
    const around = surroundings();
    around.runner.absent = /tables|nft/;
    const keeper = await startFirewall(around, { ...WANTED, nftables }, options);
    assert.equal(keeper.faults.length, 1);
    const [fault] = keeper.faults;
    assert.match(`${fault!.text}; ${fault!.cure}`, said);
  }
});

test('a program that hangs keeps nobody waiting: the start goes on, and says that', async () => {
  const around = surroundings();
  const { runner, clock } = around;
  const sound = runner.run.bind(runner);
  runner.run = async (argv, options) => {
    await new Promise<void>((resolve) => void clock.after(10_000, resolve));
    return sound(argv, options);
  };
  const starting = startFirewall(around, WANTED, OPTIONS);
  await clock.pass(3_000);
  const keeper = await starting;
  assert.match(
    textsOf(keeper).join(),
    /^the firewall rules are not set yet: .* take long; weft goes on/,
  );
  await clock.pass(600_000);
  assert.deepEqual(keeper.faults, []);
  assert.equal(runner.chain('nat', 'FLANNEL-POSTRTG')!.length, 6);
});

test('without comments the rules are there, it is said once and is no fault', async () => {
  const around = surroundings();
  around.runner.bare = true;
  const keeper = await startFirewall(around, WANTED, OPTIONS);
  await around.clock.pass(600_000);
  assert.equal(warnings(around.log).length, 1);
  assert.match(warnings(around.log)[0]!, /^warn: firewall rules: .*without comments/);
  assert.deepEqual(keeper.faults, []);
  assert.equal(around.runner.chain('nat', 'FLANNEL-POSTRTG')!.length, 6);
});

test('somebody who takes them away each time is a fault while he does', async () => {
  const around = surroundings();
  const keeper = await startFirewall(around, WANTED, OPTIONS);
  const takeAway = async () => {
    around.runner.chain('filter', 'FLANNEL-FWD')!.splice(0);
    await around.clock.pass(5_000);
  };
  await takeAway();
  assert.deepEqual(keeper.faults, []);
  await takeAway();
  assert.deepEqual(textsOf(keeper), [
    'firewall rules set again: FLANNEL-FWD lacked 2 rules: somebody undoes it each time',
  ]);
  await around.clock.pass(5_000);
  assert.deepEqual(keeper.faults, []);
});

test('a look that costs much is rare', async () => {
  const around = surroundings();
  const { runner, clock } = around;
  await startFirewall(around, WANTED, OPTIONS);
  const sound = runner.run.bind(runner);
  runner.run = async (argv, options) => {
    await new Promise<void>((resolve) => void clock.after(100, resolve));
    return sound(argv, options);
  };
  runner.ran.length = 0;
  await clock.pass(600_000);
  const looks = runner.ran.filter((line) => line === 'iptables -t nat -S POSTROUTING').length;
  assert.ok(looks > 10 && looks < 40, String(looks));
});

test("an older flannel's rules go at the start, whatever rules are wanted", async () => {
  for (const masquerade of [true, false]) {
    const around = surroundings();
    const { runner, log } = around;
    runner.save('nat');
    runner.chain('nat', 'POSTROUTING')!.push('-j LOG', ...OLDER);
    const keeper = await startFirewall(around, WANTED, { ...OPTIONS, masquerade });
    assert.doesNotMatch(runner.chain('nat', 'POSTROUTING')!.join('\n'), /10\.20\./);
    assert.ok(runner.chain('nat', 'POSTROUTING')!.includes('-j LOG'));
    assert.equal(log.matching(/removed firewall rules of an earlier run/).length, 1);
    assert.deepEqual(keeper.faults, []);
  }
});

test("a rule that may be an older flannel's stays, and is a fault with its cure until it is gone", async () => {
  const around = surroundings();
  const { runner, clock } = around;
  runner.save('nat');
  const chain = runner.chain('nat', 'POSTROUTING')!;
  chain.push(OLDER[3]!);
  const keeper = await startFirewall(around, WANTED, { ...OPTIONS, masquerade: false });
  await clock.pass(60_000);
  assert.deepEqual(runner.chain('nat', 'POSTROUTING'), [OLDER[3]]);
  assert.equal(keeper.faults.length, 1);
  assert.match(
    keeper.faults[0]!.cure,
    /^iptables -t nat -D POSTROUTING ! -s 10.*\(unless somebody else needs it\)$/,
  );
  runner.chain('nat', 'POSTROUTING')!.splice(0);
  await clock.pass(5_000);
  assert.deepEqual(keeper.faults, []);
  runner.ran.length = 0;
  await clock.pass(60_000);
  assert.ok(!runner.ran.includes('iptables-save'), 'and is looked for no more');
});

test('when none are wanted, those of an earlier run go and nothing is looked after', async () => {
  const around = surroundings();
  await startFirewall(around, WANTED, OPTIONS);
  await around.stop();
  await startFirewall(around, WANTED, { ...OPTIONS, masquerade: false, forward: false });
  assert.doesNotMatch(around.runner.save(), /FLANNEL/);
  assert.deepEqual(around.journal.entries, []);
  assert.deepEqual(around.clock.waits, []);
  assert.equal(around.log.matching(/removed firewall rules of an earlier run/).length, 1);
});

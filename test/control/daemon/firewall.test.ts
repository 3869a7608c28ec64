import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FirewallOptions, startFirewall } from '../../../src/control/daemon/firewall.js';
import { FakeClock, Lines } from '../fakes.js';
import { FakeIptables, FakeJournal } from '../host/firewall/fake-iptables.js';

const WANTED = { network: '10.20.0.0/16', subnet: '10.20.23.0/24', nftables: false, guarded: null };
const OPTIONS: FirewallOptions = {
  masquerade: true,
  fullyRandom: true,
  forward: true,
  forwardAsked: false,
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
  return { runner, journal: new FakeJournal(), clock, log, lifecycle, stop };
}

const warnings = (log: Lines) => log.matching(/^warn/);

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

test('a refusal while running is said once and does not end the looking', async () => {
  const around = surroundings();
  await startFirewall(around, WANTED, OPTIONS);
  const before = around.runner.save();
  around.runner.chain('filter', 'FLANNEL-FWD')!.splice(0);
  around.runner.refusal = 'Another app is currently holding the xtables lock.';
  await around.clock.pass(20_000);
  assert.equal(warnings(around.log).length, 1);
  assert.match(warnings(around.log)[0]!, /cannot be looked after: .*xtables lock/);
  around.runner.refusal = undefined;
  await around.clock.pass(5_000);
  assert.equal(around.runner.save(), before);
});

test('a rule of others that takes everything before the jump is told once', async () => {
  const around = surroundings();
  await startFirewall(around, WANTED, OPTIONS);
  around.runner.chain('filter', 'FORWARD')!.unshift('-j DROP');
  await around.clock.pass(20_000);
  assert.equal(warnings(around.log).length, 1);
  assert.match(
    warnings(around.log)[0]!,
    /-A FORWARD -j DROP stands before the jump to FLANNEL-FWD/,
  );
});

test('without iptables: one warning, and nothing is looked after', async () => {
  const around = surroundings();
  around.runner.absent = /tables|nft/;
  await startFirewall(around, WANTED, { ...OPTIONS, masquerade: false });
  assert.equal(warnings(around.log).length, 1);
  assert.match(warnings(around.log)[0]!, /no forward rules: cannot run iptables/);
  assert.deepEqual(around.clock.waits, []);
});

test('without the program, rules that were asked for end the start', async () => {
  for (const [options, nftables, name] of [
    [{ ...OPTIONS, forward: false }, false, 'iptables'],
    [{ ...OPTIONS, masquerade: false, forwardAsked: true }, false, 'iptables'],
    [OPTIONS, true, 'nft'],
  ] as const) {
    const around = surroundings();
    around.runner.absent = /tables|nft/;
    await assert.rejects(
      startFirewall(around, { ...WANTED, nftables }, options),
      new RegExp(`firewall rules cannot be made: cannot run ${name}`),
    );
  }
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

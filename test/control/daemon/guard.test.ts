import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FirewallOptions, startFirewall } from '../../../src/control/daemon/firewall.js';
import { lineOf } from '../../../src/control/runtime.js';
import { FakeClock, Lines } from '../fakes.js';
import { FakeIptables, FakeJournal } from '../host/firewall/fake-iptables.js';

const WANTED = {
  network: '10.20.0.0/16',
  subnet: '10.20.23.0/24',
  nftables: false,
  guarded: {
    port: 8472,
    device: 'flannel.1',
    subnet: '10.20.23.0/24',
    inside: '10.20.23.0/24',
  },
};
/** The guard alone. */
const OPTIONS: FirewallOptions = {
  masquerade: false,
  fullyRandom: true,
  forward: false,
  guard: true,
  resyncMs: 5_000,
};

function surroundings(runner = new FakeIptables()) {
  runner.devices = [
    { ifname: 'flannel.1' },
    {},
    { ifname: 'lo', flags: ['LOOPBACK'] },
    { ifname: 'docker0' },
  ];
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
    clock: new FakeClock(),
    log,
    lifecycle,
    stop,
  };
}

const warnings = (log: Lines) => log.matching(/^warn/);
const COMMENT = '-m comment --comment "weft guard"';
const chain = (runner: FakeIptables) => runner.chain('mangle', 'WEFT-GUARD');

test('the guard is set at the start, for the bridges that carry our subnet, and stays at the end', async () => {
  const around = surroundings();
  const { runner, journal, clock, log } = around;
  const keeper = await startFirewall(around, WANTED, OPTIONS);
  const jump = `-p udp -m udp --dport 8472 ${COMMENT} -j WEFT-GUARD`;
  for (const hook of ['FORWARD', 'INPUT']) {
    assert.deepEqual(runner.chain('mangle', hook), [jump]);
  }
  assert.deepEqual(chain(runner), [
    `-o flannel.1 ${COMMENT} -j RETURN`,
    `-d 10.20.23.0/24 ${COMMENT} -j RETURN`,
    `-s 10.20.23.0/24 ${COMMENT} -j DROP`,
    `-i docker0 ${COMMENT} -j DROP`,
  ]);
  assert.deepEqual([...runner.tables.keys()], ['mangle'], 'no other table is touched');
  assert.deepEqual(
    journal.entries.map((entry) => [entry.kind, 'table' in entry && entry.table]),
    [['iptables', 'mangle']],
  );
  assert.deepEqual(log.matching(/^(info|warn)/), [
    'info: guard rules set: containers here send no VXLAN to UDP port 8472',
  ]);
  assert.deepEqual(keeper.faults, []);
  const before = runner.save();
  await around.stop();
  assert.equal(runner.save(), before);
  assert.deepEqual(clock.waits, []);
});

test('the journal has the rules before they are made', async () => {
  const around = surroundings();
  around.runner.refusal = 'no';
  await startFirewall(around, WANTED, OPTIONS);
  assert.equal(around.journal.entries.length, 1);
});

test("a bridge that comes or goes later is followed, and is nobody's meddling", async () => {
  const around = surroundings();
  const { runner, clock, log } = around;
  runner.devices = [];
  await startFirewall(around, WANTED, OPTIONS);
  assert.equal(chain(runner)!.length, 3);
  runner.devices = [{ ifname: 'docker0' }, { ifname: 'cni0' }, { ifname: 'a "b"' }];
  await clock.pass(5_000);
  assert.deepEqual(chain(runner)!.slice(3), [
    `-i cni0 ${COMMENT} -j DROP`,
    `-i docker0 ${COMMENT} -j DROP`,
  ]);
  runner.devices = [{ ifname: 'cni0' }];
  await clock.pass(5_000);
  assert.deepEqual(chain(runner)!.slice(3), [`-i cni0 ${COMMENT} -j DROP`]);
  assert.deepEqual(warnings(log), []);
});

test('what somebody takes away is set again, and said', async () => {
  const around = surroundings();
  const { runner, clock, log } = around;
  await startFirewall(around, WANTED, OPTIONS);
  const before = runner.save();
  for (const [spoil, said] of [
    [() => runner.chain('mangle', 'FORWARD')!.splice(0), /FORWARD had no jump to WEFT-GUARD$/],
    [() => runner.chain('mangle', 'INPUT')!.splice(0), /INPUT had no jump to WEFT-GUARD$/],
    [() => chain(runner)!.splice(2, 1), /guard rules set again: WEFT-GUARD lacked 1 rule$/],
    [() => runner.tables.get('mangle')!.delete('WEFT-GUARD'), /WEFT-GUARD was gone$/],
  ] as const) {
    spoil();
    await clock.pass(5_000);
    assert.equal(runner.save(), before);
    assert.match(warnings(log).at(-1)!, said);
  }
  await clock.pass(60_000);
  assert.equal(warnings(log).length, 4);
});

test('while nftables tells that nothing has changed, nothing is listed for a minute', async () => {
  const around = surroundings();
  const { runner, clock, log } = around;
  let generation = 1;
  await startFirewall({ ...around, nftGeneration: () => generation }, WANTED, OPTIONS);
  await clock.pass(5_000);
  const before = runner.save();
  runner.ran.length = 0;
  await clock.pass(30_000);
  const listings = () => runner.ran.filter((argv) => !argv.startsWith('ip ')).length;
  assert.equal(listings(), 0, runner.ran.join('\n'));
  runner.chain('mangle', 'INPUT')!.splice(0);
  generation += 1;
  await clock.pass(5_000);
  assert.equal(runner.save(), before);
  assert.match(warnings(log).at(-1)!, /INPUT had no jump/);
  runner.devices = [{ ifname: 'cni0' }];
  await clock.pass(5_000);
  assert.equal(chain(runner)!.at(-1), `-i cni0 ${COMMENT} -j DROP`);
  // What no number told.
  await clock.pass(5_000);
  runner.chain('mangle', 'INPUT')!.splice(0);
  await clock.pass(45_000);
  assert.notEqual(runner.chain('mangle', 'INPUT')!.length, 1);
  await clock.pass(15_000);
  assert.equal(runner.chain('mangle', 'INPUT')!.length, 1);
});

test('without a mangle table, or without iptables: a fault, and weft goes on trying', async () => {
  for (const spoil of [
    (runner: FakeIptables) => {
      runner.lacking = 'mangle';
    },
    (runner: FakeIptables) => {
      runner.absent = /tables|nft/;
    },
  ]) {
    const around = surroundings();
    const { runner, clock } = around;
    const sound = { lacking: runner.lacking, absent: runner.absent };
    spoil(runner);
    const keeper = await startFirewall(around, WANTED, OPTIONS);
    await clock.pass(60_000);
    assert.equal(keeper.faults.length, 1);
    assert.match(lineOf(keeper.faults[0]!), /^no guard: .*-guard=false that none is wanted/);
    Object.assign(runner, sound);
    await clock.pass(5_000);
    assert.equal(chain(runner)!.length, 4);
    assert.deepEqual(keeper.faults, []);
  }
});

test("a guard that cannot be set keeps flannel's rules from nothing", async () => {
  const around = surroundings();
  const { runner, clock } = around;
  runner.lacking = 'mangle';
  await startFirewall(around, WANTED, { ...OPTIONS, masquerade: true, forward: true });
  const before = runner.save();
  runner.chain('filter', 'FLANNEL-FWD')!.splice(0);
  await clock.pass(5_000);
  assert.equal(runner.save(), before);
});

test("a rule of others that accepts everything before the guard is a fault, as for flannel's", async () => {
  const around = surroundings();
  const { runner, clock } = around;
  const keeper = await startFirewall(around, WANTED, OPTIONS);
  runner.chain('mangle', 'INPUT')!.unshift('-j ACCEPT');
  await clock.pass(20_000);
  assert.deepEqual(keeper.faults.map(lineOf), [
    'a firewall rule of others: -A INPUT -j ACCEPT stands before the jump to WEFT-GUARD ' +
      'and takes every packet; do: iptables -t mangle -D INPUT -j ACCEPT   (or put it behind that jump)',
  ]);
  runner.chain('mangle', 'INPUT')!.shift();
  await clock.pass(5_000);
  assert.deepEqual(keeper.faults, []);
});

test('-guard=false, or host-gw, takes out what an earlier run left, with its entry', async () => {
  for (const [wanted, options] of [
    [WANTED, { ...OPTIONS, guard: false }],
    [{ ...WANTED, guarded: null }, OPTIONS],
  ] as const) {
    const around = surroundings();
    await startFirewall(around, WANTED, OPTIONS);
    await around.stop();
    around.runner.chain('mangle', 'FORWARD')!.push('-j LOG');
    await startFirewall(around, wanted, options);
    assert.doesNotMatch(around.runner.save(), /guard/i);
    assert.deepEqual(around.runner.chain('mangle', 'FORWARD'), ['-j LOG']);
    assert.deepEqual(around.journal.entries, []);
    assert.deepEqual(around.clock.waits, []);
    assert.equal(around.log.matching(/removed firewall rules of an earlier run/).length, 1);
  }
});

test('another port, device or subnet than before replaces the rules', async () => {
  const around = surroundings();
  const { runner } = around;
  await startFirewall(around, WANTED, OPTIONS);
  await around.stop();
  runner.devices = [{ ifname: 'flannel.7' }];
  const guarded = { port: 4789, device: 'flannel.7', subnet: '10.9.1.0/24', inside: '10.9.0.0/16' };
  await startFirewall(around, { ...WANTED, guarded }, OPTIONS);
  assert.doesNotMatch(runner.save(), /8472|flannel\.1 |10\.20\./);
  assert.match(runner.save(), /-A INPUT -p udp -m udp --dport 4789/);
  assert.equal(runner.chain('mangle', 'FORWARD')!.length, 1);
});

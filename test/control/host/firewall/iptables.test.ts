import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cleanIptables,
  Iptables,
  takeBackIptables,
} from '../../../../src/control/host/firewall/iptables.js';
import type { Rules } from '../../../../src/control/host/firewall/rules.js';
import { FakeIptables, FakeJournal } from './fake-iptables.js';

const RULES: Rules = {
  network: '10.20.0.0/16',
  subnet: '10.20.23.0/24',
  masquerade: true,
  fullyRandom: true,
  forward: true,
};

async function opened(host = new FakeIptables()) {
  const journal = new FakeJournal();
  const firewall = await Iptables.open(host, journal);
  return { host, journal, firewall };
}

test('a look at rules that are right is one listing a table, and nothing more', async () => {
  const { host, firewall } = await opened();
  assert.equal(firewall.description, 'iptables 1.8.9 (nf_tables)');
  await firewall.ensure(RULES);
  const before = host.save();
  host.ran.length = 0;
  assert.deepEqual(await firewall.ensure(RULES), []);
  assert.deepEqual(host.ran, ['iptables-save -t filter', 'iptables-save -t nat']);
  host.ran.length = 0;
  await firewall.ensure({ ...RULES, masquerade: false });
  assert.deepEqual(host.ran, ['iptables-save -t filter']);
  assert.equal(host.save(), before);
});

test('an iptables before 1.6.2 gets neither --wait nor --random-fully', async () => {
  const host = new FakeIptables();
  host.version = 'iptables v1.6.1';
  const { firewall } = await opened(host);
  await firewall.ensure(RULES);
  assert.doesNotMatch(host.save(), /random/);
  assert.ok(host.ran.includes('iptables-restore --noflush'));
  assert.equal(firewall.description, 'iptables 1.6.1');
});

test('an iptables that prints rules in other words is not fought', async () => {
  const host = new FakeIptables();
  host.print = (line) => line.replace('0x4000/0x4000', '0x4000/16384');
  const { firewall, journal } = await opened(host);
  await firewall.ensure(RULES);
  assert.deepEqual(await firewall.ensure(RULES), []);
  const nat = journal.entries.find((entry) => entry.kind === 'iptables' && entry.table === 'nat')!;
  assert.match(JSON.stringify(nat), /0x4000\/16384/);
  host.chain('nat', 'FLANNEL-POSTRTG')!.shift();
  assert.deepEqual(await firewall.ensure(RULES), ['FLANNEL-POSTRTG lacked 1 rule']);
  assert.deepEqual(await firewall.ensure(RULES), []);
});

test('rules that do not stay are an error, not a quiet loop', async () => {
  const host = new FakeIptables();
  host.print = (line) => line.replace('-A FLANNEL-FWD -d', '-A OTHER -d');
  const { firewall } = await opened(host);
  await assert.rejects(firewall.ensure(RULES), /table filter do not stay/);
});

test('a table that iptables cannot show is left alone', async () => {
  const { host, firewall } = await opened();
  host.remark = "# Table `filter' is incompatible, use 'nft' tool.";
  await assert.rejects(firewall.ensure(RULES), /holds rules that iptables cannot show/);
  assert.ok(!host.ran.some((command) => command.includes('restore')));
});

test('a table that iptables cannot show is no obstacle to rules in the other', async () => {
  const { host, firewall } = await opened();
  host.remark = "# Table `nat' is incompatible, use 'nft' tool.";
  await firewall.ensure({ ...RULES, masquerade: false });
  assert.equal(host.chain('filter', 'FLANNEL-FWD')!.length, 2);
});

test('what is refused is told in the words of iptables', async () => {
  const { host, firewall } = await opened();
  host.refusal = 'iptables-restore: Permission denied (you must be root)';
  await assert.rejects(firewall.ensure(RULES), /iptables-restore: .*you must be root/);
});

test('of an earlier run, what is no longer wanted goes, and its entry with it', async () => {
  const { host, journal, firewall } = await opened();
  await firewall.ensure(RULES);
  assert.equal(journal.entries.length, 2);
  const second = await Iptables.open(host, journal);
  await second.ensure({ ...RULES, masquerade: false, network: '10.21.0.0/16' });
  assert.doesNotMatch(host.save(), /FLANNEL-POSTRTG|10\.20\./);
  assert.match(host.save(), /-A FLANNEL-FWD -s 10\.21\.0\.0\/16/);
  assert.deepEqual(
    journal.entries.map((entry) => entry.kind === 'iptables' && entry.table),
    ['filter'],
  );
});

test('the entry is there before the rules are', async () => {
  const { host, journal, firewall } = await opened();
  host.refusal = 'no';
  await assert.rejects(firewall.ensure(RULES));
  assert.equal(journal.entries.length, 1);
});

test('taking back removes just what was made', async () => {
  const { host, journal, firewall } = await opened();
  await firewall.ensure(RULES);
  host.chain('filter', 'FORWARD')!.unshift('-j LOG');
  // Somebody else's flannel has set its own network since.
  const theirs = '-s 10.99.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT';
  host.chain('filter', 'FLANNEL-FWD')!.push(theirs);
  for (const entry of journal.entries) {
    assert.ok(entry.kind === 'iptables');
    assert.equal(await takeBackIptables(host, entry.table, entry.made), true);
    assert.equal(await takeBackIptables(host, entry.table, entry.made), false);
  }
  assert.deepEqual(host.chain('filter', 'FLANNEL-FWD'), [theirs]);
  assert.equal(host.chain('filter', 'FORWARD')!.length, 2);
  assert.equal(host.chain('nat', 'FLANNEL-POSTRTG'), undefined);
});

test('cleaning where there is no iptables finds nothing and is no error', async () => {
  const host = new FakeIptables();
  host.absent = /tables/;
  assert.equal(await cleanIptables(host, new FakeJournal(), 'iptables'), false);
});

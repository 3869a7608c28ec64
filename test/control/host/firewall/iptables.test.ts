import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  cleanIptables,
  Iptables,
  takeBackIptables,
} from '../../../../src/control/host/firewall/iptables.js';
import { NAT, PLACES } from '../../../../src/control/host/firewall/iptables-rules.js';
import type { Rules } from '../../../../src/control/host/firewall/rules.js';
import { FakeIptables, FakeJournal } from './fake-iptables.js';

const RULES: Rules = {
  network: '10.20.0.0/16',
  subnet: '10.20.23.0/24',
  masquerade: true,
  fullyRandom: true,
  forward: true,
};

const GUARDED = {
  port: 8472,
  device: 'flannel.1',
  subnet: '10.20.23.0/24',
  inside: '10.20.23.0/24',
  bridges: ['docker0'],
};

async function opened(host = new FakeIptables()) {
  const journal = new FakeJournal();
  const firewall = await Iptables.open(host, journal);
  return { host, journal, firewall };
}

test('a look at rules that are right lists our chains and their hooks, never a whole table', async () => {
  const { host, firewall } = await opened();
  assert.equal(firewall.description, 'iptables 1.8.9 (nf_tables)');
  await firewall.ensure(RULES);
  await firewall.guard(GUARDED);
  const before = host.save();
  host.ran.length = 0;
  assert.deepEqual(await firewall.ensure(RULES), []);
  assert.deepEqual(await firewall.guard(GUARDED), []);
  assert.deepEqual(host.ran, [
    'iptables -t filter -S FORWARD',
    'iptables -t filter -S FLANNEL-FWD',
    'iptables -t nat -S POSTROUTING',
    'iptables -t nat -S FLANNEL-POSTRTG',
    'iptables -t mangle -S FORWARD',
    'iptables -t mangle -S INPUT',
    'iptables -t mangle -S WEFT-GUARD',
  ]);
  host.ran.length = 0;
  await firewall.ensure({ ...RULES, masquerade: false });
  assert.equal(host.ran.length, 2);
  assert.equal(host.save(), before);
  host.chain('nat', 'FLANNEL-POSTRTG')!.shift();
  host.ran.length = 0;
  assert.deepEqual(await firewall.ensure(RULES), ['FLANNEL-POSTRTG lacked 1 rule']);
  assert.doesNotMatch(host.ran.join(), /iptables-save/, 'to mend needs none either');
});

test('the legacy iptables is asked by iptables-save, which needs no lock and reads no more than it', async () => {
  const host = new FakeIptables();
  host.version = 'iptables v1.8.9 (legacy)';
  const { firewall } = await opened(host);
  await firewall.ensure(RULES);
  host.ran.length = 0;
  assert.deepEqual(await firewall.ensure(RULES), []);
  assert.deepEqual(host.ran, ['iptables-save -t filter', 'iptables-save -t nat']);
});

test('a chain that cannot be listed alone is looked for in its table', async () => {
  const { host, firewall } = await opened();
  await firewall.ensure(RULES);
  host.tables.get('nat')!.delete('FLANNEL-POSTRTG');
  host.chain('nat', 'POSTROUTING')!.splice(0);
  host.ran.length = 0;
  assert.deepEqual(await firewall.ensure(RULES), [
    'FLANNEL-POSTRTG was gone',
    'POSTROUTING had no jump to FLANNEL-POSTRTG',
  ]);
  assert.ok(host.ran.includes('iptables-save -t nat'));
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
  assert.equal(host.chain('filter', 'FLANNEL-FWD'), undefined);
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
  const cleaned = await cleanIptables(host, journal, 'iptables', [NAT]);
  assert.deepEqual(cleaned, { found: true, doubtful: [] });
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
  await assert.rejects(firewall.ensure({ ...RULES, forward: false }));
  assert.deepEqual(
    journal.entries.map((entry) => entry.kind === 'iptables' && entry.table),
    ['nat'],
  );
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

test('cleaning where there is no iptables, or it is refused, finds nothing and forgets nothing', async () => {
  const { host, journal, firewall } = await opened();
  await firewall.ensure(RULES);
  const none = { found: false, doubtful: [] };
  host.absent = /tables/;
  assert.deepEqual(await cleanIptables(host, journal, 'iptables', PLACES), none);
  host.absent = /^nft$/;
  host.broken = true;
  assert.deepEqual(await cleanIptables(host, journal, 'iptables', PLACES), none);
  assert.equal(journal.entries.length, 2);
  host.exit = 4;
  await assert.rejects(cleanIptables(host, journal, 'iptables', PLACES), { code: 'EAGAIN' });
});

describe('an iptables without comments', () => {
  const bare = async () => {
    const host = new FakeIptables();
    host.bare = true;
    return opened(host);
  };

  test('gets the rules without, which is remarked; they are known again', async () => {
    const { host, firewall } = await bare();
    await firewall.ensure(RULES);
    assert.match(firewall.remark, /without comments, .*Couldn't load match `comment'/);
    assert.deepEqual(host.chain('nat', 'POSTROUTING'), ['-j FLANNEL-POSTRTG']);
    assert.deepEqual(host.chain('filter', 'FLANNEL-FWD'), [
      '-s 10.20.0.0/16 -j ACCEPT',
      '-d 10.20.0.0/16 -j ACCEPT',
    ]);
    const before = host.save();
    assert.deepEqual(await firewall.ensure(RULES), []);
    host.chain('nat', 'FLANNEL-POSTRTG')!.shift();
    host.chain('filter', 'FORWARD')!.push('-j FLANNEL-FWD');
    assert.deepEqual(await firewall.ensure(RULES), [
      'FORWARD jumped to FLANNEL-FWD 2 times',
      'FLANNEL-POSTRTG lacked 1 rule',
    ]);
    assert.equal(host.save(), before);
    await firewall.guard(GUARDED);
    assert.deepEqual(host.chain('mangle', 'INPUT'), ['-p udp -m udp --dport 8472 -j WEFT-GUARD']);
    assert.deepEqual(await firewall.guard(GUARDED), []);
  });

  test('and that prints them in other words is not fought', async () => {
    const { host, firewall, journal } = await bare();
    host.print = (line) => line.replace('0x4000/0x4000', '0x4000/16384');
    await firewall.ensure(RULES);
    assert.deepEqual(await firewall.ensure(RULES), []);
    assert.match(journal.rulesIn('nat').join(), /0x4000\/16384/);
  });

  test('of an earlier run they are replaced, with comments or without, and nothing doubles', async () => {
    for (const still of [true, false]) {
      const { host, firewall, journal } = await bare();
      host.save('filter');
      host.chain('filter', 'FORWARD')!.push('-j LOG');
      await firewall.ensure(RULES);
      host.chain('filter', 'FLANNEL-FWD')!.push('-s 1.2.3.4/32 -j DROP');
      host.bare = still;
      const second = await Iptables.open(host, journal);
      await second.ensure({ ...RULES, network: '10.21.0.0/16' });
      assert.doesNotMatch(host.save(), /10\.20\.0/);
      assert.equal(host.chain('filter', 'FORWARD')!.length, 2);
      assert.equal(host.chain('filter', 'FLANNEL-FWD')!.length, 3);
      assert.equal(/--comment/.test(host.save()), !still);
      assert.deepEqual(await second.ensure({ ...RULES, network: '10.21.0.0/16' }), []);
    }
  });

  test('they are taken back, and cleaned, by the journal', async () => {
    for (const way of ['down', 'clean'] as const) {
      const { host, firewall, journal } = await bare();
      await firewall.ensure(RULES);
      // Somebody's own jump, which looks as ours does to no one but the journal.
      host.chain('filter', 'FORWARD')!.unshift('-i eth9 -j FLANNEL-FWD');
      if (way === 'down') {
        for (const table of ['nat', 'filter'] as const) {
          assert.equal(await takeBackIptables(host, table, journal.rulesIn(table)), true);
        }
      } else assert.equal((await cleanIptables(host, journal, 'iptables', PLACES)).found, true);
      assert.equal(host.chain('nat', 'FLANNEL-POSTRTG'), undefined);
      assert.deepEqual(host.chain('filter', 'FORWARD'), ['-i eth9 -j FLANNEL-FWD']);
      assert.deepEqual(host.chain('filter', 'FLANNEL-FWD'), []);
    }
  });

  test('a refusal for another reason is told in its own words, and tried with comments again', async () => {
    const { host, firewall } = await opened();
    host.refusal = 'no chain/target/match by that name';
    await assert.rejects(firewall.ensure(RULES), /no chain/);
    assert.equal(firewall.remark, '');
    host.refusal = undefined;
    await firewall.ensure(RULES);
    assert.match(host.save(), /--comment "flanneld masq"/);
  });

  test('while the lock is held, nothing is tried without comments', async () => {
    const { host, firewall } = await opened();
    host.refusal = 'Another app is currently holding the xtables lock.';
    host.exit = 4;
    await assert.rejects(firewall.ensure(RULES), { code: 'EAGAIN' });
    const restores = host.ran.filter((line) => line.startsWith('iptables-restore'));
    assert.deepEqual(restores, Array(2).fill('iptables-restore --noflush --wait=2'));
  });
});

test('a kernel without one table has the rules in the other', async () => {
  const { host, firewall } = await opened();
  host.lacking = 'filter';
  await assert.rejects(firewall.ensure(RULES), /table `filter': Table does not exist/);
  assert.equal(host.chain('nat', 'FLANNEL-POSTRTG')!.length, 6);
});

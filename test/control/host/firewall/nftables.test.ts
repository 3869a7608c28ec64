import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cleanNftables,
  cleanNftablesGuard,
  Nftables,
  takeBackNftables,
} from '../../../../src/control/host/firewall/nftables.js';
import type { Ran, Runner, RunOptions } from '../../../../src/control/host/runner.js';
import { FakeJournal } from './fake-iptables.js';
import { NFTABLES, rulesOf } from './recorded.js';

const RULES = rulesOf(NFTABLES[0]!);

/** nft in memory: tables by name, each the text that it was given. */
class FakeNft implements Runner {
  readonly ran: string[] = [];
  readonly tables = new Map<string, string>();
  refusal = '';

  async run(argv: readonly string[], { input = '' }: RunOptions = {}): Promise<Ran> {
    const command = argv.join(' ');
    this.ran.push(command);
    const ended = (code: number, stdout: string, stderr = ''): Ran => {
      return { code, signal: null, stdout, stderr };
    };
    if (command === 'nft --version') return ended(0, 'nftables v1.0.6 (Lester Gooch #5)\n');
    if (this.refusal !== '') return ended(1, '', this.refusal);
    if (command === 'nft list tables') {
      return ended(0, [...this.tables.keys()].map((name) => `table ${name}\n`).join(''));
    }
    const [, listed] = /^nft list table (.*)$/.exec(command) ?? [];
    if (listed !== undefined) {
      const text = this.tables.get(listed);
      return text === undefined
        ? ended(1, '', 'Error: No such file or directory\n')
        : ended(0, text.replace('0x4000', '0x00004000'));
    }
    for (const [, name = ''] of input.matchAll(/^delete table (.*)$/gm)) this.tables.delete(name);
    const [text, name = ''] = /^table (ip6? \S+) \{\n[\s\S]*^\}\n/m.exec(input) ?? [];
    if (text !== undefined) this.tables.set(name, text);
    return ended(0, '');
  }

  start(): never {
    throw new Error('nothing is to be started');
  }
}

test('a look at a table that is right is one listing, and what is wrong is replaced', async () => {
  const nft = new FakeNft();
  const journal = new FakeJournal();
  const firewall = await Nftables.open(nft, journal);
  assert.equal(firewall.description, 'nftables 1.0.6');
  await firewall.ensure(RULES);
  nft.ran.length = 0;
  assert.deepEqual(await firewall.ensure(RULES), []);
  assert.deepEqual(nft.ran, ['nft list table ip flannel-ipv4']);

  const text = nft.tables.get('ip flannel-ipv4')!;
  nft.tables.set('ip flannel-ipv4', text.replace(/^.*accept\n/gm, ''));
  assert.match((await firewall.ensure(RULES))[0]!, /lacked 2 of its lines/);
  nft.tables.clear();
  assert.match((await firewall.ensure(RULES))[0]!, /was gone/);
  assert.equal(nft.tables.get('ip flannel-ipv4'), text);
  assert.deepEqual(journal.entries.length, 1);
});

test("a second run finds the first run's table right, and other rules replace it", async () => {
  const nft = new FakeNft();
  await (await Nftables.open(nft, new FakeJournal())).ensure(RULES);
  const second = await Nftables.open(nft, new FakeJournal());
  assert.deepEqual(await second.ensure(RULES), []);
  await second.ensure({ ...RULES, masquerade: false });
  assert.doesNotMatch(nft.tables.get('ip flannel-ipv4')!, /postrtg/);
});

test('the entry is there before the table is, and what is refused is told', async () => {
  const nft = new FakeNft();
  const journal = new FakeJournal();
  const firewall = await Nftables.open(nft, journal);
  nft.refusal = 'Error: Could not process rule: Operation not permitted\nmore\n';
  await assert.rejects(firewall.ensure(RULES), /^HostError: nft: Error: .*not permitted$/);
  assert.equal(await cleanNftables(nft, journal, true), false);
});

test("flannel's tables are cleaned, others' are not", async () => {
  const nft = new FakeNft();
  for (const name of ['ip nat', 'ip flannel-ipv4', 'ip6 flannel-ipv6']) nft.tables.set(name, '');
  const journal = new FakeJournal();
  journal.record({ kind: 'nftables', table: 'ip flannel-ipv4', made: null });
  assert.equal(await cleanNftables(nft, journal, false), true);
  assert.deepEqual([...nft.tables.keys()], ['ip nat', 'ip flannel-ipv4']);
  assert.equal(journal.entries.length, 1);
  assert.equal(await cleanNftables(nft, journal, true), true);
  assert.deepEqual([...nft.tables.keys()], ['ip nat']);
  assert.deepEqual(journal.entries, []);
});

test('a table is taken back unless it holds more than was made', async () => {
  const nft = new FakeNft();
  const journal = new FakeJournal();
  const firewall = await Nftables.open(nft, journal);
  await firewall.ensure(RULES);
  const [entry] = journal.entries;
  assert.ok(entry?.kind === 'nftables');
  const text = nft.tables.get('ip flannel-ipv4')!;
  nft.tables.set('ip flannel-ipv4', text.replace('accept\n', 'accept\n\t\tcounter\n'));
  assert.equal(await takeBackNftables(nft, entry.table, entry.made), 'left');
  nft.tables.set('ip flannel-ipv4', text);
  assert.equal(await takeBackNftables(nft, entry.table, entry.made), 'deleted');
  assert.equal(await takeBackNftables(nft, entry.table, entry.made), 'gone');
});

test('the guard has a table and an entry of its own, beside those of flannel', async () => {
  const nft = new FakeNft();
  const journal = new FakeJournal();
  const firewall = await Nftables.open(nft, journal);
  await firewall.ensure(RULES);
  const guarded = { port: 8472, device: 'flannel.1', subnet: '10.20.23.0/24', bridges: ['cni0'] };
  const rules = { ...guarded, inside: '10.20.23.0/24' };
  nft.refusal = 'Error: no\n';
  await assert.rejects(firewall.guard(rules), /nft: Error: no/);
  nft.refusal = '';
  await firewall.guard(rules);
  assert.deepEqual(
    journal.entries.map((entry) => entry.kind === 'nftables' && [entry.table, entry.made !== null]),
    [
      ['ip flannel-ipv4', true],
      ['ip weft-guard', true],
    ],
  );
  assert.match(
    nft.tables.get('ip weft-guard')!,
    /ip saddr 10\.20\.23\.0\/24 drop\n\t\tiifname "cni0"/,
  );
  assert.deepEqual(await firewall.guard(rules), []);
  assert.equal(await cleanNftablesGuard(nft, journal), true);
  assert.equal(await cleanNftablesGuard(nft, journal), false);
  assert.deepEqual([...nft.tables.keys()], ['ip flannel-ipv4']);
  assert.equal(journal.entries.length, 1);
});

test("the guard's entry is there before its table is", async () => {
  const nft = new FakeNft();
  const journal = new FakeJournal();
  const firewall = await Nftables.open(nft, journal);
  const { run } = nft;
  let entries = 0;
  nft.run = async (argv, options) => {
    if (argv.includes('-f')) entries = journal.entries.length;
    return run.call(nft, argv, options);
  };
  const guarded = { port: 8472, device: 'flannel.1', subnet: '10.20.23.0/24', bridges: [] };
  await firewall.guard({ ...guarded, inside: '10.20.23.0/24' });
  assert.equal(entries, 1);
});

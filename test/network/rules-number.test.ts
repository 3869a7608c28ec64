/** The kernel's number of nftables: each change raises it, and to look does not. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { loadNative } from '../../src/dataplane/io/native.js';
import { run } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';

const lacks = labLacks({ programs: ['nft', 'iptables'] });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe("nftables' number", { skip: lacks ?? false, timeout: 60_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await Lab.open();
  });
  after(() => lab?.close());

  test('a table, a rule, an element, each another number; a listing none', async () => {
    const numbers = [loadNative().rulesNumber()];
    const changes = [
      'nft add table ip a',
      'nft add set ip a s { type ipv4_addr; }',
      'nft add element ip a s { 10.0.0.1 }',
      'nft delete table ip a',
    ];
    for (const change of changes) {
      await run(change.split(' '));
      numbers.push(loadNative().rulesNumber());
    }
    assert.equal(new Set(numbers).size, changes.length + 1, numbers.join());
    // The first listing may make iptables' tables.
    for (const look of ['nft list ruleset', 'iptables -S', 'iptables-save', 'nft list chains']) {
      await run(look.split(' '));
    }
    const before = loadNative().rulesNumber();
    await run(['iptables', '-t', 'filter', '-S', '-v']);
    await run(['nft', '-j', 'list', 'chains']);
    assert.equal(loadNative().rulesNumber(), before);
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  deletion,
  difference,
  flannelTables,
  isWithin,
  replacement,
  tableText,
} from '../../../../src/control/host/firewall/nftables-rules.js';
import { corrected, NFTABLES, rulesOf } from './recorded.js';

describe('the table', () => {
  for (const recorded of NFTABLES) {
    test(`is that recorded beside flanneld, but for its faults: ${recorded.title}`, () => {
      // nft prints names for the priorities, a mark with its zeros, and a line between the chains.
      const text = tableText(rulesOf(recorded))!
        .replace('priority 100', 'priority srcnat')
        .replace('priority 0', 'priority filter')
        .replaceAll('0x4000', '0x00004000')
        .replace('\t}\n\tchain', '\t}\n\n\tchain');
      assert.equal(text, corrected(recorded));
    });
  }

  test('is not there when no rules are wanted', () => {
    const none = { ...rulesOf(NFTABLES[0]!), masquerade: false, forward: false };
    assert.equal(tableText(none), null);
  });
});

test('a table is replaced and deleted whether it is there or not', () => {
  assert.equal(
    replacement('ip flannel-ipv4', 'table ip flannel-ipv4 {}\n'),
    'add table ip flannel-ipv4\ndelete table ip flannel-ipv4\ntable ip flannel-ipv4 {}\n',
  );
  assert.equal(deletion('ip6 x'), 'add table ip6 x\ndelete table ip6 x\n');
});

test("flannel's tables are told from others'", () => {
  assert.deepEqual(
    flannelTables('table ip nat\ntable ip6 flannel-ipv6\ntable ip flannel-ipv4x\n'),
    ['ip6 flannel-ipv6'],
  );
  assert.deepEqual(flannelTables(''), []);
});

test('what became of a table is told', () => {
  const { listing } = NFTABLES[0]!;
  const lines = listing.split('\n');
  const mark = lines.findIndex((line) => line.includes('mark'));
  const without = lines.toSpliced(mark, 1).join('\n');
  const moved = lines.toSpliced(mark, 2, lines[mark + 1]!, lines[mark]!).join('\n');
  const more = lines.toSpliced(mark, 0, '\t\tip saddr 1.2.3.4 drop').join('\n');
  assert.match(difference('ip flannel-ipv4', null, listing), /was gone/);
  assert.match(difference('ip flannel-ipv4', without, listing), /lacked 1 of its lines/);
  assert.match(difference('ip flannel-ipv4', moved, listing), /out of order/);
  assert.match(difference('ip flannel-ipv4', more, listing), /held 1 lines that are not ours/);
  assert.equal(isWithin(without, listing), true);
  assert.equal(isWithin(more, listing), false);
});

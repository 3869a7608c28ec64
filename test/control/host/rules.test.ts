import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeRule, hasMain, type Rule, takenBy } from '../../../src/control/host/rules.js';

/** As `ip -j rule show` of iproute2 6.1 tells them. */
const USUAL: readonly Rule[] = [
  { priority: 0, src: 'all', table: 'local' },
  { priority: 32766, src: 'all', table: 'main' },
  { priority: 32767, src: 'all', table: 'default' },
];
const WG_QUICK: readonly Rule[] = [
  USUAL[0]!,
  { priority: 32764, src: 'all', table: 'main', suppress_prefixlen: 0 },
  { priority: 32765, not: null, src: 'all', fwmark: '0xca6c', table: '51820' },
  ...USUAL.slice(1),
];
const PACKET = { from: '10.10.58.254', to: '10.10.59.254', iif: 'docker0' };
const priorityOf = (rules: readonly Rule[], table?: string) =>
  takenBy(rules, PACKET, table)?.priority;

test('the first rule that leads into the table, of those that match the packet', () => {
  const to = (dst: string, dstlen: number, priority: number): Rule => {
    return { priority, src: 'all', dst, dstlen, table: '52' };
  };
  const rules = [
    USUAL[0]!,
    to('10.99.0.0', 16, 10),
    to('10.10.0.0', 16, 20),
    to('10.0.0.0', 8, 30),
  ];
  assert.equal(priorityOf([...rules, ...USUAL.slice(1)], '52'), 20);
  assert.equal(priorityOf(WG_QUICK, '51820'), 32765, 'not for what has the mark');
  assert.equal(priorityOf(USUAL), undefined);
});

test('rules for other packets have no part in it', () => {
  const others: Rule[] = [
    { priority: 1, src: '10.99.0.0', srclen: 16, table: '52' },
    { priority: 2, src: 'all', iif: 'flannel.1', table: '52' },
    { priority: 3, src: 'all', fwmark: '0x7', table: '52' },
    { priority: 4, src: 'all', ipproto: 'tcp', dport: 80, table: '52' },
    { priority: 5, src: 'all', uid_start: 0, table: '52' },
    { priority: 6, src: 'all', oif: 'tun0', table: '52' },
    { priority: 7, not: null, src: 'all', table: '52' },
    { priority: 8, src: 'all', dst: '10.10.59.1', table: '52' },
  ];
  assert.equal(priorityOf([...others, ...USUAL], '52'), undefined);
});

test('of a packet that is refused: a rule that refuses, else one that leads past main', () => {
  const refuses: Rule = { priority: 300, src: 'all', action: 'prohibit' };
  const past: Rule = { priority: 200, src: 'all', table: '52' };
  assert.equal(priorityOf([past, refuses, ...USUAL]), 300);
  assert.equal(priorityOf([past, ...USUAL]), 200);
});

test('whether the main table is asked at all', () => {
  assert.ok(hasMain(USUAL) && hasMain(WG_QUICK));
  assert.ok(!hasMain(USUAL.filter(({ table }) => table !== 'main')));
  assert.ok(!hasMain([WG_QUICK[1]!]), 'one without default routes is not enough');
  assert.ok(!hasMain([{ priority: 9, src: '10.0.0.0', srclen: 8, table: 'main' }]));
});

test('in words as ip rule has them', () => {
  const all: Rule = {
    ...{ priority: 100, src: '1.2.3.0', srclen: 24, dst: '4.5.0.0', dstlen: 16, iif: 'br0' },
    action: 'prohibit',
  };
  assert.equal(describeRule(all), '100: from 1.2.3.0/24 to 4.5.0.0/16 iif br0 prohibit');
  assert.equal(describeRule(WG_QUICK[2]!), '32765: not from all fwmark 0xca6c lookup 51820');
  assert.equal(describeRule(WG_QUICK[1]!), '32764: from all lookup main suppress_prefixlength 0');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeFindings, describeVerdict } from '../../../src/operate/findings/describe.js';
import {
  abridged,
  type Finding,
  judge,
  sortFindings,
} from '../../../src/operate/findings/finding.js';

const finding = (more: Partial<Finding>): Finding => ({
  ...{ code: 'x', severity: 'error', scope: 'host', about: 'y', text: 'it is so', cure: '' },
  ...more,
});

test('well: how many peers, and how many warnings beside; notes do not count', () => {
  assert.deepEqual(judge([], 0), { state: 'well', text: 'no peers' });
  assert.deepEqual(judge([finding({ severity: 'note' })], 1), { state: 'well', text: '1 peer' });
  const warnings = [finding({ severity: 'warning' }), finding({ severity: 'warning' })];
  assert.deepEqual(judge(warnings, 5000), { state: 'well', text: '5,000 peers, 2 warnings' });
});

test('an error of this host is broken, one of a peer or of the store is impaired', () => {
  const peer = finding({ scope: 'peer', text: 'no answer' });
  assert.deepEqual(judge([peer], 2), { state: 'impaired', text: 'no answer' });
  assert.equal(judge([finding({ scope: 'store' })], 2).state, 'impaired');
  const both = judge([peer, finding({ text: 'no lane' })], 2);
  assert.deepEqual(both, { state: 'broken', text: 'no lane (and 1 more error)' });
});

test('what weighs most stands first, and what weighs the same stays as it was', () => {
  const all = [
    finding({ severity: 'note', text: 'f' }),
    finding({ severity: 'warning', scope: 'peer', text: 'e' }),
    finding({ scope: 'peer', text: 'c' }),
    finding({ scope: 'peer', text: 'd' }),
    finding({ scope: 'store', text: 'b' }),
    finding({ text: 'a' }),
  ];
  assert.equal(
    sortFindings(all)
      .map(({ text }) => text)
      .join(''),
    'abcdef',
  );
});

test('in lines: the severity, the text, the cure below it', () => {
  assert.deepEqual(describeVerdict({ state: 'broken', text: 'no lane' }), [
    ...['BROKEN', 'no lane', 'bad'],
  ]);
  assert.deepEqual(describeVerdict({ state: 'well', text: '2 peers' }), [
    ...['well', '2 peers', 'good'],
  ]);
  assert.deepEqual(describeFindings([finding({ cure: 'ip link set x up' }), finding({})]), [
    ['error', 'it is so', 'bad'],
    ['', '  do: ip link set x up'],
    ['error', 'it is so', 'bad'],
  ]);
});

test('thousands of a kind: some of them and how many more, and no other kind is lost behind them', () => {
  const silent = Array.from({ length: 5000 }, (_, i) =>
    finding({ code: 'peer-silent', scope: 'peer', about: `peer ${i}`, text: `${i} is silent` }),
  );
  const host = finding({ code: 'underlay-down', text: 'the link is down' });
  const warning = finding({ code: 'path-mtu', severity: 'warning', scope: 'peer', text: 'small' });
  const shown = abridged([...silent, warning, host]);
  assert.equal(shown.length, 1 + 20 + 1 + 1);
  assert.deepEqual([shown[0], shown[1], shown.at(-1)], [host, silent[0], warning]);
  assert.equal(shown[21]!.text, 'peer-silent: 4,980 more');
  assert.equal(shown[21]!.cure, 'weft status -json', 'which has them all');
  assert.deepEqual(abridged(silent.slice(0, 21)), silent.slice(0, 21), 'one more has its own line');
  assert.ok(describeFindings(silent).length < 50);
});

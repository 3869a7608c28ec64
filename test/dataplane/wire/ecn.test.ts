import assert from 'node:assert/strict';
import test from 'node:test';
import * as ecn from '../../../src/dataplane/wire/ecn.js';

const { NOT_ECT, ECT_0, ECT_1, CE, DROP } = ecn;

test('encapsulate copies the codepoint and nothing else (RFC 6040, section 4.1)', () => {
  for (let tos = 0; tos < 256; tos += 1) assert.equal(ecn.encapsulate(tos), tos & 3);
});

test('decapsulate: all sixteen pairs of figure 4 (RFC 6040, section 4.2)', () => {
  // In the order of the RFC: outer Not-ECT, ECT(0), ECT(1), CE.
  const outers = [NOT_ECT, ECT_0, ECT_1, CE];
  const figure: [number, number[]][] = [
    [NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, DROP]],
    [ECT_0, [ECT_0, ECT_0, ECT_1, CE]],
    [ECT_1, [ECT_1, ECT_1, ECT_1, CE]],
    [CE, [CE, CE, CE, CE]],
  ];
  for (const [inner, row] of figure) {
    for (const [i, expected] of row.entries()) {
      assert.equal(ecn.decapsulate(inner, outers[i]!), expected, `${inner} in ${outers[i]}`);
    }
  }
});

test('the codepoints are those of RFC 3168', () => {
  assert.deepEqual([NOT_ECT, ECT_1, ECT_0, CE], [0b00, 0b01, 0b10, 0b11]);
});

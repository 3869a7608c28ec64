import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asFindings, clashFindings, NO_WAY } from '../../../src/control/daemon/faults.js';
import { judge } from '../../../src/operate/findings/finding.js';

const fault = { about: 'a thing', text: 'what is wrong', cure: 'what to type' };

test('a fault is a finding with its own cure; none is none', () => {
  assert.deepEqual(asFindings(NO_WAY, [undefined, fault]), [{ ...NO_WAY, ...fault }]);
});

test('a clash is an error where packets are lost, and breaks this host where all of its are', () => {
  const of = (loses: 'none' | 'some' | 'all') => {
    const found = clashFindings([{ ...fault, loses }]);
    const [{ severity, cure } = assert.fail()] = found;
    assert.equal(cure, 'what to type');
    return `${severity}, ${judge(found, 1).state}`;
  };
  assert.equal(of('none'), 'warning, well');
  assert.equal(of('some'), 'error, impaired');
  assert.equal(of('all'), 'error, broken');
});

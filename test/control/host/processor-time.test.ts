import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processorMs } from '../../../src/control/host/processor-time.js';
import { plant, scratch } from './fakes.js';

test('the time on a processor, in milliseconds; undefined where the kernel does not tell it', (t) => {
  const proc = scratch(t);
  plant(proc, { '7/schedstat': '1500000 99 3\n', '8/schedstat': '\n' });
  assert.equal(processorMs(7, proc), 1.5);
  assert.equal(processorMs(8, proc), undefined);
  assert.equal(processorMs(9, proc), undefined);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childrenMs, processorMs } from '../../../src/control/host/processor-time.js';
import { plant, scratch } from './fakes.js';

test('the time on a processor, in milliseconds; undefined where the kernel does not tell it', (t) => {
  const proc = scratch(t);
  plant(proc, { '7/schedstat': '1500000 99 3\n', '8/schedstat': '\n' });
  assert.equal(processorMs(7, proc), 1.5);
  assert.equal(processorMs(8, proc), undefined);
  assert.equal(processorMs(9, proc), undefined);
});

test('the time of programs that have ended, whatever the name of the process', (t) => {
  const proc = scratch(t);
  const zeros = '0 '.repeat(12);
  plant(proc, { 'self/stat': `7 (a) b (c) S ${zeros}3 4 20 0\n` });
  assert.equal(childrenMs(proc), 70);
  plant(proc, { 'self/stat': '7 (node) S 1\n' });
  assert.equal(childrenMs(proc), undefined);
  assert.equal(childrenMs(`${proc}/nothing`), undefined);
});

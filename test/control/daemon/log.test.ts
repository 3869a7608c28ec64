import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatLine } from '../../../src/control/daemon/log.js';

test('a line is one line, whatever a name from the store holds', () => {
  const time = new Date('2026-11-25T04:05:06.789Z');
  assert.equal(
    formatLine('W', time, 'lease 10.5.1.0-24 ü'),
    'W 04:05:06.789 lease 10.5.1.0-24 ü\n',
  );
  assert.equal(
    formatLine('I', time, 'a\nE 00:00:00.000 forged\x1b[2J\u2028\x7f'),
    'I 04:05:06.789 a\\u000aE 00:00:00.000 forged\\u001b[2J\\u2028\\u007f\n',
  );
});

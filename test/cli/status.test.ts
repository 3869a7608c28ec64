/** What `weft status` asks the kernel. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askKernel } from '../../src/cli/status.js';
import { NO_IP } from '../control/host/fakes.js';

test('without ip there is an answer all the same: why the way is not known', async () => {
  assert.deepEqual(await askKernel(NO_IP, '10.10.60.9'), {
    refused: 'cannot run ip: there is no such program in the PATH; install iproute2',
  });
});

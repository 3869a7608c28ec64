import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSockets, StartError } from '../../../src/control/daemon/open.js';
import { TIERS } from '../../../src/dataplane/io/tiers.js';
import { FakeRunner } from '../host/fakes.js';

test('a VRF that cannot be used is one sentence that names it', async () => {
  await assert.rejects(
    openSockets(new FakeRunner(), '127.0.0.1', 0, TIERS.segment, 1, 'weft-none'),
    (error: Error) => {
      assert.ok(error instanceof StartError);
      assert.match(
        error.message,
        /^the underlay address 127\.0\.0\.1 is in the VRF weft-none, which weft cannot use: .*ENODEV/,
      );
      return true;
    },
  );
});

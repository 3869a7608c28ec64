import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tunnelMtu } from '../../../src/control/daemon/mtu.js';
import { deviceName } from '../../../src/control/daemon/open.js';
import { Lines } from '../fakes.js';

test('the MTU is 50 less than the smaller of Backend.MTU and the interface', () => {
  const log = new Lines();
  const at = (mtu: number) => ({ name: 'ens33', mtu });
  assert.equal(tunnelMtu(undefined, at(1500), log), 1450);
  assert.equal(tunnelMtu(undefined, at(1450), log), 1400);
  assert.equal(tunnelMtu(9000, at(1500), log), 1450);
  assert.equal(tunnelMtu(1400, at(1500), log), 1350);
  assert.equal(tunnelMtu(118, at(1500), log), 68);
  assert.deepEqual(log.lines, [
    'warn: Backend.MTU is 9000, but ens33 has an MTU of 1500; using 1500, since larger packets ' +
      'could not leave',
  ]);
});

test('what is too small is told by whose fault it is', () => {
  const log = new Lines();
  assert.throws(
    () => tunnelMtu(117, { name: 'ens33', mtu: 1500 }, log),
    /Backend\.MTU 117 .*least 118/,
  );
  for (const wanted of [undefined, 9000, 60]) {
    assert.throws(
      () => tunnelMtu(wanted, { name: 'ens33', mtu: 100 }, log),
      /^HostError: ens33 has an MTU of 100, .*ip link set ens33/,
    );
  }
});

test('device names have at most 15 characters', () => {
  assert.deepEqual([0, 1, 9_999_999, 10_000_000, 16_777_215].map(deviceName), [
    'flannel.0',
    'flannel.1',
    'flannel.9999999',
    'flannel10000000',
    'flannel16777215',
  ]);
});

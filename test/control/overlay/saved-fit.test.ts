import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReadNetwork } from '../../../src/control/overlay/saved.js';
import { whyUnfit } from '../../../src/control/overlay/saved-fit.js';
import { parseSubnet } from '../../../src/control/overlay/subnet.js';

const subnet = parseSubnet('10.5.52.0/24')!;
const saved = { config: '{}', publicIp: 1, subnet, savedAt: 'then' } as unknown as ReadNetwork;
const here = { config: '{}', publicIp: 1 };

test('a saved network is of use where config, public IP and subnet are those of now', () => {
  assert.equal(whyUnfit(saved, here), undefined);
  assert.equal(whyUnfit(saved, { ...here, previousSubnet: subnet }), undefined);
  assert.match(`${whyUnfit(saved, { ...here, config: '{"a":1}' })}`, /config has changed/);
  assert.match(
    `${whyUnfit(saved, { ...here, publicIp: 2 })}`,
    /0\.0\.0\.1, and ours is 0\.0\.0\.2/,
  );
  const other = { ...here, previousSubnet: parseSubnet('10.5.53.0/24')! };
  assert.match(`${whyUnfit(saved, other)}`, /as 10\.5\.52\.0\/24, subnet\.env as 10\.5\.53\.0\/24/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isToldBy } from '../../src/cli/doctor/peers.js';
import type { Verdict } from '../../src/operate/diagnose/judge.js';
import type { Finding } from '../../src/operate/findings/finding.js';

const probed = (state: Verdict['state'], publicIp = '192.168.56.12') => ({
  publicIp,
  verdict: { code: 'silent', state, words: '', todo: '' } satisfies Verdict,
});
const finding = (more: Partial<Finding>): Finding => ({
  ...{ code: 'peer-silent', severity: 'error', scope: 'peer', about: 'peer 192.168.56.12' },
  ...{ text: '', cure: '' },
  ...more,
});

test('what weft has told of a peer is not told again; of another peer, or another thing, it is', () => {
  const told = (more: Partial<Finding>, one = probed('lossy')) => isToldBy([finding(more)], one);
  assert.equal(told({}), true, 'an error of the same peer');
  assert.equal(told({}, probed('lossy', '192.168.56.1')), false, 'of one that is called alike');
  assert.equal(told({ code: 'peer-lossy', severity: 'warning' }), true, 'the same warning');
  assert.equal(told({ code: 'lease-short', severity: 'warning' }), false, 'another warning');
  assert.equal(told({ scope: 'host', about: 'ens33' }), true, 'an error of this host');
  assert.equal(told({ scope: 'host', about: 'ens33', severity: 'warning' }), false);
  assert.equal(told({ scope: 'store', about: 'etcd' }), false, 'of the store');
});

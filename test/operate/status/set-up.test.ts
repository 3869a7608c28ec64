import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSetUp } from '../../../src/operate/status/set-up.js';
import { SET_UP } from './full.js';

const told = (more: Partial<typeof SET_UP>): Record<string, string> =>
  Object.fromEntries(
    describeSetUp({ ...SET_UP, ...more }).map(([label, text, tone]) => [
      label,
      tone === undefined ? text : `${text} [${tone}]`,
    ]),
  );

test('what weft keeps on the host, in four lines', () => {
  const rules = { by: 'nftables', masquerade: true, forward: false, guard: true } as const;
  assert.deepEqual(told({ rules, health: 'http://127.0.0.1:8081' }), {
    file: '/run/flannel/subnet.env',
    rules: 'masquerade, guard, by nftables',
    forwards: 'IPv4',
    health: 'http://127.0.0.1:8081/healthz, /readyz, /metrics',
  });
});

test('nothing asked for, and a host that does not forward', () => {
  const rules = { ...SET_UP.rules, forward: false };
  assert.equal(told({ rules }).rules, 'none asked for');
  assert.match(told({ forwarding: false }).forwards!, /^NO IPv4: .*ip_forward is 0 \[bad\]$/);
  assert.match(told({ forwarding: null }).forwards!, /^not known/);
});

test('an older weft, which tells nothing of it, is described all the same', () => {
  assert.deepEqual(describeSetUp(undefined), []);
});

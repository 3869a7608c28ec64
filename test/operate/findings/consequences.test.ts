/** What follows from a greater fault stands with it no more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutConsequences } from '../../../src/operate/findings/consequences.js';
import type { Finding } from '../../../src/operate/findings/finding.js';

const of = (code: string, more: Partial<Finding> = {}): Finding => ({
  ...{ code, severity: 'error', scope: 'host', about: '', text: '', cure: '', ...more },
});
const left = (...findings: Finding[]) => withoutConsequences(findings).map(({ code }) => code);

test('an error of this host leaves out what it explains, and nothing else', () => {
  const peer = of('peer-silent', { scope: 'peer' });
  assert.deepEqual(left(of('underlay-down'), peer, of('docker-bridge')), [
    ...['underlay-down', 'docker-bridge'],
  ]);
  assert.deepEqual(left(peer), ['peer-silent']);
});

test('warnings, and errors of single peers, explain nothing away', () => {
  const peer = of('peer-silent', { scope: 'peer' });
  const makeshift = of('underlay-lost', { severity: 'warning' });
  assert.deepEqual(left(makeshift, peer), ['underlay-lost', 'peer-silent']);
  const one = of('policy-route', { scope: 'peer' });
  assert.deepEqual(left(one, peer), ['policy-route', 'peer-silent']);
});

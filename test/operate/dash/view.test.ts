/** What the page is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { viewOf } from '../../../src/operate/dash/view.js';
import type { Finding } from '../../../src/operate/findings/finding.js';
import type { HostGwStatus, Status } from '../../../src/operate/status/status.js';
import { fullStatus } from '../status/full.js';

const SILENT: Finding = {
  ...{ code: 'peer-silent', severity: 'error', scope: 'peer', about: 'peer 10.0.2.200' },
  ...{ text: '10.0.2.200 is silent', cure: '' },
};

const [one] = fullStatus.peers;
const peers: Status['peers'] = Array.from({ length: 1000 }, (_, i) => {
  return { ...one!, publicIp: `10.0.${i >> 8}.${i & 255}`, subnet: `10.9.${i >> 8}.${i & 255}/32` };
});

test('of very many peers the one that something is wrong with is shown, first and with either backend', () => {
  const vxlan = { ...fullStatus, peers, findings: [SILENT] };
  const hostGw = { ...vxlan, backend: 'host-gw', mtu: 1500 } as unknown as HostGwStatus;
  for (const status of [vxlan, hostGw]) {
    const view = viewOf(status, undefined, 1);
    assert.equal(view.peers.length, 200);
    assert.equal(view.peerCount, 1000);
    assert.equal(view.peers[0]!.publicIp, '10.0.2.200');
    // Not those whose address stands within the other: 10.0.2.20 and 10.0.2.2.
    assert.equal(view.peers[1]!.publicIp, '10.0.0.0');
  }
});

test('thousands of findings do not make each second a megabyte', () => {
  const findings = peers.map(({ publicIp }) => ({ ...SILENT, about: `peer ${publicIp}` }));
  const view = viewOf({ ...fullStatus, peers, findings }, undefined, 1);
  assert.ok(JSON.stringify(view.findings).length < 10_000);
});

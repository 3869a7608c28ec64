import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Finding } from '../../../src/operate/findings/finding.js';
import { judgePeers } from '../../../src/operate/findings/peers.js';
import type { Code, PeerState } from '../../../src/operate/status/peer-health.js';
import { fullStatus } from '../status/full.js';

const [one, two] = fullStatus.peers;

/** Two peers as they are, and what is found besides. */
function found(states: readonly PeerState[], findings: readonly Finding[] = []): string[] {
  const peers = states.map((state, i) => ({
    ...(i === 0 ? one! : two!),
    health: { ...one!.health, state, words: `${state} it is`, todo: 'look' },
  }));
  return judgePeers({ ...fullStatus, peers, findings }).map(
    ({ code, severity, scope, about, text, cure }) =>
      [code, severity, scope, about, text, cure].join('|'),
  );
}

test('each state that is a fault is a finding of its peer, with its words', () => {
  assert.deepEqual(found(['silent', 'lossy']), [
    'peer-silent|error|peer|peer 192.168.56.12|silent it is|look',
    'peer-lossy|warning|peer|peer 203.0.113.250|lossy it is|look',
  ]);
  for (const state of ['refused', 'unreachable', 'small-mtu'] as const) {
    assert.match(found([state]).join(), new RegExp(`^peer-${state}\\|error\\|`));
  }
  assert.deepEqual(found(['well', 'unknown']), []);
});

test('two subnets of one host are one finding', () => {
  const peers = [one!, { ...one!, subnet: '10.10.61.0/24' }].map((peer) => ({
    ...peer,
    health: { ...peer.health, state: 'silent' as const },
  }));
  assert.equal(judgePeers({ ...fullStatus, peers }).length, 1);
});

test('peers that there is no way to have a finding already, which many of them share', () => {
  const noWay: Finding = {
    ...{ code: 'peer-no-way', severity: 'error', scope: 'peer', about: '', cure: '' },
    text: 'nothing can be sent to 7 peers, 203.0.113.250 among them: no route leads there',
  };
  const at = (code: Code, findings: readonly Finding[]) => {
    const health = { ...one!.health, code, state: 'unreachable' as const };
    return judgePeers({ ...fullStatus, peers: [{ ...one!, health }], findings }).length;
  };
  assert.equal(at('no-route', [noWay]), 0);
  assert.equal(at('no-route', []), 1);
  assert.equal(at('host-gone', [noWay]), 1, 'its route is there');
});

/** What is told of the network config in the store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeConfig, judgeConfigChange } from '../../../src/operate/findings/config.js';
import type { ConfigChange } from '../../../src/operate/status/status.js';
import { fullStatus } from '../status/full.js';

const TEXT = '{"Network":"10.10.0.0/16"}';
const judge = (change: Partial<ConfigChange>) => {
  const configChange = { is: 'another', what: [], parts: false, inForce: TEXT, ...change } as const;
  const [found, ...none] = judgeConfigChange({ ...fullStatus, configChange });
  assert.deepEqual(none, []);
  return found!;
};

test('a config that a flanneld refuses, with the command that puts one that it takes', () => {
  assert.deepEqual(judgeConfig(fullStatus), []);
  const flanneldRefuses = { why: 'has the IPv6Network "x"', better: '{"Network":"10.10.0.0/16"}' };
  const [found] = judgeConfig({ ...fullStatus, flanneldRefuses });
  assert.deepEqual([found!.code, found!.severity], ['config-harmful', 'warning']);
  assert.match(found!.text, /^the network config has the IPv6Network "x": a flanneld that starts/);
  assert.match(found!.cure, /put \/\S+\/config '\{"Network":"10\.10\.0\.0\/16"\}'$/);
});

test('one that was changed: what differs, and both ways out of it', () => {
  assert.deepEqual(judgeConfigChange(fullStatus), []);
  const apart = judge({
    what: ['Backend.VNI is 2, here 1', 'Backend.Port is 1, here 2'],
    parts: true,
  });
  assert.deepEqual(
    [apart.code, apart.severity, apart.scope, apart.about],
    ['config-changed', 'warning', 'store', 'config'],
  );
  assert.match(
    apart.text,
    /^the network config was changed \(Backend.VNI is 2, here 1, Backend.Port/,
  );
  assert.match(apart.text, /may not reach it$/);
  assert.match(
    apart.cure,
    /^systemctl restart weft .*: etcdctl --endpoints=\S+ put \S+\/config '\{"Network":"10\.10\.0\.0\/16"\}'\)$/,
  );
});

test('one that keeps no host from another is a note', () => {
  const note = judge({ what: ['SubnetMax is 10.10.9.0, here 10.10.255.0'] });
  assert.equal(note.severity, 'note');
  assert.match(note.text, /they reach each other$/);
});

test('one that no start takes: the command that puts the old one back', () => {
  const bad = judge({ is: 'unusable', what: ['it is not JSON'] });
  assert.equal(bad.severity, 'warning');
  assert.match(bad.text, /cannot be used \(it is not JSON\): .* does not come up$/);
  assert.match(bad.cure, /^etcdctl --endpoints=\S+ put \S+\/config '\{/);
  const gone = judge({ is: 'gone' });
  assert.equal(gone.severity, 'warning');
  assert.match(gone.text, /^the network config was removed: .* waits until there is one$/);
  assert.equal(gone.cure, bad.cure);
});

test('a file has it put back there; of a store that is away nothing is told', () => {
  const configChange = { is: 'gone', what: [], parts: false, inForce: TEXT } as const;
  const file = { ...fullStatus, configChange, store: 'file /n.json' };
  assert.equal(judgeConfigChange(file)[0]!.cure, `put back as "config" in file /n.json: ${TEXT}`);
  const storeState = { ...fullStatus.storeState, awaySeconds: 3 };
  assert.deepEqual(judgeConfigChange({ ...fullStatus, configChange, storeState }), []);
});

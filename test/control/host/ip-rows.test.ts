import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askIp } from '../../../src/control/host/ask-ip.js';
import { bridgesOf } from '../../../src/control/host/bridges.js';
import { listLinks } from '../../../src/control/host/interfaces.js';
import { rowsOf } from '../../../src/control/host/ip-rows.js';
import type { Ran, Runner } from '../../../src/control/host/runner.js';
import { findTraces } from '../../../src/control/host/traces.js';
import { listVxlans } from '../../../src/control/host/vxlan.js';

const ARGV = ['ip', '-j', 'rule', 'show', 'table', '77'];
const ran = (stdout: string, more: Partial<Ran> = {}): Ran => {
  return { code: 0, signal: null, stdout, stderr: '', ...more };
};

test('an empty list, as each version of ip prints it, is an empty list', () => {
  // iproute2 4.15 (links and addresses) and 5.5; 6.1, 6.15 and 7.3.
  for (const text of ['[]\n', '[ ]\n', '[  ]\n']) assert.deepEqual(rowsOf(ARGV, ran(text)), []);
  assert.deepEqual(rowsOf(ARGV, ran('[{"dst":"10.5.0.0/16"}]\n')), [{ dst: '10.5.0.0/16' }]);
});

test('an ip that prints nothing, or no list, has not looked, be its exit code what it may', () => {
  for (const [text, says] of [
    ['', /^HostError: ip rule show table 77 printed nothing; is it iproute2's ip\?$/],
    ['\n', /printed nothing/],
    // iproute2 4.15 knows no -j for rules and routes.
    ['0:\tfrom all lookup local \n', /did not answer in JSON/],
    ['[', /did not answer in JSON/],
    ['{}\n', /did not answer in JSON/],
  ] as const) {
    assert.throws(() => rowsOf(ARGV, ran(text)), says, JSON.stringify(text));
  }
  const refused = ran('[', { code: 2, stderr: 'Error: ipv4: FIB table does not exist.\n' });
  assert.throws(() => rowsOf(ARGV, refused), /ip rule show table 77: Error: ipv4: FIB table/);
  assert.throws(() => rowsOf(ARGV, ran('', { code: 3 })), /ip rule show table 77: exit 3$/);
});

test('no reader of a listing takes nothing at all for a host without what it asks for', async () => {
  const mute = { run: async () => ran('') } as unknown as Runner;
  const says = { name: 'HostError', message: /ip .*(printed nothing|no answer)/ };
  await assert.rejects(bridgesOf(mute, '10.5.52.0/24', 'flannel.1'), says);
  await assert.rejects(listLinks(mute), says);
  await assert.rejects(listVxlans(mute), says);
  await assert.rejects(findTraces(mute, []), says);
  await assert.rejects(askIp(mute, ['rule show']), says);
});

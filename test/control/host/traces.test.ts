import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { findTraces } from '../../../src/control/host/traces.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const TUNS = 'ip -j link show type tun';

test('all that a weft leaves is named, with what removes it; what is none is not', async (t) => {
  const root = scratch(t);
  plant(root, { 'subnet.env': 'A=1\n' });
  const file = path.join(root, 'subnet.env');
  const tun = (ifname: string, ...flags: string[]) => ({ ifname, flags });
  const tuns = [tun('flannel.1'), tun('flannel.2', 'UP', 'LOWER_UP'), tun('tun0'), {}];
  const runner = new FakeRunner({
    [TUNS]: { stdout: JSON.stringify(tuns) },
    'iptables-save': {
      stdout:
        '*mangle\n:WEFT-GUARD - [0:0]\nCOMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n:FLANNEL-POSTRTG - [0:0]\n-A OTHER -j FLANNEL-FWD\nCOMMIT\n',
    },
    'nft list tables': { stdout: 'table ip weft-guard\ntable ip flannel-ipv4x\n' },
  });
  assert.deepEqual(await findTraces(runner, [file, path.join(root, 'other')]), [
    'the TUN flannel.1 (ip link del flannel.1)',
    'the TUN flannel.2, whose process runs',
    "the chain FLANNEL-POSTRTG in iptables' table nat, and what jumps to it",
    "the chain WEFT-GUARD in iptables' table mangle, and what jumps to it",
    'the nft table ip weft-guard (nft delete table ip weft-guard)',
    `the file ${file} (rm ${file})`,
  ]);
});

test('programs that are not there, or are refused, have nothing to show', async () => {
  const runner = new FakeRunner({
    [TUNS]: { code: 1, stdout: '' },
    'iptables-save': { code: 4, stdout: ':FLANNEL-FWD - [0:0]\n' },
    'nft list tables': new Error('cannot run nft'),
  });
  assert.deepEqual(await findTraces(runner, []), []);
});

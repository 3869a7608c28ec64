/** On healthy hosts of many kinds nothing is found, be there traffic or not: see healthy-hosts.ts. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { HEALTHY } from './healthy-hosts.js';
import { CONFIG, PREFIX, tcpTransfer, weftFlags } from './overlay.js';
import { eventually, passes, statusOf } from './spoil.js';

const programs = ['etcd', 'ping', 'nft', 'iptables-restore', 'setpriv'];
const lacks = labLacks({ programs, tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const IDLE_MS = 10_000;

describe('healthy hosts', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let far: Container;
  const hosts: { readonly host: Host; readonly box: Container }[] = [];
  /** All that was found on each, at any time. */
  const found: Set<string>[] = HEALTHY.map(() => new Set());

  const look = async (i: number): Promise<void> => {
    const { findings, verdict } = await statusOf(hosts[i]!.host);
    for (const { severity, code, text } of findings) found[i]!.add(`${severity} ${code}: ${text}`);
    assert.equal(verdict.state, 'well', `${HEALTHY[i]!.is}: ${verdict.text}`);
  };

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    const etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const other = await network.host('far', { address: '192.168.56.100/24' });
    const peer = await other.kernelPeer({ subnet: '10.10.250.0/24' });
    await etcd.register(PREFIX, peer);
    far = await other.container('farbox');
    for (const [i, { prepare, by = [], bridge = 'docker0', finish }] of HEALTHY.entries()) {
      const host = await network.host(`host${i}`, { address: `192.168.56.${11 + i}/24` });
      await prepare?.(host);
      const argv = [...by, process.execPath, WEFT, 'up', ...weftFlags(etcd)];
      await host.start(argv, { name: 'weft up' }).waitFor(/ready: flannel/, 60_000);
      const box = await host.container(`box${i}`, { bridge });
      await finish?.(host);
      hosts.push({ host, box });
    }
    for (const one of await etcd.peers(PREFIX)) {
      if (one.publicIp !== peer.publicIp) await peer.addPeer(one);
    }
  });
  after(() => lab?.close());

  test('packets pass on each, and nothing is found with them or without', async () => {
    for (const [i, { box }] of hosts.entries()) {
      await eventually(
        () => passes(box, far),
        () => `${HEALTHY[i]!.is}: no packet passes`,
      );
      await Promise.all([tcpTransfer(box, far, 10_000_000), look(i)]);
      await tcpTransfer(far, box, 5_000_000);
      await look(i);
    }
    const end = performance.now() + IDLE_MS;
    while (performance.now() < end) {
      for (const i of hosts.keys()) await look(i);
      await sleep(500);
    }
  });

  for (const [i, { is }] of HEALTHY.entries()) {
    test(is, () => {
      const serious = [...found[i]!].filter((line) => !line.startsWith('note '));
      assert.deepEqual(serious, []);
      const notes = is === 'without CAP_NET_RAW' ? 1 : 0;
      assert.equal(found[i]!.size, notes, [...found[i]!].join('\n'));
    });
  }
});

/**
 * A peer to which no route led when the first packet went there: its packets go by a socket of its own
 * as soon as one leads there.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import { Lab } from '../../src/lab/lab.js';
import { NO_PROBES, openSite, PREFIX, startWeft } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const PEER = '192.168.56.12';
const SUBNET = '10.10.201.0';
/** 192.168.56.12:8472, as /proc/net/udp has it. */
const REMOTE = '0C38A8C0:2118';

describe('a peer whose route comes late', { skip: lacks ?? false, timeout: 120_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let kernel: KernelPeer;
  before(async () => {
    const site = await openSite();
    ({ lab, etcd, host } = site);
    const other = await site.network.host('host2', { address: `${PEER}/24` });
    kernel = await other.kernelPeer({ subnet: `${SUBNET}/24` });
    await etcd.register(PREFIX, kernel);
  });
  after(() => lab?.close());

  const ping = async (count: number) =>
    (
      await host.run(['ping', '-c', String(count), '-i', '0.2', '-W', '1', SUBNET], {
        mayFail: true,
      })
    ).code;
  const connected = async () => {
    const { stdout } = await host.run(['cat', '/proc/net/udp']);
    return stdout.split('\n').filter((line) => line.includes(` ${REMOTE} `)).length;
  };

  test('it has no socket while there is none, and its own within seconds of its being back', async () => {
    await host.run(['ip', 'route', 'add', 'unreachable', PEER]);
    const weft = await startWeft(host, etcd, NO_PROBES, '-lanes=1');
    for (const one of await etcd.peers(PREFIX)) {
      if (one.publicIp !== PEER) await kernel.addPeer(one);
    }
    assert.notEqual(await ping(5), 0);
    assert.equal(await connected(), 0);
    await host.run(['ip', 'route', 'del', 'unreachable', PEER]);
    assert.equal(await ping(15), 0);
    assert.equal(await connected(), 1);
    assert.equal(await weft.stop(), 0);
  });
});

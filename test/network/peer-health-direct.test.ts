/** The health of a peer that is reached without the tunnel, and `weft probe` there: host-gw. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { PeerHealth } from '../../src/operate/status/peer-health.js';
import { until } from '../control/fakes.js';
import { PREFIX, weftFlags } from './overlay.js';
import { pathsLack } from './paths.js';
import { statusOf } from './spoil.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const CONFIG = '{"Network":"10.10.0.0/16","SubnetLen":24,"Backend":{"Type":"host-gw"}}';
const SOON_MS = 25_000;

describe('the health of a peer without a tunnel', {
  skip: lacks ?? false,
  timeout: 600_000,
}, () => {
  let lab: Lab;
  let hosts: Host[];

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    const etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    hosts = [];
    for (const number of [11, 12]) {
      const host = await network.host(`host${number}`, { address: `192.168.56.${number}/24` });
      hosts.push(host);
      await host.weft(...weftFlags(etcd)).waitFor(/ready: host-gw/, 60_000);
    }
  });
  after(() => lab?.close());

  const weft = (...args: string[]) =>
    hosts[0]!.run([process.execPath, WEFT, ...args], { mayFail: true, timeout: 30_000 });
  const health = async (): Promise<PeerHealth | undefined> => {
    const { peers } = await statusOf(hosts[0]!);
    return peers[0]?.health;
  };
  const becomes = async (wanted: (health: PeerHealth) => boolean, ms = SOON_MS): Promise<void> => {
    let last: PeerHealth | undefined;
    try {
      await until(async () => {
        last = await health();
        return last !== undefined && wanted(last);
      }, ms);
    } catch {
      assert.fail(JSON.stringify(last));
    }
  };

  test('it answers pings: well, and probe says so', async () => {
    await becomes(({ state }) => state === 'well');
    const { code, stdout, stderr } = await weft('probe');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /192\.168\.56\.12 +5\/5 .* ms +direct +- +1500 +well\n$/);
  });

  test('its link is down: silent, then gone; the status says so; over soon', async () => {
    await hosts[1]!.ip('link set ens33 down');
    await becomes(({ state }) => state === 'silent' || state === 'unreachable');
    await becomes(({ words }) => /no host has the address 192\.168\.56\.12/.test(words), 90_000);
    assert.match((await weft('status')).stdout, /UNREACHABLE for/);
    const { code, stdout } = await weft('probe', '192.168.56.12');
    assert.equal(code, 1);
    assert.match(stdout, /no host has the address 192\.168\.56\.12/);
    await hosts[1]!.ip('link set ens33 up');
    await becomes(({ state }) => state === 'well');
  });
});

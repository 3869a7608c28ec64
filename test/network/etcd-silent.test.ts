/**
 * The only etcd of a host goes silent: no packet from it and none to it gets through, for longer
 * than TCP takes to ask at long intervals only. And SIGHUP, which no supervisor waits for.
 *
 * WEFT_SILENT_SECONDS: how long it is silent (40 unless told).
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { readStatus } from '../../src/operate/status/socket.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { openSite, PREFIX, startWeft } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ss'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const SILENCE = Number(process.env.WEFT_SILENT_SECONDS ?? 40) * 1_000;
/** What is promised, in milliseconds. */
const NOTICED_WITHIN = 15_000;

describe('an etcd that goes silent', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let weft: Running;

  before(async () => {
    ({ lab, etcd, host } = await openSite());
    weft = await startWeft(host, etcd);
  });
  after(() => lab?.close());

  const status = async (): Promise<Status> =>
    (await readStatus(host.path('/run/weft/flannel.1.sock'))) as Status;
  /** The lines of `ss`, with the port at this end. */
  const listed = async (state: string): Promise<string[]> => {
    const filter = ['dst', etcd.address, 'and', 'dport', '=', '2379'];
    const { stdout } = await host.run(['ss', '-Htn', 'state', state, ...filter]);
    return stdout.split('\n').filter(Boolean);
  };
  const sockets = async (state: string): Promise<number> => (await listed(state)).length;

  test('one connection while it answers', async () => {
    assert.equal(await sockets('established'), 1);
  });

  test('one socket being connected at a time, and it is noticed within seconds when it is back', async (t) => {
    const route = (verb: string) => etcd.ip(`route ${verb} blackhole ${host.address}/32`);
    await etcd.sysctl('net.ipv4.conf.all.rp_filter=1');
    await route('add');
    let most = 0;
    const end = performance.now() + SILENCE;
    while (performance.now() < end) {
      most = Math.max(most, await sockets('syn-sent'));
      await sleep(200);
    }
    assert.equal(most, 1);
    assert.notEqual((await status()).storeState.awaySeconds, null);
    await route('del');
    const begun = performance.now();
    await until(async () => (await status()).storeState.awaySeconds === null, NOTICED_WITHIN);
    t.diagnostic(`noticed in ${(performance.now() - begun).toFixed(0)} ms`);
    await etcd.register(PREFIX, {
      subnet: '10.10.220.0/24',
      publicIp: '192.168.56.99',
      mac: '02:00:00:00:00:01',
    });
    await until(async () => (await status()).peers.length === 1);
    assert.equal(await sockets('established'), 1);
  });

  test('SIGHUP looks at all anew and ends nothing, also without a supervisor', async () => {
    const portOf = (lines: readonly string[]) => /192\.168\.56\.11:(\d+)/.exec(lines.join())?.[1];
    const before = portOf(await listed('established'));
    assert.ok(before);
    weft.kill('SIGHUP');
    await weft.waitFor(/reloading: looking at the host, the store and the paths anew/, 60_000);
    await etcd.register(PREFIX, {
      subnet: '10.10.221.0/24',
      publicIp: '192.168.56.98',
      mac: '02:00:00:00:00:02',
    });
    await until(async () => (await status()).peers.length === 2);
    assert.equal(weft.code, undefined);
    // The old connection has gone, another is in its place.
    await until(async () => (await sockets('established')) === 1);
    assert.notEqual(portOf(await listed('established')), before);
  });
});

/** What the kernel's routes say of the way to a peer, and what strangers say: see paths.ts. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { FAR } from '../../src/lab/behind-router.js';
import { enterLab } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { until } from '../control/fakes.js';
import { Paths, pathsLack } from './paths.js';
import { icmpError, Stranger } from './stranger.js';

const lacks = await pathsLack(['ss']);
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('the way to a peer', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let paths: Paths;
  let stranger: Stranger;

  before(async () => {
    paths = await Paths.open();
    stranger = await Stranger.create(paths.near);
  });
  after(() => paths?.lab.close());

  const faults = async (): Promise<readonly string[]> => (await paths.status()).faults;

  test('a route of MTU 1400: known at once, all passes, in fragments that obey it', async () => {
    for (const host of [paths.weft, paths.kernel]) {
      await host.ip(`route add ${FAR}/32 via 192.168.56.1 mtu 1400`);
    }
    await paths.becomes({ mtu: 1400, from: 'route', checking: false }, 5_000);
    await Paths.drop(`ip daddr ${FAR} ip length > 1400`);
    await paths.allPasses(1400);
    await Paths.noFilter();
    for (const host of [paths.weft, paths.kernel]) await host.ip(`route del ${FAR}/32`);
    await paths.becomes({ mtu: 1500, from: 'device' }, 5_000);
    await paths.allPasses(1500);
  });

  test("the device's MTU lowered and raised: known at once", async () => {
    await paths.weft.ip('link set ens33 mtu 1450');
    await paths.becomes({ mtu: 1450, from: 'device' }, 5_000);
    await paths.weft.ip('link set ens33 mtu 1500');
    await paths.becomes({ mtu: 1500, from: 'device' }, 5_000);
  });

  test('a forged "fragmentation needed" causes one measurement and changes nothing', async () => {
    const [box, , far] = paths.boxes;
    let sport = 0;
    // By a socket of its own: a peer that could not be reached before has none for a while.
    await until(async () => {
      await box.run(['ping', '-c', '1', far.address], { mayFail: true });
      const { stdout } = await paths.weft.run(['ss', '-Huan', 'dst', FAR]);
      sport = Number(/192\.168\.56\.11(?:%\w+)?:(\d+)/.exec(stdout)?.[1] ?? 0);
      return sport > 0;
    }, 20_000);
    const quoted = { from: '192.168.56.11', fromPort: sport, to: FAR, toPort: 8472 };
    const errors = [68, 0, 600, 1400].map((mtu) => icmpError('192.168.56.1', 3, 4, mtu, quoted));
    await until(async () => ((await paths.pathMtu())?.measuredSecondsAgo ?? 0) >= 7, 20_000);
    await stranger.send(errors, 20, 2);
    const { mtu, measuredSecondsAgo } = (await paths.pathMtu())!;
    assert.equal(mtu, 1500);
    assert.ok(measuredSecondsAgo! < 4, `measured ${measuredSecondsAgo} s ago`);
    await paths.allPasses(1500);
    const { stdout: learnt } = await paths.weft.run(['ip', 'route', 'get', FAR]);
    assert.doesNotMatch(learnt, /expires/);
  });

  for (const [route, reason] of [
    [`unreachable ${FAR}/32`, /an unreachable route forbids it/],
    [`blackhole ${FAR}/32`, /a blackhole route throws its packets away/],
    [`prohibit ${FAR}/32`, /a prohibit route forbids it/],
    [`${FAR}/32 dev flannel.1`, /its route leads into flannel\.1, the tunnel itself/],
    [`local ${FAR}/32 dev lo table local`, /it is an address of this host/],
    [`broadcast ${FAR}/32 dev ens33 table local`, /it is a broadcast address here/],
  ] as const) {
    test(`"${route}": a fault that names the peer and the reason, gone with the route`, async () => {
      await paths.weft.ip(`route add ${route}`);
      const [fault = ''] = await until(async () => {
        const all = await faults();
        return all.length > 0 && all;
      });
      assert.match(fault, reason);
      assert.match(fault, new RegExp(`the peer ${FAR}`));
      assert.equal(await paths.pathMtu(), null);
      await paths.weft.ip(`route del ${route}`);
      await until(async () => (await faults()).length === 0);
      await paths.becomes({ mtu: 1500, from: 'device', checking: false });
    });
  }

  test('a flood of forged messages beside a transfer: the path MTU stays', async () => {
    const quoted = { from: '192.168.56.11', fromPort: 1, to: FAR, toPort: 8472 };
    const flood = stranger.send([icmpError('192.168.56.1', 3, 4, 600, quoted)], 3000, 6);
    await paths.allPasses(1500);
    await flood;
    assert.equal((await paths.pathMtu())?.mtu, 1500);
  });
});

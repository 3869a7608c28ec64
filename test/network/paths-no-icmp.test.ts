/** A peer behind a router that lets no ICMP through, and wefts that may not send any: see paths.ts. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { FAR } from '../../src/lab/behind-router.js';
import { enterLab } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { Paths, pathsLack } from './paths.js';

const lacks = await pathsLack(['setpriv']);
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('no ICMP', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let paths: Paths;

  before(async () => {
    paths = await Paths.open(() => dropAll());
  });
  after(() => paths?.lab.close());

  const dropAll = async (): Promise<void> => {
    await Paths.filter('{ echo-request, echo-reply, destination-unreachable }');
    await Paths.setLink(1400);
  };

  test('the router drops all ICMP: the MTU of the device stays, and all passes', async () => {
    const why = { problem: 'it does not answer', measuredSecondsAgo: null, checking: false };
    await paths.becomes({ mtu: 1500, from: 'device', ...why });
    await paths.allPasses(1400);
  });

  test('a route with an MTU of its own counts besides', async () => {
    await paths.weft.ip(`route add ${FAR}/32 via 192.168.56.1 mtu 1450`);
    await paths.becomes({ mtu: 1450, from: 'route' }, 5_000);
    await paths.allPasses(1400);
  });

  test('a weft without CAP_NET_RAW says so, and goes by routes and devices', async () => {
    assert.equal(await paths.running.stop(), 0);
    const running = await paths.startWeft(['setpriv', '--bounding-set=-net_raw']);
    await running.waitFor(/I .*path MTUs are .* not measured: .*CAP_NET_RAW/, 60_000);
    const path = await paths.becomes({ mtu: 1450, from: 'route', checking: false });
    assert.equal(path.measuredSecondsAgo, null);
    const { stdout } = await paths.weft.run([process.execPath, WEFT, 'status'], { mayFail: true });
    assert.match(stdout, /^path MTU {2}of routes and devices, not measured: .*CAP_NET_RAW/m);
    await paths.allPasses(1400);
  });
});

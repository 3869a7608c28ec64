/** Paths, leases and the store in a state of which an operator has to know. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { FAR, PREFIX } from '../../src/lab/behind-router.js';
import { enterLab } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { finds, findsOne, verdictOf } from './findings.js';
import { Paths, pathsLack } from './paths.js';
import { statusOf } from './spoil.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('paths, leases, the store', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let paths: Paths;

  before(async () => {
    paths = await Paths.open();
    await finds(paths.weft, []);
  });
  after(() => paths?.lab.close());

  test('a path that takes less than the network needs, until it takes it', async () => {
    await Paths.setLink(1400);
    paths.remeasure();
    const found = await findsOne(paths.weft, 'path-mtu');
    assert.deepEqual([found.severity, found.scope], ['warning', 'peer']);
    assert.equal(found.about, `peer ${FAR} 10.10.203.0/24`);
    assert.match(
      found.text,
      /^the path to the peer 192\.168\.57\.13 takes 1400 bytes whole, and .* needs 1500/,
    );
    assert.match(found.cure, /"MTU": 1350 in the Backend/);
    await Paths.setLink(1500);
    paths.remeasure();
    await finds(paths.weft, []);
  });

  test('two leases with one public IP, until one of them is removed as the cure says', async () => {
    const twin = { subnet: '10.10.199.0/24', publicIp: FAR, mac: '02:00:00:00:00:77' };
    await paths.etcd.register(PREFIX, twin);
    const found = await findsOne(paths.weft, 'duplicate-public-ip');
    assert.match(
      found.text,
      /^2 leases have the public IP 192\.168\.57\.13 \(10\.10\.\d+\.0\/24, 10\.10\.\d+/,
    );
    assert.match(
      found.cure,
      /^on 192\.168\.57\.13: cat \S+ .*etcdctl --endpoints=http:\/\/192\.168\.56\.131:2379 del \/coreos\.com\/network\/subnets\/KEY, KEY being .*\b10\.10\.199\.0-24\b/,
    );
    await paths.etcd.delete(`${PREFIX}/subnets/10.10.199.0-24`);
    await finds(paths.weft, []);
  });

  test('etcd is away, with its reason, and back', async () => {
    await paths.etcd.process.stop();
    const found = await findsOne(paths.weft, 'store-away');
    assert.deepEqual([found.severity, found.scope], ['warning', 'store']);
    assert.match(
      found.text,
      /^etcd at http:\/\/192\.168\.56\.131:2379, .* does not answer \(.+\): peers that come/,
    );
    assert.equal(found.cure, 'etcdctl --endpoints=http://192.168.56.131:2379 endpoint health');
    assert.deepEqual((await verdictOf(paths.weft)).code, 0);
    await paths.etcd.launch();
    await finds(paths.weft, []);
    assert.equal((await statusOf(paths.weft)).storeState.alarm, null);
  });
});

/** What a host chooses and keeps beside its peers: the underlay interface, the blackhole route. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { CONFIG, PREFIX, ping, startWeft } from './overlay.js';

const lacks = labLacks({ programs: ['etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('a host', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let other: Host;
  const wefts: Running[] = [];

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    host = await network.host('host1', { address: '192.168.56.11/24', defaultRoute: false });
    other = await network.host('host2', { address: '192.168.56.12/24' });
  });
  after(() => lab?.close());
  afterEach(async () => {
    for (const weft of wefts.splice(0)) await weft.stop();
  });

  const started = async (on: Host, ...flags: string[]): Promise<Running> => {
    const weft = on.weft(`-etcd-endpoints=${etcd.endpoint}`, `-etcd-prefix=${PREFIX}`, ...flags);
    wefts.push(weft);
    await weft.waitFor(/ready: flannel/, 60_000);
    return weft;
  };
  const blackholes = async () =>
    (await host.run(['ip', 'route', 'show', 'type', 'blackhole'])).stdout.trim();

  test('the interface: by a pattern for its address, for its name, by the way to an address', async () => {
    for (const flags of [
      ['-iface-regex=^192\\.168\\.\\d+\\.11$'],
      ['-iface-regex=^[[:alpha:]]+33\\z'],
      ['-iface=nosuch0', '-iface-regex=nosuch', '-iface-can-reach=192.168.56.131'],
    ]) {
      const weft = await started(host, ...flags);
      assert.match(weft.output, /underlay ens33, address 192\.168\.56\.11, MTU 1500/);
      assert.equal(await weft.stop(), 0);
    }
  });

  test('the blackhole route is kept, never in the place of docker0, and taken back', async () => {
    const flags = ['-iface=ens33', '-ip-blackhole-route'];
    const weft = await started(host, ...flags);
    const [, own] = /ready: flannel\.1 (\S+\/24)/.exec(weft.output)!;
    const line = `blackhole ${own} metric 4294967295`;
    assert.equal(await blackholes(), line);

    const peer = await startWeft(other, etcd);
    wefts.push(peer);
    const [here, there] = [await host.container('xbox1'), await other.container('xbox2')];
    await ping(here, there);
    await ping(there, here);
    assert.equal(await blackholes(), line);

    // docker0 is there already at the next start.
    assert.equal(await weft.stop(), 0);
    assert.equal(await blackholes(), line);
    await host.ip(`route del ${line}`);
    const again = await started(host, ...flags);
    assert.equal(await blackholes(), line);
    await ping(there, here);

    assert.equal(await again.stop(), 0);
    const { stdout } = await host.run([process.execPath, WEFT, 'down']);
    assert.match(stdout, /1 route was removed\./);
    assert.equal(await blackholes(), '');
  });

  test('a restart without the flag takes the blackhole route away', async () => {
    const weft = await started(host, '-iface=ens33', '-ip-blackhole-route');
    assert.match(await blackholes(), /^blackhole 10\.10\.\d+\.0\/24 metric 4294967295$/);
    assert.equal(await weft.stop(), 0);
    await started(host, '-iface=ens33');
    assert.equal(await blackholes(), '');
  });
});

/** The underlay's address is lost for a while, and another beside it looks better. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { type Overlay, openOverlay, PREFIX, weftFlags } from './overlay.js';
import { eventually, passes, statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const OWN = '192.168.56.11';
const VIP = '192.168.56.112';
const BACK = [
  `addr add ${OWN}/24 dev ens33`,
  'route add default via 192.168.56.1 dev ens33 metric 50',
];

describe('an address that flaps', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;
  let weft: Running;
  let peer: Running;

  before(async () => {
    overlay = await openOverlay(['weft', 'weft'], true);
    host = overlay.hosts[0];
    peer = overlay.wefts[1]!;
    assert.equal(await overlay.wefts[0]!.stop(), 0);
    await host.ip(
      BACK[1]!,
      'link add eth1 type bridge',
      'link set eth1 up',
      'addr add 10.77.0.2/24 dev eth1',
      'route add default via 10.77.0.1 dev eth1 metric 100',
    );
    weft = await start();
  });
  after(() => overlay?.lab.close());

  /** Without an interface named. */
  const start = async () => {
    const flags = weftFlags(overlay.etcd).filter((flag) => !flag.startsWith('-iface'));
    const started = host.weft(...flags);
    await started.waitFor(/ready: flannel/, 60_000);
    return started;
  };
  const works = () =>
    eventually(
      () => passes(...overlay.containers),
      () => weft.output,
      20_000,
    );
  const published = async () => {
    const { subnet } = (await statusOf(host)).lease;
    const key = `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
    const entry = (await overlay.etcd.list(key)).find((one) => one.key === key);
    return (JSON.parse(entry!.value) as { PublicIP: string }).PublicIP;
  };

  test('flushed for four seconds beside a second default route: a fault meanwhile, and no move', async () => {
    await works();
    const heard = peer.output.length;
    await host.ip('addr flush dev ens33');
    await sleep(4_000);
    const { faults, underlay } = await statusOf(host);
    assert.match(faults.join(), /address 192\.168\.56\.11 is gone from ens33; waiting 30 s for it/);
    assert.equal(underlay.interface, 'ens33');
    await host.ip(...BACK);
    await works();
    await sleep(3_000);
    const now = await statusOf(host);
    assert.deepEqual([now.faults, now.underlay.address], [[], OWN]);
    assert.equal(await published(), OWN);
    assert.doesNotMatch(peer.output.slice(heard), /peer changed/);
    assert.doesNotMatch(weft.output, /in place of/);
  });

  test('away for long: on the other interface as a makeshift, and back when it is back', async () => {
    await host.ip('addr flush dev ens33');
    await sleep(25_000);
    assert.equal((await statusOf(host)).underlay.interface, 'ens33');
    await eventually(
      async () => (await statusOf(host)).underlay.interface === 'eth1',
      () => weft.output,
      25_000,
    );
    await eventually(
      async () =>
        /at 10\.77\.0\.2 on eth1 until it is back/.test((await statusOf(host)).faults.join()),
      () => weft.output,
    );
    await host.ip(...BACK);
    await eventually(
      async () => (await statusOf(host)).underlay.address === OWN,
      () => weft.output,
      25_000,
    );
    await works();
    await eventually(
      async () => (await statusOf(host)).faults.length === 0,
      () => weft.output,
      20_000,
    );
    await eventually(
      async () => (await published()) === OWN,
      () => weft.output,
      20_000,
    );
  });

  test('a floating address beside one from DHCP: the restarted weft stays where it was', async () => {
    await host.ip(
      `addr change ${OWN}/24 dev ens33 valid_lft 3600 preferred_lft 3600`,
      `addr add ${VIP}/32 dev ens33`,
    );
    const said =
      /ens33 has several addresses: taking 192\.168\.56\.11, which our lease has, not 192\.168\.56\.112; -public-ip or -iface/;
    assert.equal(await weft.stop(), 0);
    weft = await start();
    assert.match(weft.output, said);
    assert.equal(await published(), OWN);

    // As after a reboot, and with the address in a network of its own, as keepalived often has it.
    assert.equal(await weft.stop(), 0);
    for (const folder of ['/run/flannel', '/run/weft']) {
      fs.rmSync(host.path(folder), { recursive: true, force: true });
    }
    await host.ip(`addr del ${VIP}/32 dev ens33`, `addr add ${VIP}/24 dev ens33`);
    weft = await start();
    assert.match(weft.output, said);
    assert.equal(await published(), OWN);
    await works();

    // The operator's word goes before all.
    assert.equal(await weft.stop(), 0);
    weft = host.weft(...weftFlags(overlay.etcd).slice(0, 2), `-iface=${VIP}`);
    await weft.waitFor(/ready: flannel/, 60_000);
    assert.doesNotMatch(weft.output, /several addresses/);
    assert.equal(await published(), VIP);
  });
});

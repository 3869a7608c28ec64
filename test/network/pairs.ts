/**
 * The checks that every pair of VTEPs must pass, both directions. One test file a pair, since
 * each runs in a lab of its own.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import {
  checksumErrors,
  largePings,
  type Overlay,
  openOverlay,
  pathMtu,
  ping,
  tcpTransfer,
  udpSizes,
  udpSuperPacket,
  type Vtep,
} from './overlay.js';

const HUNDRED_MB = 100_000_000;

/** Declares the tests of one pair; enters the lab first. */
export async function testPair(vteps: readonly [Vtep, Vtep], offloads: boolean): Promise<void> {
  const lacks = labLacks({ programs: ['ping', 'etcd', 'ethtool', 'bridge'], tun: true });
  if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

  const wire = offloads ? 'underlay offloads on' : 'plain wire';
  const name = `${vteps[0]} to ${vteps[1]}, ${wire}`;
  describe(name, { skip: lacks ?? false, timeout: 600_000 }, () => {
    let overlay: Overlay;
    before(async () => {
      overlay = await openOverlay(vteps, offloads);
    });
    after(() => overlay?.close());

    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const way = from === 0 ? 'there' : 'back';
      const ends = () => [overlay.containers[from], overlay.containers[to]] as const;
      test(`${way}: ping`, () => ping(...ends()));
      test(`${way}: 100 MB of TCP arrive with the same SHA-256`, () =>
        tcpTransfer(...ends(), HUNDRED_MB).then((sum) => console.log(`# ${sum}`)));
      test(`${way}: UDP of every size from 0 to 1422, and 2000, 9000, 65000`, () =>
        udpSizes(...ends(), '0-1422,2000,9000,65000'));
      test(`${way}: a UDP super-packet arrives as its datagrams`, () => udpSuperPacket(...ends()));
      test(`${way}: pings of 3000 to 60000 bytes`, () => largePings(...ends()));
      test(`${way}: 1450 bytes with DF pass, 1451 meet "fragmentation needed"`, () =>
        pathMtu(...ends()));
    }

    test('no receiver saw a bad checksum', async () => {
      for (const space of [...overlay.hosts, ...overlay.containers]) {
        assert.equal(await checksumErrors(space), 0);
      }
    });

    test('weft lost nothing', async () => {
      for (const [i, vtep] of vteps.entries()) {
        if (vtep !== 'weft') continue;
        const { stdout } = await overlay.hosts[i]!.run([process.execPath, ...statusArgs()]);
        const { counters, drops } = JSON.parse(stdout);
        assert.deepEqual(drops, {});
        assert.equal(counters.outbound_in_packets, counters.outbound_out_packets);
        assert.equal(counters.inbound_in_packets, counters.inbound_out_packets);
      }
    });
  });
}

function statusArgs(): string[] {
  return [new URL('../../src/cli/weft.js', import.meta.url).pathname, 'status', '--json'];
}

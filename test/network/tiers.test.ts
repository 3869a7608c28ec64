/** Each tier, asked for by name, towards a kernel VXLAN peer with all offloads and without. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import {
  checksumErrors,
  type Overlay,
  oddPings,
  oddTransfers,
  openOverlay,
  ping,
  startWeft,
  tcpTransfer,
  udpSizes,
  udpSuperPacket,
  udpWithoutSums,
} from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ethtool', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const TIERS = ['segment', 'segment-tso', 'sendmmsg', 'none'];

describe('every tier, to a kernel VXLAN peer', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let weft: Running;
  before(async () => {
    overlay = await openOverlay(['weft', 'kernel'], true);
    weft = overlay.wefts[0]!;
  });
  after(() => overlay?.close());

  for (const tier of TIERS) {
    test(`tier ${tier}`, async () => {
      const [host1] = overlay.hosts;
      await weft.stop();
      weft = await startWeft(host1, overlay.etcd, `-offload=${tier}`);
      const status = async (): Promise<Status> => statusOf(host1);
      assert.equal((await status()).offload.tier, tier);
      for (const ends of [overlay.containers, [...overlay.containers].reverse()]) {
        const [from, to] = ends as typeof overlay.containers;
        await ping(from, to);
        await tcpTransfer(from, to, 20_000_000);
        await udpSizes(from, to, '0-50,1380-1422,2000,65000');
        await udpSuperPacket(from, to);
        await udpWithoutSums(from, to);
        await oddPings(from, to);
        await oddTransfers(from, to);
      }
      assert.deepEqual((await status()).drops, {});
      assert.equal((await status()).offload.tier, tier);
    });
  }

  test('no receiver saw a bad checksum', async () => {
    for (const space of [...overlay.hosts, ...overlay.containers]) {
      assert.equal(await checksumErrors(space), 0);
    }
  });
});

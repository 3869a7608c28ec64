/** What others do to subnet.env, and what the disk under it does; packets pass all the while. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { type Overlay, openOverlay, startWeft } from './overlay.js';
import { eventually, passes, statusOf, toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'mount'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** Else it gives the kernel the mount's options again, its user's number of another namespace among them. */
const REMOUNT = ['--options-mode=ignore'];
const ENV = '/run/flannel/subnet.env';
const OPTIONS = 'DOCKER_OPT_BIP="--bip=10.10.52.1/24"\nDOCKER_OPTS=" --bip=10.10.52.1/24"\n';

describe('subnet.env among others', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;
  let weft: Running;
  let text: string;

  before(async () => {
    overlay = await openOverlay(['weft', 'weft'], true);
    host = overlay.hosts[0];
    weft = overlay.wefts[0]!;
    text = host.read(ENV)!;
  });
  after(() => overlay?.lab.close());

  const says = (fault: RegExp) =>
    eventually(
      async () => fault.test((await statusOf(host)).faults.join('\n')),
      () => weft.output,
      20_000,
    );
  /** As the host sees it, which may have mounted something there. */
  const read = async () => (await host.run(['cat', ENV], { mayFail: true })).stdout;
  const has = (wanted: string, within = 10_000) =>
    eventually(
      async () => (await read()) === wanted,
      () => weft.output,
      within,
    );
  const isWell = () =>
    eventually(
      async () => (await statusOf(host)).faults.length === 0,
      () => weft.output,
      20_000,
    );

  test("Docker's options in it outlive a restart of weft, and its MTU follows beside them", async () => {
    host.write(ENV, text + OPTIONS);
    assert.equal(await weft.stop(), 0);
    weft = await startWeft(host, overlay.etcd);
    assert.equal(host.read(ENV), text + OPTIONS);
    await host.ip('link set ens33 mtu 1400');
    await has(text.replace('1450', '1350') + OPTIONS);
    await host.ip('link set ens33 mtu 1500');
    await has(text + OPTIONS);
  });

  test('a disk that is full, or may not be written: a fault while it is missing, and mended then', async () => {
    const folder = '/run/flannel';
    for (const [mount, undo] of [
      [
        ['-o', 'size=4k,nr_inodes=1'],
        [...REMOUNT, '-o', 'remount,size=64k,nr_inodes=9'],
      ],
      [
        ['-o', 'ro'],
        [...REMOUNT, '-o', 'remount,rw'],
      ],
    ] as const) {
      await host.run(['mount', '-t', 'tmpfs', ...mount, 'tmpfs', folder]);
      const before = weft.output.length;
      await says(/cannot write .*subnet\.env: .*Docker and CNI will miss it/);
      assert.ok(await passes(...overlay.containers));
      await sleep(7_000);
      assert.equal(weft.output.slice(before).match(/^W .*cannot write/gm)?.length, 1);
      await host.run(['mount', ...undo, folder]);
      await has(text);
      await isWell();
      await host.run(['umount', folder]);
      await has(text + OPTIONS);
    }
  });

  test('another program that keeps writing other values: named, and the log is not filled', async () => {
    const before = weft.output.length;
    const other = text.replace('1450', '1399');
    let on = true;
    const writing = (async () => {
      while (on) {
        fs.writeFileSync(host.path(ENV), other);
        await sleep(200);
      }
    })();
    await eventually(
      async () => /another program keeps writing/.test((await statusOf(host)).faults.join()),
      () => weft.output,
      30_000,
    );
    await sleep(15_000);
    const lines = toldSince(weft, before);
    assert.ok(lines.length <= 4, lines.join('\n'));
    assert.match(lines.at(-1)!, /keeps writing .*subnet\.env, whose FLANNEL_MTU was 1399/);
    assert.ok(await passes(...overlay.containers));
    on = false;
    await writing;
    await has(text, 60_000);
    assert.equal(weft.code, undefined);
  });
});

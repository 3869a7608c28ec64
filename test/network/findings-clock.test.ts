/**
 * A host whose clock runs otherwise than etcd's: its lease's time by etcd's count and by its own come
 * apart. (etcd asks the kernel for the time itself, so it is weft's clock that is made fast.)
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { findsNothing, findsOne } from './findings.js';
import { openSite, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'faketime'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** What the command of that name puts before the C library. */
const library = ['x86_64', 'aarch64']
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((file) => fs.existsSync(file));

const READY = /ready: flannel/;

describe('the clocks of a host and of etcd', { skip: lacks ?? false, timeout: 120_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  before(async () => {
    ({ lab, etcd, host } = await openSite());
  });
  after(() => lab?.close());

  test('a clock three times as fast as that of etcd is told, and is no fault of the tunnel', async () => {
    const argv = [process.execPath, WEFT, 'up', ...weftFlags(etcd)];
    // Not by the command, which would get the signals in weft's place.
    const env = { LD_PRELOAD: library ?? '', FAKETIME: '+0 x3' };
    const weft = host.start(argv, { name: 'weft up', env });
    await weft.waitFor(READY, 20_000);
    const { severity, scope, text } = await findsOne(host, 'lease-clock', 40_000);
    assert.deepEqual([severity, scope], ['warning', 'store']);
    assert.match(text, /^our lease in etcd ran down by \d+ s less than by this host's clock/);
    assert.equal(await weft.stop(), 0);
  });

  test('one that runs as it does is not', async () => {
    const weft = host.weft(...weftFlags(etcd));
    await weft.waitFor(READY, 20_000);
    await findsNothing(host, 45_000);
    assert.equal(await weft.stop(), 0);
  });
});

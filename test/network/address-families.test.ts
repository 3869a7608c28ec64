/**
 * A unit whose RestrictAddressFamilies= lacks one: weft ends with a sentence before anything is changed,
 * or goes without. The filter is the one that systemd sets, of socket(2) alone.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { openSite, PREFIX, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'python3'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** Sources are not compiled to where a program of Python is. */
const REFUSE = fileURLToPath(new URL('../../../test/network/tools/refuse.py', import.meta.url));
const ALLOWED = 'RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6';

describe('address families that a unit refuses', { skip: lacks ?? false, timeout: 90_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;

  before(async () => {
    ({ lab, etcd, host } = await openSite());
  });
  after(() => lab?.close());

  const without = (families: string, ...command: string[]) => [
    ...['python3', REFUSE, families, process.execPath, WEFT, ...command],
  ];
  const up = (families: string) => host.start(without(families, 'up', ...weftFlags(etcd)));
  const links = async () => (await host.run(['ip', '-br', 'link'])).stdout;

  for (const [families, told] of [
    ['AF_UNIX', /AF_UNIX \(EAFNOSUPPORT\), which weft needs for its status and systemd; /],
    ['AF_NETLINK', /AF_NETLINK \(EAFNOSUPPORT\), which weft needs for ip and the firewall /],
    ['AF_INET', /AF_INET \(EAFNOSUPPORT\), which weft needs for the packets; /],
    ['AF_UNIX,AF_INET', /AF_UNIX \(EAFNOSUPPORT\), .*, nor of AF_INET \(EAFNOSUPPORT\), /],
  ] as const) {
    test(`${families}: one sentence and the end, with code 1`, async () => {
      const weft = up(families);
      const code = await Promise.race([weft.exited, sleep(5_000)]);
      assert.equal(code, 1, weft.output);
      const errors = weft.output.split('\n').filter((line) => line.startsWith('E '));
      assert.equal(errors.length, 1, weft.output);
      assert.match(errors[0]!, told);
      assert.ok(errors[0]!.includes(ALLOWED), errors[0]);
      assert.doesNotMatch(await links(), /flannel/);
      assert.deepEqual(await etcd.list(`${PREFIX}/subnets/`), []);
      const doctor = await host.run(without(families, 'doctor', ...weftFlags(etcd)), {
        mayFail: true,
      });
      assert.notEqual(doctor.code, 0);
      assert.match(doctor.stdout, told);
    });
  }

  test('AF_INET6, AF_PACKET and AF_VSOCK: weft needs none of them', async () => {
    const weft = up('AF_INET6,AF_PACKET,AF_VSOCK');
    await weft.waitFor(/ready: flannel/, 10_000);
    assert.doesNotMatch(weft.output, /^[EW] /m);
    const { stdout } = await host.run([process.execPath, WEFT, 'status']);
    assert.match(stdout, /^well /);
    assert.equal(await weft.stop(), 0);
    await host.run([process.execPath, WEFT, 'down']);
  });
});

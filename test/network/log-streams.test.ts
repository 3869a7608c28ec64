/**
 * What becomes of a weft whose log cannot be written: it forwards, follows its peers, answers, ends
 * when it is told to, and starts while the disk is full.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { openSite, PREFIX, weftFlags } from './overlay.js';
import { eventually, show, statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'dd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('a log that cannot be written', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let peers = 0;
  let running: Running | undefined;

  before(async () => {
    ({ lab, etcd, host } = await openSite());
    await host.run(['sh', '-c', 'mkdir /run/log && mount -t tmpfs -o size=64k log /run/log']);
  });
  after(() => lab?.close());
  afterEach(() => running?.stop());

  /** With its standard error as the shell has it; ready when it has its route to a peer. */
  const start = async (redirect: string): Promise<Running> => {
    const up = `exec ${process.execPath} ${WEFT} up ${weftFlags(etcd).join(' ')} ${redirect}`;
    running = host.start(['bash', '-c', up]);
    await joins();
    return running;
  };
  /** A peer joins, which is a line of log, and gets its route. */
  const joins = async (): Promise<void> => {
    peers += 1;
    const subnet = `10.10.${200 + peers}.0/24`;
    await etcd.register(PREFIX, { subnet, publicIp: `192.168.56.${100 + peers}`, mac: mac(peers) });
    await eventually(
      async () => (await show(host, `route show ${subnet}`)).includes('flannel.1'),
      () => `no route to ${subnet}`,
      20_000,
    );
  };
  /** The last page of the log itself, too. */
  const fill = "(cat /dev/zero >/run/log/rest; yes '' >>/run/log/weft.log) 2>/dev/null; true";
  const faults = async () => (await statusOf(host)).faults.join('\n');
  /** It takes some lines until the file system is sure that it is full. */
  const cannotBeWritten = () =>
    eventually(
      async () => {
        await joins();
        return /^[\d,]+ lines? of log could not be written: .*\(ENOSPC\)$/.test(await faults());
      },
      () => 'no fault of the log',
    );

  test('the disk is full: it starts, follows its peers, says so; the end is in order', async () => {
    await host.run(['sh', '-c', fill]);
    const weft = await start('2>>/run/log/weft.log');
    await cannotBeWritten();
    assert.ok((await statusOf(host)).logLinesLost > 0);
    assert.equal(await weft.stop(), 0);
  });

  test('the disk gets full, and has room again: the log tells how much is missing', async () => {
    await host.run(['rm', '/run/log/rest', '/run/log/weft.log']);
    const weft = await start('2>>/run/log/weft.log');
    await host.run(['sh', '-c', fill]);
    await cannotBeWritten();
    await host.run(['rm', '/run/log/rest']);
    await joins();
    const log = (await host.run(['cat', '/run/log/weft.log'])).stdout;
    assert.match(log, /^W [\d:.]+ [\d,]+ lines? of log could not be written\nI .* peer joined/m);
    assert.equal(await faults(), '');
    assert.equal(await weft.stop(), 0);
  });

  for (const [what, redirect] of [
    ['a pipe that nobody reads', '2> >(exec sleep 30 >&- 2>&-)'],
    ['a pipe that is closed', '2> >(exec true)'],
    ['standard error closed', '2>&-'],
  ] as const) {
    test(`${what}: it follows its peers, and SIGTERM ends it in order`, async () => {
      const weft = await start(redirect);
      await joins();
      const begun = performance.now();
      assert.equal(await weft.stop(), 0);
      assert.ok(performance.now() - begun < 15_000);
      assert.doesNotMatch(await show(host, 'link'), /flannel/);
    });
  }
});

function mac(number: number): string {
  return `02:00:00:00:01:${number.toString(16).padStart(2, '0')}`;
}

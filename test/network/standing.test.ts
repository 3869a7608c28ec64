/**
 * A lane that stands still on a packet: weft says so everywhere alike, ends so that a supervisor can
 * start it again, and keeps what the lane had in hand.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { BLOCKS, SPINS } from '../dataplane/forward/standing-marks.js';
import { CONFIG, openSite, PREFIX, ping, startWeft, TRAFFIC, weftFlags } from './overlay.js';
import { eventually, statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['ping', 'etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const STANDING = fileURLToPath(new URL('./tools/standing-weft.js', import.meta.url));
const PORT = 8471;
const ASK = `fetch('http://127.0.0.1:${PORT}/' + process.argv[1])
  .then(async (answer) => console.log(answer.status, await answer.text()))`;
const STANDS = /lane 0 has not turned for \d+ s/;

describe('a lane that stands still', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let weft: Running;
  let boxes: readonly [Container, Container];

  const start = async () => {
    const flags = [...weftFlags(etcd), '-lanes=1', `-healthz-port=${PORT}`];
    weft = host.start([process.execPath, STANDING, ...flags]);
    await weft.waitFor(/ready: flannel/, 60_000);
  };

  before(async () => {
    const site = await openSite();
    ({ lab, etcd, host } = site);
    const { network } = site;
    const other = await network.host('host2', { address: '192.168.56.12/24' });
    await startWeft(other, etcd);
    await start();
    boxes = [await host.container('xbox1'), await other.container('xbox2')];
  });
  beforeEach(async () => {
    if (weft.code !== undefined) await start();
    await ping(...boxes);
  });
  after(() => lab?.close());

  const marked = async (from: Container, to: Container, mark: string) => {
    const argv = ['ping', '-c', '1', '-W', '1', '-p', mark, to.address];
    assert.notEqual((await from.run(argv, { mayFail: true })).code, 0);
  };
  const ask = async (page: string) =>
    (await host.run([process.execPath, '-e', ASK, page])).stdout.trim();

  /** The exit code, and the milliseconds until the end. */
  const ended = async (within: number): Promise<[number, number]> => {
    const begun = performance.now();
    const code = await Promise.race([weft.exited, sleep(within, undefined, { ref: false })]);
    assert.notEqual(code, undefined, `still runs after ${within} ms:\n${weft.output}`);
    return [code!, performance.now() - begun];
  };

  /** What `weft replay` makes of the capture that the last line names. */
  const replayed = async (): Promise<string> => {
    const [, file] = weft.tail(1).match(/has not turned.* kept for weft replay in ([^\s)]+)/) ?? [];
    assert.ok(file, weft.output);
    assert.match(file, /^\/run\/weft\/flannel\.1-\d{8}T\d{6}Z\.pcap$/);
    const leases = await etcd.list(`${PREFIX}/subnets/`);
    const subnets = leases.map(({ key, value }) => [key.split('/').at(-1), JSON.parse(value)]);
    const network = { config: JSON.parse(CONFIG), subnets: Object.fromEntries(subnets) };
    host.write('/run/network.json', JSON.stringify(network));
    const as = ['-routes', '/run/network.json', '-as', '192.168.56.11', '-verdicts'];
    return (await host.run([process.execPath, WEFT, 'replay', file, ...as])).stdout;
  };

  test('a weft that was frozen, all of it, is none', async () => {
    weft.kill('SIGSTOP');
    await sleep(5_000);
    weft.kill('SIGCONT');
    await sleep(1_500);
    assert.doesNotMatch(weft.output, STANDS);
    await ping(...boxes);
  });

  test('one verdict for status and health, then the end with 1, and a capture to replay', async () => {
    const healthy = await Promise.all([ask('healthz'), ask('readyz')]);
    assert.deepEqual(healthy, ['200 flanneld is running', '200 flanneld is ready']);
    assert.deepEqual((await statusOf(host)).faults, []);
    await marked(...boxes, SPINS);
    await eventually(
      async () => STANDS.test((await statusOf(host)).faults.join()),
      () => weft.output,
      8_000,
    );
    assert.match(
      await ask('healthz'),
      /^503 weft does not forward: lane 0 has not turned for \d+ s$/,
    );
    // More where the peer is found silent before the end, since the lane does not send either.
    assert.match(await ask('readyz'), /^503 weft is not ready: lane 0 has not turned for \d+ s\b/);
    assert.equal((await ended(30_000))[0], 1);
    assert.match(await replayed(), /^1 records?: 1 wrapped into 1 datagrams?, 0 unwrapped/m);
  });

  test('what a peer sent is kept as well, and replayed as it came', async () => {
    await marked(boxes[1], boxes[0], SPINS);
    assert.equal((await ended(20_000))[0], 1);
    assert.match(await replayed(), /^1 records?: 0 wrapped into 0 datagrams, 1 unwrapped/m);
    const kept = fs.readdirSync(host.path('/run/weft')).filter((name) => name.endsWith('.pcap'));
    assert.equal(kept.length, 2);
  });

  test('a UDP super-packet of the kernel is kept with its segment size, and cut by it', async (t) => {
    if (!(await statusOf(host)).offload.tunUso) return t.skip('this kernel cuts them itself');
    const gso = ['udp-gso', boxes[1].address, '40002', '1000', '9500'];
    await boxes[0].run([process.execPath, TRAFFIC, ...gso]);
    assert.equal((await ended(20_000))[0], 1);
    assert.match(await replayed(), /^1 records?: 1 wrapped into 10 datagrams, 0 unwrapped/m);
  });

  test('SIGTERM ends weft soon while a lane spins', async () => {
    await marked(...boxes, SPINS);
    weft.kill('SIGTERM');
    const [code, took] = await ended(20_000);
    assert.equal(code, 0);
    assert.ok(took < 10_000, `took ${took} ms`);
  });

  test('one inside the addon, too: the process is killed, and the last line says why', async () => {
    await marked(...boxes, BLOCKS);
    await weft.waitFor(/ends, so that a new start/, 60_000);
    const [code] = await ended(20_000);
    assert.equal(code, 128 + 9);
    assert.match(weft.tail(1), /killing the process \(lane 0 has not turned for 10 s/);
    assert.match(await replayed(), /1 wrapped into 1 datagram/);
  });
});

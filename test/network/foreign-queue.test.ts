/**
 * Another process opens the TUN of a weft with two lanes, which the kernel allows: no connection
 * suffers by it, and weft says who it is for as long as it lasts.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadNative } from '../../src/dataplane/io/native.js';
import { TIERS } from '../../src/dataplane/io/tiers.js';
import { openTun } from '../../src/dataplane/io/tun.js';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { openSite, ping, startWeft } from './overlay.js';
import { eventually, statusOf } from './spoil.js';

const OPENER = fileURLToPath(new URL('./tools/tun-opener.js', import.meta.url));
const CONNECTIONS = 60;
const PORT = 40_021;
/** Between two looks, and some more. */
const WITHIN = 25_000;

const SERVER = `require('net').createServer((s) => s.pipe(s)).listen(${PORT}, () => console.log('up'))`;
/** One connection after another, each a flow of its own; prints how many were answered. */
const CLIENT = `
const net = require('net');
const one = () => new Promise((done) => {
  const socket = net.connect({ host: process.argv[1], port: ${PORT}, timeout: 700 });
  const end = (worked) => { socket.destroy(); done(worked ? 1 : 0); };
  socket.on('connect', () => socket.write('hello')).on('data', () => end(true));
  socket.on('timeout', () => end(false)).on('error', () => end(false));
});
(async () => {
  let worked = 0;
  for (let i = 0; i < ${CONNECTIONS}; i += 1) worked += await one();
  console.log(worked);
})();`;

let lacks = labLacks({ programs: ['ping', 'etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());
if (lacks === undefined) {
  try {
    for (const queue of openTun('probe0', TIERS.segment, 2).queues) loadNative().close(queue);
  } catch (error) {
    lacks = `needs a TUN whose queues can be steered: ${error}`;
  }
}

describe('a foreign queue', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let host: Host;
  let weft: Running;
  let boxes: readonly [Container, Container];

  before(async () => {
    const site = await openSite();
    ({ lab, host } = site);
    const { network, etcd } = site;
    const other = await network.host('host2', { address: '192.168.56.12/24' });
    weft = await startWeft(host, etcd, '-lanes=2');
    await startWeft(other, etcd);
    boxes = [await host.container('xbox1'), await other.container('xbox2')];
    await ping(...boxes);
    const server = boxes[1].start([process.execPath, '-e', SERVER]);
    await server.waitFor(/up/, 60_000);
  });
  after(() => lab?.close());

  const worked = async () => {
    const client = [process.execPath, '-e', CLIENT, boxes[1].address];
    return Number((await boxes[0].run(client, { timeout: 60_000 })).stdout);
  };
  const faults = async () => (await statusOf(host)).faults;

  test('no connection suffers, and status and log name the process while it lasts', async () => {
    assert.deepEqual(await faults(), []);
    const opener = host.start([process.execPath, OPENER, 'flannel.1']);
    const [, pid] = await opener.waitFor(/opened by (\d+)/, 60_000);
    assert.equal(await worked(), CONNECTIONS);
    const named = new RegExp(`process ${pid} \\(.+\\) has opened flannel\\.1 too \\(1 queue more`);
    await eventually(
      async () => named.test((await faults()).join()),
      () => weft.output,
      WITHIN,
    );
    await weft.waitFor(named, WITHIN);

    await opener.stop();
    await eventually(
      async () => (await faults()).length === 0,
      () => weft.output,
      WITHIN,
    );
    await weft.waitFor(new RegExp(`over: ${named.source}`), WITHIN);
    assert.equal(await worked(), CONNECTIONS);
  });
});

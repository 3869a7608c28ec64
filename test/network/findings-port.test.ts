/**
 * Too few files may be open for the peers; and another process joins the UDP port of a weft with two lanes, as one
 * of the same user may.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import { cure, finds, findsOne } from './findings.js';
import { openSite, PREFIX, startWeft, weftFlags } from './overlay.js';

const JOINER = fileURLToPath(new URL('./tools/port-joiner.js', import.meta.url));
const lacks = labLacks({ programs: ['etcd', 'ping', 'prlimit'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('a shared port', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let network: Network;
  let etcd: Etcd;
  let host: Host;

  before(async () => {
    ({ lab, network, etcd, host } = await openSite());
    await startWeft(host, etcd, '-lanes=2');
    await finds(host, []);
  });
  after(() => lab?.close());

  test('too few sockets for the peers, for as long as there are so many', async () => {
    const few = await network.host('host2', { address: '192.168.56.12/24' });
    const limited = ['prlimit', '--nofile=100', process.execPath, WEFT, 'up', ...weftFlags(etcd)];
    await few.start(limited, { name: 'weft up' }).waitFor(/ready: flannel/, 60_000);
    await finds(few, []);
    const taken = await etcd.peers(PREFIX);
    const isFree = (subnet: string) => taken.every((one) => one.subnet !== subnet);
    const more = Array.from({ length: 50 }, (_, i) => ({
      ...{ subnet: `10.10.${101 + i}.0/24`, publicIp: `192.168.56.${100 + i}` },
      mac: `02:00:00:00:00:${(i + 16).toString(16)}`,
    })).filter(({ subnet, publicIp }) => isFree(subnet) && publicIp !== etcd.address);
    for (const one of more) await etcd.register(PREFIX, one);
    const found = await findsOne(few, 'few-descriptors');
    assert.match(found.text, /^only \d+ of \d\d peers can have a socket of their own/);
    for (const { subnet } of more) {
      await etcd.delete(`${PREFIX}/subnets/${subnet.replace('/', '-')}`);
    }
    await finds(few, []);
  });

  // Without eBPF there is one lane, whose port is its own.
  const noLanes = labLacks({ root: true }) ?? false;
  test('the process is named while it is there, and the cure ends it', {
    skip: noLanes,
  }, async () => {
    const joiner = host.start([process.execPath, JOINER, '192.168.56.11', '8472']);
    const [, pid] = await joiner.waitFor(/joined by (\d+)/, 60_000);
    const found = await findsOne(host, 'port-shared');
    assert.match(
      found.text,
      /^process \d+ \(.+\) listens on UDP port 8472 of 192\.168\.56\.11, too/,
    );
    assert.equal(found.cure, `kill ${pid}`);
    await cure(host, found);
    await finds(host, []);
  });
});

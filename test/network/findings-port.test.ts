/** Another process joins the UDP port of a weft with two lanes, as one of the same user may. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { cure, finds, findsOne } from './findings.js';
import { CONFIG, PREFIX, startWeft } from './overlay.js';

const JOINER = fileURLToPath(new URL('./tools/port-joiner.js', import.meta.url));
const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('a shared port', { skip: lacks ?? false, timeout: 120_000 }, () => {
  let lab: Lab;
  let host: Host;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    const etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    host = await network.host('host1', { address: '192.168.56.11/24' });
    await startWeft(host, etcd, '-lanes=2');
    await finds(host, []);
  });
  after(() => lab?.close());

  test('the process is named while it is there, and the cure ends it', async () => {
    const joiner = host.start([process.execPath, JOINER, '192.168.56.11', '8472']);
    const [, pid] = await joiner.waitFor(/joined by (\d+)/, 5_000);
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

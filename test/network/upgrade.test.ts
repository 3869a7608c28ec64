/**
 * The files of a weft that runs are moved away, or become another build's: it goes on with its own
 * code, also where it starts lanes anew, until it ends in order.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { CONFIG, openSite, PREFIX, ping, startWeft, tcpTransfer, weftFlags } from './overlay.js';
import { eventually, passes, show } from './spoil.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** Whether this Node can load what paths are measured with. */
const measures = await import('raw-socket').then(
  () => true,
  () => false,
);
const CODE = ['dist', 'node_modules', 'native'];

const lacks = labLacks({ programs: ['ping', 'etcd', 'cp'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('an upgrade under a running weft', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let boxes: readonly [Container, Container];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-upgrade-'));

  before(async () => {
    const site = await openSite();
    ({ lab, etcd, host } = site);
    const { network } = site;
    const other = await network.host('host2', { address: '192.168.56.12/24' });
    const weft = await startWeft(host, etcd);
    await startWeft(other, etcd);
    boxes = [await host.container('xbox1'), await other.container('xbox2')];
    await ping(...boxes);
    await weft.stop();
  });
  after(async () => {
    await lab?.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  /** A weft of its own files, in a new place. */
  const installed = async (name: string): Promise<[Running, string]> => {
    const place = path.join(folder, name);
    fs.mkdirSync(path.join(place, 'dist'), { recursive: true });
    const copy = (from: string, to: string) => host.run(['cp', '-a', path.join(ROOT, from), to]);
    await copy('dist/src', path.join(place, 'dist'));
    for (const one of ['native', 'package.json', 'node_modules']) await copy(one, place);
    const command = path.join(place, 'dist/src/cli/weft.js');
    const flags = [...weftFlags(etcd), '-lanes=2', '-lane-threads=2'];
    const weft = host.start([process.execPath, command, 'up', ...flags]);
    return [weft, place];
  };

  /** Comes back when all its threads have nothing to do. */
  const rest = async ({ pid }: Running): Promise<void> => {
    const ticks = () => {
      const [, ...fields] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
      const [user, system] = fields.join(' ').split(' ').slice(11);
      return Number(user) + Number(system);
    };
    for (let before = -Infinity; ticks() - before > 1; await sleep(1_000)) before = ticks();
  };

  /** All that makes a weft start something anew. */
  const lives = async (weft: Running): Promise<void> => {
    const again = async (what: string, act: () => Promise<unknown>, said: RegExp) => {
      const from = weft.output.length;
      await act();
      const describe = () => `${what}: ${weft.output.slice(from)}`;
      await eventually(async () => said.test(weft.output.slice(from)), describe, 10_000);
      await eventually(() => passes(...boxes), describe, 10_000);
    };
    await again('the TUN', () => host.run(['ip', 'link', 'del', 'flannel.1']), /made anew/);
    await again('the MTU', () => host.ip('link set ens33 mtu 1400'), /ens33: MTU 1400/);
    await again('the MTU', () => host.ip('link set ens33 mtu 1500'), /ens33: MTU 1500/);
    const stop = async () => {
      await etcd.process.stop();
      await etcd.launch();
    };
    await again('etcd', stop, /(?:)/);
    await again('SIGHUP', async () => process.kill(weft.pid!, 'SIGHUP'), /SIGHUP|anew/);
    const peer = { subnet: '10.10.240.0/24', publicIp: '192.168.56.90', mac: '02:00:00:00:00:90' };
    await again('a peer', () => etcd.register(PREFIX, peer), /peer joined: 10\.10\.240/);
    await etcd.delete(`${PREFIX}/subnets/10.10.240.0-24`);
    await tcpTransfer(boxes[0], boxes[1], 3_000_000);
    await tcpTransfer(boxes[1], boxes[0], 3_000_000);
    assert.equal(weft.code, undefined);
    assert.doesNotMatch(weft.output, /Cannot find|another build|unexpected/);
    if (measures) assert.doesNotMatch(weft.output, /raw-socket/);
    assert.equal(await weft.stop(), 0);
    assert.equal(await show(host, 'link show flannel.1'), '');
  };

  test('moved away', async () => {
    const [weft, place] = await installed('moved');
    await weft.waitFor(/ready: flannel/, 60_000);
    for (const name of CODE) fs.renameSync(path.join(place, name), path.join(place, `${name}.old`));
    await lives(weft);
  });

  test('moved away while weft still waits for its network', async () => {
    const config = `${PREFIX}/config`;
    await etcd.delete(config);
    const [weft, place] = await installed('waiting');
    await weft.waitFor(/waiting for the network config/, 60_000);
    // The lanes' threads read their code beside the first seconds of the start.
    await rest(weft);
    fs.renameSync(place, `${place}.old`);
    await etcd.put(config, CONFIG);
    await weft.waitFor(/ready: flannel/, 60_000);
    await lives(weft);
  });

  test("every file of JavaScript is another build's, and the addon too", async () => {
    const [weft, place] = await installed('replaced');
    await weft.waitFor(/ready: flannel/, 60_000);
    for (const name of CODE) {
      for (const file of fs.readdirSync(path.join(place, name), { recursive: true })) {
        const at = path.join(place, name, String(file));
        if (!/\.(c?js|mjs|json|proto)$/.test(at) || !fs.statSync(at).isFile()) continue;
        // In place, as an unpacked archive or a compiler would.
        fs.writeFileSync(at, 'throw new Error("another build");\n');
      }
    }
    // A library must be renamed to its place: what is mapped of it changes with its file.
    for (const addon of ['native/build/weft.node']) {
      fs.writeFileSync(path.join(place, 'new.node'), 'no library');
      fs.renameSync(path.join(place, 'new.node'), path.join(place, addon));
    }
    await lives(weft);
  });
});

/**
 * A router between two peers that translates the outer source of what one of them sends: for weft
 * it is no peer that speaks; see paths.ts.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { FAR } from '../../src/lab/behind-router.js';
import { run } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { tcpTransfer } from './overlay.js';
import { echo, Paths, pathsLack } from './paths.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** The router's address on our side. */
const ROUTER = '192.168.56.1';

describe('a NAT between peers', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let paths: Paths;
  let behindWeft: Container;
  let behindKernel: Container;
  let far: Container;

  before(async () => {
    paths = await Paths.open();
    [behindWeft, behindKernel, far] = paths.boxes;
    assert.ok(await answers(behindWeft), 'without the NAT it passes');
    await run(['nft', '-f', '-'], {
      input:
        'add table ip translated\n' +
        'add chain ip translated post { type nat hook postrouting priority 100; }\n' +
        `add rule ip translated post ip saddr ${FAR} udp dport 8472 oifname net0 masquerade\n`,
    });
  });
  after(() => paths?.lab.close());

  const answers = async (from: Container) => (await echo(from, far, 56, 'dont')).code === 0;

  test('-accept=peers: refused as a stranger, which status names', async () => {
    assert.ok(await answers(behindKernel), 'the kernel takes it from anybody');
    const before = await paths.status();
    assert.equal(await answers(behindWeft), false);
    const { drops, peers, strangers } = await paths.status();
    assert.ok(drops.unknown_sender! > (before.drops.unknown_sender ?? 0));
    assert.deepEqual(
      strangers.map(({ address }) => address),
      [ROUTER],
    );
    const seenOf = (all: typeof peers) => all.find(({ publicIp }) => publicIp === FAR)!.seen;
    const [was, is] = [seenOf(before.peers), seenOf(peers)];
    assert.ok(is.sentPackets > was.sentPackets, 'the way there is open');
    assert.equal(is.receivedPackets, was.receivedPackets);
    const { stdout } = await paths.weft.run([process.execPath, WEFT, 'status'], { mayFail: true });
    assert.match(stdout, /unknown_sender +\d+ {2}last: 192\.168\.56\.1 \(\d+, \d+ s ago\)$/m);
  });

  test('-accept=any lets it in', async () => {
    assert.equal(await paths.running.stop(), 0);
    await paths.startWeft([], ['-accept=any']);
    assert.ok(await answers(behindWeft));
    await tcpTransfer(behindWeft, far, 1_000_000);
    await tcpTransfer(far, behindWeft, 1_000_000);
    const { drops, strangers } = await paths.status();
    assert.deepEqual([drops, strangers], [{}, []]);
  });
});

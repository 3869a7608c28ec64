/**
 * A path that is smaller than ours and lets no fragments through: see paths.ts. They are dropped at
 * the far host's door, before its kernel would put them together.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { FAR } from '../../src/lab/behind-router.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { TRAFFIC, tcpTransfer } from './overlay.js';
import { echo, Paths, pathsLack } from './paths.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** Too much for the path with VXLAN around it, and what just fits. */
const LONG = 1422;
const FITS = 1400 - 50 - 28;

describe('a path without fragments', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let paths: Paths;
  let behindWeft: Container;
  let behindKernel: Container;
  let far: Container;

  before(async () => {
    paths = await Paths.open(() => Paths.setLink(1400));
    [behindWeft, behindKernel, far] = paths.boxes;
    // Its own large echoes would be counted among the others.
    await paths.running.stop();
    await paths.startWeft([], ['-probe-peers=false']);
    await paths.becomes({ mtu: 1400, from: 'measured', checking: false });
  });
  after(() => paths?.lab.close());

  const seen = async () => {
    const { peers } = await paths.status();
    return peers.find(({ publicIp }) => publicIp === FAR)!.seen;
  };
  const answers = async (from: Container, size: number, df: 'do' | 'dont') => {
    const { code, stdout } = await echo(from, far, size, df);
    return code === 0 ? 'yes' : /[Ff]rag.* needed.*/.exec(stdout)?.[0];
  };

  for (const [which, rule] of [
    ['the first fragment', '0x2000'],
    ['all but the first', '0x1fff'],
  ] as const) {
    test(`${which} is lost: who sends with DF is told, and TCP passes, unlike the kernel's`, async () => {
      await paths.far.run(['nft', '-f', '-'], {
        input:
          'add table ip path\nflush table ip path\n' +
          'add chain ip path door { type filter hook prerouting priority -450; }\n' +
          `add rule ip path door ip frag-off & ${rule} != 0 counter drop\n`,
      });
      await paths.forgetPaths();
      for (const box of [behindWeft, behindKernel]) {
        assert.equal(await answers(box, FITS, 'do'), 'yes', box.name);
        assert.equal(await answers(box, FITS, 'dont'), 'yes', box.name);
      }
      assert.match((await answers(behindWeft, LONG, 'do')) ?? '', /mtu ?= ?1350/);
      assert.equal(await answers(behindWeft, FITS, 'do'), 'yes');
      await paths.forgetPaths();
      await tcpTransfer(behindWeft, far, 10_000_000);
      await tcpTransfer(far, behindWeft, 10_000_000);

      // The kernel's VTEP says nothing, and its senders try for ever.
      assert.equal(await answers(behindKernel, LONG, 'do'), undefined);
      const receiver = far.start([process.execPath, TRAFFIC, 'tcp-receive', '40000']);
      await receiver.waitFor(/listening/, 60_000);
      const send = [process.execPath, TRAFFIC, 'tcp-send', far.address, '40000', '10000000'];
      await assert.rejects(behindKernel.run(send, { timeout: 5_000 }), /was not done after/);
      await receiver.stop();
    });

    test(`${which} is lost: who sends without DF loses, as with the kernel; counted`, async () => {
      await paths.forgetPaths();
      assert.equal(await answers(behindKernel, LONG, 'dont'), undefined);
      const before = await seen();
      assert.equal(await answers(behindWeft, LONG, 'dont'), undefined);
      const now = await seen();
      assert.equal(now.inFragments - before.inFragments, 1);
      assert.equal(now.tooBigTold, before.tooBigTold);
      const { stdout } = await paths.weft.run([process.execPath, WEFT, 'status'], {
        mayFail: true,
      });
      const told = /path takes whole: sent in fragments/;
      assert.match(stdout.replaceAll(/\s+/g, ' '), told);
      assert.match(stdout, /path MTU 1400/);
    });
  }
});

/**
 * UDP datagrams that weft merges on their way into the TUN: behind it, through its host's
 * firewall and into another tunnel, each arrives as it was sent.
 */
import assert from 'node:assert/strict';
import os from 'node:os';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { udpSuperPacketsAreSafe } from '../../src/dataplane/io/probe-writes.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import type { Namespace } from '../../src/lab/namespace.js';
import type { Status } from '../../src/operate/status/status.js';
import { checksumErrors, type Overlay, openOverlay, type Vtep } from './overlay.js';
import { statusOf } from './spoil.js';

const TOOL = fileURLToPath(new URL('./tools/datagrams.js', import.meta.url));
const PORT = 40010;
const CASES = ['rising', 'pairs', 'equal', 'small', 'full', 'alternating', 'shorter'].concat([
  'unchecked',
  'fragments',
  'flows',
]);

/** Sends a case; the receiver must see the same number, sizes, order and bytes. */
async function exchange(
  from: Container,
  to: Container,
  name: string,
  address = to.address,
  port = PORT,
): Promise<void> {
  const receiver = to.start([process.execPath, TOOL, 'receive', String(PORT)]);
  await receiver.waitFor(/listening/, 60_000);
  const { stdout } = await from.run([process.execPath, TOOL, 'send', address, String(port), name], {
    timeout: 60_000,
  });
  const [, got] = await receiver.waitFor(/got (.+)/, 60_000);
  await receiver.stop();
  assert.equal(got, /sent (.+)/.exec(stdout)?.[1]);
}

/** Declares the tests of one pair: from the first VTEP to the second, which is weft. */
export async function testDatagrams(from: Vtep, offloads: boolean): Promise<void> {
  const lacks = labLacks({ programs: ['ping', 'etcd', 'ethtool', 'bridge'], tun: true });
  if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

  const wire = offloads ? 'underlay offloads on' : 'plain wire';
  describe(`datagrams, ${from} to weft, ${wire}`, {
    skip: lacks ?? false,
    timeout: 600_000,
  }, () => {
    let overlay: Overlay;
    before(async () => {
      overlay = await openOverlay([from, 'weft'], offloads);
    });
    after(() => overlay?.close());
    const ends = () => overlay.containers;
    const status = async (): Promise<Status> => statusOf(overlay.hosts[1]);

    for (const name of CASES) test(name, () => exchange(...ends(), name));

    test('many of them were written merged, where the kernel takes it', async (t) => {
      const { counters, offload } = await status();
      if (!offload.tunUso || !udpSuperPacketsAreSafe(os.release())) {
        return t.skip(`kernel ${os.release()} is not asked to take UDP super-packets`);
      }
      const { writes, inbound_out_packets: packets } = counters;
      t.diagnostic(`${packets} datagrams in ${writes} writes`);
      // How many come at once is a matter of how the two processors are shared.
      assert.ok(writes < 0.95 * packets, `${packets} datagrams in ${writes} writes`);
      assert.equal(counters.merging_refused, 0);
    });

    test('through source and destination NAT of the receiving host', async (t) => {
      const [, host] = overlay.hosts;
      const nat = async (...rule: string[]) =>
        host.run(['iptables', '-w', '-t', 'nat', '-A', ...rule], { mayFail: true });
      const done = await nat('POSTROUTING', '-o', 'docker0', '-j', 'MASQUERADE').catch(
        () => undefined,
      );
      if (done?.code !== 0) return t.skip('needs iptables with NAT');
      const forward = ['-p', 'udp', '--dport', '9999', '-j', 'DNAT'];
      await nat('PREROUTING', ...forward, '--to-destination', `${ends()[1].address}:${PORT}`);
      try {
        for (const name of ['equal', 'small', 'full', 'pairs', 'shorter', 'flows', 'unchecked']) {
          await exchange(...ends(), name);
          await exchange(...ends(), name, ends()[1].gateway, 9999);
        }
      } finally {
        await host.run(['iptables', '-w', '-t', 'nat', '-F']);
      }
    });

    test('into a kernel tunnel between the containers', async (t) => {
      const [one, two] = ends();
      const tunnel = async (space: Container, peer: Container, address: string) => {
        await space.ip(
          `link add inner0 type vxlan id 77 local ${space.address} remote ${peer.address} ` +
            'dstport 4789 dev eth0',
          `address add ${address}/24 dev inner0`,
          'link set inner0 mtu 1380 up',
        );
      };
      try {
        await tunnel(one, two, '10.77.0.1');
        await tunnel(two, one, '10.77.0.2');
      } catch {
        return t.skip('needs the kernel’s VXLAN');
      }
      for (const name of ['equal', 'small', 'alternating', 'shorter', 'flows', 'fragments']) {
        await exchange(one, two, name, '10.77.0.2');
      }
    });

    test('no checksum was wrong, and weft lost nothing', async () => {
      const spaces: Namespace[] = [...overlay.hosts, ...overlay.containers];
      for (const space of spaces) assert.equal(await checksumErrors(space), 0);
      assert.deepEqual((await status()).drops, {});
    });
  });
}

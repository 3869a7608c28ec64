/**
 * ufw and firewalld as they are: what they drop of the overlay's is found, the cure is typed as it
 * stands, it mends, and it lasts when they write their rules anew.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import type { Finding } from '../../src/operate/findings/finding.js';
import { Spoiled } from './findings-firewall.js';
import { Firewalld, ownFolders } from './firewall-owners.js';
import { eventually } from './spoil.js';

const lacks = labLacks({
  programs: ['etcd', 'ping', 'iptables', 'nft', 'ufw', 'firewalld', 'firewall-cmd', 'dbus-daemon'],
  tun: true,
  // Both want their files to be root's.
  root: true,
});
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('firewalls that write their own rules', { skip: lacks ?? false, timeout: 300_000 }, () => {
  let spoiled: Spoiled;
  /** Takes back what a test did. */
  let undo = async (): Promise<unknown> => undefined;

  before(async () => {
    spoiled = await Spoiled.open();
    await ownFolders(spoiled.host, '/etc', '/var');
  });
  afterEach(async () => {
    await undo();
    undo = async () => undefined;
    await spoiled.untilCodes();
  });
  after(() => spoiled?.overlay.close());

  /** Waits for these; while rules are being written others may be right for a moment. */
  async function untilCures(...cures: readonly RegExp[]): Promise<readonly Finding[]> {
    let found: readonly Finding[] = [];
    await eventually(
      async () => {
        found = await spoiled.findings();
        const isEach = found.every(({ cure }, i) => cures[i]?.test(cure) === true);
        return isEach && found.length === cures.length;
      },
      () => JSON.stringify(found, undefined, 1),
      75_000,
    );
    assert.ok(found.every(({ code }) => code === 'firewall-drop'));
    return found;
  }

  /** Types each cure as it stands; then all is well, and stays so when the rules are written anew. */
  async function cured(found: readonly Finding[], anew: string): Promise<void> {
    assert.equal(await spoiled.pass(), false);
    for (const { cure } of found) await spoiled.sh(cure);
    await spoiled.untilCodes();
    assert.ok(await spoiled.pass(), 'packets pass');
    await spoiled.sh(anew);
    assert.ok(await spoiled.pass(), 'packets pass when the rules are written anew');
    assert.deepEqual(await spoiled.look(), []);
  }

  const ufw = async (lines: string) => {
    undo = () => spoiled.sh('ufw --force reset');
    await spoiled.sh(`ufw allow 22/tcp\n${lines}\nufw --force enable`);
  };

  test('ufw, which denies what comes in', async () => {
    await ufw('');
    const found = await untilCures(/^ufw allow in on ens33 to any port 8472 proto udp$/);
    assert.match(found[0]!.about, /chain INPUT: the policy drop$/);
    await cured(found, 'ufw reload');
  });

  test("ufw's own rules against the tunnel and the containers: ours before them", async () => {
    await ufw('ufw deny 8472/udp\nufw route reject from 10.10.0.0/16');
    // As on a host where ufw's were there first: weft sets its own again, behind them.
    await spoiled.sh("iptables -D FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD");
    const found = await untilCures(
      /^ufw prepend allow in on ens33 to any port 8472 proto udp$/,
      /^ufw route prepend allow out on flannel\.1 from 10\.10\.\d+\.0\/24 to 10\.10\.0\.0\/16 && ufw route prepend allow in on flannel\.1 from 10\.10\.0\.0\/16 to 10\.10\.\d+\.0\/24$/,
    );
    await cured(found, 'ufw reload');
  });

  test("a rule in ufw's file of what comes before all others", async () => {
    await ufw('');
    await spoiled.sh(
      "sed -i '/^# ok icmp codes for INPUT/i -A ufw-before-input -p udp --dport 8472 -j DROP' " +
        '/etc/ufw/before.rules && ufw reload',
    );
    const found = await untilCures(/^sed -i .* \/etc\/ufw\/before\.rules && ufw reload$/);
    await cured(found, 'ufw reload');
  });

  for (const backend of ['nftables', 'iptables'] as const) {
    test(`firewalld with ${backend}, as it comes: the port, and each device`, async () => {
      const firewalld = await Firewalld.start(spoiled.host, backend);
      undo = async () => {
        await firewalld.stop();
        await spoiled.sh('rm -f /etc/firewalld/zones/*');
      };
      const found = await untilCures(
        /^firewall-cmd --permanent --zone=public --add-port=8472\/udp && firewall-cmd --reload$/,
        /--zone=trusted --change-interface=docker0 && .*=flannel\.1 && /,
      );
      await cured(found, 'firewall-cmd --reload');
    });
  }

  test("firewalld, the underlay in another zone: that zone's port", async () => {
    const firewalld = await Firewalld.start(spoiled.host, 'nftables');
    undo = async () => {
      await firewalld.stop();
      await spoiled.sh('rm -f /etc/firewalld/zones/*');
    };
    await spoiled.sh(
      'firewall-cmd --permanent --zone=trusted --add-interface=docker0; ' +
        'firewall-cmd --permanent --zone=trusted --add-interface=flannel.1; ' +
        'firewall-cmd --permanent --zone=internal --add-interface=ens33; firewall-cmd --reload',
    );
    const found = await untilCures(/--zone=internal --add-port=8472\/udp && /);
    await cured(found, 'firewall-cmd --reload');
  });
});

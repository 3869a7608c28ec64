/** What becomes of weft's firewall rules, and a flanneld's, when weft restarts otherwise or is taken back. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { enterLab } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { Firewall, FORWARDED, firewallLacks, MASQUERADED } from './firewall.js';

const lacks = firewallLacks();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('firewall rules that change', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let firewall: Firewall;
  let host1: Host;

  before(async () => {
    firewall = await Firewall.open();
    host1 = firewall.host;
  });
  afterEach(() => firewall.stopAll());
  after(() => firewall?.lab.close());

  test('a restart with other flags leaves nothing of the earlier ones', async () => {
    await firewall.startAndStop('-ip-masq');
    assert.equal(await firewall.saved(), firewall.expected(MASQUERADED));
    await firewall.startAndStop();
    assert.doesNotMatch(await firewall.saved(), /masq|POSTRTG/);
    assert.match(await firewall.saved(), /FLANNEL-FWD/);
    await firewall.startAndStop('-ip-masq', '-iptables-forward-rules=false');
    assert.doesNotMatch(await firewall.saved(), /FWD/);
    assert.match(await firewall.saved(), /FLANNEL-POSTRTG/);
    assert.match(
      await firewall.startAndStop('-iptables-forward-rules=false'),
      /removed firewall rules/,
    );
    assert.doesNotMatch(await firewall.saved(), /flannel/i);
  });

  test('from iptables to nftables and back nothing is left over', async () => {
    await firewall.configure();
    await firewall.startAndStop('-ip-masq');
    assert.doesNotMatch(await firewall.tables(), /flannel/);
    assert.equal(await firewall.saved(), firewall.expected(MASQUERADED));
    await firewall.configure({ EnableNFTables: true });
    await firewall.startAndStop();
    assert.doesNotMatch(await firewall.saved(), /flannel/i);
    assert.match(await firewall.tables(), /^table ip flannel-ipv4$/m);
    await firewall.configure();
    await firewall.startAndStop();
    assert.doesNotMatch(await firewall.tables(), /flannel/);
    const journal = host1.read('/run/weft/flannel.1.json')!;
    assert.doesNotMatch(journal, /nftables|"nat"/);
  });

  test('weft down takes back just its own rules, of either kind', async () => {
    await firewall.startAndStop('-ip-masq');
    await host1.run(['iptables', '-I', 'FORWARD', '-j', 'LOG']);
    const said = await firewall.down();
    assert.match(said, /rules in iptables' table filter were removed/);
    assert.match(said, /rules in iptables' table nat were removed/);
    const left = await firewall.saved();
    assert.doesNotMatch(left, /flannel/i);
    assert.match(left, /-A FORWARD -j LOG/);
    await host1.run(['iptables', '-D', 'FORWARD', '-j', 'LOG']);
    assert.match(await firewall.down(), /Nothing to take back/);

    await firewall.configure({ EnableNFTables: true });
    await firewall.startAndStop('-ip-masq');
    assert.match(await firewall.down(), /nft table ip flannel-ipv4 was deleted/);
    assert.doesNotMatch(await firewall.tables(), /flannel/);
    await firewall.startAndStop();
    await host1.run(['nft', 'add', 'rule', 'ip', 'flannel-ipv4', 'forward', 'counter']);
    assert.match(await firewall.down(), /was left: it holds what weft did not put there/);
    assert.match(await firewall.tables(), /flannel-ipv4/);
    await firewall.configure();
  });

  test("a flanneld's leftovers of every kind are cleaned at the start", async () => {
    // Another network's rules, those in the hook itself that old flannels made, and IPv6 ones.
    const masq = ['-m', 'comment', '--comment', 'flanneld masq'];
    const direct = ['-s', '10.9.0.0/16', ...masq, '-j', 'MASQUERADE'];
    const old = MASQUERADED.listing.replaceAll('10.20.', '10.9.');
    await host1.run(['iptables-restore', '--noflush'], { input: `${old}\n` });
    await host1.run(['iptables', '-t', 'nat', '-I', 'POSTROUTING', ...direct]);
    const six = FORWARDED.listing.replaceAll('10.20.0.0/16', '2001:db8:42::/56');
    await host1.run(['ip6tables-restore', '--noflush'], { input: `${six}\n` });
    for (const name of [
      ['ip', 'flannel-ipv4'],
      ['ip6', 'flannel-ipv6'],
    ]) {
      await host1.run(['nft', 'add', 'table', ...name]);
    }
    await firewall.startAndStop();
    assert.equal(
      (await firewall.saved()).replace(/^\*nat[\s\S]*?COMMIT\n/m, ''),
      firewall.expected(FORWARDED),
    );
    assert.doesNotMatch(await firewall.saved(), /10\.9\.|POSTRTG/);
    assert.doesNotMatch(await firewall.saved('ip6tables-save'), /flannel/i);
    assert.doesNotMatch(await firewall.tables(), /flannel/);
  });

  test('a restart with another Network replaces the rules', async () => {
    await firewall.startAndStop('-ip-masq');
    await firewall.configure({ Network: '10.21.0.0/16' });
    await firewall.startAndStop('-ip-masq');
    const listing = await firewall.saved();
    assert.doesNotMatch(listing, /10\.20\./);
    const own = {
      ...MASQUERADED,
      listing: MASQUERADED.listing.replaceAll('10.20.0.0', '10.21.0.0'),
    };
    assert.equal(listing, firewall.expected(own));
    await firewall.configure();
    await firewall.startAndStop('-ip-masq');
    assert.equal(await firewall.saved(), firewall.expected(MASQUERADED));
  });
});

/** Rules of policy routing and rp_filter that keep packets from their way. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { run } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { cure, finds, findsOne, verdictOf } from './findings.js';
import { type Overlay, openOverlay } from './overlay.js';
import { eventually, passes, show } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('policy routing', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;

  before(async () => {
    overlay = await openOverlay(['weft', 'kernel'], true);
    [host] = overlay.hosts;
    await allPasses();
    await finds(host, []);
  });
  after(() => overlay?.close());

  const allPasses = () =>
    eventually(
      () => passes(...overlay.containers),
      () => overlay.wefts[0]!.output,
    );

  test('a table of another VPN that takes the network: the rule is named, its cure cures', async () => {
    await host.ip(
      'rule add priority 5270 lookup 52',
      'route add 10.0.0.0/8 via 192.168.56.1 table 52',
    );
    const found = await findsOne(host, 'policy-route');
    assert.deepEqual([found.severity, found.scope], ['error', 'host']);
    assert.equal(found.about, 'rule 5270: from all lookup 52');
    assert.match(found.text, /^packets between containers here and 10\.10\.201\.0\/24 do not take/);
    assert.match(
      found.text,
      /the rule "5270: from all lookup 52" leads them to ens33, not to flannel/,
    );
    assert.equal(found.cure, 'ip rule add to 10.10.0.0/16 lookup main priority 5269');
    assert.equal(await passes(...overlay.containers), false);
    const { code, line } = await verdictOf(host);
    assert.equal(code, 1);
    assert.match(line, /^BROKEN +packets between containers here/);
    await cure(host, found);
    await finds(host, []);
    await allPasses();
    await host.ip('rule del priority 5269', 'rule del priority 5270', 'route flush table 52');
  });

  test('a rule that refuses what containers send, and not what this host sends', async () => {
    await host.ip('rule add priority 100 iif docker0 to 10.10.0.0/16 prohibit');
    const found = await findsOne(host, 'policy-route');
    assert.equal(found.about, 'rule 100: from all to 10.10.0.0/16 iif docker0 prohibit');
    assert.match(found.text, /has them refused$/);
    await cure(host, found);
    await finds(host, []);
    await allPasses();
    await host.ip('rule del priority 99', 'rule del priority 100');
  });

  test('a rule for what comes out of the tunnel', async () => {
    await host.ip('rule add priority 200 iif flannel.1 blackhole');
    const found = await findsOne(host, 'policy-route');
    assert.equal(found.about, 'rule 200: from all iif flannel.1 blackhole');
    await cure(host, found);
    await finds(host, []);
    await allPasses();
    await host.ip('rule del priority 199', 'rule del priority 200');
  });

  test('a rule for other packets, and one for marked ones, are none of ours', async () => {
    await host.ip(
      'rule add priority 100 to 10.99.0.0/16 prohibit',
      'rule add priority 101 fwmark 7 blackhole',
      'rule add priority 102 from 10.99.0.0/16 lookup 52',
      'route add 10.0.0.0/8 via 192.168.56.1 table 52',
    );
    await new Promise((resolve) => setTimeout(resolve, 7_000));
    await finds(host, [], 0);
    await host.ip(...[100, 101, 102].map((n) => `rule del priority ${n}`), 'route flush table 52');
  });

  test('rp_filter, where the way back to a peer is by another uplink', async () => {
    // A second port into the same switch: packets leave by it, and come in by the first.
    const port = `link add name second type veth peer name ens34 netns ${host.holder}`;
    await run(['ip', '-batch', '-'], { input: `${port}\nlink set second master net0 up\n` });
    const [, mac] = / link\/ether (\S+)/.exec(await show(host, 'link show dev ens33'))!;
    await overlay.hosts[1].ip(
      `neighbour replace 192.168.56.11 lladdr ${mac} dev ens33 nud permanent`,
    );
    await host.ip('link set ens34 up', 'route add 192.168.56.12/32 dev ens34');
    await allPasses();
    await finds(host, []);
    await host.sysctl('net.ipv4.conf.ens33.rp_filter=1');
    const idle = await findsOne(host, 'rp-filter');
    assert.equal(idle.about, 'ens33');
    assert.match(idle.text, /^ens33 (would drop|drops) what/);
    assert.equal(await passes(...overlay.containers), false);
    await eventually(
      async () => {
        await passes(...overlay.containers);
        return (await findsOne(host, 'rp-filter')).severity === 'error';
      },
      () => 'what is dropped makes it an error',
      20_000,
    );
    const found = await findsOne(host, 'rp-filter');
    assert.match(
      found.text,
      /^ens33 drops what the peer 192\.168\.56\.12 sends: rp_filter is strict \(.*all is 0, ens33 is 1\)/,
    );
    assert.equal(found.cure, 'sysctl -w net.ipv4.conf.ens33.rp_filter=2');
    await cure(host, found);
    await finds(host, []);
    await allPasses();
  });
});

/**
 * The rules of a running weft, beside listings that were recorded beside flanneld: what they are,
 * what they do to packets, and what becomes of them when weft restarts, ends or is taken back.
 *
 *   xbox1 ─ docker0 ─ host1 ─ ens33 ══ switch ══ ens33 ─ host2 ─ docker0 ─ xbox2
 *                                         ╚══ etcd, outside (no route to the overlay)
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, findProgram, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Namespace } from '../../src/lab/namespace.js';
import type { Network } from '../../src/lab/network.js';
import { corrected, IPTABLES, NFTABLES, type Recorded } from '../control/host/firewall/recorded.js';
import { PREFIX, weftFlags } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'iptables', 'ip6tables', 'nft', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const config = (more: object = {}) =>
  JSON.stringify({ Network: '10.20.0.0/16', Backend: { Type: 'vxlan' }, ...more });
const FAST = '-iptables-resync=1';

describe('firewall rules', { skip: lacks ?? false, timeout: 240_000 }, () => {
  let lab: Lab;
  let network: Network;
  let etcd: Etcd;
  let host1: Host;
  let host2: Host;
  let outside: Host;
  let peer: Running;
  let xbox1: Container;
  let xbox2: Container;

  /** So that a test that fails does not fail the next. */
  const wefts: Running[] = [];
  afterEach(async () => {
    for (const weft of wefts.splice(0)) await weft.stop();
  });

  const start = async (host: Host, ...flags: string[]): Promise<Running> => {
    const weft = host.weft(...weftFlags(etcd), ...flags);
    if (host !== host2) wefts.push(weft);
    await weft.waitFor(/ready: flannel/, 10_000);
    return weft;
  };
  const startAndStop = async (host: Host, ...flags: string[]): Promise<string> => {
    const weft = await start(host, ...flags);
    assert.equal(await weft.stop(), 0);
    return weft.output;
  };
  const say = async (host: Host, ...argv: string[]): Promise<string> =>
    (await host.run(argv)).stdout;
  /** Without what iptables says of itself, what passed, and the guard's table (guard.test.ts). */
  const saved = async (host: Host, program = 'iptables-save'): Promise<string> =>
    (await say(host, program))
      .replace(/^#.*\n/gm, '')
      .replace(/^\*mangle[\s\S]*?COMMIT\n/gm, '')
      .replace(/\[\d+:\d+\]/g, '[0:0]');
  const tables = async (host: Host): Promise<string> => say(host, 'nft', 'list', 'tables');
  const table = async (host: Host): Promise<string> =>
    say(host, 'nft', 'list', 'table', 'ip', 'flannel-ipv4');
  const subnetOf = (host: Host): string => host.subnetFile()!.subnet.replace(/\.1\//, '.0/');
  const down = async (host: Host): Promise<string> => say(host, process.execPath, WEFT, 'down');
  /** A recorded listing with this host's subnet in place of that host's. */
  const expected = ({ listing, subnet }: Recorded, host: Host): string =>
    `${listing.trimEnd().replaceAll(subnet, subnetOf(host))}\n`;
  const recorded = (title: string) => IPTABLES.find((one) => one.title === title)!;
  const masqueraded = recorded('--ip-masq');
  const forwarded = recorded('no --ip-masq (default forward rules)');

  before(async () => {
    lab = await Lab.open();
    network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, config());
    host1 = await network.host('host1', { address: '192.168.56.11/24' });
    host2 = await network.host('host2', { address: '192.168.56.12/24' });
    outside = await network.host('outside', {
      address: '192.168.56.200/24',
      defaultRoute: false,
    });
    peer = await start(host2);
    xbox2 = await host2.container('xbox2');
  });
  after(() => lab?.close());

  test('by default: the forward rules that flanneld makes, byte for byte', async () => {
    assert.equal(await saved(host1), '');
    const output = await startAndStop(host1);
    assert.match(output, /I .*forward rules for 10\.20\.0\.0\/16 set with iptables/);
    assert.doesNotMatch(output, /^W /m);
    assert.equal(await saved(host1), expected(forwarded, host1));
    assert.equal(await saved(host1, 'ip6tables-save'), '');
    assert.equal(host1.subnetFile()!.ipMasq, false);
  });

  test('-ip-masq: the rules that flanneld makes, byte for byte, after SIGTERM and a restart too', async () => {
    const weft = await start(host1, '-ip-masq');
    const listing = expected(masqueraded, host1);
    assert.equal(await saved(host1), listing);
    assert.equal(host1.subnetFile()!.ipMasq, true);
    assert.equal(await weft.stop(), 0);
    assert.equal(await saved(host1), listing);
    await startAndStop(host1, '-ip-masq');
    assert.equal(await saved(host1), listing);
    await startAndStop(host1, '-ip-masq', '-ip-masq-fully-random-disable');
    const plain = recorded('--ip-masq --ip-masq-fully-random-disable');
    assert.equal(await saved(host1), expected(plain, host1));
  });

  /** The address that a TCP connection from `from` comes from, as the one it goes to sees it. */
  const sourceSeen = async (from: Container, to: Namespace, address: string): Promise<string> => {
    const listen =
      'require("net").createServer((s) => { console.log("from " + s.remoteAddress); s.end(); })' +
      '.listen(40009, "0.0.0.0", () => console.log("listening"))';
    const connect = `require("net").connect(40009, "${address}").on("close", () => {}).resume()`;
    const server = to.start([process.execPath, '-e', listen]);
    await server.waitFor(/listening/, 5_000);
    await from.run([process.execPath, '-e', connect], { timeout: 10_000 });
    const [, source] = await server.waitFor(/from (\S+)/, 5_000);
    await server.stop();
    return source!;
  };

  /** What the rules are for, with a host that lets nothing through by itself. */
  const packetsAreAsWanted = async (): Promise<void> => {
    assert.equal(await sourceSeen(xbox1, outside, outside.address), host1.address);
    assert.equal(await sourceSeen(xbox1, xbox2, xbox2.address), xbox1.address);
    assert.equal(await sourceSeen(xbox2, xbox1, xbox1.address), xbox2.address);
  };

  test("outside sees the host's address, the overlay the container's, through a closed FORWARD", async () => {
    await host1.run(['iptables', '-P', 'FORWARD', 'DROP']);
    const weft = await start(host1, '-ip-masq');
    xbox1 = await host1.container('xbox1');
    await packetsAreAsWanted();
    // And both are the rules' doing.
    assert.equal(await weft.stop(), 0);
    const bare = await start(host1, '-ip-masq', '-iptables-forward-rules=false');
    const ping = ['ping', '-c', '1', '-W', '1'];
    assert.notEqual((await xbox1.run([...ping, xbox2.address], { mayFail: true })).code, 0);
    await host1.run(['iptables', '-P', 'FORWARD', 'ACCEPT']);
    await xbox1.run([...ping, '-W', '5', xbox2.address]);
    assert.equal(await bare.stop(), 0);
    const open = await start(host1);
    assert.notEqual((await xbox1.run([...ping, outside.address], { mayFail: true })).code, 0);
    assert.equal(await open.stop(), 0);
  });

  test('what somebody takes away or puts before is set right within the period', async () => {
    const weft = await start(host1, '-ip-masq', FAST);
    const listing = expected(masqueraded, host1);
    // Each in one transaction, so that weft sees all of it or nothing.
    const first =
      'FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN';
    const cases: [string, string[], RegExp][] = [
      ['filter', ['-D FLANNEL-FWD 1'], /FLANNEL-FWD lacked 1 rule/],
      ['filter', ['-F FLANNEL-FWD'], /FLANNEL-FWD lacked 2 rules/],
      ['filter', ['-F FORWARD'], /FORWARD had no jump/],
      ['filter', ['-F FORWARD', '-F FLANNEL-FWD', '-X FLANNEL-FWD'], /FLANNEL-FWD was gone/],
      ['nat', ['-D FLANNEL-POSTRTG 3'], /FLANNEL-POSTRTG lacked 1 rule/],
      ['nat', [`-D ${first}`, `-A ${first}`], /FLANNEL-POSTRTG was out of order/],
      ['', [], /FLANNEL-FWD was gone/],
    ];
    const eventually = async (check: () => Promise<boolean>, what: string) => {
      const deadline = Date.now() + 5_000;
      while (!(await check())) {
        assert.ok(Date.now() < deadline, `${what} was not set right:\n${weft.output}`);
        await sleep(50);
      }
    };
    for (const [table, lines, said] of cases) {
      const from = weft.output.length;
      if (table === '') {
        await host1.run(['nft', 'flush', 'ruleset']);
      } else {
        const input = `*${table}\n${lines.join('\n')}\nCOMMIT\n`;
        await host1.run(['iptables-restore', '--noflush'], { input });
      }
      await eventually(async () => said.test(weft.output.slice(from)), lines.join('; '));
      assert.equal(await saved(host1), listing);
    }

    await host1.run(['iptables', '-I', 'FLANNEL-FWD', '-s', '1.2.3.4', '-j', 'DROP']);
    await host1.run(['iptables', '-I', 'FORWARD', '-j', 'LOG']);
    await weft.waitFor(/FLANNEL-FWD had rules of others before ours/, 3_000);
    await sleep(200);
    const filter = await say(host1, 'iptables-save', '-t', 'filter');
    const lines = filter.split('\n').filter((line) => line.startsWith('-A '));
    assert.deepEqual(lines, [
      '-A FORWARD -j LOG',
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FLANNEL-FWD -s 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -d 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -s 1.2.3.4/32 -j DROP',
    ]);
    const warnings = weft.output.match(/set again/g)!.length;
    await sleep(2_500);
    assert.equal(weft.output.match(/set again/g)!.length, warnings, 'nothing is done again');
    assert.equal(await weft.stop(), 0);
    await host1.run(['iptables', '-F', 'FORWARD']);
    await host1.run(['iptables', '-F', 'FLANNEL-FWD']);
  });

  test('a restart with other flags leaves nothing of the earlier ones', async () => {
    await startAndStop(host1, '-ip-masq');
    assert.equal(await saved(host1), expected(masqueraded, host1));
    await startAndStop(host1);
    assert.doesNotMatch(await saved(host1), /masq|POSTRTG/);
    assert.match(await saved(host1), /FLANNEL-FWD/);
    await startAndStop(host1, '-ip-masq', '-iptables-forward-rules=false');
    assert.doesNotMatch(await saved(host1), /FWD/);
    assert.match(await saved(host1), /FLANNEL-POSTRTG/);
    assert.match(
      await startAndStop(host1, '-iptables-forward-rules=false'),
      /removed firewall rules/,
    );
    assert.doesNotMatch(await saved(host1), /flannel/i);
  });

  test('nftables: the same packets, the recorded listing without its faults, repaired too', async () => {
    await etcd.put(`${PREFIX}/config`, config({ EnableNFTables: true }));
    const weft = await start(host1, '-ip-masq', FAST);
    assert.doesNotMatch(await saved(host1), /flannel/i);
    const fixture = NFTABLES[0]!;
    const subnet = subnetOf(host1);
    const listing = corrected({
      ...fixture,
      listing: fixture.listing.replaceAll(fixture.subnet, subnet),
      subnet,
    });
    assert.equal(await table(host1), listing);
    assert.doesNotMatch(await tables(host1), /flannel-ipv6/);

    await packetsAreAsWanted();

    for (const [argv, said] of [
      [['delete', 'table', 'ip', 'flannel-ipv4'], /flannel-ipv4 was gone/],
      [['flush', 'chain', 'ip', 'flannel-ipv4', 'postrtg'], /lacked 6 of its lines/],
      [
        ['insert', 'rule', 'ip', 'flannel-ipv4', 'forward', 'drop'],
        /held 1 lines that are not ours/,
      ],
    ] as const) {
      await host1.run(['nft', ...argv]);
      await weft.waitFor(said, 3_000);
      await sleep(200);
      assert.equal(await table(host1), listing);
    }
    assert.equal(await weft.stop(), 0);
    assert.equal(await table(host1), listing);
  });

  test('from iptables to nftables and back nothing is left over', async () => {
    await etcd.put(`${PREFIX}/config`, config());
    await startAndStop(host1, '-ip-masq');
    assert.doesNotMatch(await tables(host1), /flannel/);
    assert.equal(await saved(host1), expected(masqueraded, host1));
    await etcd.put(`${PREFIX}/config`, config({ EnableNFTables: true }));
    await startAndStop(host1);
    assert.doesNotMatch(await saved(host1), /flannel/i);
    assert.match(await tables(host1), /^table ip flannel-ipv4$/m);
    await etcd.put(`${PREFIX}/config`, config());
    await startAndStop(host1);
    assert.doesNotMatch(await tables(host1), /flannel/);
    const journal = host1.read('/run/weft/flannel.1.json')!;
    assert.doesNotMatch(journal, /nftables|"nat"/);
  });

  test('weft down takes back just its own rules, of either kind', async () => {
    await startAndStop(host1, '-ip-masq');
    await host1.run(['iptables', '-I', 'FORWARD', '-j', 'LOG']);
    const said = await down(host1);
    assert.match(said, /rules in iptables' table filter were removed/);
    assert.match(said, /rules in iptables' table nat were removed/);
    const left = await saved(host1);
    assert.doesNotMatch(left, /flannel/i);
    assert.match(left, /-A FORWARD -j LOG/);
    await host1.run(['iptables', '-D', 'FORWARD', '-j', 'LOG']);
    assert.match(await down(host1), /Nothing to take back/);

    await etcd.put(`${PREFIX}/config`, config({ EnableNFTables: true }));
    await startAndStop(host1, '-ip-masq');
    assert.match(await down(host1), /nft table ip flannel-ipv4 was deleted/);
    assert.doesNotMatch(await tables(host1), /flannel/);
    await startAndStop(host1);
    await host1.run(['nft', 'add', 'rule', 'ip', 'flannel-ipv4', 'forward', 'counter']);
    assert.match(await down(host1), /was left: it holds what weft did not put there/);
    assert.match(await tables(host1), /flannel-ipv4/);
    await etcd.put(`${PREFIX}/config`, config());
  });

  test("a flanneld's leftovers of every kind are cleaned at the start", async () => {
    // Another network's rules, those in the hook itself that old flannels made, and IPv6 ones.
    const masq = ['-m', 'comment', '--comment', 'flanneld masq'];
    const direct = ['-s', '10.9.0.0/16', ...masq, '-j', 'MASQUERADE'];
    const old = masqueraded.listing.replaceAll('10.20.', '10.9.');
    await host1.run(['iptables-restore', '--noflush'], { input: `${old}\n` });
    await host1.run(['iptables', '-t', 'nat', '-I', 'POSTROUTING', ...direct]);
    const six = forwarded.listing.replaceAll('10.20.0.0/16', '2001:db8:42::/56');
    await host1.run(['ip6tables-restore', '--noflush'], { input: `${six}\n` });
    for (const name of [
      ['ip', 'flannel-ipv4'],
      ['ip6', 'flannel-ipv6'],
    ]) {
      await host1.run(['nft', 'add', 'table', ...name]);
    }
    await startAndStop(host1);
    assert.equal(
      (await saved(host1)).replace(/^\*nat[\s\S]*?COMMIT\n/m, ''),
      expected(forwarded, host1),
    );
    assert.doesNotMatch(await saved(host1), /10\.9\.|POSTRTG/);
    assert.doesNotMatch(await saved(host1, 'ip6tables-save'), /flannel/i);
    assert.doesNotMatch(await tables(host1), /flannel/);
  });

  test('a restart with another Network replaces the rules', async () => {
    await startAndStop(host1, '-ip-masq');
    await etcd.put(`${PREFIX}/config`, config({ Network: '10.21.0.0/16' }));
    await startAndStop(host1, '-ip-masq');
    const listing = await saved(host1);
    assert.doesNotMatch(listing, /10\.20\./);
    const own = {
      ...masqueraded,
      listing: masqueraded.listing.replaceAll('10.20.0.0', '10.21.0.0'),
    };
    assert.equal(listing, expected(own, host1));
    await etcd.put(`${PREFIX}/config`, config());
    await startAndStop(host1, '-ip-masq');
    assert.equal(await saved(host1), expected(masqueraded, host1));
  });

  test('with iptables-legacy too', async (t) => {
    const multi = findProgram('xtables-legacy-multi');
    if (multi === undefined) return t.skip('no iptables-legacy on this machine');
    const host = await network.host('legacy', { address: '192.168.56.13/24' });
    const folder = host.path('/run/legacy');
    fs.mkdirSync(folder);
    for (const name of ['iptables', 'iptables-save', 'iptables-restore']) {
      fs.symlinkSync(multi, `${folder}/${name}`);
    }
    const env = { PATH: `/run/legacy:${process.env.PATH}` };
    const argv = [process.execPath, WEFT];
    const probe = await host.run(['/run/legacy/iptables', '-t', 'nat', '-S'], { mayFail: true });
    if (probe.code !== 0) return t.skip(`this kernel has none: ${probe.stderr.trim()}`);

    const flags = ['-ip-masq', FAST];
    const weft = host.start([...argv, 'up', ...weftFlags(etcd), ...flags], { env });
    await weft.waitFor(/rules for 10\.20\.0\.0\/16 set with iptables [\d.]+ \(legacy\)/, 10_000);
    await weft.waitFor(/ready: flannel/, 10_000);
    const listing = async () => {
      const text = await saved(host, '/run/legacy/iptables-save');
      // This variant lists the tables the other way round.
      const parts = text.match(/^\*[\s\S]*?COMMIT\n/gm)!;
      return parts.sort().join('');
    };
    assert.equal(await listing(), expected(masqueraded, host));
    await host.run(['/run/legacy/iptables', '-t', 'nat', '-F']);
    await weft.waitFor(/FLANNEL-POSTRTG lacked 6 rules/, 3_000);
    await sleep(200);
    assert.equal(await listing(), expected(masqueraded, host));
    assert.equal(await saved(host), '', 'the other variant stays untouched');
    assert.equal(await weft.stop(), 0);
    await host.run([...argv, 'down'], { env });
    assert.doesNotMatch(await listing(), /flannel/i);
  });

  test('without iptables: default rules cost a warning, those asked for the start', async () => {
    const host = await network.host('bare', { address: '192.168.56.14/24' });
    // The programs of the system's administrator are in /usr/sbin; `ip` is in /bin as well.
    await host.run(['mount', '-t', 'tmpfs', 'none', '/usr/sbin']);
    const output = await startAndStop(host);
    const warnings = output.match(/^W .*/gm)!;
    assert.equal(warnings.length, 2, output);
    assert.match(warnings[1]!, /no guard: cannot run iptables.*; install iptables;/);
    assert.match(warnings[0]!, /no forward rules: cannot run iptables.*; install iptables;/);
    for (const [flag, want] of [
      ['-ip-masq', /firewall rules cannot be made: cannot run iptables: .*install iptables$/m],
      ['-iptables-forward-rules', /cannot run iptables: .*install iptables$/m],
    ] as const) {
      const weft = host.weft(...weftFlags(etcd), flag);
      assert.equal(await Promise.race([weft.exited, sleep(10_000)]), 1, weft.output);
      assert.match(weft.output, want);
    }
    await etcd.put(`${PREFIX}/config`, config({ EnableNFTables: true }));
    const weft = host.weft(...weftFlags(etcd), '-ip-masq');
    assert.equal(await Promise.race([weft.exited, sleep(10_000)]), 1, weft.output);
    assert.match(weft.output, /cannot run nft: .*install nftables$/m);
    await etcd.put(`${PREFIX}/config`, config());
    assert.equal(peer.code, undefined);
  });
});

/**
 * The rules of a running weft, beside listings that were recorded beside flanneld: what they are and
 * what they do to packets.
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
import { enterLab, findProgram } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Namespace } from '../../src/lab/namespace.js';
import { corrected, NFTABLES } from '../control/host/firewall/recorded.js';
import {
  FAST,
  Firewall,
  FORWARDED,
  firewallLacks,
  MASQUERADED,
  NOT_RANDOM,
  subnetOf,
} from './firewall.js';
import { weftFlags } from './overlay.js';
import { statusOf, toldSince } from './spoil.js';

const lacks = firewallLacks();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('firewall rules', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let firewall: Firewall;
  let host1: Host;
  let outside: Host;
  let peer: Running;
  let xbox1: Container;
  let xbox2: Container;

  before(async () => {
    firewall = await Firewall.open();
    host1 = firewall.host;
    const { network } = firewall;
    const host2 = await network.host('host2', { address: '192.168.56.12/24' });
    outside = await network.host('outside', { address: '192.168.56.200/24', defaultRoute: false });
    peer = await firewall.startOn(host2);
    xbox2 = await host2.container('xbox2');
  });
  afterEach(() => firewall.stopAll());
  after(() => firewall?.lab.close());

  test('by default: the forward rules that flanneld makes, byte for byte', async () => {
    assert.equal(await firewall.saved(), '');
    const output = await firewall.startAndStop();
    assert.match(output, /I .*forward rules for 10\.20\.0\.0\/16 set with iptables/);
    assert.doesNotMatch(output, /^W /m);
    assert.equal(await firewall.saved(), firewall.expected(FORWARDED));
    assert.equal(await firewall.saved('ip6tables-save'), '');
    assert.equal(host1.subnetFile()!.ipMasq, false);
  });

  test('-ip-masq: the rules that flanneld makes, byte for byte, after SIGTERM and a restart too', async () => {
    const weft = await firewall.start('-ip-masq');
    const listing = firewall.expected(MASQUERADED);
    assert.equal(await firewall.saved(), listing);
    assert.equal(host1.subnetFile()!.ipMasq, true);
    assert.equal(await weft.stop(), 0);
    assert.equal(await firewall.saved(), listing);
    await firewall.startAndStop('-ip-masq');
    assert.equal(await firewall.saved(), listing);
    await firewall.startAndStop('-ip-masq', '-ip-masq-fully-random-disable');
    const plain = NOT_RANDOM;
    assert.equal(await firewall.saved(), firewall.expected(plain));
  });

  /** The address that a TCP connection from `from` comes from, as the one it goes to sees it. */
  const sourceSeen = async (from: Container, to: Namespace, address: string): Promise<string> => {
    const listen =
      'require("net").createServer((s) => { console.log("from " + s.remoteAddress); s.end(); })' +
      '.listen(40009, "0.0.0.0", () => console.log("listening"))';
    const connect = `require("net").connect(40009, "${address}").on("close", () => {}).resume()`;
    const server = to.start([process.execPath, '-e', listen]);
    await server.waitFor(/listening/, 60_000);
    await from.run([process.execPath, '-e', connect], { timeout: 10_000 });
    const [, source] = await server.waitFor(/from (\S+)/, 60_000);
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
    const weft = await firewall.start('-ip-masq');
    xbox1 = await host1.container('xbox1');
    await packetsAreAsWanted();
    // And both are the rules' doing.
    assert.equal(await weft.stop(), 0);
    const bare = await firewall.start('-ip-masq', '-iptables-forward-rules=false');
    const ping = ['ping', '-c', '1', '-W', '1'];
    assert.notEqual((await xbox1.run([...ping, xbox2.address], { mayFail: true })).code, 0);
    await host1.run(['iptables', '-P', 'FORWARD', 'ACCEPT']);
    await xbox1.run([...ping, '-W', '5', xbox2.address]);
    assert.equal(await bare.stop(), 0);
    const open = await firewall.start();
    assert.notEqual((await xbox1.run([...ping, outside.address], { mayFail: true })).code, 0);
    assert.equal(await open.stop(), 0);
  });

  test('what somebody takes away or puts before is set right within the period', async () => {
    const weft = await firewall.start('-ip-masq', FAST);
    const listing = firewall.expected(MASQUERADED);
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
      const deadline = Date.now() + 20_000;
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
      assert.equal(await firewall.saved(), listing);
    }

    await host1.run(['iptables', '-I', 'FLANNEL-FWD', '-s', '1.2.3.4', '-j', 'DROP']);
    await host1.run(['iptables', '-I', 'FORWARD', '-j', 'LOG']);
    await weft.waitFor(/FLANNEL-FWD had rules of others before ours/, 60_000);
    await sleep(200);
    const filter = await firewall.say('iptables-save', '-t', 'filter');
    const lines = filter.split('\n').filter((line) => line.startsWith('-A '));
    assert.deepEqual(lines, [
      '-A FORWARD -j LOG',
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FLANNEL-FWD -s 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -d 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -s 1.2.3.4/32 -j DROP',
    ]);
    // On a busy machine it is still at what was flushed last.
    const done = () => weft.output.match(/set again/g)!.length;
    let was = -1;
    for (let looks = 0; was !== done() && looks < 4; looks += 1) {
      was = done();
      await sleep(2_500);
    }
    assert.equal(done(), was, `done again and again:\n${weft.output}`);
    assert.equal(await weft.stop(), 0);
    await host1.run(['iptables', '-F', 'FORWARD']);
    await host1.run(['iptables', '-F', 'FLANNEL-FWD']);
  });

  test('nftables: the same packets, the recorded listing without its faults, repaired too', async () => {
    await firewall.configure({ EnableNFTables: true });
    const weft = await firewall.start('-ip-masq', FAST);
    assert.doesNotMatch(await firewall.saved(), /flannel/i);
    const fixture = NFTABLES[0]!;
    const subnet = subnetOf(host1);
    const listing = corrected({
      ...fixture,
      listing: fixture.listing.replaceAll(fixture.subnet, subnet),
      subnet,
    });
    assert.equal(await firewall.table(), listing);
    assert.doesNotMatch(await firewall.tables(), /flannel-ipv6/);

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
      await weft.waitFor(said, 60_000);
      await sleep(200);
      assert.equal(await firewall.table(), listing);
    }
    assert.equal(await weft.stop(), 0);
    assert.equal(await firewall.table(), listing);
    await firewall.configure();
  });

  test('with iptables-legacy too', async (t) => {
    const multi = findProgram('xtables-legacy-multi');
    if (multi === undefined) return t.skip('no iptables-legacy on this machine');
    const host = await firewall.network.host('legacy', { address: '192.168.56.13/24' });
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
    const weft = host.start([...argv, 'up', ...weftFlags(firewall.etcd), ...flags], { env });
    await weft.waitFor(/rules for 10\.20\.0\.0\/16 set with iptables [\d.]+ \(legacy\)/, 60_000);
    await weft.waitFor(/ready: flannel/, 60_000);
    const listing = async () => {
      const text = await firewall.saved('/run/legacy/iptables-save', host);
      // This variant lists the tables the other way round.
      const parts = text.match(/^\*[\s\S]*?COMMIT\n/gm)!;
      return parts.sort().join('');
    };
    assert.equal(await listing(), firewall.expected(MASQUERADED, host));
    await host.run(['/run/legacy/iptables', '-t', 'nat', '-F']);
    await weft.waitFor(/FLANNEL-POSTRTG lacked 6 rules/, 60_000);
    await sleep(200);
    assert.equal(await listing(), firewall.expected(MASQUERADED, host));
    assert.equal(
      await firewall.saved('iptables-save', host),
      '',
      'the other variant stays untouched',
    );
    assert.equal(await weft.stop(), 0);
    await host.run([...argv, 'down'], { env });
    assert.doesNotMatch(await listing(), /flannel/i);
  });

  test('without iptables, or nft: weft comes up all the same, and says what it has not', async () => {
    const host = await firewall.network.host('bare', { address: '192.168.56.14/24' });
    // The programs of the system's administrator are in /usr/sbin; `ip` is in /bin as well.
    await host.run(['mount', '-t', 'tmpfs', 'none', '/usr/sbin']);
    for (const [nftables, flags, rules, guard] of [
      [false, [], /no forward rules: cannot run iptables.*; install iptables;/, /iptables/],
      [false, ['-ip-masq'], /no masquerade and forward rules: cannot run iptables/, /iptables/],
      [true, ['-ip-masq'], /no masquerade and forward rules: cannot run nft/, /nft/],
    ] as const) {
      await firewall.configure({ EnableNFTables: nftables });
      const weft = await firewall.startOn(host, ...flags, FAST);
      await sleep(2_500);
      const warnings = toldSince(weft).filter((line) => line.startsWith('W '));
      assert.equal(warnings.length, 2, weft.output);
      assert.match(warnings[0]!, rules);
      assert.match(warnings[1]!, /no guard: cannot run /);
      assert.match(warnings[1]!, guard);
      const { faults } = await statusOf(host);
      assert.equal(faults.length, 2, faults.join());
      assert.equal(await weft.stop(), 0);
    }
    await firewall.configure();
    assert.equal(peer.code, undefined);
  });
});

/**
 * An iptables that refuses: it has no comments, its lock is held for a while, or for ever. It stands
 * in front of the real one in the PATH, as a distribution's wrapper would.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { enterLab, findProgram } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { FAST, Firewall, firewallLacks, MASQUERADED, subnetOf } from './firewall.js';
import { weftFlags } from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = firewallLacks();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** Refuses what has a comment in its arguments or its input, as without libxt_comment. */
const NO_COMMENTS = `
case "$*" in *--comment*) echo "Couldn't load match \\\`comment'" >&2; exit 2;; esac
if [ "\${0##*/}" = iptables-restore ]; then
  input=$(cat)
  case "$input" in *--comment*) echo "Couldn't load match \\\`comment'" >&2; exit 2;; esac
  printf '%s\\n' "$input" | "$real" "$@"
  exit
fi
`;
/** As long as there is such a file, the lock is held. */
const LOCKED =
  'if [ -e /run/locked ]; then echo "Another app is holding the xtables lock" >&2; exit 4; fi\n';

describe('an iptables that refuses', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let firewall: Firewall;
  let hosts = 1;

  before(async () => {
    firewall = await Firewall.open();
  });
  after(() => firewall?.lab.close());

  /** A host whose iptables goes through `script`, and how to start a weft there. */
  const behind = async (script: string) => {
    hosts += 1;
    const host = await firewall.network.host(`host${hosts}`, {
      address: `192.168.56.${10 + hosts}/24`,
    });
    const folder = host.path('/run/wrapped');
    fs.mkdirSync(folder);
    for (const name of ['iptables', 'iptables-save', 'iptables-restore']) {
      const text = `#!/bin/sh\nreal=${findProgram(name)}\n${script}exec "$real" "$@"\n`;
      fs.writeFileSync(`${folder}/${name}`, text, { mode: 0o755 });
    }
    const env = { PATH: `/run/wrapped:${process.env.PATH}` };
    const flags = [...weftFlags(firewall.etcd), '-ip-masq', FAST];
    const start = async (): Promise<Running> => {
      const weft = host.start([process.execPath, WEFT, 'up', ...flags], { env });
      await weft.waitFor(/ready: flannel/, 60_000);
      return weft;
    };
    return { host, start, env };
  };
  const saved = (host: Host) => firewall.saved('iptables-save', host);

  test('without comments: the rules are set without, kept, replaced at a restart, taken back', async () => {
    const { host, start, env } = await behind(NO_COMMENTS);
    const weft = await start();
    const listing = firewall
      .expected(MASQUERADED, host)
      .replaceAll(/ -m comment --comment "flanneld \w+"/g, '');
    assert.equal(await saved(host), listing);
    const mangle = (await host.run(['iptables-save', '-t', 'mangle'])).stdout;
    assert.match(mangle, /^-A INPUT -p udp -m udp --dport 8472 -j WEFT-GUARD$/m);
    await host.run(['iptables', '-t', 'nat', '-F', 'FLANNEL-POSTRTG']);
    await weft.waitFor(/set again: FLANNEL-POSTRTG lacked 6 rules/, 60_000);
    assert.equal(await saved(host), listing);
    assert.equal(weft.output.match(/without comments/g)!.length, 2, 'once for each set of rules');
    assert.deepEqual((await statusOf(host)).faults, []);
    assert.equal(await weft.stop(), 0);

    const again = await start();
    assert.equal(await saved(host), listing, 'nothing doubles');
    assert.equal(await again.stop(), 0);
    const { stdout } = await host.run([process.execPath, WEFT, 'down'], { env });
    assert.match(stdout, /rules in iptables' table nat were removed/);
    assert.doesNotMatch(await saved(host), /FLANNEL/);
    const left = (await host.run(['iptables-save', '-t', 'mangle'])).stdout;
    assert.doesNotMatch(left, /WEFT/);
  });

  test('the lock held for a while: the overlay is up, the rules come when it is free', async () => {
    const { host, start } = await behind(LOCKED);
    host.write('/run/locked', '');
    const weft = await start();
    assert.match(weft.output, /^W .*no masquerade and forward rules: .*xtables lock/m);
    assert.ok((await statusOf(host)).faults.length >= 2);
    await weft.waitFor(/no guard: .*xtables lock/, 60_000);
    await host.run(['rm', '/run/locked']);
    await weft.waitFor(/masquerade and forward rules for 10\.20\.0\.0\/16 set with/, 60_000);
    await weft.waitFor(/over: no guard: .*xtables lock/, 60_000);
    assert.equal(await saved(host), firewall.expected(MASQUERADED, host));
    assert.deepEqual((await statusOf(host)).faults, []);
    assert.equal(weft.output.match(/W .*no masquerade/g)!.length, 1);
    assert.equal(await weft.stop(), 0);
  });

  test('an iptables that hangs: the overlay is up in seconds', async () => {
    const { host, start } = await behind('[ -e /run/hangs ] && exec sleep 60\n');
    host.write('/run/hangs', '');
    const begun = performance.now();
    const weft = await start();
    assert.match(weft.output, /^W .*the firewall programs take long; weft goes on/m);
    assert.ok(performance.now() - begun < 40_000);
    assert.match((await statusOf(host)).faults.join(), /firewall rules are not set yet/);
    await host.run(['rm', '/run/hangs']);
    await weft.stop();
  });

  test("an older flannel's rules: a container sees who sends, and others' rules stay", async () => {
    const { host, start } = await behind('');
    const n = '10.20.0.0/16';
    for (const rule of [
      `-s 172.17.0.0/16 -j MASQUERADE`,
      `-s ${n} -d ${n} -j RETURN`,
      `-s ${n} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully`,
      `! -s ${n} -d 10.20.9.0/24 -j RETURN`,
      `! -s ${n} -d ${n} -j MASQUERADE --random-fully`,
    ]) {
      await host.run(['iptables', '-t', 'nat', '-A', 'POSTROUTING', ...rule.split(' ')]);
    }
    const weft = await start();
    assert.match(weft.output, /I .*removed firewall rules of an earlier run/);
    const lines = (await saved(host)).split('\n').filter((line) => line.startsWith('-A POSTR'));
    assert.deepEqual(lines, [
      '-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE',
      '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
    ]);
    const outside = await firewall.network.host('outside', {
      address: '192.168.56.200/24',
      defaultRoute: false,
    });
    await outside.ip(`route add ${subnetOf(host)} via ${host.address}`);
    const box = await host.container('box');
    const listen =
      'require("net").createServer((s) => { console.log("from " + s.remoteAddress); s.end(); })' +
      '.listen(40009, "0.0.0.0", () => console.log("listening"))';
    const server = box.start([process.execPath, '-e', listen]);
    await server.waitFor(/listening/, 60_000);
    const connect = `require("net").connect(40009, "${box.address}").on("close", () => {}).resume()`;
    await outside.run([process.execPath, '-e', connect], { timeout: 10_000 });
    const [, source] = await server.waitFor(/from (\S+)/, 60_000);
    assert.equal(source, '192.168.56.200');
    assert.equal(await weft.stop(), 0);
  });
});

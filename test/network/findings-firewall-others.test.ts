/**
 * Hosts with the rules of Docker, ufw, firewalld, kube-proxy and Calico: nothing is told where all
 * is well, and what is told where it is not.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import {
  CALICO,
  DOCKER_20,
  DOCKER_28,
  firewalld,
  KUBE_PROXY,
  KUBE_PROXY_NFT,
  ufw,
} from '../operate/findings/firewall/recorded.js';
import { Spoiled } from './findings-firewall.js';

const lacks = labLacks({
  programs: ['etcd', 'iptables', 'iptables-legacy', 'nft', 'ping'],
  tun: true,
});
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('the firewalls of others', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let spoiled: Spoiled;

  before(async () => {
    spoiled = await Spoiled.open();
  });
  after(() => spoiled?.overlay.close());

  beforeEach(() => spoiled.sh('nft list ruleset > /run/before'));
  afterEach(() => spoiled.sh('nft flush ruleset; nft -f /run/before; iptables-legacy -F'));

  /** For iptables if it begins so, else for nft. */
  const load = async (rules: string, program = 'iptables') => {
    const isSaved = rules.startsWith('*');
    const argv = isSaved ? [`${program}-restore`, '--noflush'] : ['nft', '-f', '-'];
    await spoiled.host.run(argv, { input: rules });
  };
  const told = async () => (await spoiled.look()).map(({ text, cure }) => `${text}; do: ${cure}`);

  for (const [name, rules] of [
    ['Docker 20', DOCKER_20],
    ['Docker 28 with direct routing', DOCKER_28],
    ['ufw, the port open', ufw(true)],
    ['firewalld, the port open, the device trusted', firewalld(true)],
    ["kube-proxy's iptables", KUBE_PROXY],
    ["kube-proxy's nftables", KUBE_PROXY_NFT],
    ["Calico's policies", CALICO],
  ] as const) {
    test(`${name}: packets pass, nothing is told`, async () => {
      await load(rules);
      assert.ok(await spoiled.pass());
      assert.deepEqual(await told(), []);
    });
  }

  test('a table that sleeps, traffic of one kind, limits and sets of others: nothing is told', async () => {
    await load(
      'table inet asleep {\n flags dormant\n chain c {\n type filter hook forward priority 0; policy drop;\n }\n}\n' +
        'table inet others {\n set bad { type ipv4_addr; flags dynamic,timeout; timeout 1h; }\n' +
        ' chain i {\n type filter hook input priority 0;\n ct state invalid drop\n ip saddr @bad counter drop\n' +
        ' tcp dport 25 drop\n ip saddr 203.0.113.0/24 drop\n limit rate over 100000/second counter drop\n }\n' +
        ' chain f {\n type filter hook forward priority 0;\n ct state invalid drop\n' +
        ' iifname "flannel.1" tcp dport { 25, 445 } drop\n icmp type redirect drop\n }\n}\n',
    );
    assert.ok(await spoiled.pass());
    assert.deepEqual(await told(), []);
  });

  test('ufw, the port closed: its own command', async () => {
    await load(ufw(false));
    const [line, ...more] = await told();
    assert.deepEqual(more, []);
    assert.match(
      line!,
      /^the policy drop in iptables' table filter, chain INPUT drops the tunnel's packets from other hosts \(UDP port 8472\).*; do: ufw allow in on ens33 to any port 8472 proto udp$/,
    );
    assert.equal(await spoiled.pass(), false);
  });

  test('firewalld as it comes: the port and the device, by its own commands', async () => {
    await load(firewalld(false));
    const lines = await told();
    assert.equal(lines.length, 2, lines.join('\n'));
    assert.match(
      lines[0]!,
      /chain filter_IN_public drops the tunnel's packets .*; do: firewall-cmd --permanent --add-port=8472\/udp && firewall-cmd --reload$/,
    );
    assert.match(
      lines[1]!,
      /chain filter_FWD_public drops packets of new connections from other hosts to containers here; do: firewall-cmd --permanent --zone=trusted --add-interface=flannel\.1 && firewall-cmd --reload$/,
    );
  });

  test('a limit on our packets: told while it drops', async () => {
    await load(
      'table inet fw {\n chain c {\n type filter hook input priority 0;\n' +
        ' udp dport 8472 limit rate over 1/minute burst 1 packets counter drop\n }\n}\n',
    );
    assert.deepEqual(await told(), [], 'nothing was dropped yet');
    await spoiled.pass();
    await spoiled.pass();
    let lines: string[] = [];
    for (let i = 0; i < 6 && lines.length === 0; i += 1) {
      await spoiled.pass();
      lines = await told();
    }
    assert.match(
      lines[0]!,
      /^the rule "udp dport 8472 limit rate over 1\/minute.*counter drop # handle \d+" .* drops some of the tunnel's packets from other hosts \(UDP port 8472\); just now it counted \d+ packets?/,
    );
  });
});

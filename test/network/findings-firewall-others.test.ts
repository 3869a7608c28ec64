/**
 * Hosts with the rules of Docker, ufw, kube-proxy, libvirt, podman and Calico: nothing is told where
 * all is well, and what is told where it is not.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { KUBE_PROXY_NFT, recorded } from '../operate/findings/firewall/recorded.js';
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
    const isSaved = /^[#*]/.test(rules);
    const argv = isSaved ? [`${program}-restore`, '--noflush'] : ['nft', '-f', '-'];
    await spoiled.host.run(argv, { input: rules });
  };
  const told = async () => (await spoiled.look()).map(({ text, cure }) => `${text}; do: ${cure}`);

  for (const [name, rules] of [
    ['Docker 20', recorded('docker-20.txt')],
    ['Docker 26', recorded('docker-26.txt')],
    ['ufw, the port open', recorded('ufw-open.txt')],
    ['a host of a cluster, with Docker and libvirt', recorded('kubernetes-1.22.txt')],
    ["kube-proxy's nftables", KUBE_PROXY_NFT],
    ["Calico's policies", recorded('calico.txt')],
    ["podman's", recorded('netavark-1.4.txt')],
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

/**
 * Rules of others that drop the overlay's packets: each is told alone, by table, chain and rule, and
 * the cure, typed as it stands, makes them pass.
 *
 *   xbox1 ─ docker0 ─ host1 (weft) ─ ens33 ══ switch ══ ens33 ─ host2 (kernel) ─ docker0 ─ xbox2
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { type Fault, Spoiled } from './findings-firewall.js';
import { eventually, statusOf } from './spoil.js';

const lacks = labLacks({
  programs: ['etcd', 'iptables', 'iptables-legacy', 'nft', 'ping'],
  tun: true,
});
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const nft = (table: string, chains: string) =>
  `nft -f - <<'END'\ntable ${table} {\n${chains}\n}\nEND\n`;
const chain = (hook: string, ...rules: string[]) =>
  `chain c {\ntype filter hook ${hook} priority 0; policy accept;\n${rules.join('\n')}\n}`;
const own = (name: string, table: string, chains: string, says: RegExp): Fault => ({
  ...{ name, says },
  make: nft(table, chains),
  mend: `nft delete table ${table}`,
});

const FAULTS: readonly Fault[] = [
  own(
    'nft inet forward: reject what goes to the tunnel',
    'inet fw',
    chain('forward', 'oifname "flannel.1" counter reject'),
    /rule "oifname "flannel.1" counter reject.* # handle \d+" in nftables' table inet fw, chain c drops all packets from containers here to other hosts; it has counted/,
  ),
  own(
    'nft input: drop of the port',
    'inet fw',
    chain('input', 'udp dport 8472 drop'),
    /table inet fw, chain c drops the tunnel's packets from other hosts \(UDP port 8472\)/,
  ),
  own(
    'nft output: drop of the port',
    'ip fw',
    chain('output', 'udp dport { 4789, 8472 } drop'),
    /table ip fw, chain c drops the tunnel's packets to other hosts \(UDP port 8472\)/,
  ),
  own(
    'nft: a chain that is jumped to, by a map',
    'inet fw',
    `chain deep {\nct state established,related accept\ndrop\n}\n${chain(
      'forward',
      'iifname vmap { "flannel.1" : jump deep, "lo" : accept }',
    )}`,
    /rule "drop.*" in nftables' table inet fw, chain deep drops packets of new connections from other hosts to containers here/,
  ),
  own(
    'nft netdev ingress of the underlay',
    'netdev fw',
    'chain c {\ntype filter hook ingress device "ens33" priority 0;\nudp dport 8472 drop\n}',
    /table netdev fw, chain c drops the tunnel's packets from other hosts/,
  ),
  own(
    'nft: ct state invalid before conntrack has seen anything',
    'ip fw',
    'chain c {\ntype filter hook prerouting priority -300;\nct state invalid udp dport 8472 drop\n}',
    /table ip fw, chain c drops the tunnel's packets from other hosts/,
  ),
  {
    name: 'iptables-legacy: the policy of FORWARD',
    make: 'iptables-legacy -P FORWARD DROP',
    mend: 'iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F',
    says: /^the policy drop in iptables-legacy's table filter, chain FORWARD drops all packets from containers here to other hosts and all packets from other hosts to containers here; it has counted/,
  },
  {
    name: 'FORWARD drops all, before the rules of weft',
    make: 'iptables -I FORWARD -j DROP',
    says: /^the rule "-A FORWARD -j DROP" in iptables' table filter, chain FORWARD drops all packets/,
  },
  {
    name: "Docker's chains before the rules of weft",
    make:
      'iptables -N DOCKER; iptables -I FORWARD -o docker0 -j DOCKER; ' +
      'iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT; ' +
      'iptables -A DOCKER ! -i docker0 -o docker0 -j DROP',
    says: /^the rule "-A DOCKER ! -i docker0 -o docker0 -j DROP" in iptables' table filter, chain DOCKER drops all packets from other hosts to containers here/,
  },
  {
    name: 'the policy of INPUT, with some ports open',
    make:
      'iptables -A INPUT -i lo -j ACCEPT; ' +
      'iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; ' +
      'iptables -A INPUT -p tcp -m multiport --dports 22,443 -j ACCEPT; ' +
      'iptables -A INPUT -s 192.168.56.0/24 -p tcp -j ACCEPT; iptables -P INPUT DROP',
    says: /^the policy drop in iptables' table filter, chain INPUT drops the tunnel's packets from other hosts/,
  },
  {
    name: 'raw PREROUTING',
    make: 'iptables -t raw -A PREROUTING -p udp --dport 8000:9000 -j DROP',
    says: /iptables' table raw, chain PREROUTING drops the tunnel's packets from other hosts/,
  },
  {
    name: 'iptables-legacy mangle POSTROUTING',
    make: 'iptables-legacy -t mangle -A POSTROUTING -o flannel.1 -j DROP',
    mend: 'iptables-legacy -t mangle -F',
    says: /iptables-legacy's table mangle, chain POSTROUTING drops all packets from containers here/,
  },
  {
    name: "one peer's address",
    make: 'iptables -I INPUT -s 192.168.56.12 -j DROP',
    says: /drops the tunnel's packets from other hosts/,
  },
  {
    name: "this host's own packets into the overlay, of those alone",
    make: 'iptables -I OUTPUT -o flannel.1 -j REJECT',
    says: /chain OUTPUT drops this host's own packets to containers on other hosts/,
    severity: 'warning',
  },
];

describe("others' rules that drop packets", { skip: lacks ?? false, timeout: 600_000 }, () => {
  let spoiled: Spoiled;

  before(async () => {
    spoiled = await Spoiled.open();
  });
  after(() => spoiled?.overlay.close());

  for (const fault of FAULTS) {
    test(fault.name, async () => {
      await spoiled.tell(fault);
    });
  }

  test('status and the log say it, and when it is over', async () => {
    const { host, overlay } = spoiled;
    await spoiled.untilCodes();
    await spoiled.sh('iptables-legacy -P FORWARD DROP');
    const [finding] = await spoiled.untilCodes('firewall-drop');
    assert.match(finding!.cure, /^iptables-legacy -I FORWARD .* && iptables-legacy -I FORWARD /);
    const { verdict } = await statusOf(host);
    assert.equal(verdict.state, 'broken');
    assert.match(verdict.text, /chain FORWARD drops all packets/);
    // The log is told of what has lasted.
    const lines = () =>
      overlay.wefts[0]!.output.split('\n').filter((line) => /policy drop/.test(line));
    await eventually(
      async () => lines().length > 0,
      () => overlay.wefts[0]!.output,
    );
    await spoiled.sh('iptables-legacy -P FORWARD ACCEPT');
    await spoiled.untilCodes();
    await eventually(
      async () => lines().length > 1,
      () => overlay.wefts[0]!.output,
    );
    const told = lines();
    assert.equal(told.length, 2, told.join('\n'));
    assert.match(told[0]!, /^W .*iptables-legacy's table filter, chain FORWARD .*; do: iptables/);
    assert.match(told[1]!, /^I .*over: /);
  });

  test("Docker 28: a container's address is closed to what does not come by its bridge", async () => {
    const { address } = spoiled.boxes[0];
    await spoiled.tell({
      name: '',
      make: `iptables -t raw -A PREROUTING -d ${address}/32 ! -i docker0 -j DROP`,
      says: new RegExp(
        `table raw, chain PREROUTING drops all packets from other hosts to the container ${address}`,
      ),
    });
  });
});

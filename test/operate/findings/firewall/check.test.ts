import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { HostError } from '../../../../src/control/host/errors.js';
import type { Ran, Runner } from '../../../../src/control/host/runner.js';
import type { Subject } from '../../../../src/operate/findings/check.js';
import { FirewallCheck } from '../../../../src/operate/findings/firewall/check.js';
import { CALICO, DOCKER_20, DOCKER_28, KUBE_PROXY, ufw } from './recorded.js';

const proc = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-proc-'));
fs.mkdirSync(`${proc}/net`);
after(() => fs.rmSync(proc, { recursive: true }));

const VERSION = 'iptables v1.8.9 (nf_tables)\n';
const BRIDGES = '[{"ifname":"docker0"},{"ifname":"flannel.1"}]';

/** A host: what its programs print, by their words; a program that is not there is ENOENT. */
class Fake implements Runner {
  readonly ran: string[] = [];
  readonly answers: Record<string, string>;
  readonly lacks: readonly string[];

  constructor(answers: Record<string, string>, lacks: readonly string[] = []) {
    this.answers = { 'iptables --version': VERSION, ...answers };
    this.lacks = lacks;
  }

  run(argv: readonly string[]): Promise<Ran> {
    const words = argv.join(' ');
    this.ran.push(words);
    if (this.lacks.includes(argv[0]!)) {
      return Promise.reject(new HostError('ENOENT', `cannot run ${argv[0]}`));
    }
    const known = words.startsWith('ip -j') ? BRIDGES : this.answers[words];
    const stderr = known === undefined ? 'Error: No such file or directory' : '';
    const code = known === undefined ? 1 : 0;
    return Promise.resolve({ code, signal: null, stdout: known ?? '', stderr });
  }

  start(): never {
    throw new Error('not here');
  }
}

const PEERS = [
  { publicIp: '192.168.56.12', subnet: '10.5.7.0/24', direct: false },
  { publicIp: '192.168.56.13', subnet: '10.5.8.0/24', direct: false },
];

function subjectOf(runner: Runner, more: Partial<Subject> = {}): Subject {
  return {
    ...{
      pid: null,
      runner,
      proc,
      backend: 'vxlan',
      network: '10.5.0.0/16',
      subnet: '10.5.52.0/24',
    },
    ...{ device: 'flannel.1', mtu: 1450, peers: PEERS },
    underlay: {
      ...{ interface: 'ens33', address: '192.168.56.11', publicIp: '192.168.56.11' },
      ...{ mtu: 1500, port: 8472 },
    },
    ...more,
  };
}

/** `saved`: of iptables-legacy's filter, or of another table. */
async function lookAt(saved: string, more: Partial<Subject> = {}, table = 'filter') {
  fs.writeFileSync(`${proc}/net/ip_tables_names`, `${table}\nnat\n`);
  // In a whole listing chains are all there: what is inserted stands first.
  const text = saved.replaceAll('-I ', '-A ');
  const runner = new Fake({ [`iptables-legacy-save -c -t ${table}`]: text }, ['nft']);
  runner.answers['iptables-save -c'] = '';
  const found = await new FirewallCheck().look(subjectOf(runner, more));
  assert.ok(!runner.ran.some((words) => / nat\b/.test(words)), 'nat is not read');
  return found;
}

const filter = (...lines: string[]) =>
  `*filter\n:FORWARD ACCEPT [0:0]\n${lines.join('\n')}\nCOMMIT\n`;
const OURS = ['-A FORWARD -s 10.5.0.0/16 -j ACCEPT', '-A FORWARD -d 10.5.0.0/16 -j ACCEPT'];

for (const [name, rules] of [
  ['Docker 20', DOCKER_20],
  ['Docker 28', DOCKER_28],
  ['ufw', ufw(true)],
  ['kube-proxy', KUBE_PROXY],
  ['Calico', CALICO],
] as const) {
  test(`${name} behind rules that accept the overlay's packets: nothing is found`, async () => {
    const lines = rules.split('\n');
    const at = lines.findIndex((line) => /^-[AI] FORWARD/.test(line));
    lines.splice(at, 0, ...OURS);
    assert.deepEqual(await lookAt(lines.join('\n')), []);
  });
}

test('Docker closes FORWARD, and nobody opens it: packets that a published port lets in are few', async () => {
  const [finding, ...more] = await lookAt(
    filter(
      ':DOCKER - [0:0]',
      '[7:420] -A FORWARD -o docker0 -j DOCKER',
      '[0:0] -A FORWARD -i docker0 -j ACCEPT',
      '[0:0] -A DOCKER -d 10.5.52.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT',
    ).replace('FORWARD ACCEPT [0:0]', 'FORWARD DROP [12:720]'),
  );
  assert.deepEqual(more, []);
  assert.deepEqual(finding, {
    code: 'firewall-drop',
    severity: 'error',
    scope: 'host',
    about: "iptables-legacy's table filter, chain FORWARD: the policy drop",
    text:
      "the policy drop in iptables-legacy's table filter, chain FORWARD drops all packets from other " +
      'hosts to containers here; it has counted 12 packets',
    cure: 'iptables-legacy -I FORWARD -i flannel.1 -s 10.5.0.0/16 -d 10.5.52.0/24 -j ACCEPT',
  });
});

test("a rule about one peer is that peer's, one about one protocol says so", async () => {
  const [peer] = await lookAt(filter('-A INPUT -s 192.168.56.13/32 -j DROP'));
  assert.equal(peer!.scope, 'peer');
  assert.match(peer!.text, /drops the tunnel's packets from 192\.168\.56\.13 \(UDP port 8472\)$/);
  const [protocol] = await lookAt(filter('-A FORWARD -i flannel.1 -p udp -j DROP'));
  assert.match(protocol!.text, /drops all UDP packets from other hosts to containers here$/);
  const [fresh] = await lookAt(
    filter(
      '-A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT',
      '-A FORWARD -i flannel.1 -j DROP',
    ),
  );
  assert.match(
    fresh!.text,
    /drops packets of new connections from other hosts to containers here$/,
  );
});

test('hosts that are reached past the tunnel: by the underlay, without its device', async () => {
  const peers = PEERS.map((peer) => ({ ...peer, direct: true }));
  assert.deepEqual(await lookAt(filter('-A INPUT -p udp -j DROP'), { peers }), []);
  const [finding] = await lookAt(filter('-A FORWARD -i ens33 -o docker0 -j DROP'), { peers });
  assert.match(
    finding!.cure,
    /^iptables-legacy -I FORWARD -s 10\.5\.0\.0\/16 -d 10\.5\.52\.0\/24 -j/,
  );
});

test("Docker 28's rules of all containers' addresses are one finding", async () => {
  const rules = [2, 3, 4].map((n) => `-A PREROUTING -d 10.5.52.${n}/32 ! -i docker0 -j DROP`);
  const found = await lookAt(
    `*raw\n:PREROUTING ACCEPT [0:0]\n${rules.join('\n')}\nCOMMIT\n`,
    {},
    'raw',
  );
  assert.equal(found.length, 1);
  assert.match(found[0]!.text, /to the containers 10\.5\.52\.2 and 2 others$/);
  assert.equal(
    found[0]!.cure,
    'iptables-legacy -t raw -I PREROUTING -i flannel.1 -s 10.5.0.0/16 -d 10.5.52.0/24 -j ACCEPT',
  );
});

test('questions that we cannot answer: no finding, whichever way they lead', async () => {
  for (const rule of [
    '-A INPUT -m rpfilter --invert -j DROP',
    '-A INPUT -m set --match-set bad src -j DROP',
    '-A INPUT -p udp -m udp --dport 8472 -m u32 --u32 "0x0=0x1" -j DROP',
    '-A INPUT -p udp -m length --length 0:100 -j REJECT --reject-with icmp-port-unreachable',
    '-A INPUT -j SOMETHING-OF-OTHERS',
    '-A INPUT -m comment --comment "-j DROP is what this is not" -j ACCEPT',
  ]) {
    assert.deepEqual(await lookAt(filter(rule)), [], rule);
  }
  const closed = filter(
    '-A INPUT -p udp -m u32 --u32 "0x0=0x1" -j ACCEPT',
    '-A INPUT -p udp -j DROP',
  );
  assert.deepEqual(await lookAt(closed), [], 'perhaps it is accepted before');
});

test("a host without nft: iptables' rules are read all the same", async () => {
  fs.writeFileSync(`${proc}/net/ip_tables_names`, '');
  const saved = filter('-A FORWARD -j DROP');
  const [finding] = await new FirewallCheck().look(
    subjectOf(new Fake({ 'iptables-save -c': saved }, ['nft'])),
  );
  assert.match(finding!.about, /^iptables' table filter, chain FORWARD/);
  const bare = new Fake({}, ['nft', 'iptables', 'iptables-save']);
  assert.deepEqual(await new FirewallCheck().look(subjectOf(bare)), []);
});

const NFT_FILTER =
  '{"nftables": [{"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1, ' +
  '"type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}}]}';

test('while nothing changes a look is two programs; a change is seen at once', async () => {
  fs.writeFileSync(`${proc}/net/ip_tables_names`, '');
  const runner = new Fake({
    'nft -a -s list ruleset': 'table ip filter { }\n',
    'nft -j list chains': NFT_FILTER,
    'iptables -t filter -S -v': '-P FORWARD ACCEPT -c 0 0\n',
  });
  const check = new FirewallCheck();
  const look = async () => {
    runner.ran.length = 0;
    return (await check.look(subjectOf(runner))).length;
  };
  assert.equal(await look(), 0);
  assert.ok(!runner.ran.includes('nft -a -s list ruleset'), 'not before it is known how many');
  assert.equal(await look(), 0);
  assert.equal(runner.ran.length, 5, runner.ran.join('\n'));
  assert.equal(await look(), 0);
  assert.deepEqual(runner.ran, ['ip -j -4 addr show to 10.5.52.0/24', 'nft -a -s list ruleset']);
  runner.answers['nft -a -s list ruleset'] = 'table ip filter { drop # handle 3 }\n';
  runner.answers['iptables -t filter -S -v'] =
    '-P FORWARD ACCEPT -c 0 0\n-A FORWARD -c 5 300 -j DROP\n';
  assert.equal(await look(), 1);
  assert.equal(await look(), 1);
  assert.equal(runner.ran.length, 2, 'the same again');
});

test('what nft refuses is said, not taken for no rules', async () => {
  const runner = new Fake({});
  runner.run = async (argv) => {
    if (argv[0] !== 'nft') return { code: 0, signal: null, stdout: BRIDGES, stderr: '' };
    return { code: 1, signal: null, stdout: '', stderr: 'Error: Operation not permitted\n' };
  };
  const look = new FirewallCheck().look(subjectOf(runner));
  await assert.rejects(look, /nft -j list chains: Error: Operation not permitted/);
});

test('a table of many chains is read by those that packets come to', async () => {
  fs.writeFileSync(`${proc}/net/ip_tables_names`, '');
  const chain = (name: string, base = '') =>
    `{"chain": {"family": "ip", "table": "big", "name": "${name}"${base}}}`;
  const hook = ', "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"';
  const rule = (of: string, expr: string) =>
    `{"rule": {"family": "ip", "table": "big", "chain": "${of}", "handle": 9, "expr": [${expr}]}}`;
  const many = Array.from({ length: 400 }, (_, i) => chain(`svc${i}`));
  const list = (...entries: string[]) => `{"nftables": [${entries.join(', ')}]}`;
  const runner = new Fake({
    'nft -j list chains': list(chain('f', hook), ...many),
    'nft -j list chain ip big f': list(chain('f', hook), rule('f', '{"jump": {"target": "svc7"}}')),
    'nft -j list chain ip big svc7': list(chain('svc7'), rule('svc7', '{"drop": null}')),
  });
  const [finding] = await new FirewallCheck().look(subjectOf(runner));
  assert.match(finding!.about, /^nftables' table ip big, chain svc7: the rule "handle 9"/);
  assert.ok(!runner.ran.some((words) => words === 'nft -j list table ip big'));
});

test('a counter that grows is told where the rule is about our packets, and else is not', async () => {
  fs.writeFileSync(`${proc}/net/ip_tables_names`, 'filter\n');
  const runner = new Fake({ 'iptables-save -c': '' }, ['nft']);
  const check = new FirewallCheck();
  const found = async (packets: number) => {
    runner.answers['iptables-legacy-save -c -t filter'] = filter(
      `[${packets}:9] -A INPUT -i ens33 -m set --match-set bad src -j DROP`,
      `[${packets}:9] -A FORWARD -i flannel.1 -m set --match-set bad src -j DROP`,
    );
    return await check.look(subjectOf(runner));
  };
  assert.deepEqual(await found(3), []);
  assert.deepEqual(await found(3), []);
  const [finding, ...more] = await found(5);
  assert.deepEqual(
    [finding!.code, finding!.severity, more],
    ['firewall-drops-some', 'warning', []],
  );
  assert.match(
    finding!.text,
    /"-A FORWARD -i flannel\.1 .* drops some packets from .*; just now it counted 2 packets$/,
  );
  assert.deepEqual(await found(5), []);
});

test('tables that only translate addresses are not read', async () => {
  fs.writeFileSync(`${proc}/net/ip_tables_names`, '');
  const runner = new Fake({
    'nft -j list chains':
      '{"nftables": [{"chain": {"family": "ip", "table": "nat", "name": "PREROUTING", ' +
      '"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}}]}',
  });
  assert.deepEqual(await new FirewallCheck().look(subjectOf(runner)), []);
  assert.ok(!runner.ran.some((words) => /\bnat\b/.test(words)), runner.ran.join('\n'));
});

/** The rules of recorded/, with weft's own: what is found of them, and nothing where all is well. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { GUARD, guardLines } from '../../../../src/control/host/firewall/guard-rules.js';
import { FILTER, linesOf } from '../../../../src/control/host/firewall/iptables-rules.js';
import type { Finding } from '../../../../src/operate/findings/finding.js';
import { FirewallCheck } from '../../../../src/operate/findings/firewall/check.js';
import { Fake, subjectOf } from './fake-host.js';
import { recorded } from './recorded.js';

const proc = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-proc-'));
fs.mkdirSync(`${proc}/net`);
after(() => fs.rmSync(proc, { recursive: true }));

const NET = { network: '10.5.0.0/16', subnet: '10.5.52.0/24' };
const FORWARD = linesOf(FILTER, { ...NET, masquerade: false, fullyRandom: false, forward: true });
const GUARDS = guardLines({
  ...{ port: 8472, device: 'flannel.1', subnet: NET.subnet, inside: NET.subnet },
  bridges: ['docker0'],
});

/** weft's own rules in a table of iptables-save; it and the others may each have come first. */
function withOurs(block: string, isFirst: boolean): string {
  const isFilter = block.startsWith('*filter');
  if (!isFilter) return block;
  const lines = block.split('\n');
  const [jump, ...chain] = FORWARD;
  const first = lines.findIndex((line) => line.startsWith('-A FORWARD'));
  lines.splice(isFirst ? first : lines.lastIndexOf('COMMIT'), 0, jump!);
  lines.splice(lines.lastIndexOf('COMMIT'), 0, ...chain);
  return lines.join('\n');
}

interface Entry {
  readonly chain?: { readonly family: string; readonly table: string };
}

/** What the check finds on a host with such rules and weft's own. */
async function lookAt(name: string, isFirst = false): Promise<readonly Finding[]> {
  const runner = name.endsWith('.txt') ? iptablesHost(name, isFirst) : nftHost(name);
  return await new FirewallCheck().look(subjectOf(runner, proc));
}

function iptablesHost(name: string, isFirst: boolean): Fake {
  const ours = `*mangle\n:${GUARD.chain} - [0:0]\n${GUARDS.join('\n')}\nCOMMIT`;
  const blocks = [...(recorded(name).match(/^\*.*?^COMMIT$/gms) ?? []), ours];
  assert.ok(blocks.length > 1, name);
  const names = blocks.map((block) => /^\*(\S+)/.exec(block)![1]!);
  fs.writeFileSync(`${proc}/net/ip_tables_names`, `${names.join('\n')}\n`);
  const saved = blocks.map((block, i) => [
    `iptables-legacy-save -c -t ${names[i]}`,
    withOurs(block, isFirst),
  ]);
  return new Fake({ ...Object.fromEntries(saved), 'iptables-save -c': '' }, ['nft']);
}

function nftHost(name: string): Fake {
  fs.writeFileSync(`${proc}/net/ip_tables_names`, '');
  const { nftables } = JSON.parse(recorded(name)) as { nftables: Entry[] };
  const list = (entries: readonly Entry[]) => JSON.stringify({ nftables: entries });
  const runner = new Fake({
    'nft -j list chains': list(nftables.filter(({ chain }) => chain !== undefined)),
  });
  for (const { chain } of nftables) {
    if (chain === undefined) continue;
    const { family, table } = chain;
    const isIts = (of: unknown) => {
      const { family: its, table: whose } = (of ?? {}) as NonNullable<Entry['chain']>;
      return its === family && whose === table;
    };
    runner.answers[`nft -j list table ${family} ${table}`] = list(
      nftables.filter((entry) => isIts(Object.values(entry)[0])),
    );
    runner.answers[`nft -a -s -t list table ${family} ${table}`] = '';
  }
  return runner;
}

for (const name of [
  ...['docker-20.txt', 'docker-26.txt', 'netavark-1.4.txt', 'netavark-1.14.nft'],
  ...['ufw-open.txt', 'kubernetes-1.22.txt', 'kube-proxy-1.31.txt', 'calico.txt'],
  ...['firewalld-1.3-open.nft', 'firewalld-2.3-open.nft', 'firewalld-2.5-open.nft'],
  ...['firewalld-1.3-open.txt', 'firewalld-2.3-open.txt', 'firewalld-2.5-open.txt'],
]) {
  test(`${name}, and weft's own rules before or behind: nothing is found`, async () => {
    assert.deepEqual(await lookAt(name, true), []);
    assert.deepEqual(await lookAt(name, false), []);
  });
}

test('Docker 28 with direct routing: nothing, or where it drops first, its own chain for it', async () => {
  assert.deepEqual(await lookAt('docker-28-direct.txt', true), []);
  const [finding, ...more] = await lookAt('docker-28-direct.txt', false);
  assert.deepEqual(more, []);
  assert.match(
    finding!.about,
    /chain DOCKER: the rule "-A DOCKER ! -i docker0 -o docker0 -j DROP"/,
  );
  assert.equal(
    finding!.cure,
    'iptables-legacy -I DOCKER-USER -i flannel.1 -s 10.5.0.0/16 -d 10.5.52.0/24 -j ACCEPT',
  );
});

test("Docker 28 as it comes: what it drops of a published container's, too", async () => {
  const cures = (await lookAt('docker-28.txt', true)).map(({ cure }) => cure);
  assert.deepEqual(cures, [
    'iptables-legacy -t raw -I PREROUTING -i flannel.1 -s 10.5.0.0/16 -d 10.5.52.0/24 -j ACCEPT',
  ]);
});

const RELOAD = 'firewall-cmd --reload';
const permanent = (words: string) => `firewall-cmd --permanent ${words} && ${RELOAD}`;
const TRUSTED = (device: string) => permanent(`--zone=trusted --change-interface=${device}`);

for (const [name, chains, cures] of [
  ['ufw-closed.txt', ['INPUT'], ['ufw allow in on ens33 to any port 8472 proto udp']],
  ...(
    [
      ['firewalld-1.3-closed.nft', ['filter_IN_public', 'filter_FWD_public']],
      ['firewalld-2.3-closed.nft', ['filter_INPUT_POLICIES', 'filter_FORWARD_POLICIES']],
      ['firewalld-2.5-closed.nft', ['filter_IN_public_to_HOST', 'filter_FWD_public_to_public']],
      ['firewalld-1.3-closed.txt', ['IN_public', 'FWD_public']],
      ['firewalld-2.3-closed.txt', ['INPUT_POLICIES', 'FORWARD_POLICIES']],
      ['firewalld-2.5-closed.txt', ['IN_public_to_HOST', 'FWD_public_to_public']],
    ] as const
  ).map(
    ([file, where]) =>
      [
        file,
        where,
        [
          permanent('--zone=public --add-port=8472/udp'),
          'firewall-cmd --permanent --zone=trusted --change-interface=docker0 && ' +
            TRUSTED('flannel.1'),
        ],
      ] as const,
  ),
  [
    'firewalld-1.3-source-zone.nft',
    ['filter_IN_internal'],
    [permanent('--zone=internal --add-port=8472/udp')],
  ],
  [
    'firewalld-1.3-rich.nft',
    ['filter_IN_public_deny'],
    [
      permanent(
        "--zone=public --add-rich-rule='rule priority=-32768 family=ipv4 port port=8472 protocol=udp accept'",
      ),
    ],
  ],
] as const) {
  test(`${name}: found, with the command of the program that wrote it`, async () => {
    // With nothing of weft's before it, as after a reload.
    const found = await lookAt(name, false);
    const where = found.map(({ about }) => /chain ([^:]+):/.exec(about)![1]);
    assert.deepEqual(where, chains, JSON.stringify(found, undefined, 1));
    assert.deepEqual(
      found.map(({ cure }) => cure),
      cures,
    );
  });
}

test("firewalld's policy that drops what containers send: a rule of that policy", async () => {
  const cures = (await lookAt('firewalld-1.3-policy.nft')).map(({ cure }) => cure);
  const rich = (source: string, destination: string) =>
    `--policy=stop --add-rich-rule='rule priority=-32768 family=ipv4 source address=${source} destination address=${destination} accept'`;
  assert.deepEqual(cures, [
    `firewall-cmd --permanent ${rich('10.5.52.0/24', '10.5.0.0/16')} && ` +
      permanent(rich('10.5.0.0/16', '10.5.52.0/24')),
  ]);
});

test("firewalld's panic: out of it, by its own word", async () => {
  const found = await lookAt('firewalld-1.3-panic.nft');
  const cures = new Set(
    found.filter(({ about }) => /policy_drop/.test(about)).map(({ cure }) => cure),
  );
  assert.deepEqual([...cures], ['firewall-cmd --panic-off']);
});

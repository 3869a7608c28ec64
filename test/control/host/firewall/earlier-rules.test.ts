import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findEarlier } from '../../../../src/control/host/firewall/earlier-rules.js';
import { FakeIptables } from './fake-iptables.js';

const NETWORK = '10.5.0.0/16';
const INSIDE = '-s 10.5.0.0/16 -d 10.5.0.0/16 -j RETURN';
const LEAVING = '-s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE';
const TO_OWN = '! -s 10.5.0.0/16 -d 10.5.52.0/24 -j RETURN';
const ENTERING = '! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE';
const FOREIGN = [
  '-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
  '-s 10.6.0.0/16 -d 10.5.0.0/16 -j RETURN',
];

/** The nat table with these rules, and others around them. */
function host(rules: readonly string[], chains: Record<string, string[]> = {}): FakeIptables {
  const made = new FakeIptables();
  made.save('nat');
  made.chain('nat', 'POSTROUTING')!.push(FOREIGN[0]!, ...rules, FOREIGN[1]!);
  for (const [name, lines] of Object.entries(chains)) made.tables.get('nat')!.set(name, lines);
  return made;
}

/** By release of flannel. */
const KNOWN: readonly [string, readonly string[], Record<string, string[]>][] = [
  ['0.6 and 0.7', [INSIDE, LEAVING, ENTERING], {}],
  ['0.8 to 0.10', [INSIDE, LEAVING, TO_OWN, ENTERING], {}],
  ['0.11 to 0.18', [INSIDE, `${LEAVING} --random-fully`, TO_OWN, `${ENTERING} --random-fully`], {}],
  [
    'up to 0.5',
    ['-s 10.5.0.0/16 -j FLANNEL', ENTERING],
    { FLANNEL: ['-d 10.5.0.0/16 -j ACCEPT', '! -d 224.0.0.0/4 -j MASQUERADE'] },
  ],
];

for (const [release, rules, chains] of KNOWN) {
  test(`what flannel ${release} made is taken out, and nothing else`, () => {
    const made = host(rules, chains);
    const { mending, doubtful } = findEarlier(made.save(), NETWORK);
    assert.deepEqual(doubtful, []);
    assert.equal(made.restore(mending!.input), undefined);
    assert.deepEqual(made.chain('nat', 'POSTROUTING'), FOREIGN);
    assert.equal(made.chain('nat', 'FLANNEL'), undefined);
    assert.deepEqual(findEarlier(made.save(), NETWORK), { mending: null, doubtful: [] });
  });

  test(`what flannel ${release} made for another network is none of ours`, () => {
    const found = findEarlier(host(rules, chains).save(), '10.9.0.0/16');
    assert.deepEqual(found, { mending: null, doubtful: [] });
  });
}

test('rules that stand twice, as after two releases, all go', () => {
  const made = host([INSIDE, LEAVING, ENTERING, INSIDE, `${LEAVING} --random-fully`, ENTERING]);
  made.restore(findEarlier(made.save(), NETWORK).mending!.input);
  assert.deepEqual(made.chain('nat', 'POSTROUTING'), FOREIGN);
});

test("some of them without the others may be anybody's: they stay, and those that masquerade are named", () => {
  for (const [rules, named] of [
    [[ENTERING], [ENTERING]],
    [[INSIDE, LEAVING], [LEAVING]],
    [[INSIDE, ENTERING], [ENTERING]],
    [[INSIDE, TO_OWN], []],
    [
      [LEAVING, TO_OWN, ENTERING],
      [LEAVING, ENTERING],
    ],
  ] as const) {
    const { mending, doubtful } = findEarlier(host(rules).save(), NETWORK);
    assert.equal(mending, null);
    assert.deepEqual(
      doubtful,
      named.map((rule) => `-A POSTROUTING ${rule}`),
    );
  }
});

test("rules that only look alike are nobody's but their maker's", () => {
  const alike = [
    `${ENTERING} --to-ports 1024`,
    `-o eth0 ${ENTERING}`,
    ENTERING.replace('10.5.0.0/16 -j', '10.5.0.0/17 -j'),
    ENTERING.replace('-j', '-m comment --comment "mine" -j'),
  ];
  assert.deepEqual(findEarlier(host(alike).save(), NETWORK), { mending: null, doubtful: [] });
});

test("a chain FLANNEL that holds another rule, or that somebody else jumps to, is not flannel's alone", () => {
  const jump = '-s 10.5.0.0/16 -j FLANNEL';
  const [accept, masquerade] = ['-d 10.5.0.0/16 -j ACCEPT', '! -d 224.0.0.0/4 -j MASQUERADE'];
  const changed = host([jump, ENTERING], { FLANNEL: [accept, '-j LOG', masquerade] });
  const found = findEarlier(changed.save(), NETWORK);
  assert.equal(found.mending, null);
  assert.equal(found.doubtful.length, 2);
  const used = host([jump, ENTERING, '-o eth9 -j FLANNEL'], { FLANNEL: [accept, masquerade] });
  assert.equal(used.restore(findEarlier(used.save(), NETWORK).mending!.input), undefined);
  assert.deepEqual(used.chain('nat', 'FLANNEL'), [accept, masquerade]);
});

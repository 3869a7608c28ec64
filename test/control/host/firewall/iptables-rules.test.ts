import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  clean,
  FILTER,
  isHidden,
  isOf,
  linesOf,
  mend,
  NAT,
  obstacles,
  PLACES,
  type Place,
  parseSaved,
} from '../../../../src/control/host/firewall/iptables-rules.js';
import type { Rules } from '../../../../src/control/host/firewall/rules.js';
import { FakeIptables } from './fake-iptables.js';
import { IPTABLES, rulesOf } from './recorded.js';

const RULES: Rules = {
  network: '10.20.0.0/16',
  subnet: '10.20.23.0/24',
  masquerade: true,
  fullyRandom: true,
  forward: true,
};

describe('the rules', () => {
  for (const recorded of IPTABLES) {
    test(`are those recorded beside flanneld, byte for byte: ${recorded.title}`, () => {
      for (const place of PLACES) {
        const { lines } = parseSaved(place, recorded.listing);
        assert.deepEqual(
          linesOf(place, rulesOf(recorded)),
          lines.filter((line) => isOf(place, line)),
        );
      }
    });

    test(`and set on what was there before they make the recorded listing: ${recorded.title}`, () => {
      const rules = rulesOf(recorded);
      const host = new FakeIptables();
      for (const place of PLACES) {
        const wanted = linesOf(place, rules);
        if (wanted.length === 0) continue;
        host.save(place.table);
        for (const line of parseSaved(place, recorded.listing).lines) {
          if (isOf(place, line)) continue;
          host.chain(place.table, place.hooks[0]!)!.push(line.replace(`-A ${place.hooks[0]} `, ''));
        }
        host.restore(mend(place, parseSaved(place, host.save()), wanted)!.input);
        // A chain's policy is no business of ours.
        const text = recorded.listing.replace('FORWARD DROP', 'FORWARD ACCEPT');
        const from = text.indexOf(`*${place.table}`);
        assert.ok(host.save(place.table).includes(text.slice(from, text.indexOf('COMMIT', from))));
      }
    });
  }
});

describe('a table is mended', () => {
  const after = (place: Place, change: (host: FakeIptables, chain: string[]) => void) => {
    const host = new FakeIptables();
    const wanted = linesOf(place, RULES);
    host.restore(mend(place, parseSaved(place, host.save()), wanted)!.input);
    const before = host.save();
    change(host, host.chain(place.table, place.chain)!);
    const mending = mend(place, parseSaved(place, host.save()), wanted);
    if (mending !== null) assert.equal(host.restore(mending.input), undefined);
    return { wrong: mending?.wrong ?? [], same: host.save() === before, host };
  };

  test('when nothing is wrong: not at all', () => {
    assert.deepEqual(after(NAT, () => {}).wrong, []);
  });

  test('whatever was taken away, and it is said what', () => {
    const cases: [Place, (host: FakeIptables, chain: string[]) => void, string][] = [
      [FILTER, (_, chain) => chain.splice(0, 1), 'FLANNEL-FWD lacked 1 rule'],
      [FILTER, (_, chain) => chain.splice(0), 'FLANNEL-FWD lacked 2 rules'],
      [
        FILTER,
        (host) => host.chain('filter', 'FORWARD')!.splice(0),
        'FORWARD had no jump to FLANNEL-FWD',
      ],
      [NAT, (_, chain) => chain.splice(2, 1), 'FLANNEL-POSTRTG lacked 1 rule'],
      [NAT, (_, chain) => chain.push(chain.shift()!), 'FLANNEL-POSTRTG was out of order'],
      [NAT, (_, chain) => chain.push(chain[0]!), 'FLANNEL-POSTRTG held a rule twice'],
      [
        NAT,
        (_, chain) => chain.push('-s 10.9.0.0/16 -m comment --comment "flanneld masq" -j RETURN'),
        "FLANNEL-POSTRTG held 1 other rule of flannel's",
      ],
      [
        NAT,
        (host) => host.chain('nat', 'POSTROUTING')!.push(...host.chain('nat', 'POSTROUTING')!),
        'POSTROUTING jumped to FLANNEL-POSTRTG 2 times',
      ],
      [
        NAT,
        (host) =>
          host
            .chain('nat', 'POSTROUTING')!
            .push('-s 10.20.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE'),
        "POSTROUTING held 1 old rule of flannel's",
      ],
    ];
    for (const [place, change, said] of cases) {
      const { wrong, same } = after(place, change);
      assert.deepEqual(wrong, [said]);
      assert.ok(same, said);
    }
    const { wrong, same } = after(NAT, (host) => host.tables.delete('nat'));
    assert.deepEqual(wrong, [
      'FLANNEL-POSTRTG was gone',
      'POSTROUTING had no jump to FLANNEL-POSTRTG',
    ]);
    assert.ok(same);
  });

  test("others' rules before ours go behind them, and those around the jump stay", () => {
    const { wrong, host } = after(FILTER, (fake, chain) => {
      chain.unshift('-s 1.2.3.4/32 -j DROP');
      fake.chain('filter', 'FORWARD')!.unshift('-j LOG');
    });
    assert.deepEqual(wrong, ['FLANNEL-FWD had rules of others before ours']);
    assert.deepEqual(host.chain('filter', 'FLANNEL-FWD')!.at(-1), '-s 1.2.3.4/32 -j DROP');
    assert.deepEqual(host.chain('filter', 'FORWARD'), [
      '-j LOG',
      '-m comment --comment "flanneld forward" -j FLANNEL-FWD',
    ]);
  });
});

test("an emptied table keeps what is others'", () => {
  const host = new FakeIptables();
  const place = FILTER;
  host.restore(mend(place, parseSaved(place, host.save()), linesOf(place, RULES))!.input);
  host.chain('filter', 'FORWARD')!.push('-s 9.0.0.0/8 -j FLANNEL-FWD');
  host.restore(clean(place, parseSaved(place, host.save()))!.input);
  assert.deepEqual(host.chain('filter', 'FLANNEL-FWD'), []);
  assert.deepEqual(host.chain('filter', 'FORWARD'), ['-s 9.0.0.0/8 -j FLANNEL-FWD']);
  assert.equal(clean(place, parseSaved(place, host.save())), null);
  host.chain('filter', 'FORWARD')!.pop();
  host.restore(clean(place, parseSaved(place, host.save()))!.input);
  assert.equal(host.chain('filter', 'FLANNEL-FWD'), undefined);
});

test('a rule that takes everything before the jump is told, but for what is dropped', () => {
  const obstaclesIn = (place: Place, ...before: string[]) => {
    const lines = [...before, linesOf(place, RULES)[0]!].map((line) => `${line}\n`).join('');
    return obstacles(place, parseSaved(place, `*${place.table}\n${lines}COMMIT\n`));
  };
  const masquerade = '-A POSTROUTING -j MASQUERADE';
  assert.deepEqual(obstaclesIn(NAT, '-A POSTROUTING -s 1.0.0.0/8 -j ACCEPT', masquerade), [
    masquerade,
  ]);
  assert.deepEqual(obstaclesIn(NAT, '-A POSTROUTING -s 1.0.0.0/8 -j ACCEPT'), []);
  assert.deepEqual(obstaclesIn(FILTER, '-A FORWARD -j DROP', '-A FORWARD -j ACCEPT'), []);
});

test('a table that only nft can show is recognised', () => {
  const text = "# Table `nat' is incompatible, use 'nft' tool.\n";
  assert.equal(isHidden(NAT, text), true);
  assert.equal(isHidden(FILTER, text), false);
});

/** A table in any state: ours, old ones of flannel's and others', in any order, some twice. */
const anyTable = (place: Place) => {
  const own = linesOf(place, RULES);
  const old = linesOf(place, { ...RULES, network: '10.9.0.0/16', subnet: '10.9.1.0/24' });
  const strip = (line: string) => line.replace(/^-A \S+ /, '');
  const others = ['-j LOG', '-s 1.2.3.4/32 -j DROP', '-p tcp -j RETURN'];
  const inChain = fc.array(fc.constantFrom(...[...own, ...old].slice(1).map(strip), ...others));
  const inHook = fc.array(
    fc.constantFrom(
      strip(own[0]!),
      strip(own[0]!),
      strip(own[1]!),
      ...others,
      `-s 9.0.0.0/8 -j ${place.chain}`,
    ),
  );
  return fc.record({ chain: fc.option(inChain), hook: inHook }).map(({ chain, hook }) => {
    const host = new FakeIptables();
    host.save(place.table);
    host
      .chain(place.table, place.hooks[0]!)!
      .push(...hook.filter((line) => chain || !/-j FLANNEL/.test(line)));
    if (chain !== null) host.tables.get(place.table)!.set(place.chain, chain);
    return host;
  });
};

for (const place of PLACES) {
  const { table, chain } = place;
  const hook = place.hooks[0]!;
  const wanted = linesOf(place, RULES);
  const foreign = (lines: readonly string[] = []) =>
    lines.filter((line) => !line.includes('flanneld'));

  test(`from any state of ${table}, mending once is enough, and costs others nothing`, () => {
    fc.assert(
      fc.property(anyTable(place), (host) => {
        const before = { hook: [...host.chain(table, hook)!], chain: host.chain(table, chain) };
        const mending = mend(place, parseSaved(place, host.save()), wanted);
        if (mending !== null) assert.equal(host.restore(mending.input), undefined);
        assert.equal(mend(place, parseSaved(place, host.save()), wanted), null);

        const rules = wanted.slice(1).map((line) => line.replace(/^-A \S+ /, ''));
        assert.deepEqual(host.chain(table, chain), [...rules, ...foreign(before.chain)]);
        assert.deepEqual(foreign(host.chain(table, hook)), foreign(before.hook));
        assert.equal(
          host.chain(table, hook)!.filter((line) => line.includes('flanneld')).length,
          1,
        );
      }),
    );
  });

  test(`from any state of ${table}, cleaning once is enough, and costs others nothing`, () => {
    fc.assert(
      fc.property(anyTable(place), (host) => {
        const before = { hook: [...host.chain(table, hook)!], chain: host.chain(table, chain) };
        const mending = clean(place, parseSaved(place, host.save()));
        if (mending !== null) assert.equal(host.restore(mending.input), undefined);
        assert.equal(clean(place, parseSaved(place, host.save())), null);
        assert.deepEqual(foreign(host.chain(table, hook)), foreign(before.hook));
        assert.deepEqual(foreign(host.chain(table, chain)), foreign(before.chain));
        if (foreign(before.chain).length === 0) {
          assert.doesNotMatch(host.save(), /flanneld/);
        }
      }),
    );
  });
}

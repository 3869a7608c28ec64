/** What is told of leases that are not as they should be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeRefused, judgeUnsound } from '../../../src/operate/findings/unsound.js';
import type { UnsoundLease } from '../../../src/operate/status/status.js';
import { fullStatus } from '../status/full.js';

const KEY = '10.10.9.0-24';
const judge = (...unsoundLeases: UnsoundLease[]) => [
  ...judgeUnsound({ ...fullStatus, unsoundLeases }),
  ...judgeRefused({ ...fullStatus, unsoundLeases }),
];
const one = (flanneld: UnsoundLease['flanneld'], used: boolean, key = KEY) => {
  const [found, ...none] = judge({ key, why: 'is wrong', used, flanneld });
  assert.deepEqual(none, []);
  return found!;
};

test('what hurts a flanneld is an error of the store, whether weft uses it or not', () => {
  assert.deepEqual(judge(), []);
  for (const does of [
    'drops all',
    'drops all, by key',
    'stops',
    'is cut off',
    'misdirects',
  ] as const) {
    for (const used of [true, false]) {
      const { code, severity, scope, about, text } = one(does, used);
      assert.deepEqual([code, severity, scope], ['lease-harmful', 'error', 'store'], does);
      assert.equal(about, `lease ${KEY}`);
      assert.match(text, /^lease 10\.10\.9\.0-24 is wrong; each flanneld .*; no weft is harmed$/);
    }
  }
});

test('what costs its own host alone is a warning; what neither uses is no harm', () => {
  const kind = ({ code, severity, scope }: ReturnType<typeof one>) =>
    `${severity} ${code} ${scope}`;
  assert.equal(kind(one('stalls', false)), 'warning lease-harmful store');
  assert.equal(kind(one('skips', true)), 'warning lease-harmful store');
  assert.equal(kind(one('takes', true)), 'warning lease-harmful store');
  assert.equal(kind(one('skips', false)), 'warning lease-refused peer');
  assert.equal(kind(one('takes', false)), 'warning lease-refused peer');
  assert.equal(kind(one(null, false)), 'warning lease-refused peer');
  assert.equal(one('skips', false).text, 'lease 10.10.9.0-24 is wrong');
});

test('the cure is the whole command, with what is to be done afterwards', () => {
  const etcdctl = 'etcdctl --endpoints=http://192.168.56.131:2379 del';
  assert.match(one('misdirects', true).cure, new RegExp(`^${etcdctl} /\\S+/subnets/${KEY}$`));
  assert.match(one('drops all', false).cure, / +\(then restart each flanneld\)$/);
  // A shell would take what is behind & for another command.
  const dual = one('stops', false, `${KEY}&fd00::-64`);
  assert.match(dual.cure, /del '\/\S+\/subnets\/10\.10\.9\.0-24&fd00::-64' +\(.* kill -9 /);
  const odd = one('drops all, by key', false, "o'clock");
  assert.match(odd.cure, /subnets\/o'\\''clock' +\(.*once more/);
  const [file] = judgeRefused({
    unsoundLeases: [{ key: 'b', why: 'is wrong', used: false, flanneld: null }],
    ...{ store: 'the file /n.json', etcdctlFlags: '' },
  });
  assert.equal(file!.cure, 'correct its entry in the file /n.json, or remove it');
});

test('a great many are a number', () => {
  const many = Array.from({ length: 30 }, (_, i) => {
    return { key: `k${i}`, why: 'is wrong', used: false, flanneld: null };
  });
  const found = judge(...many);
  assert.equal(found.length, 11);
  assert.match(found.at(-1)!.text, /^20 more leases are not used$/);
  const bad = { key: 'bad', why: 'is wrong', used: true, flanneld: 'stops' } as const;
  const odd = many.map((lease) => ({ ...lease, used: true, flanneld: 'takes' as const }));
  assert.equal(judge(...odd, bad)[0]!.about, 'lease bad', 'what weighs most comes first');
});

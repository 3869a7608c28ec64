/** The bench's arithmetic: order statistics, ratios, bars, counters, the plan and its plot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BARS, type Bar, barTitle, standing } from '../../bench/bars.js';
import { CASES, datagramSize } from '../../bench/cases.js';
import { imbalance } from '../../bench/integrity.js';
import { findCount, findReceivedBytes } from '../../bench/kernel-counts.js';
import { commandOf } from '../../bench/machine.js';
import { choose, DOCKER, estimate, FULL, QUICK } from '../../bench/plan.js';
import { plotBars, ticks } from '../../bench/plot.js';
import { isWeft, parseSystem } from '../../bench/rig.js';
import {
  judgeBars,
  judgeComparators,
  type Row,
  showBars,
  showComparators,
  summarize,
} from '../../bench/rows.js';
import { spread } from '../../bench/statistics.js';
import type { Status } from '../../src/operate/status/status.js';

test('spread: odd and even numbers of runs, any order', () => {
  assert.deepEqual(spread([3, 1, 2]), { n: 3, min: 1, median: 2, p95: 3, max: 3 });
  assert.equal(spread([4, 1, 2, 3]).median, 2.5);
  assert.deepEqual(spread([7]), { n: 1, min: 7, median: 7, p95: 7, max: 7 });
  assert.throws(() => spread([]), RangeError);
  // The mean of two near the largest double would be infinite; nothing measured is.
  const measured = fc.double({ noNaN: true, min: -1e300, max: 1e300 });
  fc.assert(
    fc.property(fc.array(measured, { minLength: 1 }), (values) => {
      const { min, median, max } = spread(values);
      assert.ok(min <= median && median <= max);
      const below = values.filter((value) => value < median).length;
      const above = values.filter((value) => value > median).length;
      assert.ok(below <= values.length / 2 && above <= values.length / 2);
    }),
  );
});

/** A row in which every system has these runs of Gb/s. */
function row(systems: Record<string, number[]>, more: Partial<Row> = {}): Row {
  const runs = Object.entries(systems).map(
    ([name, values]) =>
      [name, values.map((value) => ({ 'Gb/s': value, 'CPU s/GB': 10 / value, lost: 0 }))] as const,
  );
  return {
    ...{ wire: 'plain', case: 'tcp1', title: 'TCP', unit: 'Gb/s', congestionControl: 'bbr' },
    ...more,
    systems: summarize(new Map(runs)),
  };
}

test('ratios are those of neighbours in time, and their median is not that of the medians', () => {
  const { systems } = row({ kernel: [1, 10, 100], weft: [2, 10, 50] });
  const ratio = systems.weft!.ratios.kernel!['Gb/s']!;
  assert.deepEqual([ratio.min, ratio.median, ratio.max], [0.5, 1, 2]);
  assert.equal(systems.kernel!.ratios.kernel, undefined);
  assert.equal(systems.weft!.ratios.limit, undefined);
  // Nothing is divided by 0.
  assert.deepEqual(Object.keys(systems.weft!.ratios.kernel!), ['Gb/s', 'CPU s/GB']);
});

test('a bar: above its goal, above its floor, below; and the other way round for upper bounds', () => {
  const bar: Bar = { wire: 'plain', case: 'a', system: 'weft', figure: 'x', floor: 1, goal: 2 };
  const words = (one: Bar, values: (number | undefined)[]) => values.map((v) => standing(one, v));
  assert.deepEqual(words(bar, [2, 1.99, 1, 0.99, undefined, Number.NaN]), [
    ...['above goal', 'above floor', 'above floor', 'BELOW', 'not measured', 'not measured'],
  ]);
  const most: Bar = { ...bar, floor: 1.5, goal: 1.25, atMost: true };
  assert.deepEqual(words(most, [1.25, 1.3, 1.51]), ['above goal', 'above floor', 'BELOW']);
  const { floor: _, ...goalOnly } = bar;
  assert.deepEqual(words(goalOnly, [2, 1.9]), ['above goal', 'BELOW']);
});

test('every bar names a case, a figure and systems that the full run has', () => {
  const names = CASES.map((one) => one.name);
  for (const bar of BARS) {
    assert.ok(names.includes(bar.case), barTitle(bar));
    const part = FULL.find((one) => one.cases.includes(bar.case) && one.wires.includes(bar.wire));
    assert.ok(part, barTitle(bar));
    for (const system of [bar.system, bar.to ?? 'weft']) assert.ok(part.systems.includes(system));
    assert.ok(bar.floor !== undefined || bar.goal !== undefined);
    if (bar.floor === undefined || bar.goal === undefined) continue;
    assert.equal(bar.goal < bar.floor, bar.atMost === true, barTitle(bar));
  }
  assert.equal(new Set(BARS.map(barTitle)).size, BARS.length, 'a bar stands there twice');
});

test('bars are found in the rows, and what was not measured is said', () => {
  const rows = [row({ kernel: [10, 10], weft: [14, 14], limit: [12, 12], 'one-packet': [1, 1] })];
  const verdicts = judgeBars(rows);
  const of = (to: string, figure: string) =>
    verdicts.find(
      (one) =>
        one.wire === 'plain' &&
        one.case === 'tcp1' &&
        one.system === 'weft' &&
        one.to === to &&
        one.figure === figure,
    )!;
  assert.equal(of('kernel', 'Gb/s').measured, 1.4);
  assert.equal(of('kernel', 'Gb/s').standing, 'above goal');
  assert.ok(Math.abs(of('kernel', 'CPU s/GB').measured! - 1 / 1.4) < 1e-9);
  assert.equal(of('limit', 'Gb/s').standing, 'above floor');
  assert.ok(verdicts.some((one) => one.standing === 'not measured'));
  assert.match(showBars(verdicts), /tcp1, plain wire: weft \/ kernel, Gb\/s .*1\.40 {2}above goal/);
});

test('a comparator that is not at its best is void', () => {
  const said = (limit: number, one: number) =>
    showComparators(judgeComparators([row({ kernel: [10], limit: [limit], 'one-packet': [one] })]));
  assert.match(said(11.8, 0.9), /limit, plain wire: valid \(1\.18 of kernel\)\n.*valid \(0\.90 Gb/);
  assert.match(said(11.4, 0.7), /limit.*VOID \(1\.14 of kernel, not 1\.15\)\n.*VOID \(0\.70/);
  assert.deepEqual(judgeComparators([row({ kernel: [10], weft: [10] })]), []);
});

test('packets that a weft cannot account for', () => {
  const status = (change: object, drops = {}) =>
    ({
      counters: {
        ...{ outbound_in_packets: 10, outbound_out_packets: 10 },
        ...{ inbound_in_packets: 20, inbound_out_packets: 20, generated_packets: 0, ...change },
      },
      drops,
    }) as unknown as Status;
  assert.deepEqual(imbalance(status({})), []);
  assert.deepEqual(imbalance(status({ outbound_in_packets: 12 }, { send_denied: 2 })), []);
  assert.deepEqual(imbalance(status({ inbound_in_packets: 22 }, { tun_refused: 2 })), []);
  assert.equal(imbalance(status({ inbound_in_packets: 22 }, { send_denied: 2 })).length, 2);
  assert.equal(imbalance(status({ outbound_out_packets: 9 })).length, 1);
});

test('counters are found by name in /proc/net/snmp', () => {
  const text = 'Tcp: InSegs InCsumErrors\nTcp: 7 1\nUdp: InCsumErrors InErrors\nUdp: 2 9\n';
  assert.equal(findCount(text, 'Tcp', 'InCsumErrors'), 1);
  assert.equal(findCount(text, 'Udp', 'InCsumErrors'), 2);
  assert.equal(findCount(text, 'Udp', 'Nothing'), undefined);
  const dev = 'Inter-| Receive\n face |bytes packets\n    lo: 5 1\n  eth0:1234 7 0\n';
  assert.equal(findReceivedBytes(dev, 'eth0'), 1234);
  assert.equal(findReceivedBytes(dev, 'eth1'), undefined);
});

test('what is chosen is run, and nothing else', () => {
  assert.deepEqual(choose({ quick: false }), FULL);
  assert.deepEqual(choose({ quick: true }), QUICK);
  assert.deepEqual(choose({ quick: false, docker: true }), DOCKER);
  const [udp, ...rest] = choose({ quick: false, cases: 'udp512', systems: 'weft', wires: 'on' });
  assert.deepEqual([udp!.cases, udp!.systems, udp!.wires], [['udp512'], ['weft'], ['on']]);
  assert.equal(rest.length, 0);
  assert.deepEqual(
    choose({ quick: false, cases: 'tcp1,rr1' }).map(({ name }) => name),
    ['throughput', 'latency'],
  );
  assert.deepEqual(choose({ quick: false, parts: 'datagrams' }), [FULL[3]]);
  assert.throws(() => choose({ quick: false, cases: 'tpc1' }), /no case tpc1; there are tcp1/);
  assert.throws(() => choose({ quick: false, wires: 'off' }), /no wire off/);
  assert.throws(() => choose({ quick: false, parts: 'x' }), /no part x/);
});

test('the whole fits into an hour, the headline into three minutes', () => {
  assert.ok(estimate(FULL, 5, 3, 5) < 60 * 60);
  assert.ok(estimate(QUICK, 3, 2, 5) < 3 * 60);
  assert.ok(estimate(DOCKER, 5, 2, 5) < 2 * 60);
});

test('systems by name', () => {
  assert.deepEqual(parseSystem('weft').vteps, ['weft', 'weft']);
  assert.deepEqual(parseSystem('kernel>weft:none').vteps, ['kernel', 'weft:none']);
  const wefts = ['weft', 'weft:none', 'weft@/x'].map((name) => isWeft(name as 'weft'));
  assert.deepEqual(wefts, [true, true, true]);
  assert.equal(isWeft('limit'), false);
  assert.equal(datagramSize('udp1400'), 1400);
  assert.equal(datagramSize('tcp1'), undefined);
});

test('the command is one that can be typed again', () => {
  assert.equal(
    commandOf(['node', '/x/dist/bench/side-by-side.js', '--quick']),
    'npm run bench -- --quick',
  );
  assert.equal(
    commandOf(['node', '/x/micro.js', '--only=a b']),
    "npm run bench -- micro '--only=a b'",
  );
  assert.equal(
    commandOf(['node', 'side-by-side.js', '--systems=weft>kernel']),
    "npm run bench -- '--systems=weft>kernel'",
  );
});

test('ticks are round, few, and reach nearly to the end', () => {
  assert.deepEqual(ticks(10), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(0), [0]);
  fc.assert(
    fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (most) => {
      const all = ticks(most);
      assert.ok(all.length >= 3 && all.length <= 6, `${all}`);
      assert.ok(all.at(-1)! <= most * 1.000_01 && all.at(-1)! > most / 2);
    }),
  );
});

test('a plot holds every name, value, note and the command', () => {
  const bar = { name: 'weft>kernel', min: 1, median: 2, max: 3, note: '0.50 of kernel' };
  const panel = { title: 'TCP & more', subtitle: 'plain wire', unit: 'Gb/s', bars: [bar] };
  const empty = { ...panel, title: 'nothing', bars: [] };
  const svg = plotBars([panel, empty, { ...panel, subtitle: 'offloads on' }], ['the machine']);
  for (const words of ['weft&gt;kernel', 'TCP &amp; more, plain wire', '2  (0.50 of kernel)']) {
    assert.ok(svg.includes(words), words);
  }
  assert.match(svg, /offloads on[\s\S]*>Gb\/s<[\s\S]*the machine/);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity|nothing/);
});

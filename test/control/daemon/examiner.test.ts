import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Examiner } from '../../../src/control/daemon/examiner.js';
import { HostError } from '../../../src/control/host/errors.js';
import type { Log } from '../../../src/control/runtime.js';
import type { HostCheck, Subject } from '../../../src/operate/findings/check.js';
import type { Finding } from '../../../src/operate/findings/finding.js';
import { fullStatus } from '../../operate/status/full.js';
import { FakeClock, settle } from '../fakes.js';

class FakeLog implements Log {
  readonly lines: string[] = [];
  error = (line: string): void => void this.lines.push(`error: ${line}`);
  warn = (line: string): void => void this.lines.push(`warn: ${line}`);
  info = (line: string): void => void this.lines.push(`info: ${line}`);
  debug = (): void => {};
}

const finding = (about: string, cure = ''): Finding => ({
  ...{ code: 'x', severity: 'error', scope: 'host', about, text: `${about} is off`, cure },
});

function make(
  look: () => readonly Finding[],
  statusLook = (): readonly Finding[] => [],
  beside = (): readonly Finding[] => [],
) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const check: HostCheck = { name: 'the thing', look: async () => look() };
  const examiner = new Examiner({
    ...{ clock, log, hostChecks: [check], statusChecks: [statusLook] },
    ...{ subject: () => ({}) as Subject, status: () => fullStatus, beside },
  });
  return { clock, log, examiner };
}

test('a finding is said once when it has lasted, and once when it is over', async () => {
  let found: Finding[] = [];
  const { clock, log, examiner } = make(() => found);
  examiner.start();
  await settle();
  assert.deepEqual([examiner.findings, log.lines], [[], []]);
  found = [finding('docker0', 'ip link set docker0 up')];
  await clock.pass(4_000);
  assert.deepEqual([examiner.findings, log.lines], [found, []], 'found, and not said yet');
  for (let i = 0; i < 5; i += 1) await clock.pass(4_000);
  assert.deepEqual(log.lines, ['warn: docker0 is off; do: ip link set docker0 up']);
  found = [];
  await clock.pass(4_000);
  assert.deepEqual(log.lines.slice(1), ['info: over: docker0 is off']);
  assert.deepEqual(examiner.findings, []);
});

test('all checks of a round have one subject, those of the next another', async () => {
  const [clock, log] = [new FakeClock(), new FakeLog()];
  const seen: Subject[] = [];
  const check = (name: string): HostCheck => ({
    name,
    look: async (subject) => {
      seen.push(subject);
      return [];
    },
  });
  const examiner = new Examiner({
    ...{ clock, log, hostChecks: [check('a'), check('b')], statusChecks: [] },
    ...{ subject: () => ({}) as Subject, status: () => fullStatus, beside: () => [] },
  });
  examiner.start();
  await settle();
  await clock.pass(4_000);
  const [first, second, third, fourth] = seen;
  assert.equal(seen.length, 4);
  assert.equal(first, second);
  assert.equal(third, fourth);
  assert.notEqual(first, third);
});

test('a check takes its share of the time at most, and no other one waits for that', async () => {
  const [clock, log] = [new FakeClock(), new FakeLog()];
  let spent = 0;
  const looks: Record<string, number[]> = { usual: [], eager: [] };
  const check = (name: 'usual' | 'eager', share?: number): HostCheck => ({
    ...{ name, ...(share === undefined ? {} : { share }) },
    look: async () => {
      looks[name]!.push(clock.now());
      spent += 90;
      return [];
    },
  });
  new Examiner({
    ...{ clock, log, hostChecks: [check('usual'), check('eager', 80)], statusChecks: [] },
    ...{ subject: () => ({}) as Subject, status: () => fullStatus, beside: () => [] },
    spent: () => spent,
  }).start();
  for (let i = 0; i < 30; i += 1) await clock.pass(2_000);
  const between = (name: string) =>
    new Set(looks[name]!.map((at, i, all) => at - (all[i - 1] ?? 0)));
  assert.deepEqual([...between('eager')], [0, 8_000]);
  assert.ok(Math.min(...[...between('usual')].slice(2)) >= 18_000);
});

test('what is over at the next look is not said at all', async () => {
  let found: Finding[] = [finding('a')];
  const { clock, log, examiner } = make(() => found);
  examiner.start();
  await settle();
  found = [];
  await clock.pass(20_000);
  assert.deepEqual(log.lines, []);
});

test('what comes and goes is not said each time, and is said in the end', async () => {
  let found: Finding[] = [finding('a')];
  const { clock, log, examiner } = make(() => found);
  examiner.start();
  await settle();
  await clock.pass(8_000);
  for (let i = 0; i < 8; i += 1) {
    found = i % 2 === 0 ? [] : [finding('a')];
    await clock.pass(8_000);
  }
  assert.deepEqual(log.lines, ['warn: a is off', 'info: over: a is off']);
  await clock.pass(120_000);
  assert.deepEqual(log.lines.slice(2), ['warn: a is off']);
});

const silent: Finding = {
  ...{ code: 'peer-silent', severity: 'error', scope: 'peer', about: 'peer 10.0.0.2' },
  ...{ text: 'the peer is silent', cure: '' },
};

test('what follows from a greater fault is not said, whoever found that; if it stays, it is then', async () => {
  for (const [code, beside] of [
    ['underlay-down', false],
    ['underlay-lost', true],
  ] as const) {
    const cause: Finding = { ...finding('ens33'), code };
    let [cut, causes] = [[silent], [cause]];
    const { clock, log, examiner } = make(
      () => [...(beside ? [] : causes), ...cut],
      () => [],
      () => (beside ? causes : []),
    );
    examiner.start();
    await clock.pass(20_000);
    assert.deepEqual(log.lines, beside ? [] : ['warn: ens33 is off'], code);
    const { length } = log.lines;
    causes = [];
    await clock.pass(4_000);
    assert.deepEqual(log.lines.slice(length), beside ? [] : ['info: over: ens33 is off']);
    await clock.pass(4_000);
    assert.deepEqual(log.lines.slice(beside ? 0 : 2), ['warn: the peer is silent']);
    cut = [];
    await clock.pass(4_000);
    assert.equal(log.lines.at(-1), 'info: over: the peer is silent');
  }
});

test('what was said and is explained since is not over, and is not said again', async () => {
  let [found, causes]: Finding[][] = [[silent], []];
  const { clock, log, examiner } = make(
    () => found!,
    () => [],
    () => causes!,
  );
  examiner.start();
  await clock.pass(8_000);
  assert.deepEqual(log.lines, ['warn: the peer is silent']);
  causes = [{ ...finding('ens33'), code: 'underlay-lost' }];
  await clock.pass(300_000);
  causes = [];
  await clock.pass(300_000);
  assert.equal(log.lines.length, 1);
  found = [];
  await clock.pass(4_000);
  assert.deepEqual(log.lines.slice(1), ['info: over: the peer is silent']);
});

test('many at once are a number', async () => {
  const all = Array.from({ length: 25 }, (_, i) => finding(`d${i}`));
  const { clock, log, examiner } = make(() => all);
  examiner.start();
  await clock.pass(4_000);
  assert.equal(log.lines.length, 11);
  assert.equal(log.lines.at(-1), 'warn: 15 more findings (see: weft status)');
});

test('a check that cannot look is a note', async () => {
  const { clock, log, examiner } = make(() => {
    throw new HostError('ENOENT', 'cannot run nft: there is no such program in the PATH');
  });
  examiner.start();
  await settle();
  const text =
    'the thing cannot be looked at: cannot run nft: there is no such program in the PATH';
  assert.deepEqual(
    examiner.findings.map(({ severity, text }) => [severity, text]),
    [['note', text]],
  );
  await clock.pass(4_000);
  assert.deepEqual(log.lines, [`info: ${text}`]);
});

test('a status check is told what was before; nothing is looked at after the end', async () => {
  const told: boolean[] = [];
  const { clock, examiner } = make(
    () => [],
    (...both: unknown[]) => {
      told.push(both[1] !== undefined);
      return [];
    },
  );
  examiner.start();
  await settle();
  await clock.pass(2_000);
  assert.deepEqual(told, [false, true]);
  await examiner.stop();
  await clock.pass(30_000);
  assert.equal(told.length, 2);
});

test('a mistake in a check costs that check, never the process, and is a note', async () => {
  const clock = new FakeClock();
  const broken = (): never => {
    throw new TypeError('x is undefined');
  };
  const others = [finding('docker0')];
  const stacks: string[] = [];
  const log = { ...new FakeLog(), debug: (line: string) => void stacks.push(line) };
  const examiner = new Examiner({
    ...{ clock, log },
    hostChecks: [
      { name: 'the thing', look: async () => broken() },
      { name: 'the other', look: async () => others },
    ],
    statusChecks: [broken, () => [finding('peer')]],
    ...{ subject: () => ({}) as Subject, status: () => fullStatus, beside: () => [] },
  });
  examiner.start();
  await settle();
  const told = examiner.findings.map(({ severity, about }) => `${severity} ${about}`);
  assert.deepEqual(told.sort(), [
    'error docker0',
    'error peer',
    'note the status',
    'note the thing',
  ]);
  const [note] = examiner.findings.filter(({ about }) => about === 'the thing');
  assert.match(note!.text, /^the thing cannot be looked at: unexpected error: TypeError: x is /);
  const once = stacks.length;
  await clock.pass(20_000);
  assert.deepEqual([once > 0, stacks.length], [true, once], 'the stack of each is told once');
  await examiner.stop();
});

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

function make(look: () => readonly Finding[], statusLook = (): readonly Finding[] => []) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const check: HostCheck = { name: 'the thing', look: async () => look() };
  const examiner = new Examiner({
    ...{ clock, log, hostChecks: [check], statusChecks: [statusLook] },
    ...{ subject: () => ({}) as Subject, status: () => fullStatus },
  });
  return { clock, log, examiner };
}

test('what is found is told as long as it is', async () => {
  let found: Finding[] = [];
  const { clock, log, examiner } = make(() => found);
  examiner.start();
  await settle();
  assert.deepEqual(examiner.findings, []);
  found = [finding('docker0', 'ip link set docker0 up')];
  await clock.pass(4_000);
  assert.deepEqual(examiner.findings, found);
  found = [];
  await clock.pass(4_000);
  assert.deepEqual(examiner.findings, []);
  assert.deepEqual(log.lines, [], 'the teller says it');
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
    ...{ subject: () => ({}) as Subject, status: () => fullStatus },
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
    ...{ subject: () => ({}) as Subject, status: () => fullStatus },
    spent: () => spent,
  }).start();
  for (let i = 0; i < 30; i += 1) await clock.pass(2_000);
  const between = (name: string) =>
    new Set(looks[name]!.map((at, i, all) => at - (all[i - 1] ?? 0)));
  assert.deepEqual([...between('eager')], [0, 8_000]);
  assert.ok(Math.min(...[...between('usual')].slice(2)) >= 18_000);
});

test('sure is what two looks in a row have found, in the same words but for counts', async () => {
  const says = (text: string): Finding => ({ ...finding('docker0'), text });
  let found: readonly Finding[] = [];
  const { clock, examiner } = make(
    () => found,
    () => [finding('peer')],
  );
  const sure = () => examiner.findings.map((one) => `${one.text}: ${examiner.isSure(one)}`);
  examiner.start();
  await settle();
  assert.deepEqual(sure(), ['peer is off: true'], 'the status is no look at the host');
  for (const [text, isSure] of [
    ['down for 4 s', false],
    ['down for 8 s', true],
    ['away', false],
    ['away', true],
    ['down for 12 s', false],
  ] as const) {
    found = [says(text)];
    await clock.pass(4_000);
    assert.deepEqual(sure(), ['peer is off: true', `${text}: ${isSure}`]);
  }
  found = [];
  await clock.pass(4_000);
  found = [says('away')];
  await clock.pass(4_000);
  assert.deepEqual(sure(), ['peer is off: true', 'away: false'], 'found anew');
});

test('a look that found something is followed by one more, whatever it costs, and no third', async () => {
  const [clock, log] = [new FakeClock(), new FakeLog()];
  let spent = 0;
  const looks: number[] = [];
  const check: HostCheck = {
    name: 'the thing',
    look: async () => {
      looks.push(clock.now());
      spent += 1_000;
      // Others' changes: something else each time.
      return [{ ...finding('docker0'), text: 'xyz'.slice(looks.length % 3) }];
    },
  };
  new Examiner({
    ...{ clock, log, hostChecks: [check], statusChecks: [] },
    ...{ subject: () => ({}) as Subject, status: () => fullStatus },
    spent: () => spent,
  }).start();
  for (let i = 0; i < 150; i += 1) await clock.pass(2_000);
  const between = looks.slice(1).map((at, i) => at - looks[i]!);
  assert.deepEqual(between.slice(0, 4), [4_000, 60_000, 4_000, 60_000]);
});

test('a check that cannot look is a note', async () => {
  const { examiner } = make(() => {
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
    ...{ subject: () => ({}) as Subject, status: () => fullStatus },
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

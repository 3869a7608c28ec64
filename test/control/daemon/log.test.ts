import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  createLog,
  formatForJournal,
  formatJson,
  formatLine,
  isJournal,
} from '../../../src/control/daemon/log.js';

const LEAVER = fileURLToPath(new URL('./fixtures/leaver.js', import.meta.url));
const TIME = new Date('2026-11-25T04:05:06.789Z');

test('a line is one line, whatever a name from the store holds', () => {
  assert.equal(
    formatLine('W', TIME, 'lease 10.5.1.0-24 ü'),
    'W 04:05:06.789 lease 10.5.1.0-24 ü\n',
  );
  assert.equal(
    formatLine('I', TIME, 'a\nE 00:00:00.000 forged\x1b[2J\u2028\x7f'),
    'I 04:05:06.789 a\\u000aE 00:00:00.000 forged\\u001b[2J\\u2028\\u007f\n',
  );
});

test('for the journal: a priority in front, no time, and a text cannot bring its own', () => {
  const lines = (['E', 'W', 'I', 'D'] as const).map((s) => formatForJournal(s, TIME, 'x\n<0>y'));
  assert.deepEqual(
    lines,
    [3, 4, 6, 7].map((n) => `<${n}>x\\u000a<0>y\n`),
  );
});

test("JOURNAL_STREAM counts where it names this very descriptor, not somebody else's", (t) => {
  const file = fileURLToPath(import.meta.url);
  const fd = fs.openSync(file, 'r');
  t.after(() => fs.closeSync(fd));
  const { dev, ino } = fs.fstatSync(fd);
  assert.equal(isJournal(`${dev}:${ino}`, fd), true);
  for (const other of [undefined, '', `${dev}:${ino + 1}`, `${dev + 1}:${ino}`, `${dev}:`]) {
    assert.equal(isJournal(other, fd), false, other);
  }
  assert.equal(isJournal(`${dev}:${ino}`, 9_999), false);
});

test('what a package prints, and what Node warns of, are lines of log', () => {
  const { stdout, stderr } = spawnSync(process.execPath, [LEAVER, 'packages'], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  assert.equal(stdout, 'ready\n');
  const said = stderr.replaceAll(/^(.) [0-9:.]{12} /gm, '$1 ');
  assert.match(
    said,
    /^I a package\\u001b says\nI two lines\nI and so does this\nW Warning: beware\n/,
  );
});

test('as JSON: an object a line, read as what it was, with nothing unseen in it', () => {
  const text = 'lease "a"\n\u202e\x1b[2J';
  const line = formatJson('W', TIME, text);
  assert.doesNotMatch(line.trimEnd(), /[\n\u202e]/);
  assert.deepEqual(JSON.parse(line), {
    ...{ time: '2026-11-25T04:05:06.789Z', level: 'warning', message: text },
  });
});

test('a line that comes again and again is said five times a minute, and counted', () => {
  const said: string[] = [];
  let now = 0;
  const stream = { write: (line: string) => void said.push(line.slice(15)) } as never;
  const log = createLog(0, stream, undefined, () => new Date(now));
  for (; now < 59_000; now += 1_000) log.warn('it is so');
  log.info('it is so');
  const five = Array.from({ length: 5 }, () => 'it is so\n');
  assert.deepEqual(said, [...five, 'the line before 54 times more\n', 'it is so\n']);
  said.length = 0;
  for (now = 100_000; now < 170_000; now += 10_000) log.warn('again');
  assert.deepEqual(said, [
    ...Array.from({ length: 5 }, () => 'again\n'),
    ...['the line before once more\n', 'again\n'],
  ]);
  now = 0;
  log.warn('again');
  assert.equal(said.at(-1), 'again\n', 'a clock that was set back does not silence it');
});

/** What stands at the end of a test run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

interface Counts {
  passed: number;
  failed: number;
  skipped: { name: string; file: string; reason: string; suite: boolean }[];
  ended: string[];
  again: string[];
}
interface Event {
  type: string;
  data: {
    name: string;
    message?: string;
    file?: string;
    skip?: string | boolean;
    details?: { type?: string };
  };
}

const script = new URL('../../../scripts/test-count.mjs', import.meta.url);
const { default: count, closing } = (await import(script.href)) as {
  default(events: Iterable<Event>): AsyncGenerator<string>;
  closing(counts: Counts): string[];
};

async function counted(...events: Event[]): Promise<Counts> {
  let text = '';
  for await (const part of count(events)) text += part;
  return JSON.parse(text) as Counts;
}

const event = (type: string, name: string, skip?: string | boolean, kind = 'test'): Event => ({
  type,
  data: {
    name,
    file: '/somewhere/dist/test/lab/lab.test.js',
    details: { type: kind },
    ...(skip === undefined ? {} : { skip }),
  },
});

test('tests are counted, suites are not, skipped ones keep their reason', async () => {
  const counts = await counted(
    event('test:start', 'a'),
    event('test:pass', 'a'),
    event('test:pass', 'b'),
    event('test:pass', 'a suite', undefined, 'suite'),
    event('test:fail', 'c'),
    event('test:pass', 'd', 'no etcd'),
    event('test:pass', 'e', true),
    event('test:pass', 'a lab', 'run as root', 'suite'),
  );
  assert.deepEqual(counts, {
    passed: 2,
    failed: 1,
    skipped: [
      { name: 'd', file: 'lab.test', reason: 'no etcd', suite: false },
      { name: 'e', file: 'lab.test', reason: 'no reason given', suite: false },
      { name: 'a lab', file: 'lab.test', reason: 'run as root', suite: true },
    ],
    ended: [],
    again: [],
  });
});

test('what was ended is kept as it was said, from among what tests say', async () => {
  const said = (message: string) => ({ type: 'test:stderr', data: { name: '', message } });
  const line = 'x.js still runs after 600 s; ending it';
  const counts = await counted(said(`weft: up\n${line}\n`), said('and more\n'));
  assert.deepEqual(counts, { passed: 0, failed: 0, skipped: [], ended: [line], again: [] });
});

test('the closing lines name each reason once, and end with the counts', () => {
  const skip = (name: string, reason: string, suite = false) => ({
    name,
    file: 'x.test',
    reason,
    suite,
  });
  const lines = closing({
    passed: 5,
    failed: 0,
    skipped: [skip('a', 'run as root'), skip('b', 'no etcd'), skip('c', 'run as root', true)],
    ended: ['x.js stands for 9 s in the test "d"; ending it'],
    again: ['e  [y.test]'],
  });
  assert.deepEqual(lines, [
    '',
    'x.js stands for 9 s in the test "d"; ending it',
    'failed beside others and passed alone, see above:',
    '    e  [y.test]',
    'skipped 1 test and 1 whole suite: run as root',
    '    a  [x.test]',
    '    c (suite)  [x.test]',
    'skipped 1 test: no etcd',
    '    b  [x.test]',
    '5 passed, 0 failed',
  ]);
  assert.deepEqual(closing({ passed: 1, failed: 2, skipped: [], ended: [], again: [] }), [
    '',
    'skipped nothing',
    '1 passed, 2 failed',
  ]);
});

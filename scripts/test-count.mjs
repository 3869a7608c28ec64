/**
 * A reporter for Node's test runner that counts, for the lines at the end of scripts/test.mjs.
 * The runner's own summary does not count what a skipped suite holds, and names no reason.
 *
 * Gives one JSON document: `{passed, failed, skipped: [{name, file, reason, suite}], ended: [line],
 * again: [line]}`; `ended` is what test-limit.mjs said of the files that it ended, `again` what failed
 * beside others and passed alone.
 */
import path from 'node:path';

export default async function* count(events) {
  const counts = { passed: 0, failed: 0, skipped: [], ended: [], again: [] };
  for await (const { type, data } of events) {
    if (type === 'test:stderr') {
      counts.ended.push(...data.message.split('\n').filter((line) => line.endsWith('; ending it')));
    }
    const suite = data.details?.type === 'suite';
    if (type === 'weft:again' && !suite) counts.again.push(`${data.name}  [${nameOfFile(data)}]`);
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (type === 'test:pass' && data.skip !== undefined && data.skip !== false) {
      const reason =
        typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given';
      const file = nameOfFile(data);
      counts.skipped.push({ name: data.name, file, reason, suite });
    } else if (!suite) {
      counts[type === 'test:pass' ? 'passed' : 'failed'] += 1;
    }
  }
  yield JSON.stringify(counts);
}

function nameOfFile({ file }) {
  return file === undefined ? '' : path.basename(file, '.js');
}

/**
 * The lines that end a run: what was ended, what passed only alone, what was skipped, by reason; then always, as the last line,
 * `N passed, N failed`. A skipped suite is one entry, since its tests were never made.
 */
export function closing({ passed, failed, skipped, ended, again }) {
  const lines = ['', ...ended];
  if (again.length > 0) lines.push('failed beside others and passed alone, see above:');
  for (const line of again) lines.push(`    ${line}`);
  for (const reason of new Set(skipped.map((one) => one.reason))) {
    const list = skipped.filter((one) => one.reason === reason);
    const suites = list.filter(({ suite }) => suite).length;
    const tests = list.length - suites;
    const parts = [];
    if (tests > 0) parts.push(tests === 1 ? '1 test' : `${tests} tests`);
    if (suites > 0) parts.push(suites === 1 ? '1 whole suite' : `${suites} whole suites`);
    lines.push(`skipped ${parts.join(' and ')}: ${reason}`);
    for (const { name, file, suite } of list) {
      lines.push(`    ${name}${suite ? ' (suite)' : ''}${file === '' ? '' : `  [${file}]`}`);
    }
  }
  if (skipped.length === 0) lines.push('skipped nothing');
  lines.push(`${passed} passed, ${failed} failed`);
  return lines;
}

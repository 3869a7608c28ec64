import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const { whyNoRelease } = (await import(
  fileURLToPath(new URL('../../../scripts/changelog.mjs', import.meta.url))
)) as { whyNoRelease: (text: string, version: string) => string | undefined };

const of = (...lines: string[]) => whyNoRelease(['# Changelog', '', ...lines].join('\n'), '1.2.3');

test('a version with a heading of its own and a day is a release', () => {
  assert.equal(of('## [1.2.3] - 2026-12-01', '', '- A thing.'), undefined);
  assert.equal(of('## [1.2.3] – 2026-12-01', '## [1.2.2] - 2026-11-01'), undefined);
  assert.equal(of('## Unreleased', '', '## [1.2.3] - 2026-12-01', '', '- A thing.'), undefined);
});

test('what keeps it from being one is said', () => {
  assert.equal(of('## Unreleased', '- A thing.'), 'has no heading "## [1.2.3] - YEAR-MONTH-DAY"');
  assert.match(of('## [1.2.30] - 2026-12-01')!, /no heading "## \[1\.2\.3\] /);
  assert.equal(of('## [1.2.3]'), 'has no day in "## [1.2.3]"');
  assert.match(of('## [1.2.3] - soon')!, /no day/);
  assert.match(of('## [1.2.3] - 2026-13-45')!, /no day/);
  assert.equal(
    of('## Unreleased', '', '### Added', '- A thing.', '', '## [1.2.3] - 2026-12-01'),
    'has entries under "Unreleased" beside "## [1.2.3] - 2026-12-01"',
  );
});

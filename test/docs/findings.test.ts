/** docs/findings.md has every code that the source has, and no other. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { SEVERITY } from '../../src/operate/findings/peers.js';

/** Where findings are made; the rest of `code` in the source are error codes, and verdicts of probes. */
const PLACES = [
  'src/operate/findings',
  'src/control/daemon',
  'src/cli/doctor',
  'src/cli/doctor.ts',
];
/** As the source names one. */
const NAMED = [
  /\bcode: '([a-z][a-z-]+)'/g,
  /\bwrong\(\s*'[a-z]+',\s*'([a-z-]+)'/g,
  /const code = .*\? '([a-z-]+)' : '[a-z-]+';/g,
  /const code = .*\? '[a-z-]+' : '([a-z-]+)';/g,
];
/** A verdict that says nothing. */
const NO_FINDING = ['untold'];

function inSource(): string[] {
  const files = PLACES.flatMap((place) =>
    place.endsWith('.ts')
      ? [place]
      : fs
          .readdirSync(place, { recursive: true, encoding: 'utf8' })
          .filter((name) => name.endsWith('.ts'))
          .map((name) => path.join(place, name)),
  );
  const text = files.map((file) => fs.readFileSync(file, 'utf8')).join('\n');
  const named = NAMED.flatMap((form) => [...text.matchAll(form)].map(([, code]) => code!));
  const ofPeers = Object.entries(SEVERITY).flatMap(([state, weighs]) =>
    weighs === undefined ? [] : [`peer-${state}`],
  );
  return [...new Set([...named, ...ofPeers])].filter((code) => !NO_FINDING.includes(code)).sort();
}

function inDocument(): string[] {
  const rows = fs.readFileSync('docs/findings.md', 'utf8').match(/^\| `.*/gm) ?? [];
  const cells = rows.map((row) => row.split('|')[1]!);
  const codes = cells.flatMap((cell) =>
    [...cell.matchAll(/`([a-z-]+)`/g)].map(([, code]) => code!),
  );
  return codes.filter((code) => !['error', 'warning', 'note'].includes(code)).sort();
}

test('the codes in docs/findings.md are those that there are, each once', () => {
  assert.deepEqual(inDocument(), inSource());
});

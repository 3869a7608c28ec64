/**
 * Runs the compiled tests with Node's own runner.
 *
 * Usage: node scripts/test.mjs [part of a file's name …]
 *
 * Names the files itself, since `node --test` takes neither a folder nor a glob on every
 * Node from 20 to 26. The tests run one file after the other: they share two cores, and
 * the network tests start whole hosts.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

const wanted = process.argv.slice(2);
const files = fs
  .readdirSync('dist/test', { recursive: true })
  .map((name) => path.join('dist/test', String(name)))
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .sort();
if (files.length === 0) {
  console.error('no test file matches; nothing was run');
  process.exit(1);
}
const concurrency = ['--test-concurrency=1'];
const done = spawnSync(
  process.execPath,
  ['--enable-source-maps', '--test', ...concurrency, '--test-reporter=spec', ...files],
  { stdio: ['ignore', 'inherit', 'inherit'] },
);
process.exit(done.status ?? 1);

/**
 * `npm run demo`: sets up what the asked-for demo needs, then is `weft demo` itself.
 *
 * Usage: node scripts/demo.mjs [-docker] …   (the flags of `weft demo`)
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { keptByNpm } from './npm-flags.mjs';

const kept = process.argv.length === 2 ? keptByNpm(process.env, 'demo') : undefined;
if (kept !== undefined) {
  process.stderr.write(`weft demo: ${kept}\n`);
  process.exit(2);
}

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const docker = process.argv.slice(2).some((arg) => /^--?docker(=|$)/.test(arg));
const setup = spawnSync(
  process.execPath,
  [path.join(root, 'scripts/setup.mjs'), docker ? 'docker' : 'demo'],
  { stdio: 'inherit' },
);
if (setup.status !== 0) process.exit(setup.status ?? 1);
// As if it had been started itself: a lab runs its script again.
const weft = path.join(root, 'dist/src/cli/weft.js');
process.argv.splice(1, 1, weft, 'demo');
await import(weft);

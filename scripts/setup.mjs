/**
 * Everything between a fresh clone and a weft that runs:
 *
 *   1. node      is it new enough?
 *   2. packages  Debian packages that this purpose needs (apt systems, as root)
 *   3. npm       node_modules, as the lock file says
 *   4. compile   TypeScript -> dist
 *   5. addon     native/*.c -> native/build/weft.node
 *
 * Usage: node scripts/setup.mjs [demo|docker|test|bench|package|packages|units|fresh]
 * (default: build only what compiling needs; docker: the demo with Docker engines)
 *
 * Each step is skipped when its stamp says nothing changed. Imports only `node:` modules,
 * since it runs before there are any others. Speaks on stderr, a line a step
 * (setup-step.mjs). WEFT_NO_INSTALL=1 names
 * missing Debian packages and installs none.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { addonSources, BUILT, buildAddon, otherLibrary } from './addon.mjs';
import { keptByNpm } from './npm-flags.mjs';
import { npmPackages } from './setup-npm.mjs';
import { debianPackages, PURPOSES } from './setup-packages.mjs';
import { fail, say } from './setup-step.mjs';
import { takeTurn } from './setup-turn.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const purpose = process.argv[2] ?? 'build';
process.chdir(root);
if (!PURPOSES.includes(purpose) || process.argv.length > 3) {
  say(
    `what is "${process.argv.slice(2).join(' ')}"? usage: npm run setup [-- ${PURPOSES.join('|')}]`,
  );
  process.exit(2);
}
const kept = keptByNpm(process.env);
if (kept !== undefined) {
  say(kept);
  process.exit(2);
}

function hash(...parts) {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part).update('\0');
  return sum.digest('hex');
}

function stampMatches(file, stamp) {
  try {
    return fs.readFileSync(file, 'utf8') === stamp;
  } catch {
    return false;
  }
}

function filesBelow(folder, accept) {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true })
    .map((name) => path.join(folder, String(name)))
    .filter((name) => accept(name) && fs.statSync(name).isFile())
    .sort();
}

// 1. node
const major = Number(process.versions.node.split('.')[0]);
if (major < 20) {
  fail(
    `Node ${process.versions.node} is too old; weft needs Node 20 or newer: Debian 13 has it ` +
      '(apt-get install nodejs npm), elsewhere unpack an archive of nodejs.org into /usr/local',
  );
}
if (process.platform !== 'linux') fail(`weft runs on Linux; this is ${process.platform}`);

for (const folder of ['.', '.cache', 'node_modules', 'native', 'native/build', 'dist']) {
  try {
    if (fs.existsSync(folder)) fs.accessSync(folder, fs.constants.W_OK);
  } catch {
    const whose = path.resolve(folder);
    fail(`may not write into ${whose}: set up as the user whose it is, or in a clone of your own`);
  }
}

await takeTurn(root);

// 2. packages
await debianPackages(purpose);

// 3. npm
const manifest = ['package.json', 'package-lock.json'].map((name) => fs.readFileSync(name));
// npm chooses packages by the C library, which it tells by this.
if (process.report !== undefined) process.report.excludeNetwork = true;
const glibc = process.report?.getReport().header.glibcVersionRuntime !== undefined;
const machine = `${process.platform} ${process.arch}${glibc ? '' : ' musl'}`;
const platform = `${process.versions.modules} ${machine}`;
const npmStamp = hash(...manifest, platform);
const npmStampFile = 'node_modules/.weft-stamp';
if (!stampMatches(npmStampFile, npmStamp)) {
  await npmPackages();
  fs.writeFileSync(npmStampFile, npmStamp);
}

// 4. compile
const tsSources = ['src', 'test', 'bench'].flatMap((folder) =>
  filesBelow(folder, (name) => name.endsWith('.ts')),
);
const listStamp = hash(...tsSources);
if (!stampMatches('dist/.sources', listStamp)) fs.rmSync('dist', { recursive: true, force: true });
// The page of weft dash is a program of browsers, with their types.
for (const project of ['.', 'src/operate/dash/page']) {
  const tsc = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', project], {
    stdio: ['ignore', 2, 2],
  });
  if (tsc.status !== 0) fail('the TypeScript compiler found errors; they stand above');
}
// The command itself, so that a link to it in a folder of PATH is enough.
fs.chmodSync('dist/src/cli/weft.js', 0o755);
fs.writeFileSync('dist/.sources', listStamp);

/** For `weft version`: which commit this is, where that can be known, and whether it was changed. */
function buildOf() {
  const git = (...args) =>
    spawnSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const [commit = '', date = ''] = (git('log', '-1', '--format=%h %cI').stdout ?? '')
    .trim()
    .split(' ');
  const changed = (git('status', '--porcelain', '--untracked-files=no').stdout ?? '') !== '';
  return { commit, date, changed };
}
fs.writeFileSync('dist/build.json', `${JSON.stringify(buildOf())}\n`);

// 5. addon
const addon = `native/${BUILT}`;
const cc = process.env.CC ?? 'cc';
const addonStamp = hash(
  npmStamp,
  cc,
  ...addonSources('native').map((name) => fs.readFileSync(name)),
);
if (!fs.existsSync(addon) || !stampMatches(`${addon}.stamp`, addonStamp)) {
  say('building the addon');
  // A warning of a compiler that we do not know stops nobody; `npm run check` looks at ours.
  const warnings = ['-Wall', '-Wextra'];
  const headers = 'node_modules/node-api-headers/include';
  const unfit = otherLibrary(cc, await import('../dist/src/dataplane/io/c-library.js'));
  const why = buildAddon({ native: 'native', headers, compiler: cc, file: addon, warnings, unfit });
  if (why !== undefined) fail(`the addon in native/ is missing: ${why}`);
  fs.writeFileSync(`${addon}.stamp`, addonStamp);
}

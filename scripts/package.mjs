/**
 * The packages, into dist/packages:
 *
 *   weft-VERSION.tgz          for `npm install -g`: compiled code, the addon for x64 and arm64
 *                             (glibc), and its source for machines on which neither fits
 *   weft_VERSION_amd64.deb    for Debian: the same with its packages and a Node of its own
 *
 * Usage: npm run package [-- npm|deb]
 *
 * The same commit makes the same bytes: times are the commit's, orders are sorted. What is there of this
 * commit is not made again. Says where CHANGELOG.md has no heading for the version.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { buildAddon, prebuilt } from './addon.mjs';
import { whyNoRelease } from './changelog.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);
const OUT = 'dist/packages';
/** The Node that the Debian package brings: the newest of a line with long support. */
const NODE = '22.23.3';
/** Where compilers for the other architecture are, as Debian names them. */
const COMPILERS = { x64: 'x86_64-linux-gnu-gcc', arm64: 'aarch64-linux-gnu-gcc' };
const DEBIAN = { x64: 'amd64', arm64: 'arm64' };
/** What an operator copies into place, or builds from. */
const EXAMPLES = [
  'monitoring/weft.rules.yml',
  'monitoring/grafana-dashboard.json',
  'docker.service.d/weft.conf',
  'flanneld.service.d/weft.conf',
  '50-weft.network',
  'Dockerfile',
];

const manifest = JSON.parse(fs.readFileSync('package.json', 'utf8'));
const only = process.argv[2];
if (![undefined, 'npm', 'deb'].includes(only) || process.argv.length > 3) {
  say(`what is "${process.argv.slice(2).join(' ')}"? usage: npm run package [-- npm|deb]`);
  process.exit(2);
}
const [commit, seconds] = output('git', ['log', '-1', '--format=%H %ct']).split(' ');
const time = Number(seconds);

const why = whyNoRelease(fs.readFileSync('CHANGELOG.md', 'utf8'), manifest.version);
if (why !== undefined) say(`${manifest.version} is no release: CHANGELOG.md ${why}`);

const wanted = [
  { kind: 'npm', file: `${OUT}/weft-${manifest.version}.tgz`, make: npmPackage },
  { kind: 'deb', file: debFile(), make: debianPackage },
].filter(({ kind }) => only === undefined || only === kind);
const missing = wanted.filter(({ file }) => !isMade(file));
if (missing.length > 0) {
  const staged = stage();
  for (const { make, file } of missing) {
    // Ended half way, it is no commit's; and neither is what was made of changed files.
    fs.rmSync(`${file}.commit`, { force: true });
    make(staged);
    if (isClean()) fs.writeFileSync(`${file}.commit`, commit);
  }
}
for (const { file } of wanted) tell(file);

/** Whether this commit's is there; what was changed since is in none. */
function isMade(file) {
  const stamp = `${file}.commit`;
  const same = fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === commit;
  return same && fs.existsSync(file) && isClean();
}

function isClean() {
  return output('git', ['status', '--porcelain']) === '';
}

function say(line) {
  process.stderr.write(`weft package: ${line}\n`);
}

function fail(line) {
  say(line);
  process.exit(1);
}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { stdio: ['ignore', 2, 2], ...options });
  if (done.error?.code === 'ENOENT') fail(`there is no ${command}; install it`);
  if (done.status !== 0)
    fail(`${command} ${args.join(' ')} failed (${done.status ?? done.signal})`);
  return done;
}

function output(command, args, options = {}) {
  return run(command, args, {
    ...options,
    stdio: ['ignore', 'pipe', 2],
    encoding: 'utf8',
  }).stdout.trim();
}

/** What both packages have: everything that weft is at run time, and nothing else. */
function stage() {
  const folder = `${OUT}/stage`;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  for (const name of ['LICENSE', 'README.md', 'CHANGELOG.md']) {
    fs.copyFileSync(name, `${folder}/${name}`);
  }
  for (const name of fs.readdirSync('dist/src', { recursive: true }).map(String).sort()) {
    if (name.endsWith('.js')) copy(`dist/src/${name}`, `${folder}/dist/src/${name}`);
  }
  fs.chmodSync(`${folder}/dist/src/cli/weft.js`, 0o755);
  copy('dist/build.json', `${folder}/dist/build.json`);
  for (const name of fs.readdirSync('native').sort()) {
    if (/\.[ch]$/.test(name)) copy(`native/${name}`, `${folder}/native/${name}`);
  }
  for (const [arch, compiler] of Object.entries(COMPILERS)) {
    const file = `${folder}/native/${prebuilt(arch)}`;
    const headers = 'node_modules/node-api-headers/include';
    const why = buildAddon({ native: 'native', headers, compiler, file });
    if (why !== undefined) fail(`no addon for ${arch}: ${why}`);
    run(compiler.replace(/gcc$/, 'strip'), ['--strip-debug', file]);
  }
  for (const name of ['addon.mjs', 'install.mjs'])
    copy(`scripts/${name}`, `${folder}/scripts/${name}`);
  const { name, version, description, license, type, os, cpu, engines, bin } = manifest;
  const { dependencies, optionalDependencies, overrides } = manifest;
  const scripts = { install: 'node scripts/install.mjs' };
  const kept = {
    ...{ name, version, description, license, type, os, cpu, engines, bin, scripts },
    ...{ dependencies, optionalDependencies, overrides },
  };
  fs.writeFileSync(`${folder}/package.json`, `${JSON.stringify(kept, null, 2)}\n`);
  fs.writeFileSync(`${folder}/npm-shrinkwrap.json`, shrinkwrap(kept));
  settle(folder);
  return folder;
}

/** The lock file without what only developers need, so that everybody runs what was tested. */
function shrinkwrap(kept) {
  const lock = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'));
  const packages = Object.fromEntries(
    Object.entries(lock.packages).filter(([name, { dev }]) => name !== '' && dev !== true),
  );
  const { name, version } = kept;
  const all = { name, version, lockfileVersion: lock.lockfileVersion, requires: true };
  return `${JSON.stringify({ ...all, packages: { '': kept, ...packages } }, null, 2)}\n`;
}

function copy(from, to) {
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.copyFileSync(from, to);
}

/** npm sets every file's time to the same, and sorts. */
function npmPackage(folder) {
  const argv = ['pack', '--silent', '--ignore-scripts', '--pack-destination', '..'];
  output('npm', argv, { cwd: folder });
}

function debianPackage(folder) {
  const arch = process.arch;
  const tree = `${OUT}/debian`;
  const lib = `${tree}/usr/lib/weft`;
  fs.rmSync(tree, { recursive: true, force: true });
  fs.mkdirSync(path.dirname(lib), { recursive: true });
  fs.cpSync(folder, lib, { recursive: true });
  // Its own packages, as locked; and one addon, in the place where built ones are.
  run(
    'npm',
    ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    { cwd: lib },
  );
  buildRawSocket(lib, arch);
  prune(`${lib}/node_modules`);
  fs.mkdirSync(`${lib}/native/build`, { recursive: true });
  fs.renameSync(`${lib}/native/${prebuilt(arch)}`, `${lib}/native/build/weft.node`);
  for (const name of fs.readdirSync(`${lib}/native`)) {
    if (name !== 'build') fs.rmSync(`${lib}/native/${name}`, { recursive: true });
  }
  for (const name of ['scripts', 'npm-shrinkwrap.json', 'README.md', 'CHANGELOG.md', 'LICENSE']) {
    fs.rmSync(`${lib}/${name}`, { recursive: true, force: true });
  }
  // Node keeps the name by which its program was given, and weft goes by it.
  fs.symlinkSync('weft.js', `${lib}/dist/src/cli/flanneld`);
  copy(`${nodeCache(arch)}/bin/node`, `${lib}/node`);
  debianFiles(tree);
  const kib = kibibytes(tree);
  const control = fs
    .readFileSync('packaging/debian/control', 'utf8')
    .replace('@VERSION@', manifest.version)
    .replace('@ARCHITECTURE@', DEBIAN[arch])
    .replace('@INSTALLED_SIZE@', String(kib));
  fs.writeFileSync(`${tree}/DEBIAN/control`, control);
  settle(tree);
  // One thread: where xz cuts the work differs with their number, and so do the bytes.
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(time), DPKG_DEB_THREADS_MAX: '1' };
  run('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', tree, debFile()], {
    env,
    stdio: ['ignore', 'ignore', 2],
  });
  fs.rmSync(tree, { recursive: true });
}

function debFile() {
  const debian = DEBIAN[process.arch] ?? fail(`no Debian package is made on ${process.arch}`);
  return `${OUT}/weft_${manifest.version}_${debian}.deb`;
}

/** Built against the headers of the Node that the package brings; no other package's script runs. */
function buildRawSocket(lib, arch) {
  const headers = path.resolve(nodeCache(arch));
  const rebuild = ['rebuild', 'raw-socket', '--loglevel=error', '--foreground-scripts'];
  const env = { ...process.env, npm_package_config_node_gyp_nodedir: headers };
  run('npm', rebuild, { cwd: lib, env });
  const build = `${lib}/node_modules/raw-socket/build`;
  const built = `${build}/Release/raw.node`;
  if (!fs.existsSync(built)) fail('raw-socket was not built');
  run('strip', ['--strip-debug', built]);
  const kept = fs.readFileSync(built);
  fs.rmSync(build, { recursive: true });
  fs.mkdirSync(path.dirname(built), { recursive: true });
  fs.writeFileSync(built, kept);
}

/** What no program reads: types, sources of addons, tests, and packages that hold nothing else. */
function prune(folder) {
  for (const name of fs.readdirSync(folder, { recursive: true }).map(String)) {
    const file = path.join(folder, name);
    if (/\.(?:d\.[cm]?ts|map|md|markdown|cc|h|gyp|flow)$/i.test(name))
      fs.rmSync(file, { force: true });
  }
  for (const name of ['@types', 'nan', 'undici-types', 'node-api-headers', '.bin']) {
    fs.rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

/** Node's own program and its headers, from the registry package that holds them. */
function nodeCache(arch) {
  const cache = `.cache/node-${NODE}-${arch}`;
  if (fs.existsSync(`${cache}/bin/node`)) return cache;
  // Whole or not at all: ended half way, it is done again.
  const half = `${cache}.half`;
  for (const folder of [cache, half]) fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(half, { recursive: true });
  const packed = output('npm', ['pack', '--silent', `node-linux-${arch}@${NODE}`], { cwd: half });
  const parts = ['package/include', 'package/bin/node'];
  run('tar', ['-xzf', packed, '--strip-components=1', ...parts], { cwd: half });
  fs.rmSync(`${half}/${packed}`);
  fs.renameSync(half, cache);
  return cache;
}

/** What stands outside of /usr/lib/weft. */
function debianFiles(tree) {
  const doc = `${tree}/usr/share/doc/weft`;
  const scripts = ['preinst', 'postinst', 'prerm', 'postrm', 'conffiles'];
  for (const name of scripts) copy(`packaging/debian/${name}`, `${tree}/DEBIAN/${name}`);
  copy('packaging/debian/weft', `${tree}/usr/bin/weft`);
  copy('packaging/debian/default', `${tree}/etc/default/weft`);
  copy('packaging/debian/copyright', `${doc}/copyright`);
  fs.copyFileSync('README.md', `${doc}/README.md`);
  for (const name of fs
    .readdirSync('docs')
    .filter((name) => name.endsWith('.md') && name !== 'status.md')) {
    copy(`docs/${name}`, `${doc}/docs/${name}`);
  }
  for (const name of EXAMPLES) copy(`packaging/${name}`, `${tree}/usr/share/weft/${name}`);
  fs.copyFileSync('CHANGELOG.md', `${doc}/changelog`);
  run('gzip', ['-9n', `${doc}/changelog`]);
  fromWeft(tree);
  const unit = fs
    .readFileSync('packaging/weft.service', 'utf8')
    .replaceAll('/usr/local/bin/weft', '/usr/bin/weft')
    .replace('/etc/systemd/system/weft.service', '/usr/lib/systemd/system/weft.service');
  fs.mkdirSync(`${tree}/usr/lib/systemd/system`, { recursive: true });
  fs.writeFileSync(`${tree}/usr/lib/systemd/system/weft.service`, unit);
}

/** What weft itself prints: its man page, and what shells complete its command line with. */
function fromWeft(tree) {
  const print = (file, ...args) => {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const stdout = fs.openSync(file, 'w');
    run(process.execPath, ['dist/src/cli/weft.js', ...args], { stdio: ['ignore', stdout, 2] });
    fs.closeSync(stdout);
  };
  const share = `${tree}/usr/share`;
  print(`${share}/man/man8/weft.8`, 'man');
  run('gzip', ['-9n', `${share}/man/man8/weft.8`]);
  print(`${share}/bash-completion/completions/weft`, 'completion', 'bash');
  print(`${share}/zsh/vendor-completions/_weft`, 'completion', 'zsh');
  print(`${share}/fish/vendor_completions.d/weft.fish`, 'completion', 'fish');
}

/** As Debian's policy counts them, and unlike `du` the same on every file system. */
function kibibytes(tree) {
  const all = fs.readdirSync(tree, { recursive: true }).map((name) => `${tree}/${name}`);
  const sizes = all
    .map((file) => fs.lstatSync(file))
    .map((stat) => (stat.isFile() ? stat.size : 1));
  return sizes.reduce((sum, size) => sum + Math.ceil(size / 1024), 0);
}

/** The same modes and times, whoever builds. */
function settle(tree) {
  const programs = /(?:bin\/weft|\/node|\/weft\.js|preinst|postinst|prerm|postrm)$/;
  const all = fs
    .readdirSync(tree, { recursive: true })
    .map((name) => path.join(tree, String(name)));
  for (const file of [...all, tree].sort().reverse()) {
    const stat = fs.lstatSync(file);
    if (stat.isSymbolicLink()) continue;
    fs.chmodSync(file, stat.isDirectory() || programs.test(file) ? 0o755 : 0o644);
    fs.utimesSync(file, time, time);
  }
}

function tell(file) {
  const { size } = fs.statSync(file);
  process.stdout.write(`${file}  ${(size / 1e6).toFixed(1)} MB\n`);
}

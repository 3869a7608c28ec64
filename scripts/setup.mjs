/**
 * Everything between a fresh clone and a weft that runs:
 *
 *   1. node      is it new enough?
 *   2. packages  Debian packages that this purpose needs (apt systems, as root)
 *   3. npm       node_modules, as the lock file says
 *   4. addon     native/*.c -> native/build/weft.node
 *   5. compile   TypeScript -> dist
 *
 * Usage: node scripts/setup.mjs [demo|docker|test|bench|package]   (default: build only what compiling
 * needs; docker: the demo with Docker engines)
 *
 * Each step is skipped when its stamp says nothing changed. Imports only `node:` modules,
 * since it runs before there are any others. Speaks on stderr. WEFT_NO_INSTALL=1 names
 * missing Debian packages and installs none.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { addonSources, BUILT, buildAddon } from './addon.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const purpose = process.argv[2] ?? 'build';
process.chdir(root);

/**
 * What each purpose needs: a program or a file, and the Debian package that brings it; or, where
 * releases differ, the package and a second one to try when the first did not bring it.
 */
const needs = {
  build: [
    ['cc', 'gcc'],
    [{ file: '/usr/include/stdio.h' }, 'libc6-dev'],
  ],
  demo: [
    ['ip', 'iproute2'],
    ['unshare', 'util-linux'],
    ['sysctl', 'procps'],
    ['hostname', 'hostname'],
    ['ping', 'iputils-ping'],
    ['traceroute', 'traceroute'],
    ['iperf3', 'iperf3'],
    ['etcd', 'etcd-server'],
  ],
  docker: [
    ['dockerd', 'docker.io'],
    ['docker', 'docker.io', 'docker-cli'],
    ['iptables', 'iptables'],
    [{ file: '/bin/busybox' }, 'busybox-static'],
  ],
  test: [
    ['make', 'make'],
    ['g++', 'g++'],
    ['python3', 'python3'],
    ['etcdctl', 'etcd-client'],
    ['socat', 'socat'],
    ['strace', 'strace'],
    ['tcpdump', 'tcpdump'],
    ['tshark', 'tshark'],
    ['ethtool', 'ethtool'],
    ['nft', 'nftables'],
    ['clang-format', 'clang-format'],
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['cpio', 'cpio'],
    ['gzip', 'gzip'],
    ['openssl', 'openssl'],
    ['systemd-analyze', 'systemd'],
    ['groff', 'groff-base'],
    ['wireguard-go', 'wireguard-go'],
    ['wg', 'wireguard-tools'],
    ['nebula', 'nebula'],
    ['ovs-vswitchd', 'openvswitch-switch'],
  ],
};
needs.package = [
  ...needs.build,
  ['make', 'make'],
  ['g++', 'g++'],
  ['python3', 'python3'],
  ['git', 'git'],
  ['dpkg-deb', 'dpkg'],
  ['xz', 'xz-utils'],
  ['x86_64-linux-gnu-gcc', 'gcc-x86-64-linux-gnu'],
  ['aarch64-linux-gnu-gcc', 'gcc-aarch64-linux-gnu'],
  [{ file: '/usr/aarch64-linux-gnu/include/stdio.h' }, 'libc6-dev-arm64-cross'],
];
needs.packages = [...needs.package, ['debootstrap', 'debootstrap']];
needs.demo = [...needs.build, ...needs.demo];
needs.docker = [...needs.demo, ...needs.docker];
needs.test = [...needs.docker, ...needs.test];
needs.bench = needs.test;

function say(line) {
  process.stderr.write(`weft setup: ${line}\n`);
}

function fail(line) {
  say(line);
  process.exit(1);
}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, {
    stdio: ['ignore', 2, 2],
    ...options,
    env: { ...process.env, ...options.env },
  });
  if (done.error) return { ok: false, why: done.error.message };
  return { ok: done.status === 0, why: `exit ${done.status ?? done.signal}` };
}

/** The programs' usual homes are searched too: a plain user's PATH lacks the sbin folders. */
function onPath(program) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return folders.some((folder) => folder !== '' && fs.existsSync(path.join(folder, program)));
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
if (major < 20) fail(`Node ${process.versions.node} is too old; weft needs Node 20 or newer`);
if (process.platform !== 'linux') fail(`weft runs on Linux; this is ${process.platform}`);

// 2. packages
function missingPackages(turn) {
  const missing = (needs[purpose] ?? needs.build).filter(([what]) =>
    typeof what === 'string' ? !onPath(what) : !fs.existsSync(what.file),
  );
  return [...new Set(missing.map((need) => need[turn]).filter((name) => name !== undefined))];
}

/** The services of these packages would start at the next boot; what is set up here starts its own. */
const services = {
  etcd: ['etcd'],
  dockerd: ['docker.service', 'docker.socket', 'containerd'],
  'ovs-vswitchd': ['openvswitch-switch.service'],
};

/**
 * Installs without starting any service: the policy file is Debian's own way to say so. Nothing
 * is removed for it, such as another containerd that is in use.
 * Returns the names that could not be installed; apt itself takes all or none, so that one
 * package which this release lacks would keep out all the others.
 */
function aptInstall(names) {
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !fs.existsSync(policy);
  if (ours) fs.writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const foreign = Object.keys(services).filter(onPath);
  try {
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const flags = ['-y', '-q', '--no-install-recommends', '--no-remove'];
    const install = (wanted) => run('apt-get', [...flags, 'install', ...wanted], { env }).ok;
    if (install(names)) return [];
    say('refreshing the package lists and trying again');
    run('apt-get', ['-q', 'update'], { env });
    if (install(names)) return [];
    return names.filter((name) => names.length === 1 || !install([name]));
  } finally {
    if (ours) fs.rmSync(policy, { force: true });
    for (const [program, units] of Object.entries(services)) {
      if (foreign.includes(program) || !onPath(program) || !onPath('systemctl')) continue;
      run('systemctl', ['-q', 'disable', ...units], { stdio: 'ignore' });
    }
  }
}

for (const turn of [1, 2]) {
  const missing = missingPackages(turn);
  if (missing.length === 0) continue;
  const line = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  const mayInstall =
    process.getuid() === 0 && onPath('apt-get') && process.env.WEFT_NO_INSTALL !== '1';
  if (!mayInstall) {
    if (turn === 1) {
      say(`Debian packages that are missing: ${missing.join(' ')}   (as root: ${line})`);
    }
    continue;
  }
  say(`Debian packages that are missing; installing them: ${missing.join(' ')}`);
  const failed = aptInstall(missing);
  if (failed.length > 0) {
    say(`could not install ${failed.join(' ')} (apt's messages stand above); going on without`);
  }
}

/**
 * Where Node's own headers are, for npm's node-gyp, which else downloads them: raw-socket needs
 * them. Nothing is said of a Node that came without.
 */
function nodeHeaders() {
  const prefix = path.resolve(path.dirname(fs.realpathSync(process.execPath)), '..');
  const has = fs.existsSync(path.join(prefix, 'include/node/node.h'));
  return has ? { npm_package_config_node_gyp_nodedir: prefix } : {};
}

// 3. npm
const manifest = ['package.json', 'package-lock.json'].map((name) => fs.readFileSync(name));
const platform = `${process.versions.modules} ${process.platform} ${process.arch}`;
const npmStamp = hash(...manifest, platform);
const npmStampFile = 'node_modules/.weft-stamp';
if (!stampMatches(npmStampFile, npmStamp)) {
  say('installing the npm packages');
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const options = { env: nodeHeaders() };
  const done =
    npm !== undefined && /\.[cm]?js$/.test(npm)
      ? run(process.execPath, [npm, ...args], options)
      : run('npm', args, options);
  if (!done.ok) fail(`npm ci failed (${done.why}); its messages stand above`);
  if (!fs.existsSync('node_modules/raw-socket/build/Release/raw.node')) {
    say(
      'going on without the optional package raw-socket, which is built by make, g++ and python3 ' +
        "from Node's headers: path MTUs are those of routes and devices, not measured " +
        '(delete node_modules to have it built)',
    );
  }
  fs.writeFileSync(npmStampFile, npmStamp);
}

// 4. addon
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
  const why = buildAddon({ native: 'native', headers, compiler: cc, file: addon, warnings });
  if (why !== undefined) fail(`the addon in native/ is missing: ${why}`);
  fs.writeFileSync(`${addon}.stamp`, addonStamp);
}

// 5. compile
const tsSources = ['src', 'test', 'bench'].flatMap((folder) =>
  filesBelow(folder, (name) => name.endsWith('.ts')),
);
const listStamp = hash(...tsSources);
if (!stampMatches('dist/.sources', listStamp)) fs.rmSync('dist', { recursive: true, force: true });
const tsc = run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.']);
if (!tsc.ok) fail('the TypeScript compiler found errors; they stand above');
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

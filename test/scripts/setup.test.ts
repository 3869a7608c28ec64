/**
 * The set-up on machines of many kinds: each a folder with the project's own scripts, in a mount namespace
 * whose PATH and /usr/sbin hold only the fakes that a test puts there. The tests look at what a person
 * reads.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cLibraryOfNode } from '../../src/dataplane/io/c-library.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** As `unshare` makes it for anybody: root inside, and what is mounted there is seen by nobody else. */
const ALONE = ['unshare', '--user', '--map-root-user', '--mount', '--propagation', 'private'];

function lacks(): string | false {
  const tried = spawnSync(ALONE[0]!, [...ALONE.slice(1), 'true'], { encoding: 'utf8' });
  if (tried.status === 0) return false;
  return `needs a mount namespace of its own (${tried.error?.message ?? tried.stderr.trim()})`;
}

/** What apt and npm say without a network; apt's lists then "fail" with exit code 0. */
const OFFLINE_APT = `case "$*" in
  *update*) echo "Err:1 http://deb.debian.org/debian trixie InRelease"
    echo "  Temporary failure resolving 'deb.debian.org'"
    echo "W: Some index files failed to download.";;
  *) echo "E: Unable to locate package gcc"; exit 100;;
esac`;
const OFFLINE_NPM = `echo "npm error code EAI_AGAIN" >&2
echo "npm error request to https://registry.npmjs.org/etcd3 failed, reason: getaddrinfo EAI_AGAIN registry.npmjs.org" >&2
exit 1`;
/** Brings what it is asked for, each as a program of that name, but for those named LACKING. */
const APT = `for word; do case $word in $LACKING) echo "E: Unable to locate package $word"; exit 100;; esac; done
for word; do case $word in -*|install|update) ;; *) echo "Setting up $word ..."
  : >"$BIN/$word"; /bin/chmod 755 "$BIN/$word";; esac; done
for file in /usr/sbin/*; do echo "beside it: $file"; done`;
/** Brings a compiler of TypeScript that makes weft's command and what the set-up asks, and nothing more. */
const NPM = `case "$*" in *ignore-scripts) echo $SAYS; exit;; esac
/bin/mkdir -p node_modules/typescript/bin
echo 'const fs = require("node:fs"); fs.mkdirSync("dist/src/cli", { recursive: true })
fs.cpSync("c-library.js", "dist/src/dataplane/io/c-library.js")
fs.writeFileSync("dist/src/cli/weft.js", "")' >node_modules/typescript/bin/tsc`;
/** Makes the file after -o. */
const CC = `while [ "$1" != -o ]; do shift; done; : >"$2"`;

interface Machine {
  /** Programs by name, each a shell script; the empty one does nothing, well. */
  readonly programs: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv;
  /** As somebody who is not root. */
  readonly user?: boolean;
  /** Folders of the project that may not be written. */
  readonly locked?: string;
}

/** Every program that the tests' set-up asks for. */
const ALL = Object.fromEntries(
  [
    ...['cc', 'ip', 'unshare', 'sysctl', 'hostname', 'ping', 'traceroute', 'iperf3', 'etcd'],
    ...['dockerd', 'docker', 'iptables', 'make', 'g++', 'python3', 'etcdctl', 'socat', 'strace'],
    ...['tcpdump', 'tshark', 'ethtool', 'nft', 'clang-format', 'qemu-system-x86_64', 'cpio'],
    ...['gzip', 'openssl', 'systemd-analyze', 'groff', 'zsh', 'fish', 'wireguard-go', 'wg'],
    ...['nebula', 'ovs-vswitchd', 'faketime', 'ufw', 'firewalld', 'dbus-daemon'],
    'musl-gcc',
    ...['chromium', 'promtool'],
  ].map((name) => [name, name === 'cc' ? CC : '']),
);

const without = (...names: string[]) =>
  Object.fromEntries(Object.entries(ALL).filter(([name]) => !names.includes(name)));

/** Runs the set-up for the tests' purpose: its exit code, its lines, its log, what is left in /usr/sbin. */
function setUp(t: { after(call: () => void): void }, machine: Machine) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-setup-'));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const project = path.join(home, 'weft');
  const bin = path.join(home, 'bin');
  for (const name of ['scripts', 'native']) {
    fs.cpSync(path.join(ROOT, name), path.join(project, name), { recursive: true });
  }
  fs.rmSync(path.join(project, 'native/build'), { recursive: true, force: true });
  for (const name of ['package.json', 'package-lock.json']) {
    fs.copyFileSync(path.join(ROOT, name), path.join(project, name));
  }
  const asked = path.join(ROOT, 'dist/src/dataplane/io/c-library.js');
  fs.copyFileSync(asked, path.join(project, 'c-library.js'));
  if (machine.locked !== undefined)
    fs.mkdirSync(path.join(project, machine.locked), { mode: 0o555 });
  fs.mkdirSync(bin);
  for (const [name, script] of Object.entries(machine.programs)) {
    fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  // In a user namespace with no user in it, everybody is nobody.
  const as = machine.user ? '/usr/bin/unshare --user' : '';
  const script =
    `mount -t tmpfs none /usr/sbin && ${as} "$@"; code=$?; ` +
    'for file in /usr/sbin/*; do echo "$file"; done; exit $code';
  const env = { HOME: home, PATH: bin, BIN: bin, LACKING: '-', ...machine.env };
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const setup = [process.execPath, path.join(project, 'scripts/setup.mjs'), 'test'];
  const command = ['sh', '-c', script, 'sh', '/usr/bin/env', '-i', ...words, ...setup];
  const done = spawnSync(ALONE[0]!, [...ALONE.slice(1), ...command], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  const log = path.join(project, '.cache/setup.log');
  const said = done.stderr.replace(/(?<=… (?:failed after )?)\d+ s/g, 'N s').trimEnd();
  return {
    code: done.status,
    lines: said.split('\n').map((line) => line.replace('weft setup: ', '')),
    log: fs.existsSync(log) ? fs.readFileSync(log, 'utf8') : '',
    left: done.stdout.trim(),
  };
}

test('no script of package.json needs npm to run another before it, which ignore-scripts forbids', () => {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  assert.deepEqual(
    Object.keys(scripts).filter((name) => /^(?:pre|post)/.test(name)),
    [],
  );
});

describe('the set-up', { skip: lacks() }, () => {
  test('says a line a step; what apt says goes to a file, and no service is started', (t) => {
    const programs = { ...without('tshark', 'socat'), 'apt-get': APT, npm: NPM };
    const { code, lines, log, left } = setUp(t, { programs });
    assert.deepEqual(lines.slice(0, 2), [
      'installing 2 Debian packages: socat tshark … N s',
      'installing the npm packages … N s',
    ]);
    assert.match(
      lines[2]!,
      /^going on without the optional package raw-socket: .* npm rebuild raw-socket/,
    );
    assert.deepEqual(lines[3], 'building the addon');
    assert.equal(code, 0, lines.join('\n'));
    assert.match(
      log,
      /=== installing 2 .*: apt-get -y -q .*\nSetting up socat .*\nSetting up tshark/,
    );
    assert.match(log, /beside it: \/usr\/sbin\/policy-rc\.d/);
    assert.equal(left, '/usr/sbin/*');
  });

  test('ended while apt runs, it leaves nothing that keeps services from starting', (t) => {
    const apt = 'echo "$0 sees: " /usr/sbin/*; kill -TERM $PPID; /bin/sleep 1';
    const { code, left } = setUp(t, {
      programs: { ...without('socat'), 'apt-get': apt, npm: NPM },
    });
    assert.deepEqual([code, left], [143, '/usr/sbin/*']);
  });

  test('a package that this release lacks is named, with what apt said; the others are installed', (t) => {
    const programs = { ...without('tshark', 'socat'), 'apt-get': APT, npm: 'exit 3' };
    const { lines } = setUp(t, { programs, env: { LACKING: 'tshark' } });
    const all = 'installing 2 Debian packages: socat tshark …';
    assert.deepEqual(lines.slice(0, 8), [
      `${all} failed after N s`,
      "refreshing apt's lists … N s",
      `${all} failed after N s`,
      'installing the Debian package socat … N s',
      'installing the Debian package tshark … failed after N s',
      'could not install tshark; going on without. apt said:',
      '    E: Unable to locate package tshark',
      '    (all of it: .cache/setup.log)',
    ]);
  });

  test('without a network, one sentence for apt, one for npm, and no package is tried alone', (t) => {
    const programs = { ...without('tshark', 'socat'), 'apt-get': OFFLINE_APT, npm: OFFLINE_NPM };
    const { code, lines, log } = setUp(t, { programs });
    assert.match(
      lines[3]!,
      /^apt does not reach its servers \(Temporary failure resolving 'deb\.debian\.org'\): give this machine a network, .*; going on without socat tshark$/,
    );
    assert.match(
      lines[5]!,
      /^npm does not reach its registry \(request to https:\/\/registry.* EAI_AGAIN registry\.npmjs\.org\): give this machine a network/,
    );
    assert.deepEqual([code, lines.length, log.match(/^===/gm)?.length], [1, 6, 4]);
  });

  test('without a network and without a compiler, it ends with the sentence for apt', (t) => {
    const { code, lines } = setUp(t, { programs: { 'apt-get': OFFLINE_APT, npm: OFFLINE_NPM } });
    assert.match(lines.at(-1)!, /^apt does not reach its servers .* and run this again$/);
    assert.deepEqual([code, lines.length], [1, 4]);
  });

  test('an npm that fails without a word is asked for its registry', (t) => {
    const npm = `case $1 in ping) ${OFFLINE_NPM};; esac; echo "npm error Exit handler never called!"; exit 1`;
    const { code, lines } = setUp(t, { programs: { ...ALL, npm } });
    assert.match(lines.at(-1)!, /^npm does not reach its registry .*EAI_AGAIN/);
    assert.equal(code, 1);
  });

  test('where one of several servers is gone, the packages of the others come all the same', (t) => {
    const apt = `case "$*" in *update*) echo "Hit:1 http://here"; echo "Err:2 http://gone"
      echo "  Could not connect to gone:80"; exit;; esac
      ${APT}`;
    const programs = { ...without('tshark', 'socat'), 'apt-get': apt, npm: 'exit 3' };
    const { lines } = setUp(t, { programs, env: { LACKING: 'tshark' } });
    assert.ok(lines.includes('installing the Debian package socat … N s'), lines.join('\n'));
  });

  test('a user gets one line for an administrator, and what can be set up is', (t) => {
    const programs = { ...without('tshark', 'socat'), 'apt-get': 'exit 9', npm: NPM };
    for (const who of [{ user: true }, { env: { WEFT_NO_INSTALL: '1' } }]) {
      const { code, lines } = setUp(t, { programs, ...who });
      assert.equal(
        lines[0],
        'Debian packages are missing; as root: apt-get install --no-install-recommends socat tshark',
      );
      assert.deepEqual([code, lines.at(-1)], [0, 'building the addon']);
    }
  });

  test('without a compiler, a user gets that line alone', (t) => {
    const { code, lines } = setUp(t, { programs: { 'apt-get': 'exit 9', npm: NPM }, user: true });
    assert.deepEqual([code, lines.length], [1, 1], lines.join('\n'));
    assert.match(
      lines[0]!,
      /^weft cannot be built here yet\. Debian packages are missing; as root: apt-get install --no-install-recommends gcc iproute2 /,
    );
  });

  test('a system without apt is told the programs, too', (t) => {
    const { code, lines } = setUp(t, { programs: { ...without('tshark', 'socat'), npm: NPM } });
    assert.equal(
      lines[0],
      "this system has no apt-get; install by its own means what brings socat tshark  (Debian's packages: socat tshark)",
    );
    assert.equal(code, 0);
  });

  test('without npm it says where npm comes from', (t) => {
    const { code, lines } = setUp(t, { programs: ALL });
    assert.match(
      lines.at(-1)!,
      /^there is no npm\. It comes with Node's own archives; .*apt-get install npm$/,
    );
    assert.equal(code, 1);
  });

  test('what else stops npm is shown, by its last lines', (t) => {
    const npm = 'for i in 1 2 3 4 5 6 7 8 9; do echo "line $i"; done; exit 7';
    const { code, lines } = setUp(t, { programs: { ...ALL, npm } });
    assert.deepEqual(lines.slice(2), [
      'npm ci failed (exit 7). It said:',
      ...[2, 3, 4, 5, 6, 7, 8, 9].map((i) => `    line ${i}`),
      '    (all of it: .cache/setup.log)',
    ]);
    assert.equal(code, 1);
  });

  test('an npm that runs no scripts: what is left out for it, and how to have it', (t) => {
    const { code, lines } = setUp(t, { programs: { ...ALL, npm: NPM }, env: { SAYS: 'true' } });
    assert.match(
      lines[1]!,
      /raw-socket: .*; npm is told to run no scripts \(ignore-scripts\); to have it: npm rebuild raw-socket --ignore-scripts=false/,
    );
    assert.equal(code, 0);
  });

  test('CC may be a program with arguments, and counts for a compiler', (t) => {
    for (const CC of ['other -m64', ' ccache  other -m64 ']) {
      const programs = {
        ...without('cc'),
        other: `echo "called: $*" >&2; ${ALL.cc}`,
        ccache: 'exec "$@"',
        npm: NPM,
      };
      const { code, lines } = setUp(t, { programs, user: true, env: { CC } });
      assert.match(lines.join('\n'), /^called: -m64 -std=gnu11 /m);
      assert.equal(code, 0, lines.join('\n'));
    }
    const programs = { ...ALL, npm: NPM };
    const { code, lines } = setUp(t, { programs, env: { CC: 'clang -m64' } });
    assert.match(
      lines.at(-1)!,
      /there is no C compiler clang; install one .* or name another in CC$/,
    );
    assert.equal(code, 1);
  });

  test('a compiler that fails: its messages stand, and nobody is stopped by a warning', (t) => {
    const cc = 'case "$*" in *-Werror*) exit 1;; esac; echo "native/tun.c: what?" >&2; exit 4';
    const { code, lines } = setUp(t, { programs: { ...ALL, cc, npm: NPM } });
    assert.deepEqual(lines.slice(-2), [
      'native/tun.c: what?',
      'the addon in native/ is missing: cc could not build it (exit 4; its messages stand above)',
    ]);
    assert.equal(code, 1);
  });

  test('a compiler for another C library than Node’s: one sentence with both, and what it takes', (t) => {
    const node = cLibraryOfNode();
    if (node === undefined) return t.skip('Node does not show its C library here');
    const [addon, name] = node === 'glibc' ? ['musl', 'libc.so'] : ['glibc', 'libc.so.6'];
    const cc = `while [ "$1" != -o ]; do shift; done; printf '\\0${name}\\0' >"$2"`;
    const { code, lines } = setUp(t, { programs: { ...ALL, cc, npm: NPM } });
    assert.ok(
      lines
        .at(-1)
        ?.startsWith(
          `the addon in native/ is missing: cc builds for ${addon}, and this Node is built for ` +
            `${node}: it takes a compiler for ${node}`,
        ),
      lines.join('\n'),
    );
    assert.deepEqual([code, lines.at(-2)], [1, 'building the addon']);
  });

  test('musl-gcc finds the kernel’s headers after its own; no other compiler is told of them', (t) => {
    for (const [CC, told] of [
      ['gcc', false],
      ['musl-gcc', true],
      ['x86_64-linux-musl-gcc', true],
    ] as const) {
      const programs = { ...ALL, npm: NPM, [CC]: `echo "called: $*" >&2; ${ALL.cc}` };
      const { code, lines } = setUp(t, { programs, env: { CC } });
      assert.equal(/ -idirafter \/usr\/include /.test(lines.join('\n')), told, lines.join('\n'));
      assert.equal(code, 0);
    }
  });

  test('a raw-socket that was built and that Node does not load is told so', (t) => {
    const raw = 'node_modules/raw-socket/build/Release';
    const npm = `/bin/mkdir -p ${raw}; : >${raw}/raw.node\n${NPM}`;
    const { code, lines } = setUp(t, { programs: { ...ALL, npm } });
    assert.match(
      lines[1]!,
      /raw-socket: .*; this Node does not load what was built: .*npm rebuild/,
    );
    assert.equal(code, 0);
  });

  test('a clone that is another user’s: one sentence', (t) => {
    const { code, lines } = setUp(t, {
      programs: { ...ALL, npm: NPM },
      user: true,
      locked: 'dist',
    });
    assert.match(
      lines.join(),
      /^may not write into \/.*\/weft\/dist: set up as the user whose it is/,
    );
    assert.equal(code, 1);
  });
});

/**
 * The Debian packages that weft is built, shown and tested with, and how they are installed. Imports
 * only `node:` modules, since it runs before there are any others.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { compilerWords } from './addon.mjs';
import { ending, fail, say, step, unreachable } from './setup-step.mjs';

/** The compiler that CC names counts for one, where it is there. */
const compiler = () => {
  const [program] = compilerWords(process.env.CC);
  return onPath(program) ? program : 'cc';
};

/**
 * What each purpose needs: a program or a file, and the Debian package that brings it; or, where
 * releases differ, the package and a second one to try when the first did not bring it.
 */
const needs = {
  build: [
    [compiler(), 'gcc'],
    [{ file: '/usr/include/stdio.h' }, 'libc6-dev'],
    [{ file: '/usr/include/linux/if_tun.h' }, 'linux-libc-dev'],
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
    ['docker', ...dockerClient()],
    ['iptables', 'iptables'],
    [{ file: '/bin/busybox' }, 'busybox-static'],
  ],
  test: [
    ['make', 'make'],
    ['g++', 'g++'],
    ['python3', 'python3'],
    ['etcdctl', 'etcd-client'],
    ['faketime', 'faketime'],
    ['socat', 'socat'],
    ['strace', 'strace'],
    ['tcpdump', 'tcpdump'],
    ['tshark', 'tshark'],
    ['ethtool', 'ethtool'],
    ['nft', 'nftables'],
    ['ufw', 'ufw'],
    ['firewalld', 'firewalld'],
    ['dbus-daemon', 'dbus'],
    ['clang-format', 'clang-format'],
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['cpio', 'cpio'],
    ['gzip', 'gzip'],
    ['openssl', 'openssl'],
    ['systemd-analyze', 'systemd'],
    ['groff', 'groff-base'],
    ['musl-gcc', 'musl-tools'],
    ['zsh', 'zsh'],
    ['fish', 'fish'],
    ['wireguard-go', 'wireguard-go'],
    ['wg', 'wireguard-tools'],
    ['nebula', 'nebula'],
    ['ovs-vswitchd', 'openvswitch-switch'],
    ['chromium', 'chromium'],
    ['promtool', 'prometheus'],
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
needs.fresh = [...needs.build, ['git', 'git'], ['debootstrap', 'debootstrap']];
needs.demo = [...needs.build, ...needs.demo];
needs.docker = [...needs.demo, ...needs.docker];
needs.units = [...needs.packages, ...needs.docker];
needs.test = [...needs.docker, ...needs.test];
needs.bench = needs.test;

/** What a set-up may be for. */
export const PURPOSES = Object.keys(needs);

/** The services of these packages would start at the next boot; what is set up here starts its own. */
const services = {
  etcd: ['etcd'],
  dockerd: ['docker.service', 'docker.socket', 'containerd'],
  'ovs-vswitchd': ['openvswitch-switch.service'],
  promtool: ['prometheus.service'],
  ufw: ['ufw.service'],
  firewalld: ['firewalld.service'],
};

/** Debian 13 has the command in a package of its own; elsewhere that name may not be known. */
function dockerClient() {
  let text = '';
  try {
    text = fs.readFileSync('/etc/os-release', 'utf8');
  } catch {
    // No Debian, then.
  }
  const own = /^ID=debian$/m.test(text) && !/^VERSION_ID="?(?:\d|1[0-2])"?$/m.test(text);
  return own ? ['docker-cli'] : ['docker.io', 'docker-cli'];
}

/** The programs' usual homes are searched too: a plain user's PATH lacks the sbin folders. */
function onPath(program) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return folders.some((folder) => folder !== '' && fs.existsSync(path.join(folder, program)));
}

const there = ([what]) => (typeof what === 'string' ? onPath(what) : fs.existsSync(what.file));

function packagesOf(list, turn) {
  return [...new Set(list.map((need) => need[turn]).filter((name) => name !== undefined))];
}

/** Sees to the packages of a purpose: installs them, or says who can. */
export async function debianPackages(purpose) {
  for (const turn of [1, 2]) {
    const missing = (needs[purpose] ?? needs.build).filter((need) => !there(need));
    const names = packagesOf(missing, turn);
    if (names.length === 0) continue;
    const why = mayNotInstall();
    if (why !== undefined) {
      if (turn === 1) tellMissing(missing, names, why);
    } else {
      const cut = await aptInstall(names);
      if (cut === undefined) continue;
      const cure =
        `apt does not reach its servers (${cut}): give this machine a network, or a mirror that it ` +
        'reaches in /etc/apt/sources.list, and run this again';
      if (builds(missing)) fail(cure);
      say(`${cure}; going on without ${names.join(' ')}`);
      return;
    }
  }
}

/** Without a compiler there is no weft; without the others there is, and tests say what they lack. */
const builds = (missing) => missing.some((need) => needs.build.includes(need));

/** Why this process installs nothing; undefined when it does. */
function mayNotInstall() {
  if (!onPath('apt-get')) return 'apt';
  if (process.env.WEFT_NO_INSTALL === '1') return 'told';
  return process.getuid() === 0 ? undefined : 'root';
}

function tellMissing(missing, names, why) {
  const what = missing.map(([need]) => (typeof need === 'string' ? need : need.file)).join(' ');
  const alpine = builds(missing) ? '; Alpine: apk add gcc musl-dev linux-headers' : '';
  const list =
    why === 'apt' ? `${what}  (Debian's packages: ${names.join(' ')}${alpine})` : names.join(' ');
  const line =
    why === 'apt'
      ? `this system has no apt-get; install by its own means what brings ${list}`
      : `Debian packages are missing; as root: apt-get install --no-install-recommends ${list}`;
  if (builds(missing)) fail(`weft cannot be built here yet. ${line}`);
  say(line);
}

/**
 * Installs without starting any service: the policy file is Debian's own way to say so. Nothing
 * is removed for it, such as another containerd that is in use. apt takes all or none, so that one
 * package which this release lacks would keep out all the others: then each is tried. Gives why no server
 * of apt's was reached, or undefined.
 */
async function aptInstall(names) {
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !fs.existsSync(policy);
  const foreign = Object.keys(services).filter(onPath);
  const remove = () => ours && fs.rmSync(policy, { force: true });
  // Left behind, it would keep every later service of this machine from starting.
  const interrupted = (signal) => {
    remove();
    process.off(signal, interrupted);
    process.kill(process.pid, signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, interrupted);
  if (ours) fs.writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const flags = ['-y', '-q', '--no-install-recommends', '--no-remove'];
    const count = names.length === 1 ? 'the Debian package' : `${names.length} Debian packages:`;
    const install = (wanted, what) =>
      step(`installing ${what}`, 'apt-get', [...flags, 'install', ...wanted], { env });
    const all = () => install(names, `${count} ${names.join(' ')}`);
    let done = await all();
    if (done.ok) return undefined;
    const update = await step("refreshing apt's lists", 'apt-get', ['-q', 'update'], { env });
    done = await all();
    if (done.ok) return undefined;
    // One source that is gone keeps nothing from coming from the others.
    const reached = /^(?:Hit|Get):/m.test(update.output);
    const cut = reached ? undefined : (unreachable(update.output) ?? unreachable(done.output));
    if (cut !== undefined) return cut;
    const failed = [];
    for (const name of names.length === 1 ? [] : names) {
      done = await install([name], `the Debian package ${name}`);
      if (!done.ok) failed.push([name, done]);
    }
    if (names.length === 1) failed.push([names[0], done]);
    for (const [name, { output }] of failed) {
      say(`could not install ${name}; going on without. apt said:\n${ending(output)}`);
    }
    return undefined;
  } finally {
    remove();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, interrupted);
    for (const [program, units] of Object.entries(services)) {
      if (foreign.includes(program) || !onPath(program) || !onPath('systemctl')) continue;
      spawnSync('systemctl', ['-q', 'disable', ...units], { stdio: 'ignore' });
    }
  }
}

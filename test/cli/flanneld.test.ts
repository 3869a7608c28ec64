/** weft under flanneld's name, and each of flanneld's flags. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const WEFT = fileURLToPath(new URL('../../src/cli/weft.js', import.meta.url));
const MANIFEST = new URL('../../../package.json', import.meta.url);
const FIXTURE = new URL('../../../test/cli/fixtures/flanneld-flags.json', import.meta.url);
const { version, bin } = JSON.parse(fs.readFileSync(MANIFEST, 'utf8')) as {
  version: string;
  bin: Record<string, string>;
};
const { flags } = JSON.parse(fs.readFileSync(FIXTURE, 'utf8')) as {
  flags: { name: string; type: string; default: string }[];
};

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-flanneld-'));
after(() => fs.rmSync(directory, { recursive: true, force: true }));
/** A store that is not there ends every start right after the flags. */
const NO_STORE = '-store-file=/nonexistent/network.json';

function run(program: string, args: readonly string[], environment: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { PATH: process.env.PATH, ...environment },
  });
  return { code: status, stdout, stderr };
}

const up = (args: readonly string[], environment: Record<string, string> = {}) =>
  run(WEFT, ['up', ...args], environment);

// As npm links a bin, and as an image does.
const FLANNELD = path.join(directory, 'flanneld');
fs.symlinkSync(WEFT, FLANNELD);

test('flanneld is a bin of the package', () => {
  assert.deepEqual(Object.keys(bin).sort(), ['flanneld', 'weft']);
  const file = fileURLToPath(new URL(`../../../${bin.flanneld}`, import.meta.url));
  assert.equal(fs.realpathSync(file), fs.realpathSync(WEFT));
});

test('under that name it is `weft up`, with no word before the flags', () => {
  assert.deepEqual(run(FLANNELD, ['-help']).stdout, up(['-help']).stdout);
  const unknown = run(FLANNELD, ['-nosuch']);
  assert.equal(unknown.code, 2, 'flanneld says 0 here');
  assert.equal(unknown.stderr, 'flanneld: unknown flag -nosuch; see: flanneld -help\n');
  assert.equal(run(FLANNELD, ['up']).code, 2);
  assert.match(run(FLANNELD, [NO_STORE]).stderr, /^I \S+ weft \d/);
});

test('-version goes to standard error, whatever else is there, and is not in the environment', () => {
  for (const args of [
    ['-version'],
    ['--version'],
    ['-version=true'],
    ['-version', 'more', 'args'],
  ]) {
    const told = { code: 0, stdout: '', stderr: `${version}\n` };
    assert.deepEqual(run(FLANNELD, args), told);
    assert.deepEqual(up(args), told);
  }
  const { code, stderr } = up([NO_STORE], { FLANNELD_VERSION: 'true' });
  assert.equal(code, 1);
  assert.match(stderr, /^I \S+ weft /);
});

test('each flag of flanneld is in the help with its default, or is refused by name', () => {
  assert.equal(flags.length, 31);
  const { stdout } = up(['-help']);
  const [flanneld = ''] = stdout.split("weft's own:");
  for (const { name, type, default: usual } of flags) {
    const [entry] =
      new RegExp(`^ {2}-${name}\\b(?!-)[^\\n]*(?:\\n {8}[^\\n]*)*`, 'm').exec(flanneld) ?? [];
    if (entry === undefined) {
      const value = type === 'int' ? '1' : type === 'bool' ? 'true' : 'x';
      const { code, stderr } = up([`-${name}=${value}`]);
      assert.equal(code, 2, name);
      assert.match(stderr, new RegExp(`-${name} is a flag of flanneld's that weft does not`));
    } else if (!['', 'false', '0'].includes(usual)) {
      assert.ok(entry.replaceAll(/\s+/g, ' ').includes(`(default ${usual})`), entry);
    }
  }
});

test('each flag of flanneld has one row in the table of flags', () => {
  const page = fs.readFileSync(new URL('../../../docs/flannel.md', import.meta.url), 'utf8');
  const [, table = ''] = /^## Flags$(.*?)^## /ms.exec(page) ?? [];
  const rows = [...table.matchAll(/^\| `-([\w-]+)`/gm)].map(([, name]) => name);
  const listed = rows.filter((name) => flags.some((flag) => flag.name === name)).sort();
  assert.deepEqual(listed, flags.map(({ name }) => name).sort());
});

/** Name, flanneld's default, another value, the reason that is told. */
const ONLY_DEFAULT: readonly [string, string, string, RegExp][] = [
  ['kube-subnet-mgr', 'false', 'true', /Kubernetes store/],
  ['kube-api-url', '', 'https://10.0.0.1', /Kubernetes store/],
  ['kube-annotation-prefix', 'flannel.alpha.coreos.com', 'x.y', /Kubernetes store/],
  ['kubeconfig-file', '', '/etc/kube.conf', /Kubernetes store/],
  ['net-config-path', '/etc/kube-flannel/net-conf.json', '/x', /the key PREFIX\/config/],
  ['set-node-network-unavailable', 'true', 'false', /Kubernetes store/],
  ['public-ipv6', '', '2001:db8::1', /IPv6 underlay/],
];

test('what means nothing with etcd is accepted at its default and refused otherwise', () => {
  const usual = ONLY_DEFAULT.map(([name, value]) => `-${name}=${value}`);
  const accepted = up([...usual, NO_STORE]);
  assert.equal(accepted.code, 1);
  assert.match(accepted.stderr, /^I \S+ weft /);
  for (const [name, usualValue, other, why] of ONLY_DEFAULT) {
    const recorded = flags.find((flag) => flag.name === name);
    assert.equal(recorded?.default, usualValue, name);
    const { code, stderr } = up([`-${name}=${other}`, NO_STORE]);
    assert.equal(code, 2, name);
    assert.match(stderr, new RegExp(`^weft up: -${name}=`));
    assert.match(stderr, why);
  }
  const { code, stderr } = up([NO_STORE], { FLANNELD_KUBE_SUBNET_MGR: 'true' });
  assert.equal(code, 2);
  assert.match(stderr, /FLANNELD_KUBE_SUBNET_MGR/);
});

test("klog's flags are accepted", () => {
  const { code, stderr } = up([
    '-v=10',
    '-vmodule=subnet*=3',
    '-log_backtrace_at=main.go:9',
    NO_STORE,
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /^I \S+ weft /);
});

test('half of what belongs together is refused', () => {
  for (const [args, what] of [
    [['-etcd-certfile=/a'], '-etcd-certfile is given without -etcd-keyfile'],
    [['-etcd-keyfile=/a'], '-etcd-keyfile is given without -etcd-certfile'],
    [['-etcd-username=u'], '-etcd-username is given without -etcd-password-file or -etcd-password'],
    [['-etcd-password=p'], 'a password for etcd is given without -etcd-username'],
    [
      ['-etcd-username=u', '-etcd-password=p', '-etcd-password-file=/a'],
      '-etcd-password and -etcd-password-file: give one of them',
    ],
    [['-healthz-port=65536'], '-healthz-port=65536: a port is at most 65535'],
  ] as const) {
    const { code, stderr } = up(args);
    assert.deepEqual([code, stderr], [2, `weft up: ${what}; see: weft up -help\n`]);
  }
});

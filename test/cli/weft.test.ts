/** The command from outside: exit codes, and what goes to which stream. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const WEFT = fileURLToPath(new URL('../../src/cli/weft.js', import.meta.url));
const manifest = new URL('../../../package.json', import.meta.url);
const { version } = JSON.parse(fs.readFileSync(manifest, 'utf8')) as { version: string };

function weft(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('FLANNELD_')),
  );
  const { status, stdout, stderr } = spawnSync(process.execPath, [WEFT, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
    env,
  });
  return { code: status, stdout, stderr };
}

test('an unknown command, and none, are told on stderr with exit code 2', () => {
  const unknown = weft('upp');
  assert.equal(unknown.code, 2);
  assert.equal(unknown.stdout, '');
  assert.match(unknown.stderr, /^weft: unknown command upp; did you mean up\?\n\n/);
  assert.match(weft('frobnicate').stderr, /^weft: unknown command frobnicate\n\n/);
  assert.match(unknown.stderr, /\n {2}weft up /);
  const none = weft();
  assert.equal(none.code, 2);
  assert.match(none.stderr, /^weft: no command given\n/);
});

test('help and the version go to stdout with exit code 0', () => {
  for (const word of ['help', '-help', '--help', '-h']) {
    const { code, stdout, stderr } = weft(word);
    assert.deepEqual([code, stderr], [0, ''], word);
    for (const command of [
      'up',
      'status',
      'probe',
      'release',
      'down',
      'docker-opts',
      'demo',
      'replay',
    ]) {
      assert.match(stdout, new RegExp(`^ {2}weft ${command} `, 'm'));
    }
  }
  for (const word of ['-version', '--version']) {
    assert.deepEqual(weft(word), { code: 0, stdout: `${version}\n`, stderr: '' }, word);
  }
});

test('each command tells its flags, with -help, --help and -h', () => {
  for (const command of [
    ...['up', 'status', 'probe', 'release', 'down', 'docker-opts', 'demo', 'replay'],
    ...['help', 'version', 'completion', 'man'],
  ]) {
    const same = weft('help', command).stdout;
    for (const word of ['-help', '--help', '-h']) {
      const { code, stdout, stderr } = weft(command, word);
      assert.deepEqual([code, stderr], [0, ''], `${command} ${word}`);
      assert.match(stdout, new RegExp(`^weft ${command}: `));
      assert.match(stdout, /^ {2}-/m);
      assert.equal(stdout, same);
    }
  }
});

test("up lists flanneld's flags apart from weft's own", () => {
  const [flanneld = '', own = ''] = weft('up', '-help').stdout.split("\nweft's own:\n");
  const names = (text: string) => [...text.matchAll(/^ {2}-(\S+)/gm)].map((match) => match[1]);
  for (const name of ['etcd-endpoints', 'etcd-prefix', 'iface', 'public-ip', 'subnet-file', 'v']) {
    assert.ok(names(flanneld).includes(name), name);
    assert.ok(!names(own).includes(name), name);
  }
  assert.ok(names(own).includes('store-file'));
  assert.ok(!names(flanneld).includes('store-file'));
});

test('version tells the commit, Node, the addon and the kernel, for people and as JSON', () => {
  const { code, stdout, stderr } = weft('version', '-json');
  assert.deepEqual([code, stderr], [0, '']);
  const told = JSON.parse(stdout);
  assert.deepEqual(
    [told.version, told.node, told.kernel],
    [version, process.version, os.release()],
  );
  assert.equal(told.addon.error, null);
  assert.ok(fs.existsSync(told.addon.file));
  assert.equal(typeof told.offloads.udpSegment, 'boolean');
  const text = weft('version').stdout;
  assert.match(text, new RegExp(`^weft {6}${version.replaceAll('.', '\\.')}\\n`));
  for (const fact of [process.version, told.addon.file, os.release(), told.build?.commit ?? '']) {
    assert.ok(text.includes(fact), fact);
  }
});

test('a wrong command line says what is wrong and where help is, with exit code 2', () => {
  for (const [args, what] of [
    [['up', '-nonsense'], 'unknown flag -nonsense'],
    [['up', '-iface'], 'flag -iface needs a value'],
    [['up', 'eth0'], '"eth0" is not a flag'],
    [['up', '-v=x'], '-v=x: "x" is not a whole number'],
    [
      ['up', '-store-file=a', '-etcd-prefix=/b'],
      '-store-file and -etcd-… contradict each other: give one of them',
    ],
    [['status', '-nonsense'], 'unknown flag -nonsense'],
    [['status', 'flannel.1'], '"flannel.1" is none of: peers, routes, drops, route'],
    [['down', 'flannel.1'], '"flannel.1" is not a flag'],
    [['demo', '-store=paper'], '-store is etcd or file, not "paper"'],
    [['demo', 'fast'], '"fast" is not a flag'],
  ] as const) {
    assert.deepEqual(
      weft(...args),
      { code: 2, stdout: '', stderr: `weft ${args[0]}: ${what}; see: weft ${args[0]} -help\n` },
      args.join(' '),
    );
  }
});

test('status where no weft runs says so', () => {
  const { code, stdout, stderr } = weft('status', '-device', 'flannel.4093');
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /^weft status: no weft runs (on this host|for the device "flannel\.4093")/);
});

test('an error that nobody expected is one line and how to see more, with exit code 1', () => {
  const planted = `import fs from 'node:fs'; const { writeSync } = fs;
    fs.writeSync = (fd, ...rest) => {
      if (fd === 1) throw new TypeError("planted\\nby a test");
      return writeSync(fd, ...rest);
    };`;
  const args = ['--import', `data:text/javascript,${encodeURIComponent(planted)}`, WEFT, 'version'];
  const run = (env: NodeJS.ProcessEnv) =>
    spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000, env });
  const { WEFT_STACK, ...plain } = process.env;
  const short = run(plain);
  assert.equal(short.status, 1);
  assert.match(short.stderr, /^weft version: unexpected error: TypeError: planted; .*WEFT_STACK=1/);
  assert.equal(short.stderr.split('\n').length, 2, short.stderr);
  const long = run({ ...plain, WEFT_STACK: '1' });
  assert.equal(long.status, 1);
  assert.match(long.stderr, /\n {4}at /);
});

test('nobody reads the output: each command ends without a word', () => {
  for (const words of ['help', 'version', 'up -help', 'status -help', 'down -help', 'demo -help']) {
    const script = `{ sleep 0.1; "$0" "$1" ${words}; echo "code $?" >&2; } | true`;
    const { stderr } = spawnSync('sh', ['-c', script, process.execPath, WEFT], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(stderr, 'code 0\n', words);
  }
});

test('output that cannot be written is told once, with exit code 1', () => {
  for (const words of ['help', 'version', 'up -help', 'status -help', 'demo -help']) {
    const script = `exec "$0" "$1" ${words} >/dev/full`;
    const { stderr, status } = spawnSync('sh', ['-c', script, process.execPath, WEFT], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(status, 1, words);
    assert.match(stderr, /^weft \w+: not all of the output could be written: ENOSPC.*\n$/, words);
  }
  for (const redirect of ['>&-', '2>/dev/full', '2>&-', '>/dev/full 2>/dev/full']) {
    const { status } = spawnSync(
      'sh',
      ['-c', `exec "$0" "$1" status ${redirect}`, process.execPath, WEFT],
      {
        timeout: 20_000,
      },
    );
    assert.equal(status, 1, redirect);
  }
});

test('output that somebody reads late comes whole, from a non-blocking descriptor as well', (t) => {
  const script =
    'import os,fcntl,sys; fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK); os.execv(sys.argv[1], sys.argv[1:])';
  if (spawnSync('python3', ['-c', '']).status !== 0) return t.skip('needs python3');
  const shell = `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do python3 -c "${script}" "$0" "$1" up -help; done | (sleep 2; wc -c)`;
  const late = spawnSync('bash', ['-c', shell, process.execPath, WEFT], { encoding: 'utf8' });
  assert.equal(Number(late.stdout), 12 * Buffer.byteLength(weft('up', '-help').stdout));
});

test('what a command line or a file holds is shown plain', (t) => {
  const evil = 'a\x1b[2J\u202eb\nweft up: forged';
  assert.match(
    weft(evil).stderr,
    /^weft: unknown command a\\u001b\[2J\\u202eb\\u000aweft up: forged\n/,
  );
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-plain-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const env = path.join(folder, 'subnet.env');
  fs.writeFileSync(env, 'FLANNEL_MTU=14\x1b[31m\u009b\n');
  const opts = weft('docker-opts', '-f', env, '-d', path.join(folder, 'out'));
  assert.equal(opts.stderr, 'Invalid value of FLANNEL_MTU: 14\\u001b[31m\\u009b\n');
  const store = path.join(folder, 'st\x1bore\n');
  assert.match(
    weft('replay', 'x.pcap', '-routes', store, '-as', '10.0.0.1').stderr,
    /^weft replay: .*st\\u001bore\\u000a.*\n$/,
  );
});

test('an unknown flag is refused by name', () => {
  const unknown = weft('up', '-iface=x', '-nosuch');
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /unknown flag -nosuch/);
});

test('a pattern that Go reads otherwise than JavaScript, or not at all, is refused by name', () => {
  for (const [flag, message] of [
    ['-iface-regex=(', /-iface-regex=\(: it is not a regular expression/],
    ['-iface-regex=eth(?=0)', /-iface-regex=eth\(\?=0\): \(\?= is not part of Go's patterns/],
    ['-iface-regex=\\pL', /-iface-regex=\\pL: \\pL names Unicode characters/],
  ] as const) {
    const { code, stderr } = weft('up', '-iface-regex=^[[:alpha:]]', flag);
    assert.equal(code, 2, flag);
    assert.match(stderr, message);
  }
});

test('the firewall flags are read as flanneld reads them, and a period has bounds', () => {
  for (const [flag, message] of [
    ['-ip-masq=maybe', /"maybe" is neither true nor false/],
    ['-iptables-resync=0', /-iptables-resync=0: give 1 to 2147483 seconds/],
    ['-iptables-resync=-5', /-iptables-resync=-5: give 1 to/],
    ['-iptables-resync=5s', /"5s" is not a whole number/],
  ] as const) {
    const { code, stderr } = weft('up', flag);
    assert.equal(code, 2, flag);
    assert.match(stderr, message);
  }
  const { stdout } = weft('up', '-help');
  assert.match(stdout, /-iptables-forward-rules\n {8}[^-]*\(default true\)/);
  assert.match(stdout, /-iptables-resync seconds\n {8}[^-]*\(default 5\)/);
});

test('lanes and their threads have bounds', () => {
  for (const [flag, message] of [
    ['-lanes=0', /-lanes=0: give 1 to 16/],
    ['-lanes=17', /-lanes=17: give 1 to 16/],
    ['-lanes=-1', /-lanes=-1: give 1 to 16/],
    ['-lanes=two', /"two" is not a whole number/],
    ['-lanes=', /"" is not a whole number/],
    ['-lane-threads=0', /-lane-threads=0: give 1 or 2/],
    ['-lane-threads=3', /-lane-threads=3: give 1 or 2/],
  ] as const) {
    const { code, stdout, stderr } = weft('up', flag);
    assert.deepEqual([code, stdout], [2, ''], flag);
    assert.match(stderr, message);
  }
});

test('the flags of the lease: what cannot be is refused with exit code 2', () => {
  for (const [flag, message] of [
    ['-subnet-lease-renew-margin=0', /give 1 to 1439 minutes/],
    ['-subnet-lease-renew-margin=1440', /give 1 to 1439 minutes/],
    ['-on-lease-loss=stay', /give exit or reacquire/],
    ['-accept=all', /-accept=all: give peers, strict, any/],
    ['-accept=', /-accept=: give peers/],
  ] as const) {
    const { code, stderr } = weft('up', flag);
    assert.equal(code, 2, flag);
    assert.match(stderr, message);
  }
  const { code, stderr } = weft('release', '-public-ip=here');
  assert.equal(code, 2);
  assert.match(stderr, /-public-ip=here is not an IPv4 address/);
});

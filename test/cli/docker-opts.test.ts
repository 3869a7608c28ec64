/** `weft docker-opts` against what flannel's script wrote, byte for byte. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { contradictions, dockerOptions, routeOfOthers } from '../../src/cli/docker-opts.js';
import { NO_IP } from '../control/host/fakes.js';
import { whatTunTestsMiss } from '../dataplane/io/root.js';

interface Case {
  readonly args: readonly string[];
  readonly file: string;
  readonly exit: number;
  readonly says: string;
  readonly written: string | null;
  readonly environment?: Record<string, string>;
}

const WEFT = fileURLToPath(new URL('../../src/cli/weft.js', import.meta.url));
const FIXTURE = new URL('../../../test/cli/fixtures/docker-opts.json', import.meta.url);
const { files, cases } = JSON.parse(fs.readFileSync(FIXTURE, 'utf8')) as {
  files: Record<string, string>;
  cases: readonly Case[];
};

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-docker-opts-'));
after(() => fs.rmSync(directory, { recursive: true, force: true }));
for (const [name, text] of Object.entries(files))
  fs.writeFileSync(path.join(directory, name), text);
const SUBNET = path.join(directory, 'subnet.env');

function run(args: readonly string[], environment: Record<string, string> = {}, umask = '022') {
  const out = path.join(directory, 'docker_opts.env');
  fs.rmSync(out, { force: true });
  const command = [process.execPath, WEFT, 'docker-opts', '-d', out, ...args];
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', `umask ${umask}; exec "$@"`, 'sh', ...command],
    {
      encoding: 'utf8',
      timeout: 20_000,
      env: { PATH: process.env.PATH, FLANNELD_RUN_DIR: directory, ...environment },
    },
  );
  const written = fs.existsSync(out) ? fs.readFileSync(out) : undefined;
  return { status, stdout, stderr, written, out };
}

test('the options and the bytes of the script', () => {
  assert.equal(cases.length, 10);
  for (const { args, file, exit, says, written, environment } of cases) {
    const name = `${JSON.stringify(environment ?? {})} ${file} ${args.join(' ')}`;
    const done = run(['-f', path.join(directory, file), ...args], environment);
    assert.equal(done.status, exit, name + done.stderr);
    assert.equal(done.written?.toString('hex') ?? null, written, name);
    assert.equal(done.stdout, '', name);
    if (exit !== 0) assert.equal(done.stderr, `${says}\n`, name);
    // flannel's is silent about a subnet file that is missing.
    else if (file === 'missing.env') assert.match(done.stderr, /^there is no \S+missing\.env, /);
    else assert.equal(done.stderr, '', name);
  }
});

test('the file is 0644 whatever the umask, and letters may stand together', () => {
  const alone = run(['-f', SUBNET, '-i', '-c', '-m']);
  const together = run(['-f', SUBNET, '-icm'], {}, '077');
  assert.deepEqual(together.written, alone.written);
  assert.equal(fs.statSync(together.out).mode & 0o777, 0o644);
});

test('a device, a pipe and a symbolic link stay what they are, as with the script', () => {
  const wanted = run(['-f', SUBNET]).written?.toString() ?? '';
  assert.notEqual(wanted, '');

  const place = fs.mkdtempSync(path.join(directory, 'links-'));
  const [real, link, loose] = ['real', 'link', 'loose'].map((name) => path.join(place, name));
  fs.writeFileSync(real!, 'old');
  fs.symlinkSync('real', link!);
  fs.symlinkSync('made', loose!);
  for (const [file, target] of [
    [link!, real!],
    [loose!, path.join(place, 'made')],
  ] as const) {
    assert.equal(run(['-f', SUBNET, '-d', file]).status, 0);
    assert.ok(fs.lstatSync(file).isSymbolicLink(), file);
    assert.equal(fs.readFileSync(target, 'utf8'), wanted, target);
  }
  const left = fs.readdirSync(place).sort();
  assert.deepEqual(left, ['link', 'loose', 'made', 'real'], 'nothing temporary is left');

  const pipe = path.join(place, 'pipe');
  spawnSync('mkfifo', [pipe]);
  const shell = (script: string) =>
    spawnSync('sh', ['-c', script, 'sh', process.execPath, WEFT, SUBNET, pipe], {
      ...{ encoding: 'utf8', timeout: 20_000 },
      env: { PATH: process.env.PATH, FLANNELD_RUN_DIR: directory },
    });
  const piped = shell('cat "$4" & "$1" "$2" docker-opts -f "$3" -d "$4" && wait');
  assert.equal(piped.stdout, wanted, piped.stderr);
  assert.ok(fs.statSync(pipe).isFIFO());
  const printed = shell('"$1" "$2" docker-opts -f "$3" -d /dev/stdout | cat');
  assert.deepEqual([printed.stdout, printed.stderr], [wanted, '']);
  const journals = fs.readdirSync(directory, { recursive: true, encoding: 'utf8' });
  const recorded = journals.filter((name) => name.endsWith('docker-opts.json'));
  for (const name of recorded) {
    assert.doesNotMatch(fs.readFileSync(path.join(directory, name), 'utf8'), /pipe|stdout/);
  }
  assert.notDeepEqual(recorded, [], 'the files, which weft down takes back, are recorded');
});

test('a folder, and links that lead in a circle: one line and exit code 1', () => {
  const circle = path.join(directory, 'circle');
  fs.symlinkSync('circle', circle);
  for (const file of [directory, circle]) {
    const done = run(['-f', SUBNET, '-d', file]);
    assert.equal(done.status, 1, file);
    assert.match(done.stderr, /^cannot write \S+: E(?:ISDIR|LOOP)\b.*\n$/);
  }
});

test('the options come back from the line as a shell and systemd read it', () => {
  const { out } = run(['-f', SUBNET, '-c']);
  const { stdout } = spawnSync(
    'sh',
    ['-c', `. ${out}; for o in $DOCKER_OPTS; do echo "$o"; done`],
    {
      encoding: 'utf8',
    },
  );
  assert.equal(stdout, '--bip=10.10.69.1/24\n--ip-masq=true\n--mtu=1450\n');
});

test('a folder that is missing: one line and exit code 1, where the script says 0', () => {
  const { status, stderr } = run(['-f', SUBNET, '-d', path.join(directory, 'none/out')]);
  assert.equal(status, 1);
  assert.match(stderr, /^cannot write \S+none\/out: ENOENT[^\n]*\n$/);
});

test('wrong options: exit code 2', () => {
  for (const [args, says] of [
    [['-x'], /unknown flag -x/],
    [['-k', 'A B'], /-k A B: not the name of a variable/],
    [['subnet.env'], /"subnet\.env" is not a flag/],
  ] as const) {
    const { status, stderr, written } = run(args);
    assert.equal(status, 2);
    assert.match(stderr, says);
    assert.equal(written, undefined);
  }
});

const wanted = { individual: false, combined: true, key: 'O', before: '', masquerade: true };

test('the bridge gets a host address, never the network; what no flannel writes is refused', () => {
  const bip = (subnet: string) => dockerOptions(new Map([['FLANNEL_SUBNET', subnet]]), wanted);
  assert.equal(bip('10.10.69.1/24'), 'O=" --bip=10.10.69.1/24"\n');
  assert.equal(bip('10.10.69.0/24'), 'O=" --bip=10.10.69.1/24"\n');
  assert.equal(bip('10.20.4.65/26'), 'O=" --bip=10.20.4.65/26"\n');
  assert.equal(bip('10.20.4.64/26'), 'O=" --bip=10.20.4.65/26"\n');
  for (const bad of ['10.10.69.1', '10.10.69.1/33', '$(reboot)', '10.10.69.1/24"', '']) {
    assert.throws(() => bip(bad), /Invalid value of FLANNEL_SUBNET/, bad);
  }
  assert.throws(
    () => dockerOptions(new Map([['FLANNEL_MTU', '-1']]), wanted),
    /Invalid value of FLANNEL_MTU: -1/,
  );
});

test('our own subnet led through another host: written, said, exit code 1', (t) => {
  const missing = whatTunTestsMiss();
  if (missing !== undefined) return t.skip(missing);
  const out = path.join(directory, 'routed.env');
  const script =
    'ip link set lo up && ip addr add 192.168.56.13/24 dev lo && ' +
    'ip route add 10.10.69.0/24 via 192.168.56.11 dev lo && exec "$@"';
  const command = [process.execPath, WEFT, 'docker-opts', '-f', SUBNET, '-d', out, '-c'];
  const done = spawnSync('unshare', ['--net', 'sh', '-c', script, 'sh', ...command], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(
    done.stderr,
    'Your routing table already contains the subnet: 10.10.69.0/24 via 192.168.56.11 dev lo\n',
  );
  assert.equal(done.status, 1);
  assert.match(fs.readFileSync(out, 'utf8'), /--bip=10\.10\.69\.1\/24/);
});

test("what of dockerd's other options contradicts these is told", () => {
  const text = 'DOCKER_OPTS=" --bip=10.1.2.1/24 --mtu=1450"\n';
  for (const before of ['--bridge=br0', '-H x -b br0', '--bridge br0']) {
    assert.match(
      contradictions(text, before, undefined).join(),
      /(--bridge|-b) or --bip, not both/,
    );
  }
  for (const before of ['', '--bridged', '--x-bridge=1', '-bb']) {
    assert.deepEqual(contradictions(text, before, undefined), [], before);
  }
  const told = (json: string) => contradictions(text, '', json).length;
  assert.equal(told('{"bridge":"none","mtu":1400,"log-level":"warn"}'), 2);
  assert.equal(told('{"ip-masq":true}'), 0, 'not written here');
  for (const json of ['', '{', '[]', 'null', '7']) assert.equal(told(json), 0, json);
  assert.deepEqual(contradictions('', '--bridge=br0', '{"bridge":"br0"}'), []);
});

test('without ip the file is written, and whether a route is in the way is not known', async () => {
  assert.equal(await routeOfOthers('10.10.69.1/24', NO_IP), undefined);
});

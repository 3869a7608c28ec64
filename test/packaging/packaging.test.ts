/** The units, drop-ins and the image build file: what they promise, and that they can be read. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const read = (name: string) => fs.readFileSync(path.join(ROOT, 'packaging', name), 'utf8');

/** Sections of a unit file, each a list of its assignments in their order. */
function parse(text: string): Map<string, [string, string][]> {
  const sections = new Map<string, [string, string][]>();
  let current: [string, string][] | undefined;
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const section = /^\[(\w+)\]$/.exec(line)?.[1];
    const [, key, value = ''] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (section !== undefined) {
      current = [];
      sections.set(section, current);
    } else {
      assert.ok(key !== undefined && current !== undefined, line);
      current.push([key, value]);
    }
  }
  return sections;
}

const all = (sections: Map<string, [string, string][]>, section: string, key: string) =>
  (sections.get(section) ?? []).filter(([name]) => name === key).map(([, value]) => value);
const one = (sections: Map<string, [string, string][]>, section: string, key: string) => {
  const values = all(sections, section, key);
  assert.equal(values.length, 1, key);
  return values[0]!;
};

const WEFT = parse(read('weft.service'));
const DOCKER = parse(read('docker.service.d/weft.conf'));
const FLANNELD = parse(read('flanneld.service.d/weft.conf'));

test('weft.service: told by sd_notify, started again unless a flag is wrong, with the capabilities', () => {
  assert.equal(one(WEFT, 'Service', 'Type'), 'notify');
  // A long wait for etcd must not end it, nor must many starts.
  for (const unit of [WEFT, FLANNELD]) {
    assert.equal(one(unit, 'Service', 'Restart'), 'always');
    assert.equal(one(unit, 'Service', 'RestartPreventExitStatus'), '2');
    assert.equal(one(unit, 'Service', 'TimeoutStartSec'), 'infinity');
    assert.equal(one(unit, 'Unit', 'StartLimitIntervalSec'), '0');
    assert.ok(Number(one(unit, 'Service', 'WatchdogSec')) > 0);
  }
  const capabilities = one(WEFT, 'Service', 'CapabilityBoundingSet');
  assert.equal(capabilities, 'CAP_NET_ADMIN CAP_NET_RAW CAP_BPF');
  assert.equal(one(WEFT, 'Service', 'DeviceAllow'), '/dev/net/tun rw');
  assert.equal(one(WEFT, 'Service', 'ExecStart'), '/usr/local/bin/weft up $WEFT_OPTIONS');
  assert.match(one(FLANNELD, 'Unit', 'StartLimitIntervalSec'), /^0$/);
  // The unit's own line takes its place, behind it: docs/migration.md.
  assert.deepEqual(all(FLANNELD, 'Service', 'ExecStart'), ['']);
  assert.match(read('flanneld.service.d/weft.conf'), /\nExecStart=\n$/);
});

test("nothing ties Docker's life to weft's, and its wait for weft has an end", () => {
  assert.equal(one(DOCKER, 'Unit', 'After'), 'weft.service');
  // A wish would start weft, and so wait for it, each time that Docker is started.
  assert.deepEqual(all(DOCKER, 'Unit', 'Wants'), []);
  assert.equal(one(WEFT, 'Unit', 'JobRunningTimeoutSec'), '30');
  for (const unit of [WEFT, DOCKER, FLANNELD]) {
    for (const tie of ['Requires', 'Requisite', 'BindsTo', 'PartOf', 'RequiredBy', 'Upholds']) {
      for (const section of unit.keys()) assert.deepEqual(all(unit, section, tie), [], tie);
    }
  }
});

test('Docker reads what weft.service writes, by the name it has there: this boot, else the last', () => {
  const files = all(WEFT, 'Service', 'ExecStartPost').map((post) => {
    const [, key, file] = /^-\/usr\/local\/bin\/weft docker-opts -k (\w+) -d (\S+)$/.exec(post)!;
    assert.equal(key, 'DOCKER_NETWORK_OPTIONS');
    return file!;
  });
  assert.deepEqual(files, ['/run/flannel/docker', '/var/lib/weft/docker']);
  assert.equal(one(WEFT, 'Service', 'StateDirectory'), 'weft');
  // The later wins.
  const read = all(DOCKER, 'Service', 'EnvironmentFile');
  assert.deepEqual(read, files.map((file) => `-${file}`).reverse());
  const [reset, command] = all(DOCKER, 'Service', 'ExecStart');
  assert.equal(reset, '');
  // No folder: Debian's and Docker's own packages have dockerd in different ones.
  assert.match(command!, /^dockerd -H fd:\/\/ .* \$DOCKER_OPTS \$DOCKER_NETWORK_OPTIONS$/);
});

const noAnalyze =
  spawnSync('systemd-analyze', ['--version']).status === 0
    ? false
    : 'needs systemd-analyze, of the package systemd';

test('systemd can read the units, drop-ins included', { skip: noAnalyze }, () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-units-'));
  /** Programs that are not on this machine are replaced by one that is. */
  const plant = (name: string, text: string) => {
    const file = path.join(directory, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const programs =
      /\/(?:usr\/local\/bin\/(?:weft|flanneld)|sbin\/modprobe)\b|(?<=^ExecStart=)dockerd\b/gm;
    fs.writeFileSync(file, text.replaceAll(programs, '/bin/true'));
  };
  const verify = (name: string) => {
    const { status, stdout, stderr } = spawnSync(
      'systemd-analyze',
      ['verify', '--man=no', path.join(directory, name)],
      { encoding: 'utf8', timeout: 30_000 },
    );
    const told = (stdout + stderr).split('\n').filter((line) => line.includes(directory));
    return { status, told };
  };
  try {
    const stub = '[Unit]\nDescription=stub\n[Service]\nExecStart=/bin/false\n';
    plant('weft.service', read('weft.service'));
    plant('docker.service', stub);
    plant('docker.service.d/weft.conf', read('docker.service.d/weft.conf'));
    plant('flanneld.service', stub);
    const line = 'ExecStart=/usr/local/bin/weft up -iface=eth0\n';
    plant('flanneld.service.d/weft.conf', `${read('flanneld.service.d/weft.conf')}${line}`);
    for (const name of ['weft.service', 'docker.service', 'flanneld.service']) {
      const { status, told } = verify(name);
      assert.deepEqual(told, [], name);
      assert.equal(status, 0, name);
    }
    // It would have said so: a key that there is none of, in the unit and in a drop-in.
    plant('weft.service', `${read('weft.service')}\n[Service]\nNoSuchKey=1\n`);
    assert.match(verify('weft.service').told.join('\n'), /NoSuchKey/);
    plant('docker.service.d/weft.conf', '[Service]\nNoSuchKey=1\n');
    assert.match(verify('docker.service').told.join('\n'), /NoSuchKey/);
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
});

const noOffline =
  noAnalyze ||
  (/--offline/.test(spawnSync('systemd-analyze', ['--help'], { encoding: 'utf8' }).stdout)
    ? false
    : 'needs a systemd-analyze with security --offline=');

test('what a weft that is taken over can do: an exposure of at most 3', { skip: noOffline }, () => {
  const unit = path.join(ROOT, 'packaging/weft.service');
  const argv = ['security', '--offline=true', '--threshold=30', '--no-pager', unit];
  const { status, stdout } = spawnSync('systemd-analyze', argv, {
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.equal(status, 0, stdout.trim().split('\n').at(-1));
});

test('the image: what it runs, what it copies, and the run line', () => {
  const text = read('Dockerfile');
  const comment = text
    .split('\n')
    .filter((line) => line.startsWith('#'))
    .join('\n');
  for (const option of [
    '--network host',
    '--cap-add NET_ADMIN',
    '--cap-add NET_RAW',
    '--device /dev/net/tun',
    '-v /run/flannel:/run/flannel',
  ]) {
    assert.ok(comment.includes(option), option);
  }
  const steps = text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '');
  for (const step of steps) assert.match(step, /^(FROM|RUN|COPY|ENTRYPOINT) /);
  assert.equal(steps.at(-1), 'ENTRYPOINT ["/opt/bin/flanneld"]');
  // The Debian package brings all of weft; its command goes by the name it is called by.
  assert.match(text, /^COPY weft_\*\.deb \/tmp\/$/m);
  assert.match(text, /ln -s \/usr\/bin\/weft \/opt\/bin\/flanneld/);
  assert.match(read('debian/weft'), /\[ "\$\{0##\*\/\}" != flanneld \] \|\| program=flanneld/);
  assert.match(text, /install -y --no-install-recommends iptables nftables /);
  // One run line, here and in the document.
  const runLine = (from: string) =>
    /docker run -d --name weft(?:.*\\\n)+.*/
      .exec(from)![0]
      .replaceAll(/\\\n#?\s*/g, '')
      .trim();
  const document = fs.readFileSync(path.join(ROOT, 'docs/container.md'), 'utf8');
  assert.equal(runLine(document), runLine(text));
});

test('networkd is told to leave the device alone', () => {
  const network = parse(read('50-weft.network'));
  assert.equal(one(network, 'Match', 'Name'), 'flannel.*');
  assert.equal(one(network, 'Link', 'Unmanaged'), 'yes');
});

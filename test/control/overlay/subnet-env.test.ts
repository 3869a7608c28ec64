import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { parseSubnet, type Subnet } from '../../../src/control/overlay/subnet.js';
import {
  formatSubnetEnv,
  readPreviousSubnet,
  readSubnetEnv,
  withOurs,
  writeSubnetEnv,
  wrongIn,
} from '../../../src/control/overlay/subnet-env.js';

const subnet = (text: string): Subnet => parseSubnet(text) as Subnet;

/** What flanneld wrote for the network, subnet, MTU and -ip-masq in front. */
const RECORDED: [string, string, number, boolean, string][] = [
  [
    '10.10.0.0/16',
    '10.10.58.0/24',
    1450,
    false,
    '464c414e4e454c5f4e4554574f524b3d31302e31302e302e302f31360a464c414e4e454c5f5355424e45543d31302e31302e35382e312f32340a464c414e4e454c5f4d54553d313435300a464c414e4e454c5f49504d4153513d66616c73650a',
  ],
  [
    '10.20.0.0/16',
    '10.20.29.0/24',
    1450,
    true,
    '464c414e4e454c5f4e4554574f524b3d31302e32302e302e302f31360a464c414e4e454c5f5355424e45543d31302e32302e32392e312f32340a464c414e4e454c5f4d54553d313435300a464c414e4e454c5f49504d4153513d747275650a',
  ],
  [
    '10.20.5.6/20',
    '10.20.4.64/26',
    1450,
    false,
    '464c414e4e454c5f4e4554574f524b3d31302e32302e302e302f32300a464c414e4e454c5f5355424e45543d31302e32302e342e36352f32360a464c414e4e454c5f4d54553d313435300a464c414e4e454c5f49504d4153513d66616c73650a',
  ],
];

describe('subnet.env', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-env-'));
  after(() => fs.rmSync(directory, { recursive: true }));

  test('has the bytes that flanneld writes', () => {
    for (const [network, own, mtu, ipMasq, hex] of RECORDED) {
      const text = formatSubnetEnv({ network: subnet(network), subnet: subnet(own), mtu, ipMasq });
      assert.equal(text, Buffer.from(hex, 'hex').toString());
    }
  });

  test('is 0644 under any umask, in a directory that is made', () => {
    for (const umask of [0o077, 0o000]) {
      const file = path.join(directory, String(umask), 'run', 'subnet.env');
      const before = process.umask(umask);
      try {
        for (const own of ['10.5.1.0/24', '10.5.2.0/24']) {
          const env = {
            network: subnet('10.5.0.0/16'),
            subnet: subnet(own),
            mtu: 1450,
            ipMasq: false,
          };
          writeSubnetEnv(file, formatSubnetEnv(env));
        }
      } finally {
        process.umask(before);
      }
      assert.equal(fs.statSync(file).mode & 0o777, 0o644);
      assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o755 & ~umask);
      assert.deepEqual(fs.readdirSync(path.dirname(file)), ['subnet.env']);
      assert.deepEqual(readPreviousSubnet(file), subnet('10.5.2.0/24'));
    }
  });

  test('leaves nothing behind when it cannot be written', () => {
    const file = path.join(directory, 'taken');
    fs.mkdirSync(path.join(file, 'in the way'), { recursive: true });
    assert.throws(() => writeSubnetEnv(file, 'A=1\n'));
    assert.equal(fs.existsSync(path.join(directory, '.taken.weft')), false);
    assert.throws(() => writeSubnetEnv('/proc/nope/deep/subnet.env', 'A=1\n'), {
      code: 'ENOENT',
    });
  });

  const ENV = {
    network: subnet('10.5.0.0/16'),
    subnet: subnet('10.5.1.0/24'),
    mtu: 1450,
    ipMasq: false,
  };
  const text = formatSubnetEnv(ENV);

  test('is right whatever others have put beside it, in whatever order', () => {
    const reversed = text.trimEnd().split('\n').reverse().join('\n');
    const DOCKER = 'DOCKER_OPT_BIP="--bip=10.5.1.1/24"\nDOCKER_OPTS=" --bip=10.5.1.1/24"\n';
    for (const right of [
      text,
      text.trimEnd(),
      reversed,
      `${text}${DOCKER}`,
      `# mine\r\nFLANNEL_OPTIONS=-ip-masq\r\n\n${text}`,
      `${text}FLANNEL_MTU=1450\n`,
    ]) {
      assert.equal(wrongIn(right, ENV), undefined, right);
    }
  });

  test('is wrong with another value, even a later one, with one missing, cut or quoted', () => {
    const CASES: [string, RegExp][] = [
      ['', /^which lacked FLANNEL_NETWORK$/],
      [`${text}FLANNEL_MTU=1400\n`, /^whose FLANNEL_MTU was 1400$/],
      [text.replace('1450', '1400'), /^whose FLANNEL_MTU was 1400$/],
      [text.replace('FLANNEL_MTU=1450\n', ''), /^which lacked FLANNEL_MTU$/],
      [text.slice(0, -4), /^whose FLANNEL_IPMASQ was fa$/],
      [text.replaceAll('\n', '\r\n'), /^whose FLANNEL_NETWORK was not written as by flannel$/],
      [text.replace('1450', '"1450"'), /not written as by flannel/],
      [text.replace('FLANNEL_MTU', 'export FLANNEL_MTU'), /^whose FLANNEL_MTU was 1450$/],
      [text.replace('1450', '\x1b[2J'), /not written as by flannel/],
      [`${text}FLANNEL_IPV6_SUBNET=fc00::1/64\n`, /^whose FLANNEL_IPV6_SUBNET was fc00::1/],
      [`${text}FLANNEL_MTU=\n`, /^whose FLANNEL_MTU was empty$/],
    ];
    for (const [wrong, why] of CASES) assert.match(wrongIn(wrong, ENV) ?? 'right', why, wrong);
  });

  test('what others wrote is kept as it is, behind our lines', () => {
    const others = '# DOCKER\nDOCKER_OPTS=" --mtu=1400"\r\n\nFLANNEL_OPTIONS=-v\nDOCKER_OP';
    const old = text.replace('1450', '1400');
    const now = withOurs(`${others.slice(0, 9)}${old}${others.slice(9)}`, ENV);
    assert.equal(now, `${text}${others}\n`);
    assert.equal(withOurs(now, ENV), now);
    assert.equal(withOurs('', ENV), text);
  });

  test('a link stays one, and mode and owner stay as somebody made them', () => {
    const at = fs.mkdtempSync(path.join(directory, 'link-'));
    const [file, real] = [path.join(at, 'subnet.env'), path.join(at, 'etc', 'real.env')];
    fs.symlinkSync('etc/../etc/real.env', file);
    writeSubnetEnv(file, 'A=1\n');
    assert.equal(fs.statSync(real).mode & 0o777, 0o644);
    fs.chmodSync(real, 0o640);
    if (process.getuid?.() === 0) fs.chownSync(real, 65534, 65533);
    const before = fs.statSync(real);
    writeSubnetEnv(file, 'A=2\n');
    assert.ok(fs.lstatSync(file).isSymbolicLink());
    assert.equal(readSubnetEnv(file), 'A=2\n');
    const { mode, uid, gid } = fs.statSync(real);
    assert.deepEqual([mode, uid, gid], [before.mode, before.uid, before.gid]);
    assert.deepEqual(fs.readdirSync(path.dirname(real)), ['real.env']);
    fs.rmSync(file);
    fs.symlinkSync('subnet.env', file);
    assert.throws(() => writeSubnetEnv(file, 'A=3\n'), /in a circle/);
    fs.rmSync(file);
    execFileSync('mkfifo', [file]);
    assert.throws(() => readSubnetEnv(file), /not a regular file/);
  });

  test('is read with the quotes and exports of other writers', () => {
    const file = path.join(directory, 'other.env');
    const read = (text: string) => {
      fs.writeFileSync(file, text);
      return readPreviousSubnet(file);
    };
    assert.deepEqual(read('export FLANNEL_SUBNET="10.5.7.1/24"\n'), subnet('10.5.7.0/24'));
    assert.deepEqual(
      read("FLANNEL_MTU=1\nFLANNEL_SUBNET='10.5.7.1/24' # x\r\n"),
      subnet('10.5.7.0/24'),
    );
    assert.equal(read('FLANNEL_SUBNET=10.5.7.1/24,10.6.7.1/24\n'), undefined);
    assert.equal(read('FLANNEL_IPV6_SUBNET=10.5.7.1/24\n'), undefined);
    assert.equal(read(''), undefined);
    assert.equal(readPreviousSubnet(path.join(directory, 'none')), undefined);
  });
});

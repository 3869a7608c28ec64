import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { parseSubnet, type Subnet } from '../../../src/control/overlay/subnet.js';
import {
  formatSubnetEnv,
  readPreviousSubnet,
  writeSubnetEnv,
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
          writeSubnetEnv(file, env);
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
    const env = {
      network: subnet('10.5.0.0/16'),
      subnet: subnet('10.5.1.0/24'),
      mtu: 1450,
      ipMasq: false,
    };
    assert.throws(() => writeSubnetEnv(file, env));
    assert.equal(fs.existsSync(path.join(directory, '.taken.weft')), false);
    assert.throws(() => writeSubnetEnv('/proc/nope/deep/subnet.env', env), { code: 'ENOENT' });
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

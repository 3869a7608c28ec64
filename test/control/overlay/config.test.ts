import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Config,
  ConfigError,
  parseConfig,
  type Vxlan,
} from '../../../src/control/overlay/config.js';
import { formatSubnet } from '../../../src/control/overlay/subnet.js';
import { formatAddress } from '../../../src/dataplane/wire/ipv4.js';

const KEY = '/coreos.com/network/config';
const VXLAN = { Type: 'vxlan' };

function parse(config: unknown): Config {
  return parseConfig(typeof config === 'string' ? config : JSON.stringify(config), KEY);
}

function vxlan(options: object): Vxlan {
  return vxlanOf({ Network: '10.5.0.0/16', Backend: { ...VXLAN, ...options } });
}

function vxlanOf(config: unknown): Vxlan {
  const { backend } = parse(config);
  assert.ok(backend.type === 'vxlan');
  return backend;
}

function range({ network, subnetLength, subnetMin, subnetMax }: Config): string {
  return `${formatSubnet(network)} /${subnetLength} ${formatAddress(subnetMin)} ${formatAddress(subnetMax)}`;
}

function error(config: unknown): ConfigError {
  try {
    parse(config);
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, String(thrown));
    assert.ok(thrown.message.includes(KEY), thrown.message);
    return thrown;
  }
  assert.fail(`accepted: ${JSON.stringify(config)}`);
}

test('takes the literal config of the tutorials', () => {
  const config = parse(
    '{\n"Network":"10.10.0.0/16",\n"Subnetlen":24,\n"Backend":{"Type":"Vxlan"}\n}',
  );
  assert.equal(range(config), '10.10.0.0/16 /24 10.10.1.0 10.10.255.0');
  assert.equal(config.nftables, false);
  assert.deepEqual(config.backend, {
    type: 'vxlan',
    vni: 1,
    port: 8472,
    mtu: undefined,
    gbp: false,
    learning: false,
    directRouting: false,
  });
});

test('derives the range as flannel does', () => {
  const derived: [object, string][] = [
    [{ Network: '10.20.0.0/16', SubnetLen: 0 }, '10.20.0.0/16 /24 10.20.1.0 10.20.255.0'],
    [{ Network: '10.20.0.0/22' }, '10.20.0.0/22 /24 10.20.1.0 10.20.3.0'],
    [{ Network: '10.20.0.0/23' }, '10.20.0.0/23 /25 10.20.0.128 10.20.1.128'],
    [{ Network: '10.20.0.0/28' }, '10.20.0.0/28 /30 10.20.0.4 10.20.0.12'],
    [{ Network: '192.0.0.0/2', SubnetLen: 8 }, '192.0.0.0/2 /8 193.0.0.0 255.0.0.0'],
    [
      { Network: '10.20.5.6/20', SubnetLen: 26, SubnetMin: '10.20.4.64', SubnetMax: '10.20.4.64' },
      '10.20.0.0/20 /26 10.20.4.64 10.20.4.64',
    ],
    [
      { Network: '10.20.0.0/16', SubnetLen: null, Foo: 1 },
      '10.20.0.0/16 /24 10.20.1.0 10.20.255.0',
    ],
  ];
  for (const [config, expected] of derived) {
    assert.equal(range(parse({ ...config, Backend: VXLAN })), expected);
  }
});

test('takes every option of the backend', () => {
  const options = { VNI: 7, Port: 4789, MTU: 1400, GBP: true, Learning: true, DirectRouting: true };
  const config = {
    Network: '10.20.0.0/16',
    EnableNFTables: true,
    Backend: { ...VXLAN, ...options },
  };
  const { backend, nftables } = parse(config);
  assert.deepEqual(backend, {
    type: 'vxlan',
    vni: 7,
    port: 4789,
    mtu: 1400,
    gbp: true,
    learning: true,
    directRouting: true,
  });
  assert.equal(nftables, true);
  for (const vni of [0, 10_000_000, 0xffffff]) {
    assert.equal(vxlan({ VNI: vni }).vni, vni);
  }
  const zeros = vxlan({ Port: 0, MTU: 0 });
  assert.equal(zeros.port, 8472);
  assert.equal(zeros.mtu, undefined);
});

test('host-gw has no options, and takes no notice of those of others', () => {
  for (const backend of [{ Type: 'host-gw' }, { Type: 'Host-GW', VNI: 'x', DirectRouting: 1 }]) {
    assert.deepEqual(parse({ Network: '10.5.0.0/16', Backend: backend }).backend, {
      type: 'host-gw',
    });
  }
});

test('the last of two members with one name wins', () => {
  const text = '{"Network":"10.20.0.0/16","network":"10.22.0.0/16","Backend":{"Type":"VXLAN"}}';
  assert.equal(formatSubnet(parse(text).network), '10.22.0.0/16');
});

test('says what is wrong, and waits for it to be mended', () => {
  const bad: [unknown, RegExp][] = [
    ['', /the value is empty/],
    [' \n', /the value is empty/],
    ['hello', /not JSON: line 1, column 1: unexpected "h"/],
    ['{"Network":"10.5.0.0/16", \\}', /column 27.*backslash, perhaps left over from the shell/],
    ['“{"Network":"10.5.0.0/16"}”', /typographic quote/],
    ['{“Network”:"10.5.0.0/16"}', /column 2.*typographic quote/],
    ['\uFEFF{"Network":"10.5.0.0/16"}', /byte order mark/],
    [JSON.stringify('{"Network":"10.5.0.0/16"}'), /JSON text inside a string/],
    ['{"Network":"10.20.0.0/16"} xyz', /column 28: unexpected "x"/],
    ['[]', /must be a JSON object/],
    ['{}', /Network is missing/],
    [{ Network: 5 }, /Network is 5, but a string is expected/],
    [{ Network: '10.20.0.0' }, /Network "10.20.0.0" is not an IPv4 network/],
    [{ Network: '2001:db8::/48' }, /is not an IPv4 network/],
    [{ Network: '10.0.0.0/32' }, /10.0.0.0\/32 is too small/],
    [{ Network: '10.20.0.0/29' }, /too small; the smallest useful one is a \/28/],
    [{ Network: '10.20.0.0/16', SubnetLen: 31 }, /SubnetLen 31 is too long/],
    [{ Network: '10.20.0.0/16', SubnetLen: 17 }, /SubnetLen 17 leaves room for fewer than four/],
    [{ Network: '10.20.0.0/16', SubnetLen: 8 }, /SubnetLen 8 leaves room/],
    [{ Network: '10.20.0.0/16', SubnetLen: '24' }, /SubnetLen is "24", but a number is expected/],
    [{ Network: '10.20.0.0/16', SubnetLen: -1 }, /SubnetLen -1/],
    [
      { Network: '10.20.0.0/16', SubnetMin: '10.21.0.0' },
      /SubnetMin 10.21.0.0 is not in the Network/,
    ],
    [{ Network: '10.20.0.0/16', SubnetMin: '10.20.1.5' }, /SubnetMin 10.20.1.5 is not the first/],
    [
      { Network: '10.20.0.0/16', SubnetMax: '10.30.0.0' },
      /SubnetMax 10.30.0.0 is not in the Network/,
    ],
    [{ Network: '10.20.0.0/16', SubnetMax: 'x' }, /SubnetMax "x" is not an IPv4 address/],
    [{ Network: '10.20.0.0/16', Backend: 'vxlan' }, /Backend must be an object/],
    [{ Network: '10.20.0.0/16', Backend: { Type: 7 } }, /Backend.Type is 7, but a string/],
  ];
  for (const [config, message] of bad) {
    const base = typeof config === 'object' ? { Backend: VXLAN, ...config } : config;
    const found = error(base);
    assert.match(found.message, message);
    assert.equal(found.final, false, found.message);
  }
});

test('refuses at once what flannel itself gives up on, and what weft does not serve', () => {
  const net = { Network: '10.20.0.0/16' };
  const backend = (options: object) => ({ ...net, Backend: { ...VXLAN, ...options } });
  const refused: [object, RegExp][] = [
    [
      { ...net, SubnetMin: '10.20.50.0', SubnetMax: '10.20.20.0', Backend: VXLAN },
      /10.20.50.0 is above/,
    ],
    [{ ...net, Backend: {} }, /Backend.Type is ""/],
    [{ ...net, Backend: null }, /Backend.Type is ""/],
    [
      { ...net, Backend: { Type: 'wireguard' } },
      /Backend.Type is "wireguard", and weft knows vxlan and host-gw only/,
    ],
    [backend({ VNI: '1' }), /Backend.VNI is "1", but a number is expected/],
    [backend({ VNI: 16777216 }), /Backend.VNI 16777216 is not a whole number of 24 bits/],
    [backend({ VNI: -1 }), /24 bits/],
    [backend({ VNI: 1.5 }), /Backend.VNI is 1.5, but a whole number is expected/],
    [backend({ Port: 70000 }), /Backend.Port 70000 is not a UDP port/],
    [backend({ Port: -1 }), /Backend.Port -1/],
    [backend({ MTU: 60 }), /Backend.MTU 60 is not an MTU of the underlay \(118 to 65535/],
    [backend({ MTU: '1400' }), /Backend.MTU is "1400", but a number is expected/],
    [backend({ GBP: 'yes' }), /Backend.GBP is "yes", but a boolean/],
    [
      { ...net, EnableIPv6: true, IPv6Network: '2001:db8::/48', Backend: VXLAN },
      /IPv4 inside the tunnel only/,
    ],
    [{ EnableIPv4: false, EnableIPv6: true, Backend: VXLAN }, /EnableIPv4 is off/],
  ];
  for (const [config, message] of refused) {
    const found = error(config);
    assert.match(found.message, message);
    assert.equal(found.final, true, found.message);
  }
});

test('takes numbers as Go does: whole, and written as such', () => {
  const config = (subnetLength: string, vxlan: string) =>
    `{"SubnetLen":${subnetLength}, "Network":"10.5.0.0/16","Backend":{"Type":"vxlan",${vxlan}}}`;
  const cases: [string, RegExp][] = [
    [config('24', '"VNI": 1e0'), /Backend.VNI is 1e0, but a whole number is expected/],
    [config('24', '"VNI":1.0'), /Backend.VNI is 1.0, but a whole number/],
    [config('24', '"Port":0.8472e4'), /Backend.Port is 0.8472e4, but a whole number/],
    [config('24', '"mtu":1400,"MTU":1.4e3'), /Backend.MTU is 1.4e3, but a whole number/],
    [config('24.0', '"VNI":1'), /SubnetLen is 24.0, but a whole number/],
    [config('24', '"MTU":1.4e3,"mtu":1400'), /Backend.MTU is 1.4e3, but a whole number/],
    [config('24', '"MTU":"1400","MTU":1400'), /Backend.MTU is "1400", but a number/],
  ];
  for (const [text, message] of cases) assert.match(error(text).message, message);
  assert.equal(vxlanOf(config('24', '"VNI":1,"vni":2,"VNI":3')).vni, 3, 'the last counts');
  assert.equal(vxlanOf(config('24', '"VNI":3,"VNI":null')).vni, 3, 'null says nothing');
  assert.equal(vxlanOf(config('24', '"VNI":-0')).vni, 0);
});

test('refuses an absent backend and prints the config with one', () => {
  const found = error('{"Network":"10.5.0.0/16"}');
  assert.equal(found.final, true);
  assert.match(found.message, /flannel use its udp backend/);
  assert.ok(found.message.endsWith(': {"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}'));
});

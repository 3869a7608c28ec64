/** What flanneld 0.28 was seen to do with each of these, written beside two good leases while it ran. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configProblem, readAsFlanneld } from '../../../src/control/overlay/flanneld.js';

const MAC = '02:00:00:00:00:99';
const KEY = '10.10.9.0-24';
const value = (more: object = {}) =>
  JSON.stringify({
    ...{ PublicIP: '192.168.56.99', PublicIPv6: null, BackendType: 'vxlan' },
    ...{ BackendData: { VNI: 1, VtepMAC: MAC }, ...more },
  });
const inside = (more: object) => value({ BackendData: { VNI: 1, VtepMAC: MAC, ...more } });

const SEEN: readonly (readonly [string, string, string])[] = [
  // It lost its peers, and again when the key was deleted.
  ['drops all, by key', 'hello', value()],
  ['drops all, by key', '10.10.9.0', value()],
  ['drops all, by key', '10.10.9.0-32', value()],
  ['drops all, by key', '10.010.9.0-24', value()],
  ['drops all, by key', `${KEY}x`, value()],
  ['drops all, by key', `${KEY}&:::-64`, value()],
  // It lost its peers.
  ['drops all', KEY, 'garbage'],
  ['drops all', KEY, ''],
  ['drops all', KEY, '[]'],
  ['drops all', KEY, `\uFEFF${value()}`],
  ['drops all', KEY, `${value()}x`],
  ['drops all', KEY, value({ PublicIP: 'fd00::1' })],
  ['drops all', KEY, value({ PublicIP: null })],
  ['drops all', KEY, value({ PublicIP: 5 })],
  ['drops all', KEY, value({ PublicIPv6: 'x' })],
  ['drops all', KEY, value({ PublicIPv6: '' })],
  ['drops all', KEY, value({ BackendType: 7 })],
  ['drops all', KEY, value().replace('{', '{"publicip":5,')],
  // It took no change any more.
  ['stops', `${KEY}&fd00::-64`, value()],
  ['stops', `${KEY}&fd00::-64`, value({ PublicIPv6: 'fd00::9', BackendV6Data: { VNI: 1 } })],
  // It tried ten times, and took the next change a minute later.
  ['stalls', '10.10.9.5-24', value()],
  ['stalls', '0.0.0.0-0', value()],
  ['stalls', KEY, value({ BackendData: null })],
  ['stalls', KEY, value({ BackendData: {} })],
  ['stalls', KEY, inside({ VtepMAC: '02:00:00:00:00:00:00:99' })],
  ['stalls', KEY, inside({ VtepMAC: '03:00:00:00:00:99' })],
  ['stalls', KEY, inside({ VtepMAC: '00:00:00:00:00:00' })],
  // It made no route, and went on.
  ['skips', KEY, value({ BackendType: 'Vxlan' })],
  ['skips', KEY, value({ BackendType: 'host-gw' })],
  ['skips', KEY, value({ BackendData: undefined })],
  ['skips', KEY, value({ BackendData: 'eyJ9' })],
  ['skips', KEY, value({ BackendData: 5 })],
  ['skips', KEY, inside({ VtepMAC: 'zz' })],
  ['skips', KEY, inside({ VtepMAC: null })],
  ['skips', KEY, inside({ VNI: '1' })],
  ['skips', KEY, inside({ VNI: -1 })],
  ['skips', KEY, value().replace('"VNI":1', '"VNI":1.0')],
  // To 0.0.0.0.
  ['skips', KEY, value({ PublicIP: undefined })],
];

for (const [does, key, text] of SEEN) {
  test(`${does}: ${key} = ${text}`, () => {
    const made = readAsFlanneld(key, text, 'vxlan');
    assert.ok(made !== undefined && 'does' in made, 'it is used');
    assert.equal(made.does, does);
    assert.match(made.why, /^(has|is) /);
  });
}

test('what it uses', () => {
  for (const [key, text] of [
    [KEY, value()],
    [`x/${KEY}`, value()],
    [KEY, value({ Extra: 1, BackendV6Data: 'x' })],
    [KEY, inside({ VNI: 2 })],
    [KEY, inside({ VNI: null })],
    [KEY, inside({ VtepMAC: '02-00-00-00-00-99' })],
    [KEY, value({ PublicIP: '127.0.0.1' })],
    [KEY, value().replace('PublicIP"', 'publicip"')],
  ] as const) {
    const made = readAsFlanneld(key, text, 'vxlan');
    assert.ok(made !== undefined && 'mac' in made, `${key} ${text}`);
    assert.equal(made.subnet.length, 24);
  }
});

test('what is none of its business: a key kept for a host to come', () => {
  for (const text of ['{}', 'null', '{"PublicIP":"192.168.56.99"}', value({ BackendType: '' })]) {
    assert.equal(readAsFlanneld(KEY, text, 'vxlan'), undefined, text);
  }
  assert.equal(readAsFlanneld(KEY, value({ BackendData: null }), 'host-gw'), undefined);
  const bad = readAsFlanneld(KEY, '[]', 'host-gw');
  assert.ok(bad !== undefined && 'does' in bad && bad.does === 'drops all', 'whatever the backend');
});

test('a config that it refuses and weft takes, and the one that both take', () => {
  const network = '"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}';
  assert.equal(configProblem(`{${network}}`), undefined);
  for (const good of ['"IPv6Network":"fd00::/48"', '"IPv6SubnetLen":64', '"IPv6SubnetMin":null']) {
    assert.equal(configProblem(`{${network},${good}}`), undefined, good);
  }
  for (const bad of [
    ...['"IPv6Network":"x"', '"IPv6Network":null', '"IPv6SubnetLen":"64"', '"SubnetMin":null'],
    ...['"IPv6SubnetMin":"zz"', '"ipv6network":"fd00::/129"'],
  ]) {
    const found = configProblem(`{ "EnableIPv6" : false, ${bad}, ${network} }`);
    assert.ok(found, bad);
    assert.match(found.why, new RegExp(`^has the ${bad.split('"')[1]} .*which flanneld cannot`));
    assert.equal(found.better, `{"EnableIPv6":false,${network}}`);
    assert.equal(configProblem(found.better), undefined);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  backendProblem,
  formatLeaseValue,
  ownLeaseValue,
  parseLeaseValue,
  rewriteLeaseValue,
  vtepMacIn,
  withPublicIp,
  withVtepMac,
} from '../../../src/control/overlay/lease-value.js';
import { formatMac, parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { formatAddress, parseAddress } from '../../../src/dataplane/wire/ipv4.js';

/** What flanneld wrote to etcd for 192.168.56.11, VNI 1, 2a:2e:cc:73:34:04. */
const RECORDED = Buffer.from(
  '7b225075626c69634950223a223139322e3136382e35362e3131222c225075626c696349507636223a6e756c6c2c22' +
    '4261636b656e6454797065223a2276786c616e222c224261636b656e6444617461223a7b22564e49223a312c225674' +
    '65704d4143223a2232613a32653a63633a37333a33343a3034227d7d',
  'hex',
);

test('writes the bytes that flanneld writes', () => {
  const mac = parseMac('2a:2e:cc:73:34:04') as Uint8Array;
  const value = formatLeaseValue(parseAddress('192.168.56.11') as number, 1, mac);
  assert.deepEqual(Buffer.from(value), RECORDED);
});

test('writes what flanneld writes with host-gw', () => {
  const address = parseAddress('192.168.56.13') as number;
  const value = ownLeaseValue({ type: 'host-gw' }, address, new Uint8Array(6));
  assert.equal(value, '{"PublicIP":"192.168.56.13","PublicIPv6":null,"BackendType":"host-gw"}');
  assert.equal(vtepMacIn(value), undefined);
  assert.equal(vtepMacIn('garbage'), undefined);
  assert.equal(formatMac(vtepMacIn(RECORDED.toString())!), '2a:2e:cc:73:34:04');
});

test('a lease is of use to hosts of its own backend', () => {
  const problem = (text: string, ours: 'vxlan' | 'host-gw') =>
    backendProblem(parseLeaseValue(text), ours);
  const hostGw = '{"PublicIP":"192.168.56.13","BackendType":"host-gw"}';
  assert.equal(problem(hostGw, 'host-gw'), undefined);
  assert.equal(problem(RECORDED.toString(), 'vxlan'), undefined);
  assert.equal(problem(hostGw, 'vxlan'), 'its BackendType is "host-gw", not "vxlan"');
  assert.equal(
    problem(RECORDED.toString(), 'host-gw'),
    'its BackendType is "vxlan", not "host-gw"',
  );
  assert.match(problem('{"PublicIP":"192.168.56.13"}', 'host-gw')!, /reservation/);
});

test('reads them', () => {
  const { publicIp, backendType, vtep } = parseLeaseValue(RECORDED.toString());
  assert.equal(formatAddress(publicIp), '192.168.56.11');
  assert.equal(backendType, 'vxlan');
  assert.ok('mac' in vtep);
  assert.equal(formatMac(vtep.mac), '2a:2e:cc:73:34:04');
});

test('another public IP leaves all else where it is', () => {
  const moved = parseAddress('192.168.56.33') as number;
  assert.equal(
    withPublicIp(RECORDED.toString(), moved),
    RECORDED.toString().replace('192.168.56.11', '192.168.56.33'),
  );
  assert.equal(
    withPublicIp('{"a":[1],"publicip":"192.168.56.11","b":{"c":null}}', moved),
    '{"a":[1],"publicip":"192.168.56.33","b":{"c":null}}',
  );
});

test("another VTEP's address leaves all else where it is; a value without one stays as it is", () => {
  const mac = parseMac('02:00:00:00:00:0a') as Uint8Array;
  const text =
    '{ "backenddata":{"x":1e3,"VtepMAC":"2A:2e:cc:73:34:04"},"PublicIP":"1.2.3.4","BackendType":"vxlan"}';
  assert.equal(
    withVtepMac(text, mac),
    '{"backenddata":{"x":1e3,"VtepMAC":"02:00:00:00:00:0a"},"PublicIP":"1.2.3.4","BackendType":"vxlan"}',
  );
  assert.equal(withVtepMac(text, parseMac('2a:2e:cc:73:34:04') as Uint8Array), text);
  const none = '{"PublicIP":"1.2.3.4"}';
  assert.equal(withVtepMac(none, mac), none);
});

function vtepOf(fields: object): string {
  const text = JSON.stringify({ PublicIP: '192.168.64.8', BackendType: 'vxlan', ...fields });
  const { vtep } = parseLeaseValue(text);
  return 'mac' in vtep ? formatMac(vtep.mac) : vtep.problem;
}

test('reads what older and other writers left', () => {
  assert.equal(vtepOf({ BackendData: { VtepMAC: '02:00:00:00:00:0C' } }), '02:00:00:00:00:0c');
  assert.equal(vtepOf({ BackendData: { VtepMAC: '02-00-00-00-00-0c' } }), '02:00:00:00:00:0c');
  assert.equal(vtepOf({ BackendData: { VtepMAC: '0200.0000.000c', VNI: 9 } }), '02:00:00:00:00:0c');
  assert.equal(
    vtepOf({ BackendV6Data: {}, x: 1, BackendData: { VtepMAC: '02:00:00:00:00:0c' } }),
    '02:00:00:00:00:0c',
  );
});

test('says why a VTEP address cannot be used', () => {
  const base64 = 'eyJWdGVwTUFDIjoiMDI6MDA6MDA6MDA6MDA6MGMifQ==';
  assert.match(vtepOf({ BackendData: base64 }), /BackendData is a string \(base64\?\)/);
  assert.match(vtepOf({ BackendData: null }), /BackendData is null, not an object/);
  assert.match(vtepOf({ BackendData: [] }), /BackendData is \[\], not an object/);
  assert.match(vtepOf({}), /BackendData is absent/);
  assert.match(vtepOf({ BackendData: { VtepMAC: '' } }), /VtepMAC is "", not a MAC address/);
  assert.match(vtepOf({ BackendData: { VtepMAC: '01:00:5e:00:00:01' } }), /not a unicast address/);
  assert.match(vtepOf({ BackendData: { VtepMAC: '00:00:00:00:00:00' } }), /not a unicast address/);
  assert.match(vtepOf({ BackendType: 'host-gw' }), /BackendType is "host-gw"/);
  assert.match(vtepOf({ BackendType: 'Vxlan' }), /BackendType is "Vxlan"/);
  assert.match(vtepOf({ BackendType: undefined }), /reservation/);
});

test('rewrites its own members and keeps the unknown ones as they are', () => {
  const mac = parseMac('2a:2e:cc:73:34:04') as Uint8Array;
  const rewrite = (before: string) =>
    rewriteLeaseValue(before, parseAddress('192.168.56.11') as number, 1, mac);
  assert.deepEqual(Buffer.from(rewrite(RECORDED.toString())), RECORDED, 'nothing changes');
  assert.deepEqual(Buffer.from(rewrite('{"PublicIP":"192.168.56.99"}')), RECORDED);
  const before =
    '{"Zone": {"rack" : 12345678901234567890}, "publicip":"1.2.3.4","BackendType":"udp",' +
    '"BackendData":{"VtepMAC":"x","Label":[1, 2]},"BackendV6Data":{},"Note":"a\\u0041"}';
  const after = rewrite(before);
  assert.equal(
    after,
    '{"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":' +
      '{"VNI":1,"VtepMAC":"2a:2e:cc:73:34:04","Label":[1, 2]},' +
      '"Zone":{"rack" : 12345678901234567890},"Note":"a\\u0041"}',
  );
  assert.equal(rewrite(after), after);
  assert.deepEqual(parseLeaseValue(after).vtep, { mac });
});

test('throws for what is no lease', () => {
  assert.throws(() => parseLeaseValue('garbage'), /line 1, column 1/);
  assert.throws(() => parseLeaseValue('[]'), /not a JSON object/);
  assert.throws(() => parseLeaseValue('{}'), /PublicIP is absent/);
  assert.throws(() => parseLeaseValue('{"PublicIP":"x"}'), /PublicIP is "x"/);
});

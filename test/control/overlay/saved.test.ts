import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import {
  readSaved,
  removeSaved,
  type SavedNetwork,
  savedFile,
  writeSaved,
} from '../../../src/control/overlay/saved.js';
import { formatSubnet } from '../../../src/control/overlay/subnet.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const NETWORK = '/net/config';
const US = parseAddress('192.168.64.3') as number;
const MAC = parseMac('02:00:00:00:00:0a') as Uint8Array;
const OWN = { key: '10.5.52.0-24', value: formatLeaseValue(US, 1, MAC) };
const SAVED: SavedNetwork = {
  network: NETWORK,
  config: '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}',
  publicIp: US,
  own: OWN,
  reserved: false,
  hostId: 'boot 1, network 2',
  cluster: 'cdf818194e3a8c32',
  vtepMac: MAC,
  leases: [OWN, { key: '10.5.72.0-24', value: 'garbage' }],
};

let directory: string;
let file: string;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-saved-'));
  file = savedFile(path.join(directory, 'weft'), NETWORK);
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

test('gives back what was saved, and leaves nothing else in the folder', () => {
  assert.equal(readSaved(file, NETWORK), undefined);
  writeSaved(file, SAVED);
  writeSaved(file, SAVED);
  const { parsedConfig, subnet, savedAt, ...read } = readSaved(file, NETWORK) ?? assert.fail();
  assert.deepEqual(read, SAVED);
  assert.equal(formatSubnet(subnet), '10.5.52.0/24');
  assert.equal(formatSubnet(parsedConfig.network), '10.5.0.0/16');
  assert.match(savedAt, /^20\d\d-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(fs.readdirSync(path.dirname(file)), [path.basename(file)]);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.notEqual(savedFile(directory, '/other/config'), savedFile(directory, NETWORK));
});

test('all that was saved goes, what a killed weft left half written too, and nothing else', () => {
  writeSaved(file, SAVED);
  const folder = path.dirname(file);
  for (const name of ['network-1.saved.new', 'flannel.1.json']) {
    fs.writeFileSync(path.join(folder, name), '{');
  }
  const half = path.join(folder, 'network-1.saved.new');
  assert.deepEqual(removeSaved(folder).sort(), [half, file].sort());
  assert.deepEqual(fs.readdirSync(folder), ['flannel.1.json']);
});

test('a value of ours that somebody had spoilt is no value to come up with', () => {
  writeSaved(file, { ...SAVED, own: { ...OWN, value: '{}' } });
  assert.throws(() => readSaved(file, NETWORK), /PublicIP is absent/);
});

test('a file that is cut, changed, of another version or network is refused with the reason', () => {
  writeSaved(file, SAVED);
  const text = fs.readFileSync(file, 'utf8');
  const cases: [string, RegExp][] = [
    [text.slice(0, -20), /line 1, column \d+: it ends too early/],
    ['', /it ends too early/],
    ['[]', /not a JSON object/],
    [text.replace('"version":1', '"version":2'), /version is 2, not 1/],
    [text.replace('"/net/config"', '"/other/config"'), /of another network, \/other\/config/],
    [text.replace('"192.168.64.3"', '"here"'), /publicIp or vtepMac/],
    [text.replace('"02:00:00:00:00:0a"', '"03:00:00:00:00:0a"'), /publicIp or vtepMac/],
    [text.replace('"own":{"key":"10.5.52.0-24"', '"own":{"key":"x"'), /own.key x names no/],
    [text.replace('"leases":[', '"leases":[7,'), /no key or no value/],
    [text.replace('"reserved":false', '"reserved":0'), /reserved or leases is missing/],
    [text.replace('Network', 'Netwark'), /Network is missing/],
  ];
  for (const [content, reason] of cases) {
    fs.writeFileSync(file, content);
    assert.throws(() => readSaved(file, NETWORK), reason, content);
  }
  // Cut anywhere, it is never taken for whole.
  for (let length = 0; length < text.length; length += 7) {
    fs.writeFileSync(file, text.slice(0, length));
    assert.throws(() => readSaved(file, NETWORK));
  }
});

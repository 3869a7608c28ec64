import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { savedFile } from '../../../src/control/overlay/saved.js';
import { Saver } from '../../../src/control/overlay/saver.js';
import { parseKey } from '../../../src/control/overlay/subnet.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines } from '../fakes.js';

const NETWORK = '/net/config';
const KEY = '10.5.52.0-24';
const US = parseAddress('192.168.64.3') as number;
const MAC = parseMac('02:00:00:00:00:0a') as Uint8Array;

test('what cannot be saved is a problem while it lasts, and tried again', async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-saver-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const [clock, log] = [new FakeClock(), new Lines()];
  const saver = new Saver({ directory, network: NETWORK, clock, log });
  const file = savedFile(directory, NETWORK);
  const entry = { key: KEY, value: formatLeaseValue(US, 1, MAC), revision: 1n, lease: 7n };
  const own = { ...entry, subnet: parseKey(KEY)!.subnet, vtepMac: MAC, reserved: false, ttl: 9 };
  saver.begin({ config: '{"Network":"10.5.0.0/16"}', publicIp: US, own });

  fs.mkdirSync(`${file}.new/in the way`, { recursive: true });
  saver.snapshot({ entries: [entry], revision: 1n });
  await clock.pass(1_000);
  assert.match(
    saver.problem!.text,
    /^cannot save the network in .*\.saved, a start without etcd will/,
  );
  assert.ok(saver.problem!.text.includes(file));
  await clock.pass(11_000);

  fs.rmSync(`${file}.new`, { recursive: true });
  await clock.pass(5_000);
  assert.equal(saver.problem, undefined);
  assert.ok(fs.existsSync(file));
  assert.deepEqual(log.lines, [], 'the teller says it');
  assert.deepEqual(clock.waits, []);

  fs.rmSync(file);
  fs.mkdirSync(file);
  saver.forget();
  assert.match(
    saver.problem!.text,
    /^cannot remove .*\.saved, which a start without etcd would use/,
  );
});

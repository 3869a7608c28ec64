import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { type Released, release } from '../../../src/control/overlay/release.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { MemoryStore } from './memory-store.js';

const ip = (text: string): number => parseAddress(text) as number;
const mac = (text: string): Uint8Array => parseMac(text) as Uint8Array;
const OURS = '02:00:00:00:00:0a';
const value = (at: string, vtep = OURS) => formatLeaseValue(ip(at), 1, mac(vtep));

let store: MemoryStore;
beforeEach(() => {
  store = new MemoryStore();
  store.put('10.5.60.0-24', value('192.168.64.4'));
  store.put('10.5.61.0-24', 'garbage');
});

function give(vtepMac?: Uint8Array): Promise<Released> {
  return release({ store, keys: store.leases, publicIp: ip('192.168.64.3'), vtepMac });
}

test('gives back the key with our public IP and no other', async () => {
  store.put('10.5.52.0-24', value('192.168.64.3'));
  assert.deepEqual(await give(mac(OURS)), {
    done: ['gave 10.5.52.0-24 back (public IP 192.168.64.3)'],
    left: [],
  });
  assert.deepEqual([...store.entries.keys()], ['10.5.60.0-24', '10.5.61.0-24']);
  const again = await give();
  assert.match(again.done[0] ?? '', /^no lease has the public IP 192.168.64.3 .*nothing to give/);
});

test('leaves a reservation, another host with our public IP, and what changed meanwhile', async () => {
  store.put('10.5.52.0-24', value('192.168.64.3'), 0n);
  store.put('10.5.53.0-24', value('192.168.64.3', '02:00:00:00:00:99'));
  store.put('10.5.54.0-24', value('192.168.64.3'));
  store.beforeWrite = () => store.put('10.5.54.0-24', value('192.168.64.9'));
  const { done, left } = await give(mac(OURS));
  assert.deepEqual(done, []);
  assert.match(left[0] ?? '', /10.5.52.0-24 is a reservation for 192.168.64.3 and stays/);
  assert.match(left[1] ?? '', /10.5.53.0-24 .* 02:00:00:00:00:99, ours was 02:.*left alone/);
  assert.match(left[2] ?? '', /10.5.54.0-24 was written by somebody else just now/);
  assert.equal(store.entries.size, 5);
});

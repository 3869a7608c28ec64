import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import {
  acquire,
  describeLease,
  type Identity,
  type OwnLease,
} from '../../../src/control/overlay/acquire.js';
import { parseConfig } from '../../../src/control/overlay/config.js';
import { LEASE_TTL } from '../../../src/control/overlay/lease/known.js';
import { formatLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { formatSubnet, parseSubnet } from '../../../src/control/overlay/subnet.js';
import { formatMac, parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { Lines, seeded } from '../fakes.js';
import { MemoryStore } from './memory-store.js';

const ip = (text: string): number => parseAddress(text) as number;
const mac = (text: string): Uint8Array => parseMac(text) as Uint8Array;
const US = ip('192.168.64.3');
const MAC = '02:00:00:00:00:0a';

let store: MemoryStore;
let log: Lines;
beforeEach(() => {
  store = new MemoryStore();
  log = new Lines();
});

function value(publicIp: string, vtepMac = '02:00:00:00:00:bb'): string {
  return formatLeaseValue(ip(publicIp), 1, mac(vtepMac));
}

function get(identity: Partial<Identity> = {}, config: object = {}, seed = 7): Promise<OwnLease> {
  const text = JSON.stringify({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' }, ...config });
  return acquire({
    store,
    writes: { kind: 'leased', keys: store.leases },
    config: parseConfig(text, 'config'),
    identity: { publicIp: US, ...identity },
    random: seeded(seed),
    log,
  });
}

test('takes one of the first 100 free subnets, with a MAC of its own', async () => {
  for (let i = 1; i <= 50; i++) store.put(`10.5.${i}.0-24`, value('192.168.64.99'));
  const third = new Set<number>();
  for (let seed = 0; seed < 40; seed++) {
    const own = await get({ publicIp: ip(`192.168.65.${seed}`) }, {}, seed);
    third.add((own.subnet.address >>> 8) & 255);
    assert.equal(own.value, formatLeaseValue(ip(`192.168.65.${seed}`), 1, own.vtepMac));
    assert.equal(own.ttl, LEASE_TTL);
    assert.equal((own.vtepMac[0] ?? 0) & 3, 2, 'locally administered unicast');
    assert.equal(store.entries.get(own.key)?.value, own.value);
  }
  assert.equal(third.size, 40);
  for (const n of third) assert.ok(n > 50 && n <= 190, `${n}`);
});

test('keeps the lease with our public IP, its MAC, and drops the old etcd lease', async () => {
  const before = store.put('10.5.52.0-24', value('192.168.64.3', MAC));
  const own = await get({ vtepMac: mac('02:00:00:00:00:ff'), previousSubnet: undefined });
  assert.equal(own.key, '10.5.52.0-24');
  assert.equal(formatMac(own.vtepMac), MAC);
  assert.deepEqual(store.written, ['update 10.5.52.0-24']);
  assert.notEqual(own.lease, before.lease);
  assert.deepEqual(store.discarded, [before.lease]);
});

test('with host-gw the lease has no MAC, whatever the one that is reused had', async () => {
  const config = { Backend: { Type: 'host-gw' } };
  const wanted = '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"host-gw"}';
  const fresh = await get({}, config);
  assert.equal(fresh.value, wanted);
  assert.doesNotMatch(describeLease(fresh), /VTEP/);
  store.entries.clear();
  store.put('10.5.52.0-24', value('192.168.64.3', MAC));
  const own = await get({}, config);
  assert.equal(own.key, '10.5.52.0-24');
  assert.equal(store.entries.get(own.key)?.value, wanted);
  const back = await get();
  assert.equal(back.key, '10.5.52.0-24');
  assert.match(describeLease(back), /^10\.5\.52\.0\/24 \(leased\), VTEP 0/);
});

test('of two leases with our public IP takes the previous one', async () => {
  store.put('10.5.52.0-24', value('192.168.64.3'));
  store.put('10.5.77.0-24', value('192.168.64.3'));
  const own = await get({ previousSubnet: parseSubnet('10.5.77.1/24') });
  assert.equal(own.key, '10.5.77.0-24');
  assert.equal(store.entries.size, 2);
});

test('a reservation is filled in and stays without an etcd lease', async () => {
  store.put('10.5.7.0-24', '{"PublicIP":"192.168.64.3"}', 0n);
  const own = await get({ vtepMac: mac(MAC) });
  assert.equal(own.key, '10.5.7.0-24');
  assert.equal(own.lease, 0n);
  assert.deepEqual(store.entries.get('10.5.7.0-24')?.lease, 0n);
  assert.equal(store.entries.get('10.5.7.0-24')?.value, value('192.168.64.3', MAC));
  assert.deepEqual(store.discarded, []);
});

test('removes our lease that does not fit the config, but no reservation', async () => {
  store.put('10.9.1.0-24', value('192.168.64.3'));
  store.put('10.5.52.0-25', value('192.168.64.3'));
  store.put('10.5.5.0-24&2001:db8:42:9::-64', value('192.168.64.3'));
  store.put('10.5.0.0-24', value('192.168.64.3'), 0n);
  store.put('10.9.2.0-24', value('192.168.64.4'));
  const own = await get();
  assert.deepEqual([...store.entries.keys()], ['10.5.0.0-24', '10.9.2.0-24', own.key]);
  assert.equal(log.matching(/does not fit the network config, removing it/).length, 3);
  assert.equal(log.matching(/reservation 10.5.0.0-24 .* left alone/).length, 1);
});

test('takes the previous subnet again when it is free', async () => {
  const previousSubnet = parseSubnet('10.5.200.1/24');
  const own = await get({ previousSubnet, vtepMac: mac(MAC) });
  assert.equal(own.key, '10.5.200.0-24');
  assert.equal(formatMac(own.vtepMac), MAC);
});

test('leaves the previous subnet to the host that has it now', async () => {
  const taken = store.put('10.5.200.0-24', value('192.168.64.4'));
  const own = await get({ previousSubnet: parseSubnet('10.5.200.1/24'), vtepMac: mac(MAC) });
  assert.notEqual(own.key, '10.5.200.0-24');
  assert.deepEqual(store.entries.get('10.5.200.0-24'), taken);
  assert.match(
    log.lines.join('\n'),
    /10.5.200.0\/24 belongs to 192.168.64.4 now; 192.168.64.3 takes another/,
  );
});

test('does not take a previous subnet that does not fit or overlaps another lease', async () => {
  const unfit = await get({ previousSubnet: parseSubnet('10.6.1.1/24') });
  assert.match(unfit.key, /^10\.5\./);
  store.put('10.5.128.0-17', value('192.168.64.4'));
  const own = await get({
    publicIp: ip('192.168.64.5'),
    previousSubnet: parseSubnet('10.5.200.1/24'),
  });
  assert.notEqual(own.key, '10.5.200.0-24');
});

test('takes over its own old lease when the public IP of the host has changed', async () => {
  store.put('10.5.200.0-24', value('192.168.64.9', MAC));
  const formerSelf = {
    publicIp: ip('192.168.64.9'),
    own: { key: '10.5.200.0-24', value: '' },
    vtepMac: mac(MAC),
  };
  const previousSubnet = parseSubnet('10.5.200.1/24');
  const own = await get({ previousSubnet, vtepMac: mac(MAC), formerSelf });
  assert.equal(own.key, '10.5.200.0-24');
  assert.equal(store.entries.get(own.key)?.value, value('192.168.64.3', MAC));
  assert.equal(store.entries.size, 1);
  assert.equal(
    log.matching(/public IP was 192.168.64.9 and is 192.168.64.3 now; keeping/).length,
    1,
  );
});

test('takes over its own old lease when a move was saved and not published yet', async () => {
  const before = value('192.168.64.9', MAC);
  store.put('10.5.200.0-24', before);
  const own = { key: '10.5.200.0-24', value: before };
  const formerSelf = { publicIp: US, own, vtepMac: mac(MAC) };
  const previousSubnet = parseSubnet('10.5.200.1/24');
  assert.equal((await get({ previousSubnet, formerSelf })).key, '10.5.200.0-24');
  assert.equal(store.entries.get('10.5.200.0-24')?.value, value('192.168.64.3', MAC));
});

test("a clone leaves the original's lease alone, and takes a VTEP address of its own", async () => {
  const original = store.put('10.5.200.0-24', value('192.168.64.9', MAC));
  const previousSubnet = parseSubnet('10.5.200.1/24');
  const self = {
    publicIp: ip('192.168.64.9'),
    own: { key: '10.5.200.0-24', value: '' },
    vtepMac: mac(MAC),
  };
  const cases: Partial<Identity>[] = [
    {},
    { formerSelf: { ...self, publicIp: ip('192.168.64.8') } },
    { formerSelf: { ...self, own: { key: '10.5.201.0-24', value: '' } } },
    { formerSelf: { ...self, vtepMac: mac('02:00:00:00:00:bb') } },
  ];
  for (const [index, identity] of cases.entries()) {
    const publicIp = ip(`192.168.65.${index}`);
    const own = await get({ previousSubnet, vtepMac: mac(MAC), publicIp, ...identity });
    assert.notEqual(own.key, '10.5.200.0-24');
    assert.notEqual(formatMac(own.vtepMac), MAC);
  }
  assert.deepEqual(store.entries.get('10.5.200.0-24'), original);
  assert.equal(log.matching(/another host has the VTEP address 02:00:00:00:00:0a too/).length, 4);
});

test('a key whose value cannot be read is taken all the same', async () => {
  store.put('10.5.1.0-24', 'garbage');
  const range = { SubnetMin: '10.5.1.0', SubnetMax: '10.5.2.0' };
  assert.equal((await get({}, range)).key, '10.5.2.0-24');
});

test('a lost race is tried again with the next subnet', async () => {
  const range = { SubnetMin: '10.5.1.0', SubnetMax: '10.5.3.0' };
  let races = 2;
  store.beforeWrite = () => {
    if (races-- > 0) {
      const free = [1, 2, 3].map((n) => `10.5.${n}.0-24`).find((key) => !store.entries.has(key));
      // Whichever is chosen, both others and it go one by one to other hosts.
      for (const key of free ? ['10.5.1.0-24', '10.5.2.0-24', '10.5.3.0-24'] : []) {
        if (!store.entries.has(key) && store.entries.size < 2)
          store.put(key, value(`192.168.64.${10 + races}`));
      }
    }
  };
  const own = await get({}, range);
  assert.equal(own.key, '10.5.3.0-24');
  assert.equal(store.entries.size, 3);
});

test('no free subnet is an error that says so', async () => {
  store.put('10.5.7.0-24', value('192.168.64.4'));
  await assert.rejects(get({}, { SubnetMin: '10.5.7.0', SubnetMax: '10.5.7.0' }), {
    name: 'OutOfSubnets',
    message: /^out of subnets: every \/24 from 10.5.7.0 to 10.5.7.0 in 10.5.0.0\/16 is leased/,
  });
  assert.deepEqual(store.written, []);
});

test('a lease that is taken from us between reading and writing is not overwritten', async () => {
  store.put('10.5.52.0-24', value('192.168.64.3'));
  let foreign = '';
  store.beforeWrite = () => {
    if (foreign !== '') return;
    foreign = store.put('10.5.52.0-24', value('192.168.64.4')).value;
  };
  const own = await get();
  assert.notEqual(own.key, '10.5.52.0-24');
  assert.equal(store.entries.get('10.5.52.0-24')?.value, foreign);
  assert.equal(formatSubnet(own.subnet), own.key.replace('-', '/'));
});

test('what weft does not know in our lease stays in it', async () => {
  store.put('10.5.52.0-24', `${value('192.168.64.3', MAC).slice(0, -1)},"Zone":{"n":1.0}}`);
  const own = await get();
  assert.equal(own.value, `${value('192.168.64.3', MAC).slice(0, -1)},"Zone":{"n":1.0}}`);
  assert.equal(store.entries.get(own.key)?.value, own.value);
});

test('a store that takes no puts: our lease as it is will do, and is kept alive', async () => {
  const before = store.put('10.5.52.0-24', value('192.168.64.3', MAC));
  store.full = true;
  const own = await get();
  assert.equal(own.lease, before.lease);
  assert.equal(own.revision, before.revision);
  assert.deepEqual(store.keptAlive, [before.lease]);
  assert.deepEqual(store.discarded, []);
  assert.equal(log.matching(/space exceeded; 10.5.52.0-24 is ours as it is/).length, 1);
  store.put('10.5.52.0-24', value('192.168.64.3', MAC).replace('"VNI":1', '"VNI":2'));
  await assert.rejects(get(), { name: 'StoreError' }, 'it must be written and cannot');
});

test('thirty lost races are not too many', async () => {
  let races = 30;
  store.beforeWrite = () => {
    if (races-- <= 0) return;
    for (let n = 1; n < 256; n++) {
      const key = `10.5.${n}.0-24`;
      if (!store.entries.has(key) && n % 30 === races) store.put(key, value('192.168.64.99'));
    }
  };
  const own = await get();
  assert.equal(store.entries.get(own.key)?.value, own.value);
});

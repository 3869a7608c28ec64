import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findFormerAddress } from '../../../src/control/overlay/former-address.js';
import { parseSubnet } from '../../../src/control/overlay/subnet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const at = (text: string) => parseAddress(text)!;
const [REAL, OTHER, VIP] = [at('192.168.56.11'), at('192.168.57.11'), at('192.168.56.112')];

/** `10.5.1.0-24 192.168.56.11`. */
function storeOf(...leases: string[]) {
  const entries = leases.map((lease) => {
    const [name, ip] = lease.split(' ');
    const value =
      ip === '?'
        ? '{'
        : `{"PublicIP":"${ip}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}`;
    return { key: `/net/subnets/${name}`, subnet: name, value, revision: 1n, lease: 1n };
  });
  let lists = 0;
  const list = async () => {
    lists += 1;
    return { entries, revision: 1n };
  };
  return { list, lists: () => lists } as unknown as { list: never; lists: () => number };
}

const find = (
  store: ReturnType<typeof storeOf>,
  candidates: number[],
  previous?: string,
  saved?: number,
) =>
  findFormerAddress({
    store,
    candidates: candidates.map((address) => ({ address, stays: address !== VIP })),
    previousSubnet: previous === undefined ? undefined : parseSubnet(previous),
    saved: saved === undefined ? undefined : { publicIp: saved },
  });

test('the address that this host saved, without a question to the store', async () => {
  const store = storeOf('10.5.1.0-24 192.168.56.112');
  assert.equal(await find(store, [VIP, REAL], '10.5.1.0/24', REAL), REAL);
  assert.equal(store.lists(), 0);
});

test('else that of the lease with the subnet of an earlier run, if it is here', async () => {
  const store = storeOf(
    '10.5.2.0-24 192.168.56.112',
    'x ?',
    '10.5.9.0-24 ?',
    '10.5.1.0-24 192.168.56.11',
  );
  assert.equal(await find(store, [VIP, REAL], '10.5.1.0/24'), REAL);
  assert.equal(await find(store, [VIP, REAL], '10.5.1.0/24', OTHER), REAL, 'the saved one is gone');
  assert.equal(await find(store, [REAL, VIP], '10.5.2.0/24'), VIP);
});

test("else the best of the host's own that any lease has; none where there is none, or no answer", async () => {
  const store = storeOf('10.5.1.0-24 192.168.57.11', '10.5.2.0-24 192.168.56.112');
  assert.equal(await find(store, [REAL, OTHER, VIP]), OTHER);
  assert.equal(await find(store, [REAL, OTHER, VIP], '10.5.7.0/24'), OTHER);
  assert.equal(await find(store, [VIP, REAL]), undefined, 'it may be the lease of another host');
  const away = { list: () => Promise.reject(new Error('away')) } as never;
  assert.equal(await find(away, [REAL, OTHER], '10.5.1.0/24'), undefined);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OwnAddresses } from '../../../src/control/daemon/own-addresses.js';
import type { Ip } from '../../../src/control/host/ip.js';
import type { HostAddress } from '../../../src/control/overlay/admit.js';

test('whoever has to know is told of the addresses at first and when they are others, IPv4 alone', async () => {
  let rows: object[] = [];
  const told: string[] = [];
  const ip = { query: async () => rows } as unknown as Ip;
  const member = new OwnAddresses(
    ip,
    (addresses: readonly HostAddress[]) =>
      void told.push(addresses.map((one) => `${one.address}/${one.length} ${one.device}`).join()),
  );
  rows = [
    {},
    { ifname: 'lo', addr_info: [{ family: 'inet6', local: '::1', prefixlen: 128 }] },
    {
      ifname: 'eth0',
      addr_info: [
        { family: 'inet', local: '0.0.1.2', prefixlen: 24 },
        { family: 'inet', local: '0.0.1.3', prefixlen: 32 },
      ],
    },
  ];
  assert.deepEqual(await member.reconcile(), []);
  await member.reconcile();
  assert.deepEqual(told, ['258/24 eth0,259/32 eth0']);
  rows = [{ ifname: 'eth1', addr_info: [{ family: 'inet', local: '0.0.1.2', prefixlen: 24 }] }];
  await member.reconcile();
  assert.equal(told.at(-1), '258/24 eth1');
});

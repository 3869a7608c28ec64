import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Carrier, type CarrierOptions } from '../../../src/control/daemon/carrier.js';
import type { RouteReport } from '../../../src/control/host/routes.js';
import type { Membership, Peer } from '../../../src/control/overlay/peers.js';
import { Lines } from '../fakes.js';

let order: string[];
let report: RouteReport;
let reconciled: () => Promise<RouteReport>;
let log: Lines;
let carrier: Carrier;
const routes: CarrierOptions['routes'] = {
  set: async (subnets) => {
    const shown = [...subnets].map((one) =>
      typeof one === 'string' ? one : `${one.subnet} by ${one.host}`,
    );
    order.push(`kernel ${shown.join()}`);
    return report;
  },
  isDirect: (subnet) => subnet === '0.0.2.0/24',
  reconcile: async () => {
    order.push('reconcile');
    return reconciled();
  },
};

beforeEach(() => {
  order = [];
  report = { added: 0, removed: 0, problems: [] };
  reconciled = async () => report;
  log = new Lines();
  carrier = new Carrier({
    table: {
      publisher: {
        publish: (routes, local) => {
          const shown = routes.map(({ network, length, peer }) => [network, length, peer.port]);
          order.push(`publish ${JSON.stringify(shown)} ${JSON.stringify(local)}`);
          return 0;
        },
      },
      local: { network: 7, length: 24 },
      port: 4789,
    },
    routes,
    log,
  });
});

const peer = (n: number): Peer => ({
  key: `0.0.${n}.0-24`,
  subnet: { address: n << 8, length: 24 },
  publicIp: n,
  vtepMac: Uint8Array.of(2, 0, 0, 0, 0, n & 0xff),
});
const joined = (...added: Peer[]): Membership => ({
  peers: added,
  added,
  changed: [],
  removed: [],
});

test('peers go into the table of the lanes first, then into the kernel', async () => {
  await carrier.adopt(joined(peer(1), peer(2)));
  assert.deepEqual(order, [
    'publish [[256,24,4789],[512,24,4789]] [{"network":7,"length":24}]',
    'kernel 0.0.1.0/24 by 0.0.0.1,0.0.2.0/24 by 0.0.0.2',
  ]);
  assert.deepEqual(carrier.peers, [peer(1), peer(2)]);
  assert.match(log.lines[0]!, /^info: peer joined: 0\.0\.1\.0\/24 at 0\.0\.0\.1 /);
  assert.equal(log.lines.length, 2);
});

test('a peer that changed goes into both tables as it is now', async () => {
  await carrier.adopt(joined(peer(1), peer(2)));
  order = [];
  const moved = { ...peer(1), subnet: { address: 768, length: 25 }, publicIp: 9 };
  await carrier.adopt({ peers: [moved], added: [], changed: [moved], removed: [] });
  assert.deepEqual(order, [
    'publish [[768,25,4789]] [{"network":7,"length":24}]',
    'kernel 0.0.3.0/25 by 0.0.0.9',
  ]);
});

test('without lanes the kernel alone gets the peers', async () => {
  const plain = new Carrier({ routes, log });
  await plain.adopt(joined({ ...peer(1), vtepMac: undefined }));
  assert.deepEqual(order, ['kernel 0.0.1.0/24 by 0.0.0.1']);
  assert.deepEqual(log.lines, ['info: peer joined: 0.0.1.0/24 at 0.0.0.1']);
  assert.deepEqual(
    [peer(1), peer(2)].map((one) => plain.isDirect(one)),
    [false, true],
  );
});

test('a thousand at once are one line, each one for who debugs', async () => {
  await carrier.adopt(joined(...Array.from({ length: 1000 }, (_, n) => peer(n))));
  assert.deepEqual(log.matching(/^info/), ['info: 1,000 peers joined']);
  assert.equal(log.matching(/^debug: peer joined/).length, 1000);
});

test('a problem with a route is there while it lasts', async () => {
  report = { added: 0, removed: 0, problems: ['no route to x'] };
  await carrier.adopt(joined(peer(1)));
  await carrier.adopt(joined(peer(1)));
  assert.deepEqual(carrier.problems, ['no route to x']);
  report = { added: 0, removed: 0, problems: [] };
  await carrier.adopt(joined(peer(1)));
  assert.deepEqual(carrier.problems, []);
});

test('what the kernel lacked or had too much is told, and what cannot be mended', async () => {
  assert.deepEqual(await carrier.reconcile(), []);
  report = { added: 1, removed: 0, problems: [] };
  assert.deepEqual(await carrier.reconcile(), ['1 missing route']);
  report = { added: 2, removed: 3, problems: ['no route to x'] };
  assert.deepEqual(await carrier.reconcile(), ['2 missing routes', '3 stale routes']);
  await carrier.reconcile();
  assert.deepEqual(log.lines, [], 'a check finds it, the teller says it');
  assert.deepEqual(carrier.problems, ['no route to x']);
  report = { added: 0, removed: 0, problems: [] };
  await carrier.reconcile();
  assert.deepEqual(carrier.problems, []);
});

test('routes of peers that join meanwhile are no repair', async () => {
  let finish: (done: RouteReport) => void = () => {};
  reconciled = () =>
    new Promise((resolve) => {
      finish = resolve;
    });
  const looking = carrier.reconcile();
  await carrier.adopt(joined(peer(1)));
  finish({ added: 1, removed: 0, problems: [] });
  assert.deepEqual(await looking, []);
});

test('while the routes are being set there is nothing to look at', async () => {
  const adopting = carrier.adopt(joined(peer(1)));
  assert.deepEqual(await carrier.reconcile(), []);
  await adopting;
  await carrier.reconcile();
  assert.deepEqual(order.slice(1), ['kernel 0.0.1.0/24 by 0.0.0.1', 'reconcile']);
});

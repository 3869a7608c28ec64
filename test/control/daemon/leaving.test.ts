/** A daemon that is told to end, or has a reason of its own to, whatever it is doing just then. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { Leaving } from '../../../src/control/daemon/lifecycle.js';
import type { Status } from '../../../src/operate/status/status.js';
import { settle } from '../fakes.js';
import { FakeHost, HOST_GW } from './fakes/fake-host.js';

const ENDED = ['unlisten 192.168.56.11:8472', 'close flannel.1', 'ip ended', 'close the store'];

/** Nothing that was made is left, but what is meant to stay. */
function leftNothing(host: FakeHost): void {
  assert.deepEqual(host.io.listening, []);
  assert.deepEqual(
    host.runner.links.map(({ ifname }) => ifname),
    ['lo', 'ens33'],
  );
  assert.deepEqual(host.clock.waits, []);
  assert.ok(host.io.lanes.every(({ running }) => !running));
  const sockets = fs.readdirSync(host.folder).filter((name) => name.endsWith('.sock'));
  assert.deepEqual(sockets, []);
}

test('told to end while the config is waited for: nothing was made', async (t) => {
  const host = new FakeHost(t);
  host.store.config = undefined;
  const refused = assert.rejects(host.daemon().start(), Leaving);
  await settle();
  await host.lifecycle.leave(0, 'got SIGTERM');
  await refused;
  assert.deepEqual(host.take(), ['close the store']);
  leftNothing(host);
});

test('told to end while a lease is waited for: sockets and TUN are closed', async (t) => {
  const host = new FakeHost(t);
  const create = host.store.leases.create;
  let goOn = () => {};
  host.store.leases.create = async (...args) => {
    await new Promise<void>((resolve) => {
      goOn = resolve;
    });
    return create(...args);
  };
  const refused = assert.rejects(host.daemon().start(), Leaving);
  await settle();
  const left = host.lifecycle.leave(0, 'got SIGTERM');
  await settle();
  goOn();
  await Promise.all([left, refused]);
  assert.deepEqual(host.take().slice(2), ENDED);
  assert.deepEqual(host.io.lanes, [], 'a lease that came too late starts nothing');
  leftNothing(host);
});

test('told to end while the lanes start: they are waited for, stopped, and nothing follows', async (t) => {
  const host = new FakeHost(t);
  host.io.holdLanes = true;
  const refused = assert.rejects(host.daemon().start(), Leaving);
  await settle();
  host.take();
  const left = host.lifecycle.leave(0, 'got SIGTERM');
  await settle();
  assert.deepEqual(host.take(), [], 'their TUN must stay open under them');
  host.io.letStart();
  await Promise.all([left, refused]);
  assert.deepEqual(host.take(), ['stop lanes', ...ENDED]);
  assert.ok(!host.subnetEnv.includes('MTU'), 'subnet.env was not written');
  leftNothing(host);
});

test('told to end while it moves: the move comes to its end, and all is closed', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.io.holdLanes = true;
  host.readdress('192.168.56.33');
  await host.clock.pass(2_000);
  host.take();
  const left = host.lifecycle.leave(0, 'got SIGTERM');
  await settle();
  host.io.letStart();
  await left;
  assert.deepEqual(host.take(), [
    'ip monitor ended',
    'stop lanes',
    'unlisten 192.168.56.33:8472',
    'close flannel.1',
    'ip ended',
    'follow no more',
    'close the store',
  ]);
  assert.deepEqual(host.exits, [0]);
  leftNothing(host);
});

test('told to end with the device gone: none is made any more', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.io.takeAway('flannel.1');
  host.take();
  await host.lifecycle.leave(0, 'got SIGTERM');
  assert.ok(!host.take().includes('open flannel.1'));
  leftNothing(host);
});

test('told twice: once is enough', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.take();
  const both = [host.lifecycle.leave(0, 'got SIGTERM'), host.lifecycle.leave(1, 'got SIGINT')];
  await Promise.all(both);
  assert.equal(host.take().filter((what) => what === 'close flannel.1').length, 1);
  assert.deepEqual(host.exits, [0]);
});

test('peers that come while it ends reach nobody', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.take();
  const left = host.lifecycle.leave(0, 'got SIGTERM');
  host.peer('10.10.7.0-24', '192.168.56.12');
  await left;
  assert.ok(!host.take().some((what) => what.startsWith('ip route')));
});

test('a lane that ends by itself is the end of weft, with its line', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  host.io.lanes[0]!.end('the lane ended: a fault of the test', new Error('a fault'), false);
  await settle();
  assert.deepEqual(host.exits, [1]);
  assert.deepEqual(host.log.matching(/^error:/), ['error: the lane ended: a fault of the test']);
  leftNothing(host);
});

test('a lane that stands still for ten seconds is, too, and what it had in hand is kept', async (t) => {
  const host = new FakeHost(t);
  const kept: unknown[] = [];
  await host.started({
    saveBatch(batches, place) {
      kept.push([batches.length, place]);
      return '/run/weft/kept.pcapng';
    },
  });
  host.io.lanes[0]!.stuck = true;
  host.io.lanes[0]!.mustBeTorn = true;
  await host.clock.pass(12_000);
  assert.deepEqual(host.exits, [1]);
  const address = (192 << 24) | (168 << 16) | (56 << 8) | 11;
  assert.deepEqual(kept, [[1, { device: 'flannel.1', address, port: 8472 }]]);
  assert.match(
    host.log.matching(/^error:/).join(),
    /^error: lane 0 has not turned for 10 s: weft ends.*kept\.pcapng$/,
  );
  assert.deepEqual(host.log.matching(/^warn: .*its thread is ended/), [], 'the reason is the last');
  leftNothing(host);
});

for (const [name, config] of [
  ['vxlan', undefined],
  ['host-gw', HOST_GW],
] as const) {
  for (const [onLeaseLoss, code, end] of [
    ['exit', 0, /; weft gives the network up, as flanneld does$/],
    ['reacquire', 1, /; a new start takes another subnet$/],
  ] as const) {
    test(`${name}, -on-lease-loss=${onLeaseLoss}: another has our subnet, the code is ${code}`, async (t) => {
      const host = new FakeHost(t);
      if (config !== undefined) host.store.config = config;
      await host.started({ onLeaseLoss });
      host.peer('10.10.64.0-24', '192.168.56.12', name);
      await host.clock.pass(5_000);
      assert.deepEqual(host.exits, [code]);
      assert.match(host.log.matching(/weft gives the network up|a new start/).join(), end);
      leftNothing(host);
    });
  }
}

test('a removed key: given up with exit, written again with reacquire', async (t) => {
  const flannel = new FakeHost(t);
  await flannel.started();
  flannel.store.delete('10.10.64.0-24');
  await flannel.clock.pass(5_000);
  assert.deepEqual(flannel.exits, [0]);

  const host = new FakeHost(t);
  const daemon = await host.started({ onLeaseLoss: 'reacquire' });
  host.store.delete('10.10.64.0-24');
  await host.clock.pass(5_000);
  assert.deepEqual(host.exits, []);
  assert.ok(host.store.entries.has('10.10.64.0-24'));
  assert.equal(daemon.ready, true);
});

test('until the socket is gone, status tells of a lost lease', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  let told: Status | undefined;
  // Registered last, so it is the first to be stopped.
  host.lifecycle.onLeave('the question of the test', async () => {
    told = (await host.status('flannel.1')) as Status;
  });
  host.peer('10.10.64.0-24', '192.168.56.12');
  await host.clock.pass(5_000);
  for (let i = 0; i < 50 && host.exits.length === 0; i += 1) await settle();
  assert.match(told?.lease.lost ?? '', /10\.10\.64\.0/);
});

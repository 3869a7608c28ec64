import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../../src/control/daemon/clock.js';
import { defaultLanes, Lanes, MOST_LANES } from '../../../src/control/daemon/lanes.js';
import { LaneWorkers } from '../../../src/dataplane/forward/lane-thread.js';
import { ADDRESS_SIZE } from '../../../src/dataplane/io/memory.js';
import { openUdp } from '../../../src/dataplane/io/udp.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { SPINS } from '../../dataplane/forward/standing-marks.js';
import { Arena, LOOPBACK, loopbackSocket } from '../../dataplane/io/arena.js';

test('by default a lane for every four processors, one to four of them', () => {
  const lanes = Array.from({ length: 65 }, (_, processors) => defaultLanes(processors).lanes);
  assert.deepEqual(lanes.slice(0, 20).join(''), '11111111222233334444');
  assert.ok(lanes.slice(16).every((count) => count === 4));
  assert.ok(Math.max(...lanes) <= MOST_LANES);
});

test('the default says where it comes from, and what changes it', () => {
  const reason = (processors: number) => defaultLanes(processors).reason;
  assert.equal(reason(2), '2 processors, more lanes from 8 on; -lanes sets it');
  assert.equal(reason(8), 'one for every 4 of 8 processors; -lanes sets it');
  assert.equal(reason(64), '64 processors, no more lanes unless asked for; -lanes sets it');
});

const PROGRAM = new URL('../../dataplane/forward/standing-lane.js', import.meta.url);
const MAC = new Uint8Array([2, 0, 0, 0, 0, 1]);

test('a thread that spins is seen to, what it has in hand is read, and it is ended by force', async (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [queue] = loopbackSocket(native);
  const sockets = [openUdp(LOOPBACK, 0)];
  const { listener, sender } = sockets[0]!;
  const [peer] = loopbackSocket(native);
  const at = new Uint8Array(ADDRESS_SIZE);
  native.udpName(listener, at);
  const tun = { fd: queue, queues: [queue], vnet: true, tso: true, uso: false };
  const lanes = new Lanes(
    { tun, sockets, count: { lanes: 1, threads: 2, reason: '' } },
    new Publisher({ vni: 1, ownMac: MAC, threads: 2 }),
    { vni: 1, mac: MAC, mtu: 1450, uso: false, udpSegment: true, vnet: true },
    undefined,
    new LaneWorkers(PROGRAM),
  );
  const torn: string[] = [];
  const stop = () => lanes.stop(systemClock, (name) => torn.push(name));
  t.after(async () => {
    // A thread that spins would keep this process for ever.
    await stop();
    for (const fd of [queue, listener, sender, peer]) native.close(fd);
  });
  await lanes.started;
  assert.deepEqual(
    lanes.turning.map(({ name }) => name),
    ['lane 0 (outbound)', 'lane 0 (inbound)'],
  );

  const sent = Buffer.from(SPINS.repeat(4), 'hex');
  arena.send([{ fd: peer, to: at, parts: [sent] }]);
  const inHand = () => lanes.batches(['lane 0 (inbound)'])[0]!.datagrams;
  for (let i = 0; i < 500 && inHand().length === 0; i += 1) await sleep(10);
  assert.deepEqual(
    inHand().map(({ payload }) => Buffer.from(payload)),
    [sent],
  );
  const before = lanes.turning;
  await sleep(700);
  const moved = lanes.turning.map(({ turns }, i) => turns !== before[i]!.turns);
  assert.deepEqual(moved, [true, false]);

  await stop();
  assert.deepEqual(torn, ['lane 0 (inbound)']);
});

/** Sockets, TUN and lanes as one thing: every way through its states. */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { DataPath, type DataPathOptions } from '../../../src/control/daemon/data-path.js';
import { Ip } from '../../../src/control/host/ip.js';
import type { Entry, EntryName } from '../../../src/control/host/journal.js';
import { TIERS } from '../../../src/dataplane/io/tiers.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { FakeClock, Lines, settle } from '../fakes.js';
import { FakeKernel } from './fakes/kernel.js';
import { FakeIo } from './fakes/packet-io.js';

const PLACE = { address: '192.168.56.11', mtu: 1450 };
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 0x0a);
const ONE = { lanes: 1, threads: 1, reason: '' } as const;

let did: string[];
let kernel: FakeKernel;
let io: FakeIo;
let log: Lines;
let journal: string[];
let failed: string[];
let gone: number;

beforeEach(() => {
  did = [];
  kernel = new FakeKernel(did);
  kernel.add('ens33', { addresses: ['192.168.56.11/24', '192.168.56.33/24'] });
  io = new FakeIo(kernel);
  log = new Lines();
  journal = [];
  failed = [];
  gone = 0;
});

function make(more: Partial<DataPathOptions> = {}): DataPath {
  const clock = new FakeClock();
  return new DataPath(
    {
      ...{ name: 'flannel.1', port: 8472, tier: TIERS.segment, lanes: ONE, accept: 'peers' },
      host: { runner: kernel, io, proc: '/nowhere' },
      ip: new Ip(kernel, clock),
      journal: {
        record: (entry: Entry) => {
          journal.push(`record ${entry.kind === 'device' ? `${entry.name} ${entry.index}` : ''}`);
        },
        forget: (name: EntryName) => {
          journal.push(`forget ${name.kind === 'device' ? name.name : ''}`);
        },
      },
      ...{ log, clock },
      failed: (line) => void failed.push(line),
      gone: () => {
        gone += 1;
      },
      ...more,
    },
    PLACE,
  );
}

function tunnel(threads = 1) {
  const publisher = new Publisher({ vni: 1, ownMac: MAC, threads });
  const network = '10.10.0.0/16';
  return { vni: 1, mac: MAC, address: '10.10.64.0', network, anySource: false, publisher };
}

async function started(more: Partial<DataPathOptions> = {}): Promise<DataPath> {
  const path = make(more);
  await path.open();
  await path.start(tunnel());
  did.splice(0);
  return path;
}

const isStanding = (path: DataPath) => {
  assert.equal(path.running, false);
  assert.deepEqual(path.turning, [], 'nobody is to watch what is meant to stand');
};

test('it stands until it was started, and runs until it is closed', async () => {
  const path = make();
  isStanding(path);
  await path.open();
  isStanding(path);
  io.holdLanes = true;
  const start = path.start(tunnel());
  await settle();
  isStanding(path);
  io.letStart();
  await start;
  assert.equal(path.running, true);
  assert.equal(path.turning.length, 1);
  assert.deepEqual(journal, ['record flannel.1 3']);
  await path.close();
  isStanding(path);
  assert.deepEqual(journal.slice(1), ['forget flannel.1']);
  assert.deepEqual(did.slice(-3), ['stop lanes', 'unlisten 192.168.56.11:8472', 'close flannel.1']);
});

test('the status tells of the last of all also when nothing is open any more', async () => {
  const path = await started();
  const { lanes, sockets } = path;
  await path.close();
  assert.equal(path.lanes, lanes);
  assert.equal(path.sockets, sockets);
  assert.deepEqual(path.tun, { vnet: false, tso: false, uso: false });
});

test('the lanes get what sockets and TUN can, and their share of descriptors', async () => {
  io.takes = { tcp: true, udp: true };
  await started();
  const { merges, uso, udpSegment, vnet, peerSockets, accept } = io.lanes[0]!.options;
  assert.deepEqual([merges, uso, udpSegment, vnet, accept], [true, true, true, true, 'peers']);
  io.spareDescriptors = () => 7;
  io.takes = { tcp: true, udp: false };
  io.segments = false;
  const several = make({ name: 'flannel.2', port: 4789, lanes: { ...ONE, lanes: 2 } });
  await several.open();
  await several.start(tunnel(2));
  assert.ok(peerSockets! > 3);
  const poor = io.lanes[1]!.options;
  assert.deepEqual(
    [poor.peerSockets, poor.merges, poor.uso, poor.udpSegment],
    [3, true, false, false],
  );
});

test('a TUN that takes no super-packets is said once, and the lanes are told', async () => {
  io.takes = { tcp: false, udp: false };
  const path = await started();
  assert.equal(log.matching(/^warn: the kernel refuses super-packets/).length, 1);
  assert.equal(io.lanes[0]!.options.merges, false);
  await path.close();

  log.lines.splice(0);
  await started({ tier: TIERS.none });
  assert.deepEqual(log.lines, [], 'without a vnet header nobody expects any');
});

test('closed before it was opened, or twice: no harm', async () => {
  const path = make();
  await path.close();
  assert.deepEqual(did, []);
  await assert.rejects(path.open(), { code: 'ECANCELED' });
  assert.deepEqual(did, []);

  const running = await started();
  await Promise.all([running.close(), running.close()]);
  await running.close();
  assert.deepEqual(did, ['stop lanes', 'unlisten 192.168.56.11:8472', 'close flannel.1']);
});

test('closed while it opens: what was opened is closed', async () => {
  const path = make();
  const opening = path.open();
  await path.close();
  await opening.catch(() => {});
  assert.deepEqual(io.listening, []);
  assert.equal(kernel.link('flannel.1'), undefined);
});

test('closed while the device is set up: no lane is started', async () => {
  const path = make();
  await path.open();
  const starting = path.start(tunnel());
  const closed = path.close();
  await assert.rejects(starting, { code: 'ECANCELED' });
  await closed;
  assert.deepEqual(io.lanes, []);
  isStanding(path);
});

test('closed while ip is asked: no lane is started, and no TUN is made', async () => {
  const path = make();
  await path.open();
  kernel.holdIp = true;
  const starting = path.start(tunnel());
  await settle();
  const closed = path.close();
  kernel.release();
  await assert.rejects(starting, { code: 'ECANCELED' });
  await closed;
  assert.deepEqual(io.lanes, []);

  const running = await started();
  kernel.holdIp = true;
  kernel.delete('flannel.1');
  const mending = running.reconcile();
  await settle();
  const ended = running.close();
  kernel.release();
  await assert.rejects(mending, { code: 'ECANCELED' });
  await ended;
  assert.ok(!did.includes('open flannel.1'));
  assert.equal(io.lanes.length, 1);
});

test('closed while the lanes start: it never runs, and they are stopped', async () => {
  io.holdLanes = true;
  const path = make();
  await path.open();
  const starting = path.start(tunnel());
  await settle();
  const closed = path.close();
  await settle();
  assert.ok(!did.includes('close flannel.1'));
  io.letStart();
  await starting;
  isStanding(path);
  await closed;
  assert.deepEqual(did.slice(-3), ['stop lanes', 'unlisten 192.168.56.11:8472', 'close flannel.1']);
});

test('closed while the device is gone: it is not made anew', async () => {
  const path = await started();
  io.takeAway('flannel.1');
  const mending = path.reconcile();
  await path.close();
  await assert.rejects(mending, { code: 'ECANCELED' });
  assert.ok(!did.includes('open flannel.1'));
  assert.deepEqual(io.listening, []);
});

test('after the end nothing begins: neither a move nor a repair', async () => {
  const path = await started();
  await path.close();
  did.splice(0);
  await assert.rejects(path.move({ address: '192.168.56.33', mtu: 1450 }), { code: 'ECANCELED' });
  await assert.rejects(path.reconcile(), { code: 'ECANCELED' });
  await assert.rejects(path.start(tunnel()), { code: 'ECANCELED' });
  assert.deepEqual(did, []);
});

test('one thing after the other: a repair waits for the move before it', async () => {
  const path = await started();
  io.holdLanes = true;
  const moving = path.move({ address: '192.168.56.33', mtu: 1450 });
  const mending = path.reconcile();
  await settle();
  assert.equal(io.lanes.length, 2);
  assert.equal(path.turning.length, 0);
  io.letStart();
  await moving;
  assert.deepEqual(await mending, []);
  assert.equal(io.lanes.length, 2);
  assert.deepEqual(path.place, { address: '192.168.56.33', mtu: 1450 });
});

test('lanes that are stopped for a move are none that ended', async () => {
  const path = await started();
  await path.move({ address: '192.168.56.33', mtu: 1450 });
  await path.move({ address: '192.168.56.33', mtu: 1350 });
  io.lanes[0]!.end('the lane ended: late', undefined, false);
  io.lanes[1]!.end('the lane ended: late, too', undefined, true);
  assert.deepEqual([failed, gone], [[], 0]);
  assert.equal(io.lanes.at(-1)!.options.mtu, 1350);
  assert.equal(kernel.link('flannel.1')!.mtu, 1350);
  assert.equal(path.running, true);
});

test('a move that cannot be: all as before, and it runs', async () => {
  const path = await started();
  await assert.rejects(path.move({ address: '192.168.56.77', mtu: 1450 }), /cannot listen on UDP/);
  assert.deepEqual(did, []);
  assert.deepEqual(path.place, PLACE);
  assert.equal(path.running, true);
});

test('into a VRF that refuses: it stands, and comes back by a repair', async () => {
  const path = await started();
  io.refuse = { syscall: 'SO_BINDTODEVICE', code: 'EPERM' };
  const place = { ...PLACE, vrf: 'vrf1' };
  await assert.rejects(path.move(place), /is in the VRF vrf1/);
  isStanding(path);
  assert.deepEqual(io.listening, []);
  assert.equal(path.sockets.gro, true, 'the status has something to tell');
  io.refuse = undefined;
  assert.deepEqual(await path.reconcile(), ['lanes started again']);
  assert.deepEqual(path.place, place);
  assert.deepEqual(io.listening, ['192.168.56.11:8472']);
  assert.equal(path.running, true);
});

test('a lane that ends by itself is told as it is, in a start as well', async () => {
  await started();
  io.lanes[0]!.end('the lane ended: x', undefined, false);
  assert.deepEqual(failed, ['the lane ended: x']);
  assert.equal(gone, 0);

  io.holdLanes = true;
  const path = make({ name: 'flannel.2', port: 4789 });
  await path.open();
  const starting = path.start(tunnel());
  await settle();
  io.lanes[1]!.end('the lane ended: y', undefined, false);
  assert.deepEqual(failed.slice(1), ['the lane ended: y']);
  io.letStart();
  await starting;
});

test('of several lanes whose TUN is gone one is enough to tell', async () => {
  const path = make({ lanes: { ...ONE, lanes: 2 } });
  await path.open();
  await path.start(tunnel(2));
  io.takeAway('flannel.1');
  assert.deepEqual([failed, gone], [[], 1]);
  isStanding(path);
  assert.deepEqual(await path.reconcile(), [
    'flannel.1 was gone: made anew, and the lanes with it',
  ]);
  assert.equal(kernel.link('flannel.1')!.queues, 2);
  assert.equal(path.running, true);
});

test('a TUN that goes while the lanes start: it does not run, and is made anew', async () => {
  io.holdLanes = true;
  const path = make();
  await path.open();
  const starting = path.start(tunnel());
  await settle();
  io.takeAway('flannel.1');
  io.letStart();
  await starting;
  isStanding(path);
  assert.equal(gone, 1);
  io.holdLanes = false;
  await path.reconcile();
  assert.equal(path.running, true);
  assert.deepEqual(journal, ['record flannel.1 3', 'forget flannel.1', 'record flannel.1 4']);
});

test('another device of its name is told apart by its index, without a word of a lane', async () => {
  const path = await started();
  kernel.delete('flannel.1');
  kernel.add('flannel.1');
  await assert.rejects(path.reconcile(), /there is a device flannel\.1 already/);
  isStanding(path);
  kernel.delete('flannel.1');
  await path.reconcile();
  assert.equal(path.running, true);
});

test('a repair that is refused for another reason leaves the lanes alone', async () => {
  const path = await started();
  kernel.link('flannel.1')!.mtu = 900;
  kernel.refuse = { line: /mtu/, why: 'RTNETLINK answers: Operation not permitted' };
  await assert.rejects(path.reconcile(), /cannot set up flannel\.1/);
  assert.equal(path.running, true);
  kernel.refuse = undefined;
  assert.deepEqual(await path.reconcile(), ['flannel.1: MTU 1450 (was 900)']);
  assert.deepEqual(await path.reconcile(), []);
  assert.equal(io.lanes.length, 1);
});

test('a thread that must be torn out is warned of, but at the end', async () => {
  const path = await started();
  io.lanes[0]!.mustBeTorn = true;
  await path.move({ address: '192.168.56.33', mtu: 1450 });
  const line = 'lane 0 does not leave its loop: its thread is ended';
  assert.deepEqual(log.matching(/lane 0/), [`warn: ${line}`]);
  io.lanes[1]!.mustBeTorn = true;
  await path.close();
  assert.deepEqual(log.matching(/lane 0/), [`warn: ${line}`, `debug: ${line}`]);
});

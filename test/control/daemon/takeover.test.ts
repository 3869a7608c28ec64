import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { OpenLanes } from '../../../src/control/daemon/lanes.js';
import type { LanePlace } from '../../../src/control/daemon/open-lanes.js';
import { clear, rehearse } from '../../../src/control/daemon/takeover.js';
import { Lines } from '../fakes.js';
import { FakeRunner, plant, scratch } from '../host/fakes.js';

const PLACE = { device: 'flannel.1', address: '192.168.56.11', port: 8472 };
const LEFT = { name: 'flannel.1', vni: 1, port: 8472, up: true, mac: '', ipv6: false };
const CLAIM = { device: 'flannel.1', vni: 1, port: 8472 };
const LIST = 'ip -j -d link show type vxlan';
const DELETE = 'ip link del dev flannel.1';
const ROWS = [
  { ifname: 'flannel.1', flags: ['UP'], linkinfo: { info_data: { id: 1, port: 8472 } } },
];

/** Opens nothing, and keeps what it was asked for. */
function opener(refuse?: Error) {
  const asked: LanePlace[] = [];
  const closed: OpenLanes[] = [];
  const lanes = { count: { lanes: 1, threads: 1, reason: 'the kernel refuses 2' } } as OpenLanes;
  const open = async (place: LanePlace): Promise<OpenLanes> => {
    asked.push(place);
    if (refuse !== undefined) throw refuse;
    return lanes;
  };
  return { asked, closed, lanes, open, close: (one: OpenLanes) => void closed.push(one) };
}

test('the rehearsal takes neither the name nor the port that flanneld holds', async () => {
  for (const [left, port] of [
    [LEFT, 0],
    [{ ...LEFT, up: false }, 8472],
    [{ ...LEFT, port: 4789 }, 8472],
  ] as const) {
    const { asked, closed, lanes, open, close } = opener();
    const count = await rehearse(PLACE, left, open, close);
    assert.deepEqual(asked, [{ device: 'weft.1', address: '192.168.56.11', port }]);
    assert.deepEqual(closed, [lanes]);
    assert.equal(count, lanes.count, 'so that a refusal of several lanes is said once');
  }
});

test('what cannot be opened ends the start before anything is removed', async () => {
  const { open, close, closed } = opener(new Error('cannot create the TUN weft.1'));
  await assert.rejects(rehearse(PLACE, LEFT, open, close), /cannot create the TUN/);
  assert.deepEqual(closed, []);
});

test('one line says what was removed; a second one where other containers are out of sight', async (t) => {
  const root = scratch(t);
  plant(root, { 'self/net/dev': '' });
  fs.mkdirSync(path.join(root, 'self/ns'));
  fs.symlinkSync('pid:[4026531836]', path.join(root, 'self/ns/pid'));
  const removed =
    /^info: removed the VXLAN device flannel\.1, which flanneld left, with its routes/;
  const runner = () => new FakeRunner({ [LIST]: { stdout: JSON.stringify(ROWS) }, [DELETE]: {} });

  const log = new Lines();
  await clear(runner(), CLAIM, log, root);
  assert.equal(log.lines.length, 1);
  assert.match(log.lines[0]!, removed);

  fs.rmSync(path.join(root, 'self/ns/pid'));
  const inContainer = new Lines();
  await clear(runner(), CLAIM, inContainer, root);
  assert.match(inContainer.lines[0]!, removed);
  assert.match(inContainer.lines[1]!, /^warn: no flanneld is to be seen from here/);

  const gone = new Lines();
  await clear(new FakeRunner({ [LIST]: { stdout: '[ ]\n' } }), CLAIM, gone, root);
  assert.deepEqual(gone.lines, []);
});

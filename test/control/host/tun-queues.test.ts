import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test, { type TestContext } from 'node:test';
import { countQueues, findOpeners } from '../../../src/control/host/tun-queues.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const SHOW = 'ip -j -d link show dev flannel.1';
const answered = (stdout: string, code = 0) => new FakeRunner({ [SHOW]: { stdout, code } });
const link = (data: object) =>
  JSON.stringify([{}, { ifname: 'flannel.1', linkinfo: { info_kind: 'tun', info_data: data } }]);

test('attached queues and disabled ones count; what is not told is not known', async () => {
  const count = (stdout: string, code?: number) => countQueues(answered(stdout, code), 'flannel.1');
  assert.equal(await count(link({ numqueues: 2, numdisabled: 1 })), 3);
  assert.equal(await count(link({ numqueues: 2 })), 2);
  assert.equal(await count(link({})), null);
  assert.equal(await count(''), null);
  assert.equal(await count('', 1), null);
  // An `ip` whose details are no JSON.
  assert.equal(await count('[{"ifname":"flannel.1","tun"type tun}]'), null);
});

/** A /proc with one process a row: its number, network namespace, and the device it has open. */
function proc(t: TestContext, rows: readonly (readonly [number | 'self', string, string])[]) {
  const root = scratch(t);
  for (const [pid, net, device] of rows) {
    plant(root, {
      [`${pid}/comm`]: `name${pid}\n`,
      [`${pid}/fdinfo/3`]: `pos:\t0\nflags:\t0104002\niff:\t${device}\n`,
    });
    for (const [file, to] of [
      ['ns/net', net],
      ['fd/2', '/dev/null'],
      ['fd/3', '/dev/net/tun'],
    ] as const) {
      fs.mkdirSync(path.dirname(path.join(root, `${pid}/${file}`)), { recursive: true });
      fs.symlinkSync(to, path.join(root, `${pid}/${file}`));
    }
  }
  fs.mkdirSync(path.join(root, '99')); // it ended
  return root;
}

test('those who have this TUN open in this network namespace, but not weft itself', async (t) => {
  const root = proc(t, [
    ['self', 'net:[1]', 'flannel.1'],
    [10, 'net:[1]', 'flannel.1'],
    [11, 'net:[1]', 'flannel.1'],
    [12, 'net:[2]', 'flannel.1'],
    [13, 'net:[1]', 'flannel.12'],
    [14, 'net:[1]', 'flannel.1'],
  ]);
  assert.deepEqual(await findOpeners('flannel.1', 10, root), [
    { pid: 11, name: 'name11' },
    { pid: 14, name: 'name14' },
  ]);
});

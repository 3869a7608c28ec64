import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listRoutes } from '../../../src/control/host/route-list.js';

const TUNNEL = 'route show table main dev flannel.1 proto boot';
const BLACKHOLES = 'route show table main proto boot type blackhole';

/** An `ip` that answers from a table, and what it was asked. */
function fake(answers: Record<string, unknown[] | string>) {
  const asked: string[] = [];
  const listAll = async (lines: readonly string[]) => {
    asked.push(...lines);
    return new Map(lines.map((line) => [line, answers[line] ?? []]));
  };
  return { asked, listAll };
}

test('routes are listed by device and protocol, which the kernel goes by: never all there are', async () => {
  const ip = fake({ [TUNNEL]: [{ dst: '10.5.1.0/24', scope: 'link' }] });
  const devices = ['flannel.1', 'eth0'];
  assert.deepEqual(await listRoutes(ip, { devices, blackholes: false }), [
    { dst: '10.5.1.0/24', scope: 'link', dev: 'flannel.1' },
  ]);
  assert.deepEqual(ip.asked, [TUNNEL, 'route show table main dev eth0 proto boot']);
});

test('blackholes, which have no device, are asked for where there may be one', async () => {
  const row = { type: 'blackhole', dst: '10.5.52.0/24', metric: 4294967295 };
  const ip = fake({ [BLACKHOLES]: [row] });
  assert.deepEqual(await listRoutes(ip, { devices: [], blackholes: true }), [row]);
});

test('a device that is gone has no routes; what else is refused is an error', async () => {
  for (const words of ['Cannot find device "flannel.1"', 'RTNETLINK answers: No such device']) {
    const gone = fake({ [TUNNEL]: words });
    assert.deepEqual(await listRoutes(gone, { devices: ['flannel.1'], blackholes: false }), []);
  }
  const refused = fake({ [TUNNEL]: 'RTNETLINK answers: Operation not permitted' });
  await assert.rejects(
    listRoutes(refused, { devices: ['flannel.1'], blackholes: false }),
    /ip route show .*: RTNETLINK answers: Operation not permitted/,
  );
});

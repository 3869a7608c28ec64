/** The blackhole for our own subnet. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Ip } from '../../../src/control/host/ip.js';
import { RouteSync } from '../../../src/control/host/routes.js';
import { FakeIp, FakeJournal, FakeTimers } from './fakes.js';

test('the blackhole for our own subnet: made, mended, and gone when it is not wanted', async () => {
  const fake = new FakeIp();
  const journal = new FakeJournal();
  const make = (options: object) =>
    new RouteSync(new Ip(fake, new FakeTimers()), 'flannel.1', '10.5.0.0/16', {
      journal,
      ...options,
    });
  // docker0's own is of the same subnet.
  fake.routes.set('10.5.52.0/24', { dev: 'docker0', scope: 'link', protocol: 'kernel' });
  const sync = make({ blackhole: '10.5.52.0/24' });
  await sync.set([]);
  const line = 'blackhole 10.5.52.0/24 proto boot metric 4294967295';
  assert.deepEqual(fake.lines.slice(1), [
    'route show table main proto boot type blackhole',
    `route replace ${line}`,
  ]);
  assert.deepEqual(journal.routes, [line]);
  assert.equal((await sync.reconcile()).added, 0);
  fake.routes.delete('blackhole 10.5.52.0/24');
  assert.equal((await sync.reconcile()).added, 1);

  await make({ blackhole: '10.5.60.0/24' }).set([]);
  assert.deepEqual([...fake.routes.keys()], ['10.5.52.0/24', 'blackhole 10.5.60.0/24']);
  await make({}).set(['10.5.60.0/24']);
  assert.deepEqual([...fake.routes.keys()], ['10.5.52.0/24', '10.5.60.0/24']);
  assert.deepEqual(journal.routes, []);
});

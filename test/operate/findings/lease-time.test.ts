import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeLeaseTime } from '../../../src/operate/findings/lease-time.js';
import type { Status } from '../../../src/operate/status/status.js';
import { fullStatus } from '../status/full.js';

const judge = (more: Partial<Status['storeState']>) =>
  judgeLeaseTime({ ...fullStatus, storeState: { ...fullStatus.storeState, ...more } });

test('a lease that runs down faster or slower than by our clock', () => {
  assert.deepEqual(judge({}), []);
  const [fast] = judge({ leaseDrift: { seconds: 61.4, overSeconds: 300 } });
  assert.deepEqual([fast!.code, fast!.severity, fast!.scope], ['lease-clock', 'warning', 'store']);
  assert.match(
    fast!.text,
    /ran down by 61 s more than by this host's clock, in 5 min: etcd's clock is/,
  );
  const [slow] = judge({ leaseDrift: { seconds: -8, overSeconds: 30 } });
  assert.match(slow!.text, /ran down by 8 s less .* in 30 s: etcd's clock is slow/);
});

test('a lease that was granted for less than was asked for', () => {
  const [short] = judge({ shortLease: { asked: 86_400, granted: 60 } });
  assert.equal(short!.code, 'lease-short');
  assert.match(short!.text, /for 1 min where 1 day|for 1 min where 24 h/);
  assert.match(short!.cure, /^etcdctl --endpoints=\S+ lease timetolive [0-9a-f]+ /);
});

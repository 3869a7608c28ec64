import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { after, test } from 'node:test';
import { EtcdAlarms } from '../../../src/control/store/etcd-alarms.js';
import { EtcdMembers } from '../../../src/control/store/etcd-members.js';
import { StoreError, StoreUnreachable } from '../../../src/control/store/store.js';
import { judgeStore } from '../../../src/operate/findings/store.js';
import { fullStatus } from '../../operate/status/full.js';
import { Lines, realClock } from '../fakes.js';
import { EtcdServer, noEtcd } from './etcd-server.js';

test('an etcd that is out of space says so, until the alarm is disarmed', {
  skip: noEtcd,
}, async () => {
  const server = await EtcdServer.start('--quota-backend-bytes=200000');
  const members = new EtcdMembers({
    ...{ endpoints: [server.endpoint], clock: realClock, log: new Lines() },
  });
  after(async () => {
    members.close();
    await server.end();
  });
  const alarms = new EtcdAlarms(members);
  /** What one look finds them to be. */
  const raised = async () => {
    await alarms.look(5_000);
    return alarms.raised;
  };
  assert.equal(await raised(), undefined);
  assert.throws(() => {
    for (let i = 0; i < 20; i += 1) server.ctl('put', `/big/${i}`, 'x'.repeat(50_000));
  }, /space exceeded/);
  assert.equal(await raised(), 'NOSPACE');
  // As the finding says, typed as it stands.
  const storeState = { ...fullStatus.storeState, alarm: 'NOSPACE' };
  const named = `etcd at ${server.endpoint}, prefix /x`;
  const [finding] = judgeStore({ ...fullStatus, store: named, storeState });
  execFileSync('sh', ['-c', finding!.cure], { env: { ...process.env, ETCDCTL_API: '3' } });
  assert.equal(await raised(), undefined);
});

test('where there are no alarms it is asked once; silence is passed on', async () => {
  let asked = 0;
  let error: Error;
  const probe = () => {
    asked += 1;
    return Promise.reject(error);
  };
  for (const reason of [
    new StoreError('http://k3s:2379 refuses to look at the alarms: permission denied'),
    new StoreUnreachable('http://k3s:2379: unknown service etcdserverpb.Maintenance'),
  ]) {
    [asked, error] = [0, reason];
    const alarms = new EtcdAlarms({ probe });
    for (let i = 0; i < 9; i += 1) await alarms.look(1);
    assert.deepEqual([asked, alarms.raised], [1, undefined]);
  }
  error = new StoreUnreachable('no answer within 1 ms');
  await assert.rejects(new EtcdAlarms({ probe }).look(1), /no answer within/);
});

test('each alarm is told once, whichever members raised it; other troubles are none', async () => {
  const told = async (...errors: string[]) => {
    const probe = () => Promise.resolve({ errors } as never);
    const alarms = new EtcdAlarms({ probe });
    await alarms.look(1);
    return alarms.raised;
  };
  const [one, other] = ['memberID:9372538179322589801 ', 'memberID:1 '];
  assert.equal(await told(), undefined);
  assert.equal(await told('etcdserver: no leader', `${one}alarm:NONE `), undefined);
  assert.equal(await told(`${one}alarm:NOSPACE `, `${other}alarm:NOSPACE `), 'NOSPACE');
  assert.equal(await told(`${one}alarm:NOSPACE `, `${other}alarm:CORRUPT `), 'CORRUPT, NOSPACE');
});

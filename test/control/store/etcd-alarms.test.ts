import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { EtcdAlarms } from '../../../src/control/store/etcd-alarms.js';
import { EtcdMembers } from '../../../src/control/store/etcd-members.js';
import { StoreError, StoreUnreachable } from '../../../src/control/store/store.js';
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
  /** What the alarms are found to be, by as many looks as it may take. */
  const raised = async () => {
    for (let i = 0; i < 8; i += 1) await alarms.look(5_000);
    return alarms.raised;
  };
  assert.equal(await raised(), undefined);
  assert.throws(() => {
    for (let i = 0; i < 20; i += 1) server.ctl('put', `/big/${i}`, 'x'.repeat(50_000));
  }, /space exceeded/);
  assert.equal(await raised(), 'NOSPACE');
  server.ctl('alarm', 'disarm');
  assert.equal(await raised(), undefined);
});

test('where there are no alarms it is asked once; silence is passed on', async () => {
  let asked = 0;
  let error: Error = new StoreError('http://k3s:2379 refuses to look at the alarms: unimplemented');
  const probe = () => {
    asked += 1;
    return Promise.reject(error);
  };
  const alarms = new EtcdAlarms({ probe });
  for (let i = 0; i < 9; i += 1) await alarms.look(1);
  assert.deepEqual([asked, alarms.raised], [1, undefined]);
  error = new StoreUnreachable('no answer within 1 ms');
  await assert.rejects(new EtcdAlarms({ probe }).look(1), /no answer within/);
});

/**
 * Whether etcd would take what a start writes, found without writing: a transaction whose condition
 * holds for no key. etcd judges what it would put all the same: whether the user may, whether there is
 * room, whether an alarm forbids it, whether there is a quorum.
 */
import type { EtcdAlarms } from './etcd-alarms.js';
import type { EtcdMembers } from './etcd-members.js';

const LOOK_MS = 5_000;

/** Looks for alarms as well. Rejects as a write of `key`, the whole of it, would. */
export async function tryWriting(
  members: Pick<EtcdMembers, 'call'>,
  alarms: Pick<EtcdAlarms, 'look'>,
  key: string,
): Promise<void> {
  await alarms.look(LOOK_MS);
  const bytes = Buffer.from(key);
  await members.call(`write ${key}`, ({ kv }) =>
    kv.txn({
      compare: [{ key: bytes, target: 'Mod', result: 'Less', mod_revision: '0' }],
      success: [{ request_put: { key: bytes, value: Buffer.from('{}') } }],
    }),
  );
}

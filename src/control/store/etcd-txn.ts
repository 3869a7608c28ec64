/**
 * Conditional writes of one key. A member may do what it is asked for and its answer be lost; then the
 * next one is asked as well, and finds that the condition does not hold any more. So each asks how the
 * key is in that case: one that is as this very write makes it was written by it.
 */
import type { IKeyValue, ITxnRequest, ITxnResponse } from 'etcd3/lib/rpc.js';

/** Makes one call. */
export type Transact = (request: ITxnRequest) => Promise<ITxnResponse>;

export type Condition =
  | { readonly target: 'Version'; readonly version: number }
  | { readonly target: 'Mod'; readonly mod_revision: string };

/** Puts a key if the condition holds; gives the revision of the write. `lease`: 0n for none. */
export async function putIf(
  transact: Transact,
  key: Buffer,
  condition: Condition,
  { value, lease }: { readonly value: string; readonly lease: bigint },
): Promise<bigint | undefined> {
  const put = { key, value: Buffer.from(value), lease: String(lease) };
  const answer = await transact({
    compare: [{ key, result: 'Equal', ...condition }],
    success: [{ request_put: put }],
    failure: [{ request_range: { key } }],
  });
  if (answer.succeeded) return BigInt(answer.header.revision);
  const there = keyIn(answer);
  // Nobody else writes on that lease.
  const isThis = lease !== 0n && there?.lease === put.lease && there.value.equals(put.value);
  return isThis ? BigInt(there.mod_revision) : undefined;
}

/** Removes a key that is still at `revision`. Whether it is gone; false: it has another revision. */
export async function removeAt(
  transact: Transact,
  key: Buffer,
  revision: bigint,
): Promise<boolean> {
  const answer = await transact({
    compare: [{ key, target: 'Mod', result: 'Equal', mod_revision: String(revision) }],
    success: [{ request_delete_range: { key } }],
    failure: [{ request_range: { key } }],
  });
  return answer.succeeded || keyIn(answer) === undefined;
}

function keyIn({ responses }: ITxnResponse): IKeyValue | undefined {
  return responses[0]?.response_range?.kvs[0];
}

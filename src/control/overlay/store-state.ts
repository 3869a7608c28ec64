/** How it stands with the store, for `weft status`. */
import type { StoreState } from '../store/state.js';
import type { Following, Store } from '../store/store.js';

/** `now` is the clock's; `savedAt` that of the saved network in force. */
export function describeStore(
  { member, cluster, alarm }: Pick<Store, 'member' | 'cluster' | 'alarm'>,
  { awaySince, mended, reason, nextTryAt, answerMs }: Following['state'],
  now: number,
  savedAt: string | undefined,
): StoreState {
  return {
    member: member ?? null,
    cluster: cluster ?? null,
    awaySeconds: awaySince === undefined ? null : (now - awaySince) / 1000,
    reason: (awaySince !== undefined && reason) || null,
    nextTrySeconds: nextTryAt === undefined ? null : Math.max(nextTryAt - now, 0) / 1000,
    mended,
    savedAt: savedAt ?? null,
    answerMs: answerMs === undefined ? null : Math.round(answerMs),
    alarm: alarm ?? null,
  };
}

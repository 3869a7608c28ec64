import type { Following, Store } from '../store/store.js';

/** How it stands with the store, for `weft status`. */
export interface StoreState {
  /** The server that is talked to; null where there is only one place. */
  readonly member: string | null;
  /** How long the store has not answered; null while it does. */
  readonly awaySeconds: number | null;
  /** What went wrong last; null while it answers. */
  readonly reason: string | null;
  /** In how many seconds it is tried again; null while it answers or is being tried. */
  readonly nextTrySeconds: number | null;
  /** The id of the cluster that was joined; null where a store has none. */
  readonly cluster: string | null;
  /** How often listing again found what the watch had not told. */
  readonly mended: number;
  /** When the saved network was written that is in force (ISO 8601); null when none is. */
  readonly savedAt: string | null;
  /** How long it took to answer a small question; null: not known. */
  readonly answerMs: number | null;
  /** Why it takes no writes, in etcd's word; null where it does, as far as is known. */
  readonly alarm: string | null;
}

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

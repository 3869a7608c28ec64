/** How it stands with a store, as the status tells it: plain values, whose names are stable. */

export interface StoreState {
  /** The server that is talked to, such as an etcd member; null where there is only one place. */
  readonly member: string | null;
  /** How long the store has not answered; null while it does. */
  readonly awaySeconds: number | null;
  /** What went wrong last; null while it answers. */
  readonly reason: string | null;
  /** In how many seconds it is tried again; null while it answers or is being tried. */
  readonly nextTrySeconds: number | null;
  /** The id of the cluster that was joined, as etcdctl shows it; null where a store has none. */
  readonly cluster: string | null;
  /** How often listing again found changes that the watch had not told. */
  readonly mended: number;
  /** When the saved network was written that is in force (ISO 8601); null when none is. */
  readonly savedAt: string | null;
  /** How long it took to answer a small question; null: not known, or a file. */
  readonly answerMs: number | null;
  /** Why it takes no writes, in etcd's word (`NOSPACE`); null where it does, as far as is known. */
  readonly alarm: string | null;
}

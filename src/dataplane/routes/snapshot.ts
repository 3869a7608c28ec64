/**
 * What the publisher and the readers share: how the newest table is named and held.
 *
 *    control words:  0 active    1 + thread: held by that thread of a lane
 *
 * `active` names the newest table by a stamp. `held` is the stamp of the table that a thread
 * looks things up in, 0 for none. The contract, without locks:
 *
 *   - The publisher (one thread) builds into a slot that is neither active nor held, makes sure
 *     that its buffer has been sent to the threads, and only then stores `active`.
 *   - A thread adopts in three steps: read `active`, store it as `held`, read `active` again; if it
 *     moved in between, once more. So when a thread goes on, its `held` was in place while that
 *     table was still the active one, and the publisher, which looks at `held` only after
 *     having moved `active`, is bound to see it.
 *   - So a table is reused only after every thread that used it has acknowledged a newer one.
 *     A table can be held by a thread or be active; with one more to build in, threads + 2 slots are
 *     always enough, however slow a thread is.
 */

import type { PeerRowsHandle } from './peer-rows.js';

/** Goes to a thread in its workerData: control words and the tables there are now. */
export interface RoutesHandle {
  readonly control: SharedArrayBuffer;
  readonly tables: readonly TableMessage[];
  readonly rows: PeerRowsHandle;
}

/** A table that a thread has not seen: slot `slot` lives in `buffer` from now on. */
export interface TableMessage {
  readonly slot: number;
  readonly buffer: SharedArrayBuffer;
}

export const ACTIVE = 0;
export const HELD = 1;
/** In `held`: no table. No stamp is 0. */
export const NOTHING = 0;

const SLOT_BITS = 8;
/** So that the slot fits into the stamp. */
export const MAX_THREADS = (1 << SLOT_BITS) - 3;

/**
 * Epoch and slot in one word. The epoch may wrap: stamps are only compared for equality, and
 * a slot that is held is never published again.
 */
export function stampOf(epoch: number, slot: number): number {
  return (epoch << SLOT_BITS) | (slot + 1);
}

export function slotOf(stamp: number): number {
  return (stamp & ((1 << SLOT_BITS) - 1)) - 1;
}

/**
 * Says, once, that a lane has fallen to a lower tier while packets flowed: the lane itself does
 * not log, it leaves the fact in shared memory, and here is looked for it once a second.
 */
import { tierName } from '../../dataplane/io/tiers.js';
import type { Clock, Log } from '../runtime.js';

const EVERY = 1000;

export const MERGING_REFUSED =
  'the kernel refuses super-packets written to the TUN (EINVAL): each packet is written alone';

export interface Watched {
  /** Whether super-packets leave by UDP_SEGMENT, and merged packets go into the TUN. */
  readonly segments: boolean;
  readonly merges: boolean;
}

export interface TierWatch {
  readonly clock: Clock;
  readonly log: Log;
  /** What the TUN has. */
  readonly vnet: boolean;
  readonly uso: boolean;
  /** The lane as it is now. */
  readonly look: () => Watched;
}

/** Watches from what is in force now; returns what ends it. */
export function watchTier({ clock, log, vnet, uso, look }: TierWatch): () => void {
  let { segments, merges } = look();
  const tier = (): string => `tier ${tierName(vnet, uso, segments)}`;
  const turn = (): void => {
    const now = look();
    if (segments && !now.segments) {
      segments = false;
      log.warn(
        'the kernel refused a UDP_SEGMENT send on the underlay (EIO): ' +
          `each datagram is sent alone from now on, ${tier()}`,
      );
    }
    if (merges && !now.merges) {
      merges = false;
      log.warn(`${MERGING_REFUSED} from now on, ${tier()}`);
    }
    cancel = segments || merges ? clock.after(EVERY, turn) : () => {};
  };
  let cancel = clock.after(EVERY, turn);
  return () => cancel();
}

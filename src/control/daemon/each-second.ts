/**
 * What is done once a second while packets flow: the lanes are told the time, which they have no
 * clock for, and what they have lost of the kernel's offloads is said. A lane does not log: it
 * leaves the fact in shared memory.
 */
import type { Clock, Log } from '../runtime.js';

const EVERY_MS = 1000;

export const MERGING_REFUSED =
  'the kernel refuses super-packets written to the TUN (EINVAL): each packet is written alone';

export interface Watched {
  /** Whether merged packets go into the TUN. */
  readonly merges: boolean;
  /** How often a UDP_SEGMENT send was refused. */
  readonly segmentationRefused: number;
}

export interface EachSecondOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The lanes as they are now. */
  readonly look: () => Watched;
  /** Tells the lanes the time: seconds, from 1 up. */
  readonly tick: (seconds: number) => void;
}

/** Calls at once, and each second from then on; returns what ends it. */
export function onceASecond(clock: Clock, call: () => void): () => void {
  const turn = (): void => {
    call();
    cancel = clock.after(EVERY_MS, turn);
  };
  let cancel = () => {};
  turn();
  return () => cancel();
}

/** Begins at once; returns what ends it. */
export function eachSecond({ clock, log, look, tick }: EachSecondOptions): () => void {
  const begun = clock.now();
  let { merges, segmentationRefused } = look();
  return onceASecond(clock, () => {
    tick(1 + Math.floor((clock.now() - begun) / EVERY_MS));
    const now = look();
    if (segmentationRefused === 0 && now.segmentationRefused > 0) {
      log.warn(
        'the kernel refused a UDP_SEGMENT send: to that peer each datagram is sent alone for a ' +
          'while (weft status tells to which)',
      );
    }
    if (merges && !now.merges) log.warn(`${MERGING_REFUSED} from now on`);
    ({ merges, segmentationRefused } = now);
  });
}

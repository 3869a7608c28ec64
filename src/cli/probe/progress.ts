/** How far `weft probe` is, where there are so many peers that it takes long. */
import type { Clock } from '../../control/runtime.js';
import { count, counted } from '../../operate/status/format.js';

/** What is left is worth a line from so long on, and the next line comes so much later. */
const LONG_MS = 15_000;
const APART_MS = 60_000;

/** What to call with each number of peers that were asked just now; `say` gets a line, seldom. */
export function progressOf(
  all: number,
  clock: Pick<Clock, 'now'>,
  say: (line: string) => void,
): (asked: number) => void {
  const began = clock.now();
  let done = 0;
  let saidAt = Number.NEGATIVE_INFINITY;
  return (asked) => {
    done += asked;
    const now = clock.now();
    const leftMs = ((now - began) / done) * (all - done);
    if (leftMs < LONG_MS || now - saidAt < APART_MS) return;
    saidAt = now;
    const minutes = Math.ceil(leftMs / 60_000);
    say(
      `${count(done)} of ${counted(all, 'peer')} asked, about ${counted(minutes, 'minute')} to go; those named are asked alone`,
    );
  };
}

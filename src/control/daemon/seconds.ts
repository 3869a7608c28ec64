/** What happens once a second for as long as weft runs. */
import type { Clock } from '../runtime.js';

const SECOND = 1000;

/** Calls `call` with the whole seconds since now, from 1 up; returns what ends it. */
export function everySecond(clock: Clock, call: (seconds: number) => void): () => void {
  const begun = clock.now();
  let cancel = () => {};
  const turn = (): void => {
    const seconds = Math.floor((clock.now() - begun) / SECOND);
    // On the whole second, be this turn late or not.
    cancel = clock.after(begun + (seconds + 1) * SECOND - clock.now(), turn);
    if (seconds > 0) call(seconds);
  };
  turn();
  return () => cancel();
}

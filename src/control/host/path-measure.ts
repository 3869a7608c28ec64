/** Measures the path to one host: sends what the search asks for, until it has found something. */
import type { Clock } from '../runtime.js';
import type { Echo } from './echo.js';
import { beginSearch, type Found, isFound, sizeToSend, takeResult } from './path-search.js';

/** For an answer; once the host answered, a little more than it took. */
const WAIT_MS = 1_000;
const WAIT_MORE_MS = 200;

/**
 * `to` is an unsigned address, `full` the longest packet that the route and the device let through.
 * Never rejects.
 */
export async function measurePath(
  echo: Pick<Echo, 'send'>,
  to: number,
  full: number,
  clock: Pick<Clock, 'now'>,
): Promise<Found> {
  let state: ReturnType<typeof takeResult> = beginSearch(full);
  let waitMs = WAIT_MS;
  while (!isFound(state)) {
    const sent = clock.now();
    const result = await echo.send(to, sizeToSend(state), waitMs);
    if (result.kind === 'answered') {
      waitMs = Math.min(WAIT_MS, WAIT_MORE_MS + 4 * (clock.now() - sent));
    }
    state = takeResult(state, result);
  }
  return state;
}

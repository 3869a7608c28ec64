/**
 * Lists the routes that weft may have made, and no others: a host may have a quarter of a million
 * of a BGP daemon's. The kernel goes by table, device and protocol itself, so what is left out here
 * costs it a walk (15 ms for so many) and `ip` nothing. It does not go by prefix: `show root` and
 * `show exact` have it hand out every route there is (90 ms).
 */
import { HostError } from './errors.js';
import type { Ip } from './ip.js';
import type { Row } from './route.js';

export interface Sought {
  /** Devices that routes of ours lead by; one that is gone has none. */
  readonly devices: Iterable<string>;
  /** Whether there may be a blackhole of ours, which has no device to go by. */
  readonly blackholes: boolean;
}

/** By name it is not known, or the running `ip` knows it by a number that it had. */
const GONE = /Cannot find device|does not exist|No such device/;

/** Routes of the main table that no daemon made, as `ip -j` prints them. Rejects with a HostError. */
export async function listRoutes(
  ip: Pick<Ip, 'listAll'>,
  { devices, blackholes }: Sought,
): Promise<Row[]> {
  const places = new Map<string, { dev?: string }>();
  for (const dev of devices) places.set(`route show table main dev ${dev} proto boot`, { dev });
  if (blackholes) places.set('route show table main proto boot type blackhole', {});
  const answers = await ip.listAll([...places.keys()]);
  const rows: Row[] = [];
  for (const [line, place] of places) {
    const answer = answers.get(line) ?? [];
    if (typeof answer === 'string') {
      if (GONE.test(answer)) continue;
      throw new HostError('EIP', `ip ${line}: ${answer}`);
    }
    // What was asked for is left out of the answer.
    for (const row of answer as Row[]) rows.push({ ...row, ...place });
  }
  return rows;
}

/**
 * weft in the place of a flanneld that was stopped. Its device goes on forwarding, so it stays as
 * long as it can: until the lease is ours and the firewall rules are set. A weft that cannot start
 * is to leave it as it is, so all that is opened afterwards is rehearsed before.
 */
import { type Claim, removeLeftover, seesAllProcesses } from '../host/leftover.js';
import type { Runner } from '../host/runner.js';
import type { Vxlan } from '../host/vxlan.js';
import type { Log } from '../runtime.js';
import type { OpenLanes } from './lanes.js';
import type { LanePlace } from './open-lanes.js';

/**
 * Opens all that the lanes need, under another name and where flanneld holds the port on any other,
 * and closes it again. Returns how many lanes there can be; rejects as `open` does.
 */
export async function rehearse(
  place: LanePlace,
  leftover: Vxlan,
  open: (place: LanePlace) => Promise<OpenLanes>,
  close: (lanes: OpenLanes) => void,
): Promise<OpenLanes['count']> {
  const held = leftover.up && leftover.port === place.port;
  const device = `weft.${leftover.vni}`;
  const lanes = await open({ ...place, device, port: held ? 0 : place.port });
  close(lanes);
  return lanes.count;
}

/** Removes what flanneld left. From here on until the lanes run nothing is forwarded. */
export async function clear(runner: Runner, claim: Claim, log: Log, proc = '/proc'): Promise<void> {
  if (!(await removeLeftover(runner, claim, proc))) return;
  log.info(
    `removed the VXLAN device ${claim.device}, which flanneld left, with its routes: weft forwards ` +
      'in its place',
  );
  if (seesAllProcesses(proc)) return;
  log.warn(
    'no flanneld is to be seen from here, but one in another container would not be; if one runs ' +
      'on this host, stop it, or the two take the device from each other',
  );
}

/** What the lanes have seen of the peers and of those who are none, as the status has it. */
import { sampleTables, strangerTables } from '../../dataplane/forward/counters.js';
import { readSamples } from '../../dataplane/forward/drop-samples.js';
import { readStrangers } from '../../dataplane/forward/strangers.js';
import { SEEN_NAMES, type SeenName } from '../../dataplane/routes/peer-rows.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { type DropSeen, describeSample } from '../../operate/status/drop-sample.js';
import type { PeerSeen, StrangerSeen } from '../../operate/status/traffic.js';

/** All that is known of the peers with this outer address (int32), which may have several subnets. */
export function seenOf(publisher: Pick<Publisher, 'places' | 'rows'>, address: number): PeerSeen {
  const reports = publisher.places(address).map((place) => publisher.rows.read(place));
  const sums = SEEN_NAMES.map((name): [SeenName, number] => [
    name,
    reports.reduce((sum, report) => sum + report[name], 0),
  ]);
  const heard = reports.flatMap(({ heardSecondsAgo }) => heardSecondsAgo ?? []);
  const pathMtus = reports.flatMap(({ pathMtu }) => (pathMtu > 0 ? [pathMtu] : []));
  return {
    ...(Object.fromEntries(sums) as Record<SeenName, number>),
    heardSecondsAgo: heard.length === 0 ? null : Math.min(...heard),
    segmentAgainIn: Math.max(0, ...reports.map(({ segmentAgainIn }) => segmentAgainIn)),
    pathMtu: pathMtus.length === 0 ? 0 : Math.min(...pathMtus),
  };
}

/** The last senders that no lease names. */
export function strangersOf(
  counters: SharedArrayBuffer,
  { rows }: Pick<Publisher, 'rows'>,
): StrangerSeen[] {
  return readStrangers(strangerTables(counters), rows.now).map(({ address, ...rest }) => ({
    address: formatAddress(address),
    ...rest,
  }));
}

/** Packets that were dropped of late, one a reason. */
export function dropSamplesOf(
  counters: SharedArrayBuffer,
  { rows }: Pick<Publisher, 'rows'>,
): DropSeen[] {
  return readSamples(sampleTables(counters), rows.now).map(describeSample);
}

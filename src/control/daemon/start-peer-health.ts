/** Starts what asks the peers how it stands with them. */
import type { Publisher } from '../../dataplane/routes/publisher.js';
import type { Carrier } from './carrier.js';
import type { DaemonOptions } from './ground.js';
import { type Counts, NO_COUNTS } from './health.js';
import { addressOf } from './open.js';
import type { Here } from './paths.js';
import { type PeerHealthOptions, PeerHealths } from './peer-health.js';

interface Around
  extends Pick<DaemonOptions, 'host' | 'clock' | 'random' | 'lifecycle' | 'probePeers'>,
    Pick<PeerHealthOptions, 'way' | 'mtu' | 'port'> {
  /** Absent with host-gw, which has no lanes. */
  readonly publisher?: Pick<Publisher, 'places' | 'rows'>;
  readonly carrier: Pick<Carrier, 'isDirect'>;
  /** Our own on the overlay, int32. */
  readonly overlay: number;
  readonly here: () => Here | undefined;
}

export function startPeerHealth(around: Around): PeerHealths {
  const { host, clock, random, lifecycle, publisher, carrier, overlay, here, ...rest } = around;
  const { probePeers } = around;
  const common = { clock, random, port: rest.port, hint: () => {} };
  const source = (): number => addressOf(here()?.address ?? '0.0.0.0') >>> 0;
  const healths = new PeerHealths({
    ...{ ...rest, clock, here },
    counts: (address) => (publisher === undefined ? undefined : countsOf(publisher, address)),
    isDirect: (peer) => publisher === undefined || carrier.isDirect(peer),
    open: async () => {
      if (!probePeers) throw new Error('-probe-peers=false');
      const device = here()?.vrf;
      const underlay = await host.openEcho({ ...common, source, device });
      try {
        const tunnel = await host.openEcho({ ...common, source: () => overlay >>> 0 });
        return { underlay, tunnel };
      } catch (error) {
        underlay.close();
        throw error;
      }
    },
  });
  lifecycle.onLeave('peer health', () => healths.stop());
  return healths;
}

/** Of all subnets of a peer together. */
function countsOf(publisher: Pick<Publisher, 'places' | 'rows'>, address: number): Counts {
  const { rows } = publisher;
  let counts = NO_COUNTS;
  for (const place of publisher.places(address)) {
    counts = {
      sent: counts.sent + rows.count(place, 'sentPackets'),
      received: counts.received + rows.count(place, 'receivedPackets'),
      refused: counts.refused + rows.count(place, 'portUnreachable'),
      errors: counts.errors + rows.count(place, 'otherErrors'),
      denied: counts.denied + rows.count(place, 'droppedDenied'),
      unreachable: counts.unreachable + rows.count(place, 'droppedUnreachable'),
    };
  }
  return counts;
}

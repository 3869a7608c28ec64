/**
 * A start with the host-gw backend, from the journal on. The numbers are those of daemon.ts: there
 * are no sockets, no TUN and no lanes, so 6, 7 and 10 are left out.
 */
import { counted } from '../../operate/status/format.js';
import type { Interface } from '../host/interfaces.js';
import type { HostGw } from '../overlay/config.js';
import { formatSubnet } from '../overlay/subnet.js';
import { Carrier, ROUTES } from './carrier.js';
import { onceASecond } from './each-second.js';
import type { Running } from './ground.js';
import { StartError } from './open.js';
import { NoPath } from './place.js';
import type { Start } from './start.js';
import { startPeerHealth } from './start-peer-health.js';

/** In place of a device's name. */
const NAME = 'host-gw';
/** No UDP is sent. */
const NO_PORT = 0;

export async function startHostGw(start: Start, backend: HostGw): Promise<Running> {
  const { options, ground, loop } = start;
  const { log, clock, lifecycle } = options;
  const { underlay, store } = ground;
  const { mtu, address } = underlay;
  refuseUnreachable(underlay);
  options.host.io.releaseThreads();

  // 5. journal
  const journal = await start.openJournal(NAME);

  // 8. lease
  const lease = await start.join();

  // 9. firewall
  await start.setFirewall(journal, lease);

  // 11. subnet.env
  const subnetFile = await start.writeSubnetFile(journal, lease, mtu);

  // 12. reconcile
  const path = new NoPath(NAME, { address, mtu });
  const routes = start.routes(journal, lease, null, underlay.name);
  const carrier = new Carrier({ routes, log, published: (peers) => healths.follow(peers) });
  const tunnelMtu = (now: Interface) => now.mtu;
  const watch = start.watchUnderlay({ path, routes, subnetFile, tunnelMtu });
  const healths = startPeerHealth({
    ...{ ...options, carrier, overlay: lease.subnet.address, port: NO_PORT },
    here: () => (watch.present ? watch.now : undefined),
    mtu: () => path.place.mtu,
    way: () => ({ noWay: '', leavesBy: '' }),
  });
  lifecycle.onLeave(
    'the seconds',
    onceASecond(clock, () => healths.tick()),
  );
  const clashes = await start.watchClashes(lease, null, { routes, carrier, watch });
  loop.add(watch);
  loop.add({ name: 'routes', kind: ROUTES, reconcile: () => carrier.reconcile() });
  const by = () => (watch.present ? watch.now.name : undefined);
  await start.watchForwarding(lease, undefined, by);
  start.startLoop();

  // 13. follow
  await start.follow(carrier, clashes);

  start.ready(
    `ready: host-gw ${formatSubnet(lease.subnet)}, MTU ${mtu}, ${counted(carrier.peers.length, 'peer')}`,
  );
  const same = { name: NAME, backend, store, lease, carrier, healths };
  return {
    ready: () => watch.present && subnetFile.written,
    standing: () => [],
    parts: () => ({ ...same, mtu: path.place.mtu, underlay: watch.now }),
  };
}

/** Throws a StartError where the other hosts could not route to the containers here. */
function refuseUnreachable({ name, address, vrf, publicIp }: Interface): void {
  if (vrf !== undefined) {
    throw new StartError(
      `${name} is in the VRF ${vrf}, and host-gw's routes lead to containers outside it: use the ` +
        'vxlan backend, or name an interface outside with -iface',
    );
  }
  if (publicIp !== address) {
    throw new StartError(
      `the public IP ${publicIp} is not the address of ${name}, ${address}: with host-gw the ` +
        'other hosts route to it as a neighbour, so there can be no NAT between',
    );
  }
}

/** A start with the vxlan backend, from the journal on. The numbers are those of daemon.ts. */

import { TIERS, tierName } from '../../dataplane/io/tiers.js';
import { Publisher } from '../../dataplane/routes/publisher.js';
import { parseMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { counted } from '../../operate/status/format.js';
import { describeLanes } from '../../operate/status/status.js';
import { findLeftover } from '../host/leftover.js';
import { findOpeners } from '../host/tun-queues.js';
import type { OwnLease } from '../overlay/acquire.js';
import type { Vxlan } from '../overlay/config.js';
import type { Membership } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import { Captures } from './captures.js';
import { Carrier, ROUTES } from './carrier.js';
import { DataPath, type DataPathOptions, type Tunnel } from './data-path.js';
import { eachSecond } from './each-second.js';
import { asFindings, NO_WAY } from './faults.js';
import { ForeignQueues } from './foreign-queues.js';
import type { Running } from './ground.js';
import { watchLanes } from './lane-end.js';
import { threadsOf } from './lanes.js';
import { tunnelMtu } from './mtu.js';
import { deviceName } from './open.js';
import { closeLanes, type LanePlace, openLanes } from './open-lanes.js';
import type { Paths } from './paths.js';
import type { Place } from './place.js';
import type { Start } from './start.js';
import { startPaths } from './start-paths.js';
import { startPeerHealth } from './start-peer-health.js';
import { clear, rehearse } from './takeover.js';
import type { UnderlayWatch } from './underlay.js';

export async function startVxlan(start: Start, backend: Vxlan): Promise<Running> {
  const { options, ground } = start;
  const { host, log, lifecycle, lanes, accept } = options;
  const { underlay, store, queues, ip, spent } = ground;
  const { vni, port } = backend;
  const { address, vrf } = underlay;
  const place = { address, mtu: tunnelMtu(backend.mtu, underlay, log), vrf };
  if (backend.directRouting && vrf !== undefined) {
    log.warn(`no direct routes: what peers send directly would arrive in the VRF ${vrf}`);
  }

  // 5. journal
  start.doing('making the device');
  const name = deviceName(vni);
  const journal = await start.openJournal(name);

  // 6. sockets, 7. TUN
  const tier = TIERS[options.offload];
  const claim = { device: name, vni, port };
  const leftover = await start.awaited(findLeftover(host.runner, claim, host.proc));
  let count = lanes;
  if (leftover !== null) {
    const open = (at: LanePlace) => openLanes(at, tier, lanes, host, log);
    const at = { device: name, address, port, vrf };
    count = await start.awaited(rehearse(at, leftover, open, (one) => closeLanes(host, one)));
  }
  const path = makePath(start, { name, port, lanes: count, journal, place });
  if (leftover === null) await start.awaited(path.open());

  // 8. lease: a device that is there has the MAC address that the peers know.
  const lease = await start.join(parseMac(leftover?.mac ?? ''));

  // 9. firewall
  await start.setFirewall(journal, lease, { device: name, backend, underlay });

  // 10. lanes, behind 6 and 7 where a flanneld's device was in the way
  start.doing('setting up the device');
  if (leftover !== null) {
    await start.awaited(clear(host.runner, claim, log, host.proc));
    await start.awaited(path.open());
  }
  const own = { network: lease.subnet.address, length: lease.subnet.length };
  const publisher = new Publisher({ vni, ownMac: lease.vtepMac, threads: threadsOf(path.count) });
  publisher.publish([], [own]);
  await start.awaited(path.start(tunnelOf(start, backend, lease, publisher)));
  const turning = watchLanes(options, path, port);

  const captures = new Captures({
    ...{ device: name, folder: host.folder, clock: options.clock, log },
    look: () => path.shown,
    place: () => ({ address: path.place.address, port }),
  });
  lifecycle.onLeave('the capture socket', () => captures.close());
  await start.awaited(start.loop.begin(captures));

  // 11. subnet.env
  const subnetFile = await start.writeSubnetFile(journal, lease, place.mtu);
  // Docker does not wait for what measures paths.
  await start.awaited(host.readEcho());

  // 12. reconcile
  const direct = backend.directRouting && vrf === undefined;
  const routes = start.routes(journal, lease, name, direct ? underlay.name : undefined);
  const watch = start.watchUnderlay({
    ...{ path, routes, subnetFile },
    tunnelMtu: (now) => tunnelMtu(backend.mtu, now),
  });
  const here = () => (watch.present ? watch.now : undefined);
  const paths = startPaths({ ...options, ...{ ip, spent, publisher, tunnel: name, port, here } });
  start.watch(() => asFindings(NO_WAY, paths.faults));
  const published = (membership: Membership) => {
    paths.follow(membership);
    healths.follow(membership);
  };
  const carrier = new Carrier({
    table: { publisher, local: own, port },
    ...{ routes, log, published },
  });
  const healths = startPeerHealth({
    ...{ ...options, publisher, carrier, port, here, overlay: lease.subnet.address },
    mtu: () => path.place.mtu,
    way: (peer) => {
      const leavesBy = paths.device(peer) ?? watch.now.name;
      return { noWay: paths.noWay(peer), leavesBy: leavesBy === watch.now.name ? '' : leavesBy };
    },
  });
  const tick = (seconds: number) => {
    publisher.rows.tick(seconds);
    paths.tick();
    healths.tick();
    queues.lookAtTun(name);
  };
  const { clock } = options;
  lifecycle.onLeave('the seconds', eachSecond({ clock, log, look: () => path.lanes, tick }));
  const clashes = await start.watchClashes(lease, name, { routes, carrier, watch });
  lookAfter(start, { path, watch, carrier, paths });
  const past = () => (direct && watch.present ? watch.now.name : undefined);
  await start.watchForwarding(lease, name, past);
  start.startLoop(() => paths.changed());

  // 13. follow
  await start.follow(carrier, clashes);

  const { vnet, uso } = path.tun;
  start.ready(
    `ready: ${name} ${formatSubnet(lease.subnet)}, MTU ${path.place.mtu}, VNI ${vni}, ` +
      `UDP port ${port}, tier ${tierName(vnet, uso, path.lanes.udpSegment)}, ` +
      `lanes ${describeLanes(path.count)}, ${counted(carrier.peers.length, 'peer')}`,
  );
  const same = { name, backend, accept, store, lease };
  const made = { publisher, carrier, paths, healths, queues };
  return {
    remeasure: () => paths.remeasure(),
    ready: () => path.running && watch.present && subnetFile.written,
    standing: () => turning.faults,
    parts: () => {
      const { tun, sockets, lanes: running } = path;
      const { peerSockets, place: at, taken } = path;
      const now = {
        tun,
        sockets,
        lanes: running,
        peerSockets,
        taken,
        mtu: at.mtu,
        underlay: watch.now,
      };
      return { ...same, ...made, ...now };
    },
  };
}

function makePath(
  { options, ground, loop }: Start,
  own: Pick<DataPathOptions, 'name' | 'port' | 'lanes' | 'journal'> & { readonly place: Place },
): DataPath {
  const { host, log, clock, lifecycle, accept, offload } = options;
  const { place, ...rest } = own;
  const path = new DataPath(
    {
      ...rest,
      ...{ host, log, clock, accept, ip: ground.ip, tier: TIERS[offload] },
      gone: () => loop.soon(),
      failed: (line, error) => {
        log.debug(error?.stack ?? '');
        void lifecycle.leave(1, line);
      },
    },
    place,
  );
  lifecycle.onLeave('the data path', () => path.close());
  return path;
}

function tunnelOf(
  { ground }: Start,
  backend: Vxlan,
  lease: OwnLease,
  publisher: Publisher,
): Tunnel {
  return {
    vni: backend.vni,
    mac: lease.vtepMac,
    address: formatAddress(lease.subnet.address),
    network: formatSubnet(ground.config.network),
    anySource: backend.directRouting,
    publisher,
  };
}

interface Made {
  readonly path: DataPath;
  readonly watch: UnderlayWatch;
  readonly carrier: Carrier;
  readonly paths: Paths;
}

/** In this order: routes come behind the device and the address that they need. */
function lookAfter(start: Start, { path, watch, carrier, paths }: Made): void {
  const { loop, options } = start;
  const { host, clock } = options;
  loop.add(watch);
  loop.add(path);
  const { lanes: queues } = path.count;
  if (queues > 1) {
    const find = (device: string) => findOpeners(device, host.pid, host.proc);
    loop.add(new ForeignQueues({ device: path.name, queues, runner: host.runner, clock, find }));
  }
  // Without ours, whatever has its name is somebody else's.
  const reconcile = async () => (path.running ? carrier.reconcile() : []);
  loop.add({ name: 'routes', kind: ROUTES, reconcile });
  loop.add(paths);
}

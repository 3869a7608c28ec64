/**
 * `weft up`: wires the control plane to the lanes and runs until told to stop.
 *
 *   1. preflight   /dev/net/tun, rights, ip                         exits when one is missing
 *   2. status      the socket, which from now on tells what is waited for
 *   3. config      waits for it, as flannel does                    exits when it is not vxlan
 *   4. underlay    which interface, which address
 *   5. journal     whose device this is                             exits when a weft runs for it
 *   6. sockets     the UDP port, one listener a lane                exits when it is taken
 *   7. TUN         opened, one queue a lane                         exits when it is in use
 *   8. lease       acquired; the address goes on the TUN
 *   9. lanes       packets can flow
 *  10. firewall    masquerade and forward rules                    exits when asked for and refused
 *  11. subnet.env  so that Docker and CNI may start
 *  12. reconcile   from here on what others change is put right
 *  13. follow      peers into the lanes' table, then into the kernel's
 *
 * It alone carries membership from the overlay to the host and to the routes.
 */
import { TIERS, type TierName, tierName } from '../../dataplane/io/tiers.js';
import { Publisher } from '../../dataplane/routes/publisher.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { StatusSocket } from '../../operate/status/socket.js';
import { type Answer, describeLanes, type LaneCount } from '../../operate/status/status.js';
import { chooseInterface, type Interface } from '../host/interfaces.js';
import { Ip } from '../host/ip.js';
import { Journal } from '../host/journal.js';
import { Monitor } from '../host/monitor.js';
import { preflight } from '../host/preflight.js';
import { RouteSync } from '../host/routes.js';
import { systemRunner } from '../host/runner.js';
import { ensureForwarding } from '../host/sysctls.js';
import type { Config } from '../overlay/config.js';
import { Overlay } from '../overlay/network.js';
import { formatSubnet } from '../overlay/subnet.js';
import { readPreviousSubnet } from '../overlay/subnet-env.js';
import type { Clock, Log, Random } from '../runtime.js';
import { messageOf, type Store } from '../store/store.js';
import { Carrier } from './carrier.js';
import { DataPath } from './data-path.js';
import { type FirewallOptions, startFirewall } from './firewall.js';
import { threadsOf } from './lanes.js';
import type { Lifecycle } from './lifecycle.js';
import { tunnelMtu } from './mtu.js';
import { addressOf, deviceName, StartError } from './open.js';
import { type Member, Reconciler } from './reconcile.js';
import { type Parts, report } from './report.js';
import { SubnetFile } from './subnet-file.js';
import type { Look } from './systemd.js';
import { UnderlayWatch } from './underlay.js';
import { watchTier } from './watch-tier.js';

export interface DaemonOptions {
  readonly version: string;
  readonly iface: readonly string[];
  readonly publicIp: string;
  readonly subnetFile: string;
  /** The highest tier to use; what the kernel lacks of it is left out. */
  readonly offload: TierName;
  readonly lanes: LaneCount;
  readonly firewall: FirewallOptions;
  readonly openStore: () => Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly lifecycle: Lifecycle;
}

/** What there is to tell of, and what tells it. */
interface Made extends Pick<Parts, 'store' | 'config' | 'lease' | 'publisher'> {
  readonly carrier: Carrier;
  readonly path: DataPath;
  readonly watch: UnderlayWatch;
  readonly subnetFile: SubnetFile;
}

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #started: number;
  /** What the start does just now, for `weft status`. */
  #doing = 'looking at this host';
  #overlay: Overlay | undefined;
  #loop: Reconciler | undefined;
  /** Everything, once the start is done. */
  #made: Made | undefined;
  #lost: string | null = null;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#started = options.clock.now();
  }

  /**
   * Returns when packets flow and the peers are followed. Rejects with what stopped it; with
   * Leaving or OverlayStopped when the way out began meanwhile.
   */
  async start(): Promise<void> {
    const { log, lifecycle, clock, random } = this.#options;
    const awaited = <T>(work: Promise<T>) => lifecycle.unlessLeaving(work);

    await awaited(this.#preflight());
    const socket = await awaited(this.#openStatusSocket());

    const store = this.#options.openStore();
    lifecycle.onLeave('the store', () => store.close());
    const overlay = new Overlay({ store, clock, random, log });
    this.#overlay = overlay;
    lifecycle.onLeave('the overlay', () => overlay.stop());
    this.#doing = `reading the network config from ${store.description}`;
    const config = await awaited(overlay.waitForConfig());
    const { vni, port } = config.backend;

    this.#doing = 'choosing the underlay interface';
    const selection = { iface: this.#options.iface, publicIp: this.#options.publicIp };
    const underlay = await awaited(chooseInterface(systemRunner, selection));
    log.info(
      `underlay ${underlay.name}, address ${underlay.address}, MTU ${underlay.mtu}` +
        (underlay.publicIp === underlay.address ? '' : `, public IP ${underlay.publicIp}`),
    );
    const place = { address: underlay.address, mtu: this.#tunnelMtu(config, underlay) };

    this.#doing = 'making the device';
    const name = deviceName(vni);
    const journal = Journal.open(name);
    lifecycle.onLeave('the journal', () => journal.removeIfEmpty());
    this.#takeName(socket, name);

    const ip = new Ip(systemRunner, clock);
    lifecycle.onLeave('ip', () => ip.close());
    const loop = new Reconciler(clock, log);
    this.#loop = loop;
    const { lanes, offload } = this.#options;
    const path = new DataPath(
      {
        ...{ name, port, lanes, ip, journal, log, tier: TIERS[offload], runner: systemRunner },
        gone: () => loop.soon(),
        failed: (line, error) => {
          if (lifecycle.leaving) return;
          log.debug(error?.stack ?? '');
          void lifecycle.leave(1, line);
        },
      },
      place,
    );
    lifecycle.onLeave('the data path', () => path.close());
    await awaited(path.open());

    this.#doing = `acquiring a lease from ${store.description}`;
    const lease = await awaited(
      overlay.join(config, {
        publicIp: addressOf(underlay.publicIp),
        previousSubnet: readPreviousSubnet(this.#options.subnetFile),
      }),
    );

    this.#doing = 'setting up the device';
    const network = formatSubnet(config.network);
    const mac = lease.vtepMac;
    const publisher = new Publisher({ vni, ownMac: mac, lanes: threadsOf(path.count) });
    const local = { network: lease.subnet.address, length: lease.subnet.length };
    publisher.publish([], [local]);
    const address = formatAddress(lease.subnet.address);
    await awaited(path.start({ vni, mac, address, network, publisher }));
    await awaited(loop.begin(forwarding(journal)));

    this.#doing = 'setting the firewall rules';
    const { firewall } = this.#options;
    const subnet = formatSubnet(lease.subnet);
    const wanted = { network, subnet, nftables: config.nftables };
    const around = { runner: systemRunner, journal, clock, log, lifecycle };
    await awaited(startFirewall(around, wanted, firewall));

    const { masquerade: ipMasq } = firewall;
    const env = { network: config.network, subnet: lease.subnet, mtu: place.mtu, ipMasq };
    const subnetFile = new SubnetFile(this.#options.subnetFile, env, journal);
    await awaited(loop.begin(subnetFile));

    this.#doing = `reading the peers from ${store.description}`;
    const routes = new RouteSync(ip, name, network);
    const carrier = new Carrier({ publisher, local, port, routes, log });
    const watch = new UnderlayWatch({
      ...{ ip, clock, log, path, selection, runner: systemRunner, chosen: underlay },
      tunnelMtu: (now) => tunnelMtu(config.backend.mtu, now),
      moved: (publicIp) => overlay.changePublicIp(addressOf(publicIp)),
      resized: (mtu) => subnetFile.changeMtu(mtu),
      soon: (ms) => loop.soon(ms),
    });
    loop.add(watch);
    loop.add(path);
    // Without ours, whatever has its name is somebody else's.
    loop.add({ name: 'routes', reconcile: async () => (path.running ? carrier.reconcile() : []) });
    const monitor = new Monitor({ runner: systemRunner, clock, log, changed: () => loop.soon() });
    lifecycle.onLeave('ip monitor', () => monitor.stop());
    lifecycle.onLeave('reconciling', () => loop.stop());
    loop.start();
    const first = new Promise<void>((resolve) => {
      overlay.follow({
        members: (membership) => {
          // The program that sets routes is ended before the store is.
          if (!lifecycle.leaving) void carrier.adopt(membership).then(resolve);
        },
        lost: (reason) => {
          this.#lost = reason;
          void lifecycle.leave(0, `${reason}; weft gives the network up, as flanneld does`);
        },
      });
    });
    await awaited(first);
    const { description } = store;
    const told = { store: description, config, lease, publisher };
    this.#made = { ...told, carrier, path, watch, subnetFile };
    const { vnet, uso } = path.tun;
    const stopWatching = watchTier({ clock, log, vnet, uso, look: () => path.lanes });
    lifecycle.onLeave('the tier', stopWatching);
    log.info(
      `ready: ${name} ${subnet}, MTU ${path.place.mtu}, VNI ${vni}, UDP port ${port}, ` +
        `tier ${tierName(vnet, uso, path.lanes.segments)}, lanes ${describeLanes(path.count)}, ` +
        `${carrier.peers.length} peers`,
    );
  }

  /** For /readyz: packets flow, and Docker and CNI can read the subnet. */
  get ready(): boolean {
    const { path, watch, subnetFile } = this.#made ?? {};
    return path?.running === true && watch?.present === true && subnetFile?.written === true;
  }

  /** For systemd. */
  look(): Look {
    const made = this.#made;
    const waitingFor = this.#overlay?.waitingFor ?? this.#doing;
    if (made === undefined) return { ready: false, status: waitingFor, turns: [] };
    const { path, lease, carrier } = made;
    const status = `${path.name} ${formatSubnet(lease.subnet)}, ${carrier.peers.length} peers`;
    return { ready: true, status, turns: path.turns };
  }

  /** What `weft status` is told. */
  #answer(): Answer {
    const { version, clock } = this.#options;
    const uptimeSeconds = (clock.now() - this.#started) / 1000;
    const overlay = this.#overlay;
    if (this.#made === undefined) {
      const waitingFor = overlay?.waitingFor ?? this.#doing;
      return { version, pid: process.pid, uptimeSeconds, waitingFor };
    }
    const { path, watch, ...same } = this.#made;
    const { name, tun, sockets, lanes } = path;
    const { mtu } = path.place;
    return report(
      { ...same, name, mtu, tun, sockets, lanes, underlay: watch.now },
      {
        version,
        uptimeSeconds,
        held: overlay?.held,
        lost: this.#lost,
        faults: this.#loop?.faults ?? [],
      },
    );
  }

  async #preflight(): Promise<void> {
    const missing = await preflight(systemRunner);
    const last = missing.pop();
    for (const problem of missing) this.#options.log.error(problem);
    if (last !== undefined) throw new StartError(last);
  }

  /** Undefined, with a warning, where it cannot be made: packets matter more. */
  async #openStatusSocket(): Promise<StatusSocket | undefined> {
    const { lifecycle } = this.#options;
    const socket = new StatusSocket(() => this.#answer(), process.pid);
    lifecycle.onLeave('the status socket', () => socket.close());
    try {
      await socket.open();
      return socket;
    } catch (error) {
      this.#warnOfStatus(error);
      return undefined;
    }
  }

  #takeName(socket: StatusSocket | undefined, name: string): void {
    try {
      socket?.rename(name);
    } catch (error) {
      this.#warnOfStatus(error);
    }
  }

  #warnOfStatus(error: unknown): void {
    this.#options.log.warn(`no status socket, weft status will not work: ${messageOf(error)}`);
  }

  #tunnelMtu(config: Config, underlay: Interface): number {
    const mtu = tunnelMtu(config.backend.mtu, underlay);
    const wanted = config.backend.mtu ?? 0;
    if (wanted > underlay.mtu) {
      this.#options.log.warn(
        `Backend.MTU is ${wanted}, but ${underlay.name} has an MTU of ${underlay.mtu}; ` +
          `using ${underlay.mtu}, since larger packets could not leave`,
      );
    }
    return mtu;
  }
}

/** Without it nothing passes between containers and the TUN; in a sandbox it may be set already. */
function forwarding(journal: Journal): Member {
  return {
    name: 'IPv4 forwarding',
    async reconcile() {
      return ensureForwarding(journal) ? ['switched IPv4 forwarding on'] : [];
    },
  };
}

/**
 * `weft up`: wires the control plane to the lanes and runs until told to stop.
 *
 *   1. preflight   rights, ip, /dev/net/tun                         exits when one is missing
 *   2. status      the socket, which from now on tells what is waited for
 *   3. config      waits for it, as flannel does                    exits when weft has no such backend
 *   4. underlay    which interface, which address
 *   5. journal     whose device this is                             exits when a weft runs for it
 *   6. sockets     the UDP port, one listener a lane                exits when it is taken
 *   7. TUN         opened, one queue a lane                         exits when it is in use
 *   8. lease       acquired
 *   9. firewall    masquerade and forward rules, the guard         exits when asked for and refused
 *  10. lanes       the TUN up with its address, packets can flow
 *  11. subnet.env  so that Docker and CNI may start
 *  12. reconcile   from here on what others change is put right
 *  13. follow      peers into the lanes' table, then into the kernel's
 *
 * Where a flanneld left its device, 6 and 7 are rehearsed in their place and done after 9.
 *
 * With the host-gw backend there are no sockets, no TUN and no lanes: 6, 7 and 10 are left out, and
 * nothing but the kernel's table gets the peers.
 *
 * It alone carries membership from the overlay to the host and to the routes.
 */
import { TIERS, tierName } from '../../dataplane/io/tiers.js';
import { Publisher } from '../../dataplane/routes/publisher.js';
import { parseMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { type Answer, describeLanes } from '../../operate/status/status.js';
import { chooseInterface } from '../host/interfaces.js';
import { Ip } from '../host/ip.js';
import { JOURNAL_DIRECTORY, Journal } from '../host/journal.js';
import { findLeftover } from '../host/leftover.js';
import { Monitor } from '../host/monitor.js';
import { RouteSync, routesInside } from '../host/routes.js';
import { systemRunner } from '../host/runner.js';
import type { OwnLease } from '../overlay/acquire.js';
import type { Config, HostGw, Vxlan } from '../overlay/config.js';
import { Overlay } from '../overlay/network.js';
import type { Membership } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import { readPreviousSubnet } from '../overlay/subnet-env.js';
import { Carrier } from './carrier.js';
import { DataPath, NoPath } from './data-path.js';
import { eachSecond } from './each-second.js';
import { startFirewall } from './firewall.js';
import { ForeignQueues } from './foreign-queues.js';
import { forwarding } from './forwarding.js';
import type { DaemonOptions, Ground, Running } from './ground.js';
import { guardedBy, type TunnelOfHost } from './guard.js';
import { HostQueues } from './host-queues.js';
import type { Keeper } from './keeper.js';
import { watchLanes } from './lane-end.js';
import { closeLanes, type LanePlace, openLanes, threadsOf } from './lanes.js';
import { measuring, tunnelMtu } from './mtu.js';
import { addressOf, checkHost, deviceName, StartError } from './open.js';
import { OwnAddresses } from './own-addresses.js';
import { Reconciler } from './reconcile.js';
import { describeRefused, isVxlan, report, reportHostGw } from './report.js';
import { startPaths } from './start-paths.js';
import { NamedStatus } from './status.js';
import { SubnetFile } from './subnet-file.js';
import type { Look } from './systemd.js';
import { clear, rehearse } from './takeover.js';
import { describeUnderlay, UnderlayWatch } from './underlay.js';

/** In place of a device's name, where there is none. */
const HOST_GW = 'host-gw';

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #loop: Reconciler;
  readonly #started: number;
  readonly #queues = new HostQueues();
  /** What the start does just now, for `weft status`. */
  #doing = 'looking at this host';
  #overlay: Overlay | undefined;
  #firewall: Keeper | undefined;
  /** Once the start is done. */
  #running: Running | undefined;
  #lost: string | null = null;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#loop = new Reconciler(options.clock, options.log);
    this.#started = options.clock.now();
  }

  /**
   * Returns when packets flow and the peers are followed. Rejects with what stopped it; with
   * Leaving or OverlayStopped when the way out began meanwhile.
   */
  async start(): Promise<void> {
    const { log, lifecycle, clock, random } = this.#options;
    const awaited = <T>(work: Promise<T>) => lifecycle.unlessLeaving(work);

    const tunLack = await awaited(checkHost(systemRunner, log));
    const socket = new NamedStatus(() => this.#answer(), log);
    lifecycle.onLeave('the status socket', () => socket.close());
    await awaited(socket.open());

    const store = this.#options.openStore();
    lifecycle.onLeave('the store', () => store.close());
    const { renewMargin, onLeaseLoss } = this.#options;
    const reacquire = onLeaseLoss === 'reacquire';
    const saveTo = JOURNAL_DIRECTORY;
    const overlay = new Overlay({
      store,
      clock,
      random,
      log,
      renewMarginMs: renewMargin * 60_000,
      reacquire,
      saveTo,
    });
    this.#overlay = overlay;
    lifecycle.onLeave('the overlay', () => overlay.stop());
    this.#doing = `reading the network config from ${store.description}`;
    const config = await awaited(overlay.waitForConfig());
    const { backend } = config;
    if (backend.type === 'vxlan' && tunLack !== null) throw new StartError(tunLack);

    this.#doing = 'choosing the underlay interface';
    const ip = new Ip(systemRunner, clock);
    lifecycle.onLeave('ip', () => ip.close());
    const measure = measuring(ip, formatSubnet(config.network));
    const chosen = await awaited(chooseInterface(systemRunner, this.#options.underlay));
    const underlay = await awaited(measure(chosen));
    log.info(`underlay ${describeUnderlay(underlay)}`);
    const ground = { config, underlay, measure, store, overlay, socket, ip };
    this.#running = await (backend.type === 'vxlan'
      ? this.#startVxlan(backend, ground)
      : this.#startHostGw(backend, ground));
  }

  async #startVxlan(backend: Vxlan, ground: Ground): Promise<Running> {
    const { log, lifecycle, clock, lanes, accept, laneProgram } = this.#options;
    const awaited = <T>(work: Promise<T>) => lifecycle.unlessLeaving(work);
    const { config, underlay, measure, store, overlay, ip } = ground;
    const { vni, port } = backend;
    const { address: at, vrf } = underlay;
    const place = { address: at, mtu: tunnelMtu(backend.mtu, underlay, log), vrf };

    if (backend.directRouting && vrf !== undefined) {
      log.warn(`no direct routes: what peers send directly would arrive in the VRF ${vrf}`);
    }

    this.#doing = 'making the device';
    const name = deviceName(vni);
    const journal = this.#openJournal(name, ground);
    const tier = TIERS[this.#options.offload];
    const claim = { device: name, vni, port };
    const leftover = await awaited(findLeftover(systemRunner, claim));
    let count = lanes;
    if (leftover !== null) {
      const open = (at: LanePlace) => openLanes(at, tier, lanes, systemRunner, log);
      const where = { device: name, address: at, port, vrf };
      count = await awaited(rehearse(where, leftover, open, closeLanes));
    }
    const path = new DataPath(
      {
        ...{ name, port, tier, lanes: count, accept, ip, journal, log, clock },
        ...{ runner: systemRunner, laneProgram },
        gone: () => this.#loop.soon(),
        failed: (line, error) => {
          if (lifecycle.leaving) return;
          log.debug(error?.stack ?? '');
          void lifecycle.leave(1, line);
        },
      },
      place,
    );
    lifecycle.onLeave('the data path', () => path.close());
    if (leftover === null) await awaited(path.open());

    // Where the lease is gone; one that is there keeps its own.
    const lease = await awaited(this.#join(ground, parseMac(leftover?.mac ?? '')));
    await awaited(this.#setFirewall(journal, config, lease, { device: name, backend, underlay }));

    this.#doing = 'setting up the device';
    if (leftover !== null) {
      await awaited(clear(systemRunner, claim, log));
      await awaited(path.open());
    }
    const network = formatSubnet(config.network);
    const mac = lease.vtepMac;
    const publisher = new Publisher({ vni, ownMac: mac, threads: threadsOf(path.count) });
    const local = { network: lease.subnet.address, length: lease.subnet.length };
    publisher.publish([], [local]);
    const address = formatAddress(lease.subnet.address);
    const anySource = backend.directRouting;
    await awaited(path.start({ vni, mac, address, network, anySource, publisher }));
    const turning = watchLanes(this.#options, path, port);
    const subnetFile = await this.#setUpHost(journal, config, lease, place.mtu);

    this.#doing = `reading the peers from ${store.description}`;
    const routes = new RouteSync(ip, name, network, {
      journal,
      ...(backend.directRouting && vrf === undefined ? { underlay: underlay.name } : {}),
      ...this.#blackhole(lease),
    });
    const published = (membership: Membership) => paths.follow(membership);
    const carrier = new Carrier({ table: { publisher, local, port }, routes, log, published });
    const watch = new UnderlayWatch({
      ...{ ip, clock, log, path, runner: systemRunner, chosen: underlay, measure },
      selection: this.#options.underlay,
      tunnelMtu: (now) => tunnelMtu(backend.mtu, now),
      renamed: (iface) => routes.moveTo(iface),
      moved: (publicIp) => overlay.changePublicIp(addressOf(publicIp)),
      resized: (mtu) => subnetFile.changeMtu(mtu),
      soon: (ms) => this.#loop.soon(ms),
    });
    const here = () => (watch.present ? watch.now : undefined);
    const paths = startPaths({ ...this.#options, ip, publisher, tunnel: name, port, here });
    const tick = (seconds: number) => {
      publisher.rows.tick(seconds);
      paths.tick();
      this.#queues.lookAtTun(name);
    };
    lifecycle.onLeave('the seconds', eachSecond({ clock, log, look: () => path.lanes, tick }));
    this.#loop.add(watch);
    this.#loop.add(path);
    const { lanes: queues } = path.count;
    if (queues > 1) {
      this.#loop.add(new ForeignQueues({ device: name, queues, runner: systemRunner, clock }));
    }
    // Without ours, whatever has its name is somebody else's.
    const reconcile = async () => (path.running ? carrier.reconcile() : []);
    this.#loop.add({ name: 'routes', reconcile });
    this.#loop.add(paths);
    this.#startLoop(() => paths.changed());
    await awaited(this.#follow(ground, carrier));

    const { vnet, uso } = path.tun;
    log.info(
      `ready: ${name} ${formatSubnet(lease.subnet)}, MTU ${path.place.mtu}, VNI ${vni}, ` +
        `UDP port ${port}, tier ${tierName(vnet, uso, path.lanes.udpSegment)}, ` +
        `lanes ${describeLanes(path.count)}, ${carrier.peers.length} peers`,
    );
    const told = { accept, store: store.description, lease };
    const same = { name, backend, ...told, publisher, carrier, paths, queues: this.#queues };
    return {
      remeasure: () => paths.remeasure(),
      faults: () => paths.faults,
      ready: () => path.running && watch.present && subnetFile.written,
      standing: () => turning.faults,
      parts: () => {
        const { tun, sockets, lanes: running } = path;
        return { ...same, tun, sockets, lanes: running, mtu: path.place.mtu, underlay: watch.now };
      },
    };
  }

  async #startHostGw(backend: HostGw, ground: Ground): Promise<Running> {
    const { log, lifecycle, clock } = this.#options;
    const awaited = <T>(work: Promise<T>) => lifecycle.unlessLeaving(work);
    const { config, underlay, measure, store, overlay, ip } = ground;
    const { mtu, address, vrf, publicIp } = underlay;
    if (vrf !== undefined) {
      throw new StartError(
        `${underlay.name} is in the VRF ${vrf}, and host-gw's routes lead to containers outside ` +
          'it: use the vxlan backend, or name an interface outside with -iface',
      );
    }
    if (publicIp !== address) {
      throw new StartError(
        `the public IP ${publicIp} is not the address of ${underlay.name}, ${address}: with ` +
          'host-gw the other hosts route to it as a neighbour, so there can be no NAT between',
      );
    }
    const journal = this.#openJournal(HOST_GW, ground);
    const lease = await awaited(this.#join(ground));
    await awaited(this.#setFirewall(journal, config, lease));
    const subnetFile = await this.#setUpHost(journal, config, lease, mtu);

    this.#doing = `reading the peers from ${store.description}`;
    const routes = new RouteSync(ip, null, formatSubnet(config.network), {
      journal,
      underlay: underlay.name,
      ...this.#blackhole(lease),
    });
    const carrier = new Carrier({ routes, log });
    const path = new NoPath(HOST_GW, { address, mtu });
    const watch = new UnderlayWatch({
      ...{ ip, clock, log, path, runner: systemRunner, chosen: underlay, measure },
      selection: this.#options.underlay,
      tunnelMtu: (now) => now.mtu,
      renamed: (iface) => routes.moveTo(iface),
      moved: (there) => overlay.changePublicIp(addressOf(there)),
      resized: (size) => subnetFile.changeMtu(size),
      soon: (ms) => this.#loop.soon(ms),
    });
    this.#loop.add(watch);
    this.#loop.add({ name: 'routes', reconcile: () => carrier.reconcile() });
    this.#startLoop();
    await awaited(this.#follow(ground, carrier));
    log.info(
      `ready: host-gw ${formatSubnet(lease.subnet)}, MTU ${mtu}, ${carrier.peers.length} peers`,
    );
    const same = { name: HOST_GW, backend, store: store.description, lease, carrier };
    return {
      ready: () => watch.present && subnetFile.written,
      standing: () => [],
      parts: () => ({ ...same, mtu: path.place.mtu, underlay: watch.now }),
    };
  }

  /** Makes the journal of a device ours, and with it the device's status socket. */
  #openJournal(name: string, { config, socket }: Ground): Journal {
    const journal = Journal.open(name);
    this.#options.lifecycle.onLeave('the journal', () => journal.removeIfEmpty());
    journal.inheritRoutes(routesInside(formatSubnet(config.network)));
    socket.take(name);
    return journal;
  }

  #join({ config, underlay, store, overlay }: Ground, vtepMac?: Uint8Array): Promise<OwnLease> {
    this.#doing = `acquiring a lease from ${store.description}`;
    return overlay.join(config, {
      publicIp: addressOf(underlay.publicIp),
      previousSubnet: readPreviousSubnet(this.#options.subnetFile),
      vtepMac,
    });
  }

  /** With `tunnel`, the guard too. */
  async #setFirewall(
    journal: Journal,
    config: Config,
    lease: OwnLease,
    tunnel?: TunnelOfHost,
  ): Promise<void> {
    const { firewall, clock, log, lifecycle } = this.#options;
    this.#doing = 'setting the firewall rules';
    const wanted = {
      network: formatSubnet(config.network),
      subnet: formatSubnet(lease.subnet),
      nftables: config.nftables,
      guarded: tunnel === undefined ? null : guardedBy(tunnel, config.network, lease.subnet),
    };
    const around = { runner: systemRunner, journal, clock, log, lifecycle };
    this.#firewall = await lifecycle.unlessLeaving(startFirewall(around, wanted, firewall));
  }

  /** Forwarding, and the subnet file: after the rules, so that Docker and CNI start behind them. */
  async #setUpHost(
    journal: Journal,
    { network }: Config,
    { subnet }: OwnLease,
    mtu: number,
  ): Promise<SubnetFile> {
    const { firewall, subnetFile, lifecycle } = this.#options;
    await lifecycle.unlessLeaving(this.#loop.begin(forwarding(journal)));
    const env = { network, subnet, mtu, ipMasq: firewall.masquerade };
    const file = new SubnetFile(subnetFile, env, journal);
    await lifecycle.unlessLeaving(this.#loop.begin(file));
    return file;
  }

  #blackhole(lease: OwnLease): { blackhole?: string } {
    return this.#options.blackhole ? { blackhole: formatSubnet(lease.subnet) } : {};
  }

  /** From here on what others change on the host is put right. */
  #startLoop(alsoTell = () => {}): void {
    const { clock, log, lifecycle } = this.#options;
    const changed = () => {
      alsoTell();
      this.#loop.soon();
    };
    const monitor = new Monitor({ runner: systemRunner, clock, log, changed });
    lifecycle.onLeave('ip monitor', () => monitor.stop());
    lifecycle.onLeave('reconciling', () => this.#loop.stop());
    this.#loop.start();
  }

  /** Follows the peers from now on; resolves when the first of them are in force. */
  async #follow({ overlay, ip }: Ground, carrier: Carrier): Promise<void> {
    const { lifecycle, onLeaseLoss } = this.#options;
    await this.#loop.begin(new OwnAddresses(ip, overlay));
    return new Promise<void>((resolve) => {
      overlay.follow({
        members: (membership) => {
          // The program that sets routes is ended before the store is.
          if (!lifecycle.leaving) void carrier.adopt(membership).then(resolve);
        },
        lost: (reason) => {
          this.#lost = reason;
          if (onLeaseLoss === 'reacquire') {
            void lifecycle.leave(1, `${reason}; a new start takes another subnet`);
          } else {
            void lifecycle.leave(0, `${reason}; weft gives the network up, as flanneld does`);
          }
        },
      });
    });
  }

  /** Looks at the host at once, and at the store anew, over new connections. */
  async reload(): Promise<void> {
    this.#options.log.info('reloading: looking at the host, the store and the paths anew');
    this.#overlay?.reconnect();
    this.#running?.remeasure?.();
    await this.#loop.now();
  }

  /** For /readyz: packets flow, and Docker and CNI can read the subnet. */
  get ready(): boolean {
    return this.#running?.ready() === true && this.standing.length === 0;
  }

  /** For /healthz: a line for each lane's thread that stands still. */
  get standing(): readonly string[] {
    return this.#running?.standing() ?? [];
  }

  /** For systemd. */
  look(): Look {
    const running = this.#running;
    const waitingFor = this.#overlay?.waitingFor ?? this.#doing;
    if (running === undefined) return { ready: false, status: waitingFor, alive: true };
    const { name, lease, carrier } = running.parts();
    const status = `${name} ${formatSubnet(lease.subnet)}, ${carrier.peers.length} peers`;
    return { ready: true, status, alive: this.standing.length === 0 };
  }

  /** What `weft status` is told. */
  #answer(): Answer {
    const { version, clock } = this.#options;
    const uptimeSeconds = (clock.now() - this.#started) / 1000;
    const running = this.#running;
    if (running === undefined) {
      const waitingFor = this.#overlay?.waitingFor ?? this.#doing;
      return { version, pid: process.pid, uptimeSeconds, waitingFor };
    }
    const { held, storeState, refused = [] } = this.#overlay ?? {};
    const faults = [
      ...this.standing,
      ...this.#loop.faults,
      ...(this.#firewall?.faults ?? []),
      ...(running.faults?.() ?? []),
      ...describeRefused(refused),
    ];
    const now = { version, uptimeSeconds, held, storeState, faults, lost: this.#lost };
    const parts = running.parts();
    return isVxlan(parts) ? report(parts, now) : reportHostGw(parts, now);
  }
}

/**
 * The steps of a start that both backends take. Their numbers are those of daemon.ts, where it
 * stands what each is for.
 */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Finding } from '../../operate/findings/finding.js';
import { PeerSubnets } from '../host/clashes.js';
import { listListening } from '../host/control-socket.js';
import { Journal, refuseInUse } from '../host/journal.js';
import { Monitor } from '../host/monitor.js';
import { routesInside } from '../host/route.js';
import { RouteSync } from '../host/routes.js';
import type { OwnLease } from '../overlay/acquire.js';
import type { HostAddress } from '../overlay/admit.js';
import type { Peer } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import { readPreviousSubnet } from '../overlay/subnet-env.js';
import type { Carrier } from './carrier.js';
import { Clashes } from './clashes.js';
import { asFindings, clashFindings, FIREWALL } from './faults.js';
import { startFirewall } from './firewall.js';
import { Forwarding } from './forwarding.js';
import type { DaemonOptions, Ground } from './ground.js';
import { guardedBy, type TunnelOfHost } from './guard.js';
import { addressOf } from './open.js';
import { OwnAddresses } from './own-addresses.js';
import type { Movable } from './place.js';
import type { Reconciler } from './reconcile.js';
import { refuseSharedFile } from './shared-file.js';
import { SubnetFile } from './subnet-file.js';
import { type UnderlayOptions, UnderlayWatch } from './underlay.js';

/** What the underlay's moves change; the rest of it is the same with every backend. */
type Follows = Pick<UnderlayOptions, 'tunnelMtu'> & {
  readonly path: Movable;
  readonly routes: RouteSync;
  readonly subnetFile: SubnetFile;
};

export class Start {
  readonly options: DaemonOptions;
  readonly ground: Ground;
  readonly loop: Reconciler;
  /** Says what is done just now. */
  readonly doing: (what: string) => void;
  /** What a part finds wrong is told from now on. */
  readonly watch: (faults: () => readonly Finding[]) => void;
  /** Says in the log what the start has come to. */
  readonly ready: (line: string) => void;
  readonly #lost: (reason: string) => void;

  constructor(
    options: DaemonOptions,
    ground: Ground,
    loop: Reconciler,
    tell: Pick<Start, 'doing' | 'watch' | 'ready'> & { readonly lost: (reason: string) => void },
  ) {
    this.options = options;
    this.ground = ground;
    this.loop = loop;
    this.doing = tell.doing;
    this.watch = tell.watch;
    this.ready = tell.ready;
    this.#lost = tell.lost;
  }

  /** Rejects with Leaving when the way out began meanwhile. */
  awaited<T>(work: Promise<T>): Promise<T> {
    return this.options.lifecycle.unlessLeaving(work);
  }

  /**
   * 5. Makes the journal of a device ours, and with it the device's status socket. Rejects with a
   * HostError where a weft runs for the device, or one elsewhere writes our subnet.env.
   */
  async openJournal(name: string): Promise<Journal> {
    const { host, lifecycle } = this.options;
    const { config, socket } = this.ground;
    const { folder, proc, pid } = host;
    await this.#refuseSharedFile();
    const running = await this.awaited(listListening(folder));
    await this.awaited(refuseInUse(name, folder, proc));
    const journal = Journal.open(name, folder, proc, pid);
    socket.take(name);
    lifecycle.onLeave('the journal', () => journal.removeIfEmpty());
    journal.inheritRoutes(routesInside(formatSubnet(config.network)), proc, running);
    await this.awaited(this.loop.begin(journal));
    await this.awaited(this.loop.begin(socket));
    return journal;
  }

  #refuseSharedFile(): Promise<void> {
    return this.awaited(refuseSharedFile(this.options.subnetFile, this.options.host));
  }

  /** 8. The lease. */
  join(vtepMac?: Uint8Array): Promise<OwnLease> {
    const { config, underlay, store, overlay } = this.ground;
    this.doing(`acquiring a lease from ${store.description}`);
    const publicIp = addressOf(underlay.publicIp);
    const previousSubnet = readPreviousSubnet(this.options.subnetFile);
    return this.awaited(overlay.join(config, { publicIp, previousSubnet, vtepMac }));
  }

  /** 9. The rules; with `tunnel`, the guard too. */
  async setFirewall(journal: Journal, lease: OwnLease, tunnel?: TunnelOfHost): Promise<void> {
    const { host, firewall, clock, log, lifecycle } = this.options;
    const { config } = this.ground;
    this.doing('setting the firewall rules');
    const wanted = {
      network: formatSubnet(config.network),
      subnet: formatSubnet(lease.subnet),
      nftables: config.nftables,
      guarded: tunnel === undefined ? null : guardedBy(tunnel, config.network, lease.subnet),
    };
    const { runner, nftGeneration } = host;
    const around = { runner, nftGeneration, journal, clock, log, lifecycle };
    const keeper = await this.awaited(startFirewall(around, wanted, firewall));
    this.watch(() => asFindings(FIREWALL, keeper.faults));
  }

  /** 11. Behind all that its readers need. */
  async writeSubnetFile(journal: Journal, { subnet }: OwnLease, mtu: number): Promise<SubnetFile> {
    const { firewall, subnetFile, clock } = this.options;
    const { network } = this.ground.config;
    // One that started at the same time had not written it yet.
    await this.#refuseSharedFile();
    const env = { network, subnet, mtu, ipMasq: firewall.masquerade };
    const soon = (ms: number) => this.loop.soon(ms);
    const file = new SubnetFile(subnetFile, env, { journal, clock, soon });
    await this.awaited(this.loop.begin(file));
    return file;
  }

  /**
   * The kernel's routes into `tunnel` (null: there is none), and to hosts on the own network of
   * `underlay` by their address.
   */
  routes(
    journal: Journal,
    { subnet }: OwnLease,
    tunnel: string | null,
    underlay?: string,
  ): RouteSync {
    const { ip, config } = this.ground;
    return new RouteSync(ip, tunnel, formatSubnet(config.network), {
      journal,
      uplink: this.ground.underlay.name,
      ...(underlay === undefined ? {} : { underlay }),
      ...(this.options.blackhole ? { blackhole: formatSubnet(subnet) } : {}),
    });
  }

  /** What goes along when the underlay changes. */
  watchUnderlay({ path, routes, subnetFile, tunnelMtu }: Follows): UnderlayWatch {
    const { host, clock, log, underlay: selection } = this.options;
    const { ip, overlay, underlay: chosen, measure } = this.ground;
    return new UnderlayWatch({
      ...{ runner: host.runner, ip, clock, log, selection, chosen, measure, tunnelMtu, path },
      renamed: (iface) => routes.moveTo(iface),
      moved: (publicIp) => overlay.changePublicIp(addressOf(publicIp)),
      resized: (mtu) => subnetFile.changeMtu(mtu),
      soon: (ms) => this.loop.soon(ms),
    });
  }

  /** Says what of this host keeps packets from their way; `tunnel` and `direct` as there. */
  watchForwarding(
    { subnet }: OwnLease,
    tunnel: string | undefined,
    direct: () => string | undefined,
  ): Promise<void> {
    const { proc } = this.options.host;
    const { ip } = this.ground;
    const member = new Forwarding({ ip, proc, subnet: formatSubnet(subnet), tunnel, direct });
    return this.awaited(this.loop.begin(member));
  }

  /** 12. What of this host's networks and routes meets the overlay's; the first look is at once. */
  async watchClashes(
    { subnet }: OwnLease,
    tunnel: string | null,
    { routes, carrier, watch }: { routes: RouteSync; carrier: Carrier; watch: UnderlayWatch },
  ): Promise<Clashes> {
    const { ip, config, spent } = this.ground;
    const { clock } = this.options;
    let known = { of: carrier.peers, peers: peerSubnets(carrier.peers) };
    const overlay = () => {
      const of = carrier.peers;
      if (of !== known.of) known = { of, peers: peerSubnets(of) };
      const own = { network: formatSubnet(config.network), own: formatSubnet(subnet), tunnel };
      return { ...own, uplink: watch.now.name, peers: known.peers };
    };
    const clashes = new Clashes({ ip, clock, spent, routes, overlay });
    this.watch(() => clashFindings(clashes.faults));
    await this.awaited(this.loop.begin(clashes));
    return clashes;
  }

  /** 12. From here on what others change on the host is put right. */
  startLoop(alsoTell = () => {}): void {
    const { host, clock, log, lifecycle } = this.options;
    const changed = () => {
      alsoTell();
      this.loop.soon();
    };
    const monitor = new Monitor({ runner: host.runner, clock, log, changed });
    lifecycle.onLeave('ip monitor', () => monitor.stop());
    lifecycle.onLeave('reconciling', () => this.loop.stop());
    this.loop.start();
  }

  /** 13. Follows the peers from now on; resolves when the first of them are in force. */
  async follow(carrier: Carrier, clashes: Clashes): Promise<void> {
    const { lifecycle } = this.options;
    const { overlay, ip, store } = this.ground;
    this.doing(`reading the peers from ${store.description}`);
    const tell = (addresses: readonly HostAddress[]) => {
      overlay.changeAddresses(addresses);
      clashes.changeAddresses(addresses);
    };
    await this.awaited(this.loop.begin(new OwnAddresses(ip, tell)));
    const first = new Promise<void>((resolve) => {
      overlay.follow({
        members: (membership) => {
          // The program that sets routes is ended before the store is.
          if (!lifecycle.leaving) void carrier.adopt(membership).then(resolve);
        },
        lost: this.#lost,
      });
    });
    await this.awaited(first);
  }
}

function peerSubnets(peers: readonly Peer[]): PeerSubnets {
  const hosts = peers.map(({ subnet, publicIp }): [string, string] => {
    return [formatSubnet(subnet), formatAddress(publicIp)];
  });
  return new PeerSubnets(new Map(hosts));
}

/** Carries membership from the overlay to the lanes' table and to the kernel's. */

import type { Route } from '../../dataplane/routes/peer.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { counted } from '../../operate/status/format.js';
import type { Behind } from '../host/desired-routes.js';
import type { RouteSync } from '../host/routes.js';
import { describePeer, type Membership, type Peer } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import type { Log } from '../runtime.js';

/** What it is when the loop cannot put routes right. */
export const ROUTES = { code: 'routes-lost', severity: 'error' } as const;

/** More peers than this in one batch are told as a number, and each only when debugging. */
const TOLD_ONE_BY_ONE = 20;

/** Where the lanes look peers up. */
export interface LaneTable {
  readonly publisher: Pick<Publisher, 'publish'>;
  /** Our own subnet. */
  readonly local: { readonly network: number; readonly length: number };
  /** UDP, the same on every host. */
  readonly port: number;
}

/** What a peer is in the two tables. */
interface Entries {
  /** Undefined without lanes. */
  readonly inLanes: Route | undefined;
  readonly inKernel: Behind;
}

export interface CarrierOptions {
  /** Absent with host-gw, which has no lanes. */
  readonly table?: LaneTable;
  readonly routes: Pick<RouteSync, 'set' | 'reconcile' | 'isDirect'>;
  readonly log: Log;
  /** Called when the lanes have a new membership in their table. */
  readonly published?: (membership: Membership) => void;
}

export class Carrier {
  readonly #options: CarrierOptions;
  #peers: readonly Peer[] = [];
  #problems: readonly string[] = [];
  /** How often the routes were set. */
  #sets = 0;
  #setting = 0;
  /** Of each peer, made once: most of thousands are the same from one change to the next. */
  readonly #entries = new WeakMap<Peer, Entries>();

  constructor(options: CarrierOptions) {
    this.#options = options;
  }

  /** The peers in force. */
  get peers(): readonly Peer[] {
    return this.#peers;
  }

  /** What could not be put into the kernel's table. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Whether the kernel has a route for this peer by its own address, which passes the lanes by. */
  isDirect({ subnet }: Peer): boolean {
    return this.#options.routes.isDirect(formatSubnet(subnet));
  }

  /**
   * Peers first into the table of the lanes, which is there at once, then into the kernel's:
   * both are needed, also for one that is reached directly, since its packets may come by VXLAN
   * all the same. Resolves when the kernel has them, or a newer membership. Never rejects.
   */
  async adopt(membership: Membership): Promise<void> {
    const { peers, added, changed, removed } = membership;
    const { table, routes, published } = this.#options;
    const entries = peers.map((peer) => this.#entriesOf(peer));
    table?.publisher.publish(
      entries.flatMap(({ inLanes }) => inLanes ?? []),
      [table.local],
    );
    this.#peers = peers;
    this.#sets += 1;
    this.#setting += 1;
    const inKernel = routes.set(entries.map(({ inKernel }) => inKernel));
    this.#tell('joined', added);
    this.#tell('changed', changed);
    this.#tell('left', removed);

    this.#problems = (await inKernel).problems;
    this.#setting -= 1;
    // Now, since what is asked of the kernel then would be in the way of the routes.
    published?.(membership);
  }

  /** Puts the kernel's table right. While peers come or go it is being set anyway. */
  async reconcile(): Promise<string[]> {
    if (this.#setting > 0) return [];
    const sets = this.#sets;
    const report = await this.#options.routes.reconcile();
    this.#problems = report.problems;
    // What belongs to peers that came or went meanwhile is no repair.
    if (sets !== this.#sets) return [];
    const told = (count: number, what: string) =>
      count === 0 ? [] : [counted(count, `${what} route`)];
    return [...told(report.added, 'missing'), ...told(report.removed, 'stale')];
  }

  #entriesOf(peer: Peer): Entries {
    const known = this.#entries.get(peer);
    if (known !== undefined) return known;
    const { subnet, publicIp, vtepMac: mac } = peer;
    const { table } = this.#options;
    const inKernel = { subnet: formatSubnet(subnet), host: formatAddress(publicIp) };
    const { address: network, length } = subnet;
    const inLanes =
      table === undefined || mac === undefined
        ? undefined
        : { network, length, peer: { address: publicIp, port: table.port, mac } };
    const entries = { inLanes, inKernel };
    this.#entries.set(peer, entries);
    return entries;
  }

  #tell(verb: string, peers: readonly Peer[]): void {
    const { log } = this.#options;
    const many = peers.length > TOLD_ONE_BY_ONE;
    if (many) log.info(`${counted(peers.length, 'peer')} ${verb}`);
    for (const peer of peers) {
      const line = `peer ${verb}: ${describePeer(peer)}`;
      if (many) log.debug(line);
      else log.info(line);
    }
  }
}

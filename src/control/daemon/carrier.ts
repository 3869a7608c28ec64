/** Carries membership from the overlay to the lanes' table and to the kernel's. */
import type { Publisher } from '../../dataplane/routes/publisher.js';
import type { RouteReport, RouteSync } from '../host/routes.js';
import { describePeer, type Membership, type Peer } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import type { Log } from '../runtime.js';

/** More peers than this in one batch are told as a number, and each only when debugging. */
const TOLD_ONE_BY_ONE = 20;

export interface CarrierOptions {
  readonly publisher: Pick<Publisher, 'publish'>;
  /** Our own subnet. */
  readonly local: { readonly network: number; readonly length: number };
  /** UDP, the same on every host. */
  readonly port: number;
  readonly routes: Pick<RouteSync, 'set' | 'reconcile'>;
  readonly log: Log;
}

export class Carrier {
  readonly #options: CarrierOptions;
  #peers: readonly Peer[] = [];
  #problems: readonly string[] = [];
  /** How often the routes were set. */
  #sets = 0;
  #setting = 0;

  constructor(options: CarrierOptions) {
    this.#options = options;
  }

  /** The peers of the lanes' table. */
  get peers(): readonly Peer[] {
    return this.#peers;
  }

  /** What could not be put into the kernel's table. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /**
   * Peers first into the table of the lanes, which is there at once, then into the kernel's:
   * both are needed. Resolves when the kernel has them, or a newer membership. Never rejects.
   */
  async adopt({ peers, added, changed, removed }: Membership): Promise<void> {
    const { publisher, local, port, routes } = this.#options;
    publisher.publish(
      peers.map(({ subnet, publicIp, vtepMac }) => ({
        network: subnet.address,
        length: subnet.length,
        peer: { address: publicIp, port, mac: vtepMac },
      })),
      [local],
    );
    this.#peers = peers;
    this.#sets += 1;
    this.#setting += 1;
    const inKernel = routes.set(peers.map(({ subnet }) => formatSubnet(subnet)));
    this.#tell('joined', added);
    this.#tell('changed', changed);
    this.#tell('left', removed);

    this.#report(await inKernel);
    this.#setting -= 1;
  }

  /** Puts the kernel's table right. While peers come or go it is being set anyway. */
  async reconcile(): Promise<string[]> {
    if (this.#setting > 0) return [];
    const sets = this.#sets;
    const report = await this.#options.routes.reconcile();
    this.#report(report);
    // What belongs to peers that came or went meanwhile is no repair.
    if (sets !== this.#sets) return [];
    const counted = (count: number, what: string) =>
      count === 0 ? [] : [`${count} ${what} route${count === 1 ? '' : 's'}`];
    return [...counted(report.added, 'missing'), ...counted(report.removed, 'stale')];
  }

  #report({ problems }: RouteReport): void {
    const { log } = this.#options;
    for (const problem of problems) if (!this.#problems.includes(problem)) log.warn(problem);
    this.#problems = problems;
  }

  #tell(verb: string, peers: readonly Peer[]): void {
    const { log } = this.#options;
    const many = peers.length > TOLD_ONE_BY_ONE;
    if (many) log.info(`${peers.length} peers ${verb}`);
    for (const peer of peers) {
      const line = `peer ${verb}: ${describePeer(peer)}`;
      if (many) log.debug(line);
      else log.info(line);
    }
  }
}

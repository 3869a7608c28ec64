/**
 * Looks, each period, for what of this host's other networks and routes meets the overlay's: tells
 * the routes which networks they have to leave alone, removes what an earlier run left in the way of
 * our own containers, and names the rest while it lasts.
 *
 * All routes may be a quarter of a million, which takes `ip` a fifth of a second to look through, and
 * the kernel a fiftieth: what a look cost says how long it is until the next one.
 */

import { formatAddress } from '../../dataplane/wire/ipv4.js';
import {
  type Clash,
  describeAddress,
  describeKept,
  describeTaken,
  judgeNetworks,
  judgeRoutes,
  localNetworks,
  type OverlayNetworks,
} from '../host/clashes.js';
import { HostError } from '../host/errors.js';
import type { Ip } from '../host/ip.js';
import { parsePrefix } from '../host/ipv4.js';
import type { Row } from '../host/route.js';
import type { RouteSync } from '../host/routes.js';
import type { HostAddress } from '../overlay/admit.js';
import type { Clock } from '../runtime.js';
import { Pace, type Spent } from './pace.js';
import type { Member } from './reconcile.js';

/**
 * To look through all routes is one call, and of a quarter of a million a fifth of a second. It
 * only names what is there, so it may be rare from the first time on.
 */
const ALL = { share: 1_000, longestMs: 300_000, sureAfter: 1 };
/** A route that was removed so often is put there by somebody: it is only named then. */
const REMOVALS = 3;
/** More clashes than this are told as a number. */
const TOLD = 10;

export interface ClashesOptions {
  readonly ip: Pick<Ip, 'listAll' | 'change'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly routes: Pick<RouteSync, 'leave' | 'taken'>;
  /** What a look costs; how long it lasts unless told. */
  readonly spent?: Spent | undefined;
  /** As it is now. */
  readonly overlay: () => OverlayNetworks;
}

export class Clashes implements Member {
  readonly name = 'clashes';
  readonly #options: ClashesOptions;
  #addresses: readonly HostAddress[] = [];
  /** From all routes inside the network, as of the last look at them. */
  #ofRoutes: readonly Clash[] = [];
  readonly #ofNetworks: Pace;
  readonly #ofAll: Pace;
  #networks: ReadonlyMap<string, string> = new Map();
  #removals = new Map<string, number>();
  #faults: readonly Clash[] = [];

  constructor(options: ClashesOptions) {
    this.#options = options;
    const { clock, spent } = options;
    this.#ofNetworks = new Pace(clock, { spent });
    this.#ofAll = new Pace(clock, { ...ALL, spent });
  }

  /** Each clash while it lasts, those that lose most first. */
  get faults(): readonly Clash[] {
    const [told, rest] = [this.#faults.slice(0, TOLD), this.#faults.slice(TOLD)];
    const [first] = rest;
    if (first === undefined) return told;
    const { network } = this.#options.overlay();
    const cure = `ip route show root ${network}   (shows them)`;
    const text = `${rest.length} more clashes like that`;
    return [...told, { about: 'more clashes', text, cure, loses: first.loses }];
  }

  /** This host's from now on. */
  changeAddresses(addresses: readonly HostAddress[]): void {
    this.#addresses = addresses;
  }

  async reconcile(): Promise<string[]> {
    const { routes } = this.#options;
    const overlay = this.#options.overlay();
    if (this.#ofNetworks.isDue) {
      const line = 'route show table main proto kernel';
      const rows = await this.#ofNetworks.run(() => this.#list(line));
      this.#networks = localNetworks(rows, overlay.tunnel);
    }
    const networks = this.#networks;
    await routes.leave(new Set(networks.keys()));
    const did = await this.#lookAtRoutes(networks, overlay);
    this.#faults = worstFirst([
      ...judgeNetworks(networks, overlay),
      ...this.#judgeAddresses(overlay),
      ...[...routes.taken].flatMap(([subnet, route]) => {
        const host = overlay.peers.hostOf(subnet);
        return host === undefined ? [] : [describeTaken(subnet, route, host)];
      }),
      ...this.#ofRoutes,
    ]);
    return did;
  }

  async #lookAtRoutes(
    networks: ReadonlyMap<string, string>,
    overlay: OverlayNetworks,
  ): Promise<string[]> {
    const { ip } = this.#options;
    if (!this.#ofAll.isDue) return [];
    const line = `route show table main root ${overlay.network}`;
    const rows = await this.#ofAll.run(() => this.#list(line));
    const { stale, faults } = judgeRoutes(rows, networks, overlay);
    const removable = stale.filter((route) => (this.#removals.get(route) ?? 0) < REMOVALS);
    const failures = await ip.change(removable.map((route) => `route del ${route}`));
    const failed = new Map(failures.map(({ line, reason }) => [line, reason]));
    const did: string[] = [];
    const kept: Clash[] = [];
    for (const route of stale) {
      const reason = failed.get(`route del ${route}`);
      if (removable.includes(route) && reason === undefined) {
        this.#removals.set(route, (this.#removals.get(route) ?? 0) + 1);
        did.push(`removed the route ${route} of an earlier time, which led our own subnet away`);
      } else {
        const why = reason ?? 'it is put back each time that weft removes it';
        kept.push(describeKept(route, why));
      }
    }
    this.#ofRoutes = [...kept, ...faults];
    return did;
  }

  async #list(line: string): Promise<Row[]> {
    const answer = (await this.#options.ip.listAll([line])).get(line);
    if (Array.isArray(answer)) return answer as Row[];
    throw new HostError('EIP', `ip ${line}: ${answer}`);
  }

  /** Those without a network; the others' networks are looked at by their routes. */
  #judgeAddresses({ peers, tunnel }: OverlayNetworks): Clash[] {
    return this.#addresses.flatMap(({ address, length, device }) => {
      const text = formatAddress(address);
      const prefix = length === 32 && device !== tunnel ? parsePrefix(text) : null;
      const peer = prefix === null ? undefined : peers.around(prefix);
      return peer === undefined ? [] : [describeAddress(`${text}/32`, device, peer)];
    });
  }
}

const WORST: readonly Clash['loses'][] = ['all', 'some', 'none'];

function worstFirst(clashes: readonly Clash[]): readonly Clash[] {
  return [...clashes].sort((a, b) => WORST.indexOf(a.loses) - WORST.indexOf(b.loses));
}

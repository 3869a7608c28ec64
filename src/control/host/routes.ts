/**
 * The kernel routes of the overlay: for each remote subnet one into the tunnel, or, where the peer
 * is on the underlay interface's own network and may be reached so, one by its address; and the
 * blackhole for our own subnet. `route.ts` tells how each looks.
 *
 * What is in the kernel is remembered, so that an event costs a comparison in memory and one
 * batch; `reconcile` lists again and repairs what others changed.
 *
 * A route is added, so that the kernel refuses it where somebody else's is in its place; only one of
 * ours, or of flannel's form, is replaced. Where a peer's subnet is a network of this host, that one
 * stays, and there is no route.
 *
 * Routes into the tunnel go with it. The others outlive the process, as flannel's do, so they are
 * written into the journal: by that a later run knows them, and `weft down` takes them back.
 */
import { type Behind, type Desired, readDesired } from './desired-routes.js';
import { HostError, textOf } from './errors.js';
import type { Failure, Ip } from './ip.js';
import { contains, type Prefix, parsePrefix } from './ipv4.js';
import type { Journal } from './journal.js';
import { isNear } from './near.js';
import {
  blackhole,
  describeRow,
  deviceIn,
  type Found,
  findRoute,
  isOfFlannel,
  keyOf,
  makingLine,
  nameOf,
  type Route,
  readRow,
  removingLine,
  sameRoute,
  subnetIn,
} from './route.js';
import { listRoutes } from './route-list.js';

/** Lines a batch: about 2 ms, so that a change which comes meanwhile is not kept waiting. */
const BATCH = 256;

/** What a convergence did. */
export interface RouteReport {
  added: number;
  removed: number;
  /** One sentence for each route or value that could not be applied. Empty: the kernel is as desired. */
  problems: string[];
}

export interface RouteOptions {
  /** Hosts on the own network of this interface are reached by their address; none are unless told. */
  readonly underlay?: string;
  /** The interface that routes of flannel's host-gw lead by. The underlay unless told. */
  readonly uplink?: string;
  /** Our own subnet, for which nothing may leave by another route. */
  readonly blackhole?: string;
  readonly journal?: Pick<Journal, 'routes' | 'record' | 'forget'>;
}

interface Change {
  line: string;
  /** What it adds; undefined for a removal. */
  makes?: Route;
  /** Called when the kernel has it. */
  done: () => void;
}

export class RouteSync {
  readonly #ip: Ip;
  readonly #tunnel: string | null;
  readonly #network: Prefix;
  #underlay: string | null;
  #uplink: string | null;
  readonly #blackhole: Route | null;
  readonly #journal: RouteOptions['journal'];
  #desired: ReadonlyMap<string, Desired> = new Map();
  #refused: readonly string[] = [];
  /** Our routes in the kernel by key; null when not known (at start, after a failure). */
  #installed: Map<string, Found> | null = null;
  /** The same as it was known last. */
  #known: ReadonlyMap<string, Found> = new Map();
  /** Subnets outside the network that we have, or may have, a route to: ours all the same. */
  readonly #outside = new Set<string>();
  /** The names of the routes that outlive the process, of this run and of earlier ones. */
  #recorded: Set<string>;
  #saved = '';
  /** Whether a host is on the underlay interface's network, as far as it was asked. */
  #onLink = new Map<string, boolean>();
  /** What no route can be made for: there is no tunnel, and the host is not on the network. */
  #unreachable: string[] = [];
  /** The networks of this host's other devices. */
  #local: ReadonlySet<string> = new Set();
  /** By subnet, somebody else's route that is in the place of ours. */
  #taken = new Map<string, string>();
  #running: Promise<RouteReport> | null = null;
  /** Counts up with every request, so that a running convergence sees there is more to do. */
  #requests = 0;

  /**
   * `network` is the overlay's whole network (`10.5.0.0/16`): routes inside it, on the TUN
   * `tunnel` (null: there is none), of protocol boot and without a metric are ours, and so are
   * those in the journal; all others are somebody else's and stay.
   */
  constructor(ip: Ip, tunnel: string | null, network: string, options: RouteOptions = {}) {
    const { underlay = null, uplink = underlay, blackhole: own, journal } = options;
    const prefix = parsePrefix(network);
    if (prefix === null) throw new HostError('EINVAL', `${network} is not a network`);
    this.#ip = ip;
    this.#tunnel = tunnel;
    this.#network = prefix;
    this.#underlay = underlay;
    this.#uplink = uplink;
    this.#blackhole = own === undefined ? null : blackhole(own);
    this.#journal = journal;
    this.#recorded = new Set(journal?.routes ?? []);
    this.#saved = [...this.#recorded].join();
    for (const name of this.#recorded) this.#remember(subnetIn(name));
  }

  /**
   * Makes these the desired set and resolves when the kernel has it, or a newer one that came
   * meanwhile; a subnet alone (`10.5.52.0/24`) is one for the tunnel. A value that is no prefix is
   * named in the report and costs only itself. Never rejects.
   */
  set(subnets: Iterable<string | Behind>): Promise<RouteReport> {
    const { desired, refused } = readDesired(subnets, this.#desired);
    this.#desired = desired;
    this.#refused = refused;
    return this.#request();
  }

  /**
   * Lists what is in the kernel and puts right what differs from the desired set; asks again which
   * hosts are on the underlay interface's network. Never rejects.
   */
  reconcile(): Promise<RouteReport> {
    this.#installed = null;
    this.#onLink = new Map();
    this.#taken = new Map();
    return this.#request();
  }

  /** The underlay has another interface, which `reconcile` lets the routes to hosts lead by. */
  moveTo(underlay: string): void {
    if (this.#underlay !== null) this.#underlay = underlay;
    this.#uplink = underlay;
  }

  /** These are networks of this host (`10.5.93.0/24`): there is to be no route of ours to them. */
  async leave(local: ReadonlySet<string>): Promise<void> {
    const before = this.#local;
    this.#local = local;
    const same = local.size === before.size && [...local].every((one) => before.has(one));
    if (!same && this.#installed !== null) await this.#request();
  }

  /** By subnet, somebody else's route that is in the place of ours, in `ip`'s words. */
  get taken(): ReadonlyMap<string, string> {
    return this.#taken;
  }

  /** Whether packets for a subnet go by its host's address, as far as is known. */
  isDirect(subnet: string): boolean {
    return (this.#known.get(subnet)?.route.via ?? null) !== null;
  }

  #request(): Promise<RouteReport> {
    this.#requests++;
    this.#running ??= this.#converge().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #converge(): Promise<RouteReport> {
    const report: RouteReport = { added: 0, removed: 0, problems: [] };
    /** Refused lines with the reason: left out of later batches, so that they hold up nothing. */
    const refused = new Map<string, string>();
    let retried = false;
    for (;;) {
      const seen = this.#requests;
      const { more, problems } = await this.#step(report, refused);
      if (more || seen !== this.#requests) continue;
      if (problems.length > 0 && !retried) {
        // A fresh `ip` and a fresh list: enough for a device that was made anew, or a child
        // that was killed.
        retried = true;
        refused.clear();
        this.#forget();
        continue;
      }
      if (problems.length > 0) this.#forget();
      report.problems = [...this.#refused, ...this.#unreachable, ...problems];
      return report;
    }
  }

  /** Towards the desired set until there is a newer one; `problems` counts when there is no more. */
  async #step(
    report: RouteReport,
    refused: Map<string, string>,
  ): Promise<{ more: boolean; problems: string[] }> {
    const seen = this.#requests;
    try {
      this.#installed ??= await this.#list();
      const installed = this.#installed;
      this.#known = installed;
      const wanted = await this.#resolve();
      const changes: Change[] = [];
      const problems: string[] = [];
      for (const change of this.#differences(installed, wanted, report)) {
        const reason = refused.get(change.line);
        if (reason === undefined) changes.push(change);
        else problems.push(`ip ${change.line}: ${reason}`);
      }
      let more = false;
      for (let from = 0; from < changes.length; from += BATCH) {
        // What is newer does not wait for the rest.
        if (from > 0 && seen !== this.#requests) break;
        const allDone = await this.#apply(changes.slice(from, from + BATCH), refused, installed);
        more ||= !allDone;
      }
      this.#save();
      return { more, problems };
    } catch (error) {
      // Which of the lines were executed is not known.
      this.#forget();
      const problem = `the routes are not up to date: ${textOf(error)}`;
      return { more: false, problems: [problem] };
    }
  }

  /** Whether the kernel took all of a batch; what it did not take is looked at, or refused. */
  async #apply(
    batch: readonly Change[],
    refused: Map<string, string>,
    installed: Map<string, Found>,
  ): Promise<boolean> {
    for (const { makes } of batch) if (makes && this.#outlives(makes)) this.#record(makes);
    this.#save();
    const failures = await this.#ip.change(batch.map((change) => change.line));
    const failed = new Map(failures.filter((f) => !alreadyGone(f)).map((f) => [f.line, f.reason]));
    for (const { line, makes, done } of batch) {
      const reason = failed.get(line);
      if (reason === undefined) {
        done();
        continue;
      }
      if (makes) this.#recorded.delete(nameOf(makes));
      if (makes && reason.includes(EXISTS)) await this.#examine(makes, installed);
      else refused.set(line, reason);
    }
    return failed.size === 0;
  }

  /** Where each desired subnet is to lead. */
  async #resolve(): Promise<Map<string, Route>> {
    const [tunnel, underlay, known] = [this.#tunnel, this.#underlay, this.#onLink];
    const wanted = new Map<string, Route>();
    const onLink = new Map<string, boolean>();
    const unreachable: string[] = [];
    if (this.#blackhole !== null) wanted.set(keyOf(this.#blackhole), this.#blackhole);
    for (const [subnet, { host }] of this.#desired) {
      if (this.#local.has(subnet) || this.#taken.has(subnet)) continue;
      if (underlay !== null && host !== null) {
        const near =
          onLink.get(host) ?? known.get(host) ?? (await isNear(this.#ip, host, underlay));
        onLink.set(host, near);
        if (near) {
          wanted.set(subnet, { subnet, device: underlay, via: host });
          continue;
        }
      }
      if (tunnel !== null) wanted.set(subnet, { subnet, device: tunnel, via: null });
      else unreachable.push(`no route to ${subnet}: ${host} is not on the network of ${underlay}`);
    }
    this.#unreachable = unreachable;
    // Unless all were to be asked again meanwhile.
    if (this.#onLink === known) this.#onLink = onLink;
    return wanted;
  }

  /** What is missing, then what is stale: traffic waits for new peers, nobody for a removal. */
  *#differences(
    installed: Map<string, Found>,
    wanted: ReadonlyMap<string, Route>,
    report: RouteReport,
  ): Generator<Change> {
    for (const [key, route] of wanted) {
      const before = installed.get(key);
      if (before?.exact === true && sameRoute(before.route, route)) continue;
      yield {
        line: makingLine(route, before !== undefined),
        makes: route,
        done: () => {
          if (before && !sameRoute(before.route, route)) {
            this.#recorded.delete(nameOf(before.route));
          }
          installed.set(key, { route, exact: true });
          this.#remember(route.subnet);
          report.added++;
        },
      };
    }
    for (const [key, { route }] of installed) {
      if (wanted.has(key)) continue;
      yield {
        line: removingLine(route),
        done: () => {
          installed.delete(key);
          this.#outside.delete(route.subnet);
          this.#recorded.delete(nameOf(route));
          report.removed++;
        },
      };
    }
  }

  /** There is a route in the place of `wanted` already: one of flannel's is as good as ours. */
  async #examine(wanted: Route, installed: Map<string, Found>): Promise<void> {
    const row = await findRoute(this.#ip, wanted.subnet);
    const found = row === undefined ? null : readRow(row);
    if (found !== null && isOfFlannel(found.route, this.#uplink)) {
      installed.set(keyOf(found.route), { ...found, exact: false });
    } else {
      this.#taken.set(wanted.subnet, row === undefined ? wanted.subnet : describeRow(row));
    }
  }

  #forget(): void {
    this.#ip.restart();
    this.#installed = null;
    this.#onLink = new Map();
  }

  async #list(): Promise<Map<string, Found>> {
    const made = [...this.#recorded];
    const devices = new Set(made.flatMap((name) => deviceIn(name) ?? []));
    if (this.#tunnel !== null) devices.add(this.#tunnel);
    const blackholes = this.#blackhole !== null || made.some((name) => deviceIn(name) === null);
    const rows = await listRoutes(this.#ip, { devices, blackholes });
    const found = new Map<string, Found>();
    const recorded = new Set<string>();
    for (const row of rows) {
      const read = readRow(row);
      if (read === null) continue;
      const { route, exact } = read;
      const name = nameOf(route);
      if (this.#recorded.has(name)) recorded.add(name);
      else if (route.device !== null && route.device !== this.#tunnel) continue;
      else if (!this.#isInside(route.subnet) && !this.#outside.has(route.subnet)) continue;
      // Of flannel's form, with a gateway, it is in ours' place all the same.
      const inTunnel = route.device === this.#tunnel && this.#tunnel !== null;
      found.set(
        keyOf(route),
        inTunnel ? { route: { ...route, via: null }, exact: exact && route.via === null } : read,
      );
    }
    this.#recorded = recorded;
    return found;
  }

  #outlives({ device }: Route): boolean {
    return device !== this.#tunnel || device === null;
  }

  #record(route: Route): void {
    this.#recorded.add(nameOf(route));
  }

  /** Writes the journal where it is not as it should be. */
  #save(): void {
    const made = [...this.#recorded];
    const text = made.join();
    if (text === this.#saved) return;
    if (made.length > 0) this.#journal?.record({ kind: 'routes', made });
    else this.#journal?.forget({ kind: 'routes' });
    this.#saved = text;
  }

  #remember(subnet: string): void {
    if (!this.#isInside(subnet)) this.#outside.add(subnet);
  }

  #isInside(subnet: string): boolean {
    const prefix = parsePrefix(subnet);
    return prefix !== null && contains(this.#network, prefix);
  }
}

/** The kernel's EEXIST. */
const EXISTS = 'File exists';

/** "No such process" is the kernel's ESRCH for a route that is not there (a link went down). */
function alreadyGone({ line, reason }: Failure): boolean {
  return line.startsWith('route del ') && /No such process|Cannot find device/.test(reason);
}

/**
 * The kernel routes of the overlay: one per remote subnet on the TUN,
 * `10.5.52.0/24 dev flannel.1 proto boot scope link`.
 *
 * flannel writes `via 10.5.52.0 dev flannel.1 onlink`, because its device is an Ethernet one and
 * the gateway is what the neighbour entry with the VTEP's MAC hangs on. A TUN is point-to-point
 * and has no neighbours (the kernel keeps a single entry for the whole device), so `via … onlink`
 * would add nothing, and is left out.
 *
 * What is in the kernel is remembered, so that an event costs a comparison in memory and one
 * batch; `reconcile` lists again and repairs what others changed.
 */
import { textOf } from './errors.js';
import type { Failure, Ip } from './ip.js';
import { contains, formatPrefix, type Prefix, parsePrefix } from './ipv4.js';

/** Lines a batch: about 2 ms, so that a change which comes meanwhile is not kept waiting. */
const BATCH = 256;

/** What a convergence did. */
export interface RouteReport {
  added: number;
  removed: number;
  /** One sentence for each route or value that could not be applied. Empty: the kernel is as desired. */
  problems: string[];
}

interface Installed {
  /** Whether it has just the form that weft writes. */
  exact: boolean;
}

interface Change {
  line: string;
  /** Called when the kernel has it. */
  done: () => void;
}

export class RouteSync {
  readonly #ip: Ip;
  readonly #device: string;
  readonly #network: Prefix | null;
  #desired = new Map<string, Prefix>();
  #refused: string[] = [];
  /** Our routes in the kernel by prefix; null when not known (at start, after a failure). */
  #installed: Map<string, Installed> | null = null;
  /** Prefixes outside the network that were installed from here: ours all the same. */
  readonly #outside = new Set<string>();
  #running: Promise<RouteReport> | null = null;
  /** Counts up with every request, so that a running convergence sees there is more to do. */
  #requests = 0;

  /**
   * `network` is the overlay's whole network (`10.5.0.0/16`): routes inside it, on `device`, of
   * protocol boot and without a metric are ours; all others on the device are somebody else's
   * and stay, unless they were installed here.
   */
  constructor(ip: Ip, device: string, network: string) {
    this.#ip = ip;
    this.#device = device;
    this.#network = parsePrefix(network);
  }

  /**
   * Makes `subnets` (`10.5.52.0/24` …) the desired set and resolves when the kernel has it, or a
   * newer one that came meanwhile. A value that is no prefix is named in the report and costs
   * only itself. Never rejects.
   */
  set(subnets: Iterable<string>): Promise<RouteReport> {
    const before = this.#desired;
    this.#desired = new Map();
    this.#refused = [];
    for (const text of subnets) {
      // Most were there before: that look saves most of the time of a change among thousands.
      const prefix = before.get(text) ?? parsePrefix(text);
      if (prefix === null || prefix.length === 0) {
        this.#refused.push(`no route to ${JSON.stringify(text)}: that is not a subnet`);
      } else {
        this.#desired.set(before.has(text) ? text : formatPrefix(prefix), prefix);
      }
    }
    return this.#request();
  }

  /** Lists what is in the kernel and puts right what differs from the desired set. Never rejects. */
  reconcile(): Promise<RouteReport> {
    this.#installed = null;
    return this.#request();
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
      report.problems = [...this.#refused, ...problems];
      return report;
    }
  }

  /** One batch towards the desired set of this moment; `problems` counts when there is no more. */
  async #step(
    report: RouteReport,
    refused: Map<string, string>,
  ): Promise<{ more: boolean; problems: string[] }> {
    try {
      this.#installed ??= await this.#list();
      const batch: Change[] = [];
      const problems: string[] = [];
      let more = false;
      for (const change of this.#differences(this.#installed, report)) {
        const reason = refused.get(change.line);
        if (reason !== undefined) {
          problems.push(`ip ${change.line}: ${reason}`);
        } else if (batch.length === BATCH) {
          more = true;
          break;
        } else {
          batch.push(change);
        }
      }
      if (batch.length === 0) return { more, problems };

      const failures = await this.#ip.change(batch.map((change) => change.line));
      const failed = new Map(
        failures.filter((f) => !alreadyGone(f)).map((f) => [f.line, f.reason]),
      );
      for (const { line, done } of batch) {
        const reason = failed.get(line);
        if (reason === undefined) done();
        else refused.set(line, reason);
      }
      return { more: more || failed.size > 0, problems };
    } catch (error) {
      // Which of the lines were executed is not known.
      this.#forget();
      const problem = `the routes on ${this.#device} are not up to date: ${textOf(error)}`;
      return { more: false, problems: [problem] };
    }
  }

  /** What is missing, then what is stale: traffic waits for new peers, nobody for a removal. */
  *#differences(installed: Map<string, Installed>, report: RouteReport): Generator<Change> {
    for (const [key, prefix] of this.#desired) {
      if (installed.get(key)?.exact === true) continue;
      yield {
        line: `route replace ${key} dev ${this.#device} proto boot scope link`,
        done: () => {
          installed.set(key, { exact: true });
          if (!this.#isInside(prefix)) this.#outside.add(key);
          report.added++;
        },
      };
    }
    for (const key of installed.keys()) {
      if (this.#desired.has(key)) continue;
      yield {
        line: `route del ${key} dev ${this.#device} proto boot metric 0`,
        done: () => {
          installed.delete(key);
          this.#outside.delete(key);
          report.removed++;
        },
      };
    }
  }

  #forget(): void {
    this.#ip.restart();
    this.#installed = null;
  }

  async #list(): Promise<Map<string, Installed>> {
    const found = new Map<string, Installed>();
    for (const row of await this.#ip.query(`route show dev ${this.#device}`)) {
      const route = row as Row;
      const prefix = parsePrefix(route.dst);
      if (prefix === null || !this.#isOurs(route, prefix)) continue;
      // A route with a gateway has scope global, which `ip -j` leaves out.
      const exact = route.scope === 'link';
      found.set(formatPrefix(prefix), { exact });
    }
    return found;
  }

  #isOurs(route: Row, prefix: Prefix): boolean {
    // `ip -j` leaves out what is the default: protocol boot, type unicast, metric 0.
    if (route.protocol !== undefined || route.type !== undefined || route.metric !== undefined) {
      return false;
    }
    return this.#isInside(prefix) || this.#outside.has(formatPrefix(prefix));
  }

  #isInside(prefix: Prefix): boolean {
    return this.#network !== null && contains(this.#network, prefix);
  }
}

/** A row of `ip -j route show`, as far as it is read here. */
interface Row {
  dst: string;
  scope?: string;
  protocol?: string;
  type?: string;
  metric?: number;
}

/** "No such process" is the kernel's ESRCH for a route that is not there (a link went down). */
function alreadyGone(failure: Failure): boolean {
  return failure.line.startsWith('route del ') && failure.reason.includes('No such process');
}

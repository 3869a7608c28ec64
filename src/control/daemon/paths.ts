/**
 * The one owner of path MTU: it asks the kernel for the way to each peer, measures where it may,
 * and tells the lanes the longest outer packet that reaches a peer whole.
 *
 * ICMP from outside is a hint that is checked by a measurement, never believed: whoever forges it
 * causes one packet of ours in a while. What is known of a path and what follows from it stands
 * in path.ts, how one is measured in host/path-search.ts; here it is asked, sent and told.
 */

import type { Publisher } from '../../dataplane/routes/publisher.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { type Echo, LARGER_THAN_DEVICE } from '../host/echo.js';
import { textOf } from '../host/errors.js';
import type { Ip } from '../host/ip.js';
import { measurePath } from '../host/path-measure.js';
import { findWays } from '../host/ways.js';
import type { Membership } from '../overlay/peers.js';
import type { Clock, Fault, Log, Random } from '../runtime.js';
import { Pace, type Spent } from './pace.js';
import {
  dueAt,
  forgetTried,
  fullOf,
  isCutByRoute,
  type Path,
  type PathMtu,
  pathMtuOf,
  takeHint,
  takeMeasured,
  takeWay,
  UNKNOWN,
} from './path.js';
import { faultsOf } from './path-faults.js';
import type { Member } from './reconcile.js';

/**
 * The ways are asked for when something changed, a millisecond a peer after the last time or so
 * long, and anyway after so long; of thousands of peers less often, as that took its time.
 */
const ASK_AGAIN_MS = 3_000;
const ASK_ANYWAY_MS = 60_000;
/** Which may be one part in so many of a processor: a way that changed is packets that are lost. */
const SHARE = 100;
/** Peers measured at the same time, and begun in a second: their answers must all be looked at. */
export const AT_ONCE = 64;
export const A_SECOND = 100;
/** From one try to open the socket to the next. */
const OPEN_AGAIN_MS = 600_000;
/** More changes than this in a second are told as a number. */
const TOLD_ONE_BY_ONE = 10;

export type Prober = Pick<Echo, 'send' | 'closed' | 'close'>;

/** An address on the underlay, dotted, and the VRF that it is in. */
export interface Here {
  readonly address: string;
  readonly vrf?: string | undefined;
}

export interface PathsOptions {
  readonly clock: Clock;
  /** What it costs to ask for the ways; how long it lasts unless told. */
  readonly spent?: Spent | undefined;
  readonly random: Random;
  readonly log: Log;
  readonly ip: Pick<Ip, 'queryAll' | 'restart'>;
  readonly publisher: {
    readonly places: Publisher['places'];
    readonly rows: Pick<Publisher['rows'], 'setPathMtu'>;
  };
  /** Where weft is on the underlay; undefined while it has no address there. */
  readonly here: () => Here | undefined;
  /** weft's own device. */
  readonly tunnel: string;
  /** Of the VRF in which weft is then. Rejects with why nothing can be measured, in words. */
  readonly openEcho: (hint: (address: number) => void) => Promise<Prober>;
}

/** For status. */
export interface PathReport extends PathMtu {
  /** Since the measurement that came to something; null: none did. */
  readonly measuredSecondsAgo: number | null;
  /** Whether it is being measured. */
  readonly checking: boolean;
  /** Why the last measurement came to nothing; empty unless it did. */
  readonly problem: string;
}

/** By the peers' outer address, int32. */
export class Paths implements Member {
  readonly name = 'paths';
  readonly #options: PathsOptions;
  readonly #paths = new Map<number, Path>();
  readonly #checking = new Set<number>();
  #echo: Prober | undefined;
  /** The VRF that it is in. */
  #echoVrf: string | undefined;
  #openAt = Number.NEGATIVE_INFINITY;
  #opening = false;
  /** Why nothing is measured; empty while it is. */
  #lack = '';
  #askedAt = Number.NEGATIVE_INFINITY;
  /** Where the ways were asked for from. */
  #askedFrom = '';
  readonly #pace: Pace;
  #changed = true;
  #faults: readonly Fault[] = [];
  /** Due peers, and how many of them may still be begun in this second. */
  #queue: number[] = [];
  #left = A_SECOND;
  /** Lines for the log. */
  #news: string[] = [];
  #stopped = false;

  constructor(options: PathsOptions) {
    this.#options = options;
    this.#pace = new Pace(options.clock, { spent: options.spent, share: SHARE });
  }

  /** Why no path is measured; empty while paths are. */
  get lack(): string {
    return this.#lack;
  }

  /** The peers that there is no way to, while there is none. */
  get faults(): readonly Fault[] {
    return this.#isAsHere ? this.#faults : [];
  }

  /** Why no packet reaches this peer, in a clause; empty where one may, or nothing is known. */
  noWay(address: number): string {
    const way = this.#paths.get(address)?.way;
    return typeof way === 'string' && this.#isAsHere ? way : '';
  }

  /** The device by which packets for this peer leave; undefined while that is not known. */
  device(address: number): string | undefined {
    const way = this.#paths.get(address)?.way;
    return typeof way === 'object' ? way.device : undefined;
  }

  /** Undefined while it is not known. */
  report(address: number): PathReport | undefined {
    const path = this.#paths.get(address);
    const known = path === undefined ? undefined : pathMtuOf(path);
    if (path === undefined || known === undefined) return undefined;
    const { measured, why } = path;
    const ago = measured === undefined ? null : (this.#options.clock.now() - measured.at) / 1000;
    const measuredSecondsAgo = ago === null ? null : Math.floor(ago);
    return { ...known, measuredSecondsAgo, checking: this.#checking.has(address), problem: why };
  }

  /** These are the peers in the lanes' table from now on. */
  follow({ peers, added, changed }: Membership): void {
    const addresses = new Set(peers.map(({ publicIp }) => publicIp));
    for (const address of this.#paths.keys()) {
      if (!addresses.has(address)) this.#paths.delete(address);
    }
    const unknown: number[] = [];
    for (const address of addresses) {
      if (this.#paths.has(address)) continue;
      this.#paths.set(address, UNKNOWN);
      unknown.push(address);
    }
    // A place that was given away anew knows nothing.
    for (const { publicIp } of [...added, ...changed]) this.#tellLanes(publicIp);
    this.#judgeWays();
    // The next look says why not.
    void this.#ask(unknown).then(
      () => this.#gather(),
      () => {},
    );
  }

  /** Links or routes of this host changed. */
  changed(): void {
    this.#changed = true;
  }

  /** All paths are to be measured anew. */
  remeasure(): void {
    this.changed();
    for (const [address, path] of this.#paths) this.#paths.set(address, forgetTried(path));
  }

  async reconcile(): Promise<string[]> {
    const now = this.#options.clock.now();
    const pauseMs = this.#changed ? Math.min(ASK_AGAIN_MS, this.#paths.size) : ASK_ANYWAY_MS;
    if (now - this.#askedAt < pauseMs || !this.#pace.isDue) return [];
    await this.#pace.run(() => this.#ask([...this.#paths.keys()]));
    this.#gather();
    return [];
  }

  /** Once a second: begins what is due, and tells the log what is new. */
  tick(): void {
    this.#tellLog();
    if (this.#stopped) return;
    if (this.#echo !== undefined && this.#echo.closed !== '') this.#lose(this.#echo.closed);
    const vrf = this.#options.here()?.vrf;
    if (this.#echo !== undefined && vrf !== this.#echoVrf) {
      this.#echo.close();
      this.#echo = undefined;
      this.#openAt = Number.NEGATIVE_INFINITY;
    }
    if (this.#echo === undefined) {
      const wanted = this.#paths.size > 0 && this.#options.clock.now() >= this.#openAt;
      if (wanted) void this.#open();
      return;
    }
    this.#left = A_SECOND;
    this.#gather();
  }

  stop(): void {
    this.#stopped = true;
    this.#echo?.close();
  }

  async #open(): Promise<void> {
    if (this.#opening) return;
    this.#opening = true;
    this.#echoVrf = this.#options.here()?.vrf;
    try {
      const echo = await this.#options.openEcho((address) => this.#hear(address));
      if (this.#stopped) {
        echo.close();
        return;
      }
      this.#echo = echo;
      this.#lack = '';
      this.#gather();
    } catch (error) {
      this.#lose(textOf(error));
    } finally {
      this.#opening = false;
    }
  }

  #lose(why: string): void {
    this.#echo = undefined;
    this.#openAt = this.#options.clock.now() + OPEN_AGAIN_MS;
    this.#lack = why;
  }

  /** Somebody says that packets to `address` do not fit. */
  #hear(address: number): void {
    const path = this.#paths.get(address | 0);
    if (path === undefined) return;
    const { clock } = this.#options;
    this.#paths.set(address | 0, takeHint(path, clock.now()));
  }

  async #ask(addresses: readonly number[]): Promise<void> {
    const { clock, ip, here: hereNow, tunnel } = this.#options;
    if (addresses.length === this.#paths.size) {
      this.#askedAt = clock.now();
      this.#changed = false;
    }
    const here = hereNow();
    // While the address is gone the underlay's own fault says it.
    if (here === undefined || addresses.length === 0) return;
    const { address: source, vrf } = here;
    if (!this.#isAsHere) {
      this.#beginFrom(here);
      // The others' ways are to be asked for from here, too.
      if (addresses.length < this.#paths.size) this.changed();
    }
    const names = addresses.map(formatAddress);
    const ways = await findWays(ip, names, { source, tunnel, vrf }).catch((error) => {
      // Nothing was learnt of what changed.
      this.changed();
      throw error;
    });
    for (const address of addresses) {
      const way = ways.get(formatAddress(address));
      const path = this.#paths.get(address);
      if (path !== undefined && way !== undefined) this.#put(address, takeWay(path, way));
    }
    this.#judgeWays();
  }

  /** What was refused to packets from another address says nothing of this one. */
  #beginFrom(here: Here): void {
    this.#askedFrom = placeOf(here);
    for (const [address, path] of this.#paths) {
      if (typeof path.way === 'string') this.#paths.set(address, { ...path, way: undefined });
    }
    this.#judgeWays();
  }

  get #isAsHere(): boolean {
    return this.#askedFrom === placeOf(this.#options.here());
  }

  /** Puts what is due into the queue, the longest due first, and begins. */
  #gather(): void {
    const now = this.#options.clock.now();
    this.#queue = [...this.#paths]
      .map(([address, path]) => ({ address, at: dueAt(path) }))
      .filter(({ address, at }) => at <= now && !this.#checking.has(address))
      .sort((a, b) => (a.at === b.at ? 0 : a.at - b.at))
      .map(({ address }) => address);
    this.#begin();
  }

  #begin(): void {
    const echo = this.#echo;
    while (echo !== undefined && !this.#stopped && this.#left > 0) {
      const address = this.#checking.size < AT_ONCE ? this.#queue.shift() : undefined;
      if (address === undefined) return;
      this.#left -= 1;
      void this.#measure(echo, address);
    }
  }

  /** Never rejects. */
  async #measure(echo: Prober, address: number): Promise<void> {
    const { clock, random } = this.#options;
    const begun = this.#paths.get(address);
    const full = begun === undefined ? 0 : fullOf(begun);
    if (full === 0) return;
    this.#checking.add(address);
    const found = await measurePath(echo, address >>> 0, full, clock);
    this.#checking.delete(address);
    // What the kernel refuses to send was asked for by an MTU that is no more.
    if (found.why === LARGER_THAN_DEVICE) this.changed();
    const path = this.#paths.get(address);
    if (path !== undefined) {
      this.#put(address, takeMeasured(path, full, found, clock.now(), random));
    }
    this.#begin();
  }

  #put(address: number, path: Path): void {
    const before = this.#paths.get(address);
    this.#paths.set(address, path);
    const was = before === undefined ? undefined : pathMtuOf(before);
    const now = pathMtuOf(path);
    const cutAsBefore = before !== undefined && isCutByRoute(before) === isCutByRoute(path);
    if (was?.mtu !== now?.mtu || !cutAsBefore) this.#tellLanes(address);
    if (was === undefined || now === undefined || was.mtu === now.mtu) return;
    // That the underlay has another MTU is told once, and not for each peer.
    if (was.from === 'device' && now.from === 'device') return;
    const from = now.from === 'measured' ? 'measured' : `of its ${now.from}`;
    const line = `path to ${formatAddress(address)}: MTU ${now.mtu} (${from}), was ${was.mtu}`;
    this.#news.push(line);
  }

  #tellLanes(address: number): void {
    const { publisher } = this.#options;
    const path = this.#paths.get(address);
    const mtu = path === undefined ? 0 : (pathMtuOf(path)?.mtu ?? 0);
    const isCut = path !== undefined && isCutByRoute(path);
    for (const place of publisher.places(address)) publisher.rows.setPathMtu(place, mtu, isCut);
  }

  #tellLog(): void {
    const { log } = this.#options;
    const many = this.#news.length > TOLD_ONE_BY_ONE;
    if (many) log.info(`the path MTU of ${this.#news.length} peers changed`);
    for (const line of this.#news) {
      if (many) log.debug(line);
      else log.info(line);
    }
    this.#news = [];
  }

  #judgeWays(): void {
    this.#faults = faultsOf([...this.#paths].map(([address, { way }]) => ({ address, way })));
  }
}

function placeOf(here: Here | undefined): string {
  return here === undefined ? '' : `${here.address} ${here.vrf ?? ''}`;
}

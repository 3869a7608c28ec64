/**
 * Asks the peers gently how it stands with them, and tells: by echoes through the tunnel, which
 * every VTEP answers, and by pings to their own address where those have no answer. What is known
 * of a peer and what follows from it stands in health.ts; here it is looked, sent and kept.
 *
 * Its cost is bounded: so many are asked a second, the one that was asked longest ago first. Of a
 * hundred peers each is asked every ten seconds, of thousands every few minutes; those that packets
 * leave for have a share of their own, and those for which is feared another.
 */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { type PeerHealth, UNKNOWN_HEALTH } from '../../operate/status/peer-health.js';
import type { Echo, EchoResult } from '../host/echo.js';
import { textOf } from '../host/errors.js';
import { LEAST_ECHO } from '../host/icmp-echo.js';
import type { Membership, Peer } from '../overlay/peers.js';
import type { Clock } from '../runtime.js';
import {
  type Around,
  type Ask,
  type Counts,
  GRACE_MS,
  isPingDue,
  nextAsk,
  type Opinion,
  opinionOf,
  takeAsked,
  takeCounts,
  takePing,
  takeResult,
  UNWATCHED,
  type Watched,
} from './health.js';
import type { Here, Prober } from './paths.js';

/** Peers that are asked in a second, by a small echo or a small and a large one; pings are urgent. */
export const A_SECOND: Readonly<Record<Ask['turn'], number>> = {
  'in turn': 10,
  'in use': 30,
  'in doubt': 20,
  urgent: 40,
};
/** Peers that are looked at in a second: of thousands each one every few seconds. */
const LOOKS = 500;
/** Small echoes, as `ping` sends them, headers included. */
const SMALL = 84;
const WAIT_MS = 950;
/** ARP is tried for three seconds before the kernel tells. */
const PING_WAIT_MS = 3_500;
/** From one try to open the sockets to the next. */
const OPEN_AGAIN_MS = 600_000;

/** The sockets that echoes leave by: from our address on the overlay, and on the underlay. */
export interface Probers {
  readonly tunnel: Pick<Echo, 'send' | 'closed' | 'close'>;
  readonly underlay: Prober;
}

export interface PeerHealthOptions {
  readonly clock: Clock;
  /** The lanes' counts for a peer (int32); undefined: no lane sees its packets. */
  readonly counts: (address: number) => Counts | undefined;
  /** Whether the kernel routes there by the peer's own address. */
  readonly isDirect: (peer: Peer) => boolean;
  /** Which way packets for it take: see Observed. */
  readonly way: (address: number) => Pick<Around, 'noWay' | 'leavesBy'>;
  /** Where weft is on the underlay; undefined while it has no address there, and then nothing is asked. */
  readonly here: () => Here | undefined;
  /** UDP. */
  readonly port: number;
  /** The tunnel's MTU just now. */
  readonly mtu: () => number;
  /** Of the VRF in which weft is then. Rejects with why nothing can be asked, in words. */
  readonly open: () => Promise<Probers>;
}

interface Entry {
  readonly address: number;
  readonly publicIp: string;
  /** Its subnets; the first address of the first is asked. */
  peers: readonly Peer[];
  /** Whether all of them are direct. */
  direct: boolean;
  watched: Watched;
  asking: boolean;
  pinging: boolean;
  /** Echoes that went into the tunnel since the last look at the counts. */
  own: number;
  lookedAt: number;
  opinion: Opinion | undefined;
  /** Of what the opinion was made. */
  judged: Watched | undefined;
  since: number;
}

/** By the peers' outer address, int32. */
export class PeerHealths {
  readonly #options: PeerHealthOptions;
  /** The one that was asked longest ago first. */
  readonly #entries = new Map<number, Entry>();
  /** The same, in the order in which they are looked at, and who is next. */
  #order: readonly Entry[] = [];
  #next = 0;
  #probers: Probers | undefined;
  #vrf: string | undefined;
  #openAt = Number.NEGATIVE_INFINITY;
  #opening = false;
  /** Why nothing is asked; empty while it is. */
  #lack = '';
  #stopped = false;

  constructor(options: PeerHealthOptions) {
    this.#options = options;
  }

  /** Why no echo is sent; empty where they are. */
  get lack(): string {
    return this.#lack;
  }

  health(address: number): PeerHealth {
    const entry = this.#entries.get(address);
    if (entry?.opinion === undefined) return UNKNOWN_HEALTH;
    const { state, code, words, todo } = entry.opinion;
    const forSeconds = Math.floor((this.#options.clock.now() - entry.since) / 1000);
    return { state, code, forSeconds, words, todo, roundTripMs: entry.watched.roundTripMs };
  }

  /** Of all peers, by their outer address, dotted. */
  get all(): ReadonlyMap<string, PeerHealth> {
    const entries = [...this.#entries.values()];
    return new Map(entries.map(({ address, publicIp }) => [publicIp, this.health(address)]));
  }

  /** These are the peers from now on. */
  follow({ peers }: Pick<Membership, 'peers'>): void {
    const all = new Map<number, Peer[]>();
    for (const peer of peers) {
      const others = all.get(peer.publicIp);
      if (others === undefined) all.set(peer.publicIp, [peer]);
      else others.push(peer);
    }
    for (const address of this.#entries.keys()) {
      if (!all.has(address)) this.#entries.delete(address);
    }
    for (const [address, its] of all) {
      const entry = this.#entries.get(address);
      if (entry === undefined) this.#entries.set(address, this.#begin(address, its));
      else entry.peers = its;
    }
    this.#order = [...this.#entries.values()];
  }

  /** Once a second. */
  tick(): void {
    if (this.#stopped) return;
    this.#keepOpen();
    const here = this.#options.here();
    for (let looks = Math.min(LOOKS, this.#order.length); looks > 0; looks -= 1) {
      this.#next = (this.#next + 1) % this.#order.length;
      this.#look(this.#order[this.#next]!, here?.address ?? '');
    }
    // While the address is gone the underlay's own fault says it.
    if (here !== undefined && this.#probers !== undefined) this.#ask(this.#probers);
  }

  stop(): void {
    this.#stopped = true;
    this.#close();
  }

  #begin(address: number, peers: readonly Peer[]): Entry {
    const now = this.#options.clock.now();
    return {
      ...{ address, publicIp: formatAddress(address), peers, direct: false },
      // What the lanes counted before is no news.
      watched: {
        ...UNWATCHED,
        counts: this.#options.counts(address) ?? UNWATCHED.counts,
        notBefore: now + GRACE_MS,
      },
      ...{ asking: false, pinging: false, own: 0 },
      ...{ lookedAt: now, opinion: undefined, judged: undefined, since: now },
    };
  }

  #look(entry: Entry, here: string): void {
    const now = this.#options.clock.now();
    const counts = this.#options.counts(entry.address);
    if (counts !== undefined) {
      const seconds = Math.max(1, (now - entry.lookedAt) / 1000);
      entry.watched = takeCounts(entry.watched, counts, { own: entry.own, seconds }, now);
      entry.own = 0;
      entry.lookedAt = now;
    }
    const isDirect = entry.peers.every((peer) => this.#options.isDirect(peer));
    if (isDirect !== entry.direct) {
      // What was learnt on one way says nothing of the other.
      entry.watched = { ...UNWATCHED, counts: entry.watched.counts };
      entry.direct = isDirect;
    }
    const { watched, publicIp, address, direct } = entry;
    const { noWay, leavesBy } = this.#options.way(address);
    // Time alone changes nothing of a peer that answers.
    const calm = watched.fails === 0 && watched.cannot === '' && this.#lack === '' && noWay === '';
    if (watched === entry.judged && calm && entry.opinion?.state === 'well') return;
    const { port, mtu } = this.#options;
    const around = { publicIp, port, here, noWay, leavesBy, direct, mtu: mtu(), lack: this.#lack };
    const opinion = opinionOf(watched, around, now);
    if (opinion.state !== (entry.opinion?.state ?? 'unknown')) entry.since = now;
    entry.opinion = opinion;
    entry.judged = watched;
  }

  #ask(probers: Probers): void {
    const { clock } = this.#options;
    const now = clock.now();
    const left = { ...A_SECOND };
    // A copy, since who is asked goes to the end; but one in doubt, so that some are told of soon
    // where all are.
    for (const entry of [...this.#entries.values()]) {
      if (left.urgent > 0 && !entry.pinging && isPingDue(entry.watched, now)) {
        left.urgent -= 1;
        void this.#ping(probers, entry);
      }
      const ask = entry.asking ? undefined : nextAsk(entry.watched, entry.direct, now);
      if (ask === undefined || left[ask.turn] === 0) continue;
      left[ask.turn] -= 1;
      if (ask.turn !== 'in doubt') {
        this.#entries.delete(entry.address);
        this.#entries.set(entry.address, entry);
      }
      void this.#send(probers, entry, ask.kind);
    }
  }

  /** Never rejects. */
  async #ping({ underlay }: Probers, entry: Entry): Promise<void> {
    const { clock } = this.#options;
    const sent = clock.now();
    entry.watched = { ...entry.watched, pingedAt: sent };
    entry.pinging = true;
    const result = await underlay.send(entry.address >>> 0, this.#size(SMALL), PING_WAIT_MS);
    entry.pinging = false;
    entry.watched = takePing(entry.watched, result, sent);
  }

  /** Never rejects. */
  async #send({ tunnel, underlay }: Probers, entry: Entry, kind: Ask['kind']): Promise<void> {
    const { clock, mtu } = this.#options;
    const sent = clock.now();
    entry.watched = takeAsked(entry.watched, sent);
    entry.asking = true;
    const to = (entry.direct ? entry.address : entry.peers[0]!.subnet.address) >>> 0;
    const echo = (size: number): Promise<EchoResult> =>
      (entry.direct ? underlay : tunnel).send(to, this.#size(size), WAIT_MS);
    if (!entry.direct) entry.own += kind === 'pair' ? 2 : 1;
    let tookMs = 0;
    const small = echo(SMALL).then((result) => {
      tookMs = clock.now() - sent;
      return result;
    });
    const [one, full] = await Promise.all([small, kind === 'pair' ? echo(mtu()) : undefined]);
    entry.asking = false;
    entry.watched = takeResult(entry.watched, one, full, tookMs, clock.now());
  }

  /** Of an echo, headers included. */
  #size(wanted: number): number {
    return Math.max(LEAST_ECHO, Math.min(wanted, this.#options.mtu()));
  }

  #keepOpen(): void {
    const { clock, here } = this.#options;
    const vrf = here()?.vrf;
    const closed = this.#probers?.tunnel.closed || this.#probers?.underlay.closed;
    if (closed) this.#lose(closed);
    else if (this.#probers !== undefined && vrf !== this.#vrf) {
      this.#close();
      this.#openAt = Number.NEGATIVE_INFINITY;
    }
    if (this.#probers !== undefined || this.#entries.size === 0) return;
    if (!this.#opening && clock.now() >= this.#openAt) void this.#open(vrf);
  }

  async #open(vrf: string | undefined): Promise<void> {
    this.#opening = true;
    this.#vrf = vrf;
    try {
      const probers = await this.#options.open();
      this.#probers = probers;
      this.#lack = '';
      if (this.#stopped) this.#close();
    } catch (error) {
      this.#lose(textOf(error));
    } finally {
      this.#opening = false;
    }
  }

  #lose(why: string): void {
    this.#close();
    this.#openAt = this.#options.clock.now() + OPEN_AGAIN_MS;
    this.#lack = why;
  }

  #close(): void {
    this.#probers?.tunnel.close();
    this.#probers?.underlay.close();
    this.#probers = undefined;
  }
}

/**
 * What packets go through, as one thing that can be stopped, changed and started again while weft
 * runs: the sockets on the underlay, the TUN with its address, and the lanes between them.
 *
 * The TUN is kept as long as it is there, since the kernel's routes and what others set on it go
 * with it. The counters are those of all lanes there have been.
 */
import type { Accept } from '../../dataplane/forward/inbound.js';
import { PEER_SOCKETS } from '../../dataplane/io/peer-sockets.js';
import type { Tier } from '../../dataplane/io/tiers.js';
import type { OpenTun } from '../../dataplane/io/tun.js';
import { closeUdp, type OpenUdp } from '../../dataplane/io/udp.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import type { LaneCount } from '../../operate/status/status.js';
import { spareDescriptors } from '../host/descriptors.js';
import { configure } from '../host/device.js';
import { HostError } from '../host/errors.js';
import type { Ip } from '../host/ip.js';
import type { Journal } from '../host/journal.js';
import type { Runner } from '../host/runner.js';
import type { Clock, Log } from '../runtime.js';
import { MERGING_REFUSED } from './each-second.js';
import type { Turning } from './lane-watch.js';
import { closeTun, Lanes, openLanes } from './lanes.js';
import { openDevice, openSockets, superPacketsTaken } from './open.js';
import type { Member } from './reconcile.js';

export interface DataPathOptions {
  /** The TUN's. */
  readonly name: string;
  /** UDP. */
  readonly port: number;
  readonly tier: Tier;
  readonly lanes: LaneCount;
  /** Whose packets the lanes let in. */
  readonly accept: Accept;
  readonly runner: Runner;
  readonly ip: Ip;
  readonly journal: Pick<Journal, 'record' | 'forget'>;
  readonly log: Log;
  readonly clock: Clock;
  /** What the lanes' threads run; the forwarding loop unless given. */
  readonly laneProgram?: URL | undefined;
  /** A lane ended by itself: a line that names it. */
  readonly failed: (line: string, error: Error | undefined) => void;
  /** Somebody took the TUN away: `reconcile` makes it anew. */
  readonly gone: () => void;
}

/** What the lanes carry, known when there is a lease. */
export interface Tunnel {
  readonly vni: number;
  /** Of our VTEP. */
  readonly mac: Uint8Array;
  /** Of the TUN, as `configure` wants them. */
  readonly address: string;
  readonly network: string;
  readonly anySource: boolean;
  /** Made for `threadsOf(count)` lanes. */
  readonly publisher: Publisher;
}

/** Where the lanes are on the underlay. */
export interface Place {
  /** Dotted. */
  readonly address: string;
  /** The TUN's MTU; with host-gw, which has none, the containers'. */
  readonly mtu: number;
  /** The VRF that the address is in, if any. */
  readonly vrf?: string | undefined;
}

export class DataPath implements Member {
  readonly name: string;
  readonly #options: DataPathOptions;
  #place: Place;
  #count: LaneCount;
  #sockets: readonly OpenUdp[] = [];
  /** Whether they are open. */
  #open = false;
  #tun: OpenTun | undefined;
  /** The TUN's, once known. */
  #index: number | undefined;
  #takes = { tcp: false, udp: false };
  #tunnel: Tunnel | undefined;
  /** The threads that run, or the last that did. */
  #lanes: Lanes | undefined;
  #running = false;
  #stopping = false;
  #closing = false;
  /** What is under way; never rejects. */
  #working: Promise<unknown> = Promise.resolve();

  constructor(options: DataPathOptions, place: Place) {
    this.name = options.name;
    this.#options = options;
    this.#place = place;
    this.#count = options.lanes;
  }

  /** Opens the sockets and the TUN. Rejects with a StartError. */
  open(): Promise<void> {
    return this.#work(async () => {
      const { name: device, port, tier, lanes, runner, log } = this.#options;
      const { address, vrf } = this.#place;
      const place = { device, address, port, vrf };
      const { tun, sockets, count } = await openLanes(place, tier, lanes, runner, log);
      this.#sockets = sockets;
      this.#open = true;
      this.#count = count;
      this.#take(tun);
      if (tun.vnet && !this.#takes.tcp) log.warn(MERGING_REFUSED);
    });
  }

  /** Sets the device up and starts the lanes: resolves when packets can flow. */
  start(tunnel: Tunnel): Promise<void> {
    this.#tunnel = tunnel;
    return this.#work(() => this.#start());
  }

  /** How many lanes there are; final after `open`. */
  get count(): LaneCount {
    return this.#count;
  }

  get place(): Place {
    return this.#place;
  }

  /** Whether packets can flow. */
  get running(): boolean {
    return this.#running;
  }

  /** For who watches: none while the lanes are to be started anew. */
  get turning(): readonly Turning[] {
    return this.#running ? this.lanes.turning : [];
  }

  /** What is in force; after `start`. */
  get lanes(): Lanes {
    return this.#lanes!;
  }

  get tun(): Pick<OpenTun, 'vnet' | 'tso' | 'uso'> {
    return this.#tun ?? { vnet: false, tso: false, uso: false };
  }

  get sockets(): OpenUdp {
    return this.#sockets[0]!;
  }

  /**
   * Goes on at another place. Rejects with a StartError, all as before, when its address cannot be
   * listened on. With the address kept, what comes meanwhile waits in the sockets and the TUN.
   */
  move(place: Place): Promise<void> {
    return this.#work(async () => {
      const { address, vrf } = place;
      const before = this.#place;
      if (address !== before.address) {
        const sockets = await this.#openAt(place);
        await this.#stop();
        this.#closeSockets();
        this.#sockets = sockets;
        this.#open = true;
      } else {
        await this.#stop();
        // Of one address and port there can be but one, in a VRF or not: `#start` opens it anew.
        if (vrf !== before.vrf) this.#closeSockets();
      }
      this.#place = place;
      await this.#start();
    });
  }

  /** Puts the device right, and makes it anew when it is gone. */
  reconcile(): Promise<string[]> {
    return this.#work(async () => {
      if (this.#running) {
        try {
          const changed = await this.#configure();
          return changed.length === 0 ? [] : [`${this.name}: ${changed.join(', ')}`];
        } catch (error) {
          if (!isGone(error)) throw error;
        }
      }
      const before = this.#tun;
      await this.#stop();
      await this.#start();
      if (this.#tun === before) return ['lanes started again'];
      return [`${this.name} was gone: made anew, and the lanes with it`];
    });
  }

  /** Stops the lanes, closes all: the TUN goes with that, its address and routes too. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#working;
    await this.#stop();
    this.#closeSockets();
    this.#drop();
  }

  async #start(): Promise<void> {
    const { name, journal, failed, gone, accept } = this.#options;
    const { vni, mac, publisher } = this.#tunnel!;
    if (!this.#open) this.#sockets = await this.#openAt(this.#place);
    this.#open = true;
    await this.#setUp();
    journal.record({ kind: 'device', name, index: this.#index! });
    this.#throwIfClosing();

    const tun = this.#tun!;
    const lanes = new Lanes(
      { tun, sockets: this.#sockets, count: this.#count },
      publisher,
      {
        vni,
        mac,
        mtu: this.#place.mtu,
        uso: this.#takes.udp,
        merges: this.#takes.tcp,
        udpSegment: this.#sockets.every(({ segment }) => segment),
        peerSockets: Math.min(PEER_SOCKETS, Math.floor(spareDescriptors() / this.#count.lanes)),
        vnet: tun.vnet,
        accept,
      },
      this.#lanes?.counters,
      this.#options.laneProgram,
    );
    let lost = false;
    this.#stopping = false;
    lanes.onEnd((line, error, tunGone) => {
      if (this.#stopping || lost) return;
      if (!tunGone) {
        failed(line, error);
        return;
      }
      lost = true;
      this.#running = false;
      gone();
    });
    await lanes.started;
    this.#lanes = lanes;
    this.#running = !lost;
  }

  /** The TUN there is, or a new one where that is gone, with its address and MTU. */
  async #setUp(): Promise<void> {
    if (this.#tun !== undefined) {
      try {
        await this.#configure();
        return;
      } catch (error) {
        if (!isGone(error)) throw error;
      }
      this.#drop();
    }
    this.#throwIfClosing();
    const { name, tier } = this.#options;
    this.#take(openDevice(name, tier, this.#count.lanes));
    await this.#configure();
  }

  async #configure(): Promise<string[]> {
    const { address, network, anySource } = this.#tunnel!;
    const { mtu } = this.#place;
    const wanted = { name: this.name, mtu, address, network, anySource, index: this.#index };
    const { index, changed } = await configure(this.#options.ip, wanted);
    this.#index = index;
    return changed;
  }

  #openAt({ address, vrf }: Place): Promise<readonly OpenUdp[]> {
    const { runner, port, tier } = this.#options;
    return openSockets(runner, address, port, tier, this.#count.lanes, vrf);
  }

  #closeSockets(): void {
    if (this.#open) closeUdp(this.#sockets);
    this.#open = false;
  }

  #take(tun: OpenTun): void {
    this.#tun = tun;
    this.#takes = superPacketsTaken(tun);
  }

  /** Lets the TUN go. */
  #drop(): void {
    const { name, journal } = this.#options;
    if (this.#tun === undefined) return;
    closeTun(this.#tun);
    this.#tun = undefined;
    this.#index = undefined;
    journal.forget({ kind: 'device', name });
  }

  async #stop(): Promise<void> {
    this.#stopping = true;
    this.#running = false;
    const { clock, log } = this.#options;
    await this.#lanes?.stop(clock, (name) => {
      const line = `${name} does not leave its loop: its thread is ended`;
      // When weft ends, the last line is the reason.
      if (this.#closing) log.debug(line);
      else log.warn(line);
    });
  }

  /** So that `close` can wait for it. */
  #work<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#working.then(() => {
      this.#throwIfClosing();
      return work();
    });
    this.#working = done.catch(() => {});
    return done;
  }

  #throwIfClosing(): void {
    if (this.#closing) throw new HostError('ECANCELED', `${this.name} is being closed`);
  }
}

/** With host-gw packets pass weft by: there is only a place to remember. */
export class NoPath implements Pick<DataPath, 'name' | 'place' | 'move'> {
  readonly name: string;
  place: Place;

  constructor(name: string, place: Place) {
    this.name = name;
    this.place = place;
  }

  async move(place: Place): Promise<void> {
    this.place = place;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof HostError && error.code === 'ENODEV';
}

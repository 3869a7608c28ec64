/**
 * What packets go through, as one thing that can be stopped, changed and started again while weft
 * runs: the sockets on the underlay, the TUN with its address, and the lanes between them.
 *
 * The TUN is kept as long as it is there, since the kernel's routes and what others set on it go
 * with it. The counters are those of all lanes there have been.
 */
import type { Accept } from '../../dataplane/forward/inbound.js';
import type { LaneOptions } from '../../dataplane/forward/lane.js';
import { PEER_SOCKETS } from '../../dataplane/io/peer-sockets.js';
import type { Tier } from '../../dataplane/io/tiers.js';
import type { OpenTun } from '../../dataplane/io/tun.js';
import type { OpenUdp } from '../../dataplane/io/udp.js';
import type { Publisher } from '../../dataplane/routes/publisher.js';
import type { LaneCount } from '../../operate/status/status.js';
import { HostError } from '../host/errors.js';
import type { Ip } from '../host/ip.js';
import type { Journal } from '../host/journal.js';
import type { Clock, Log } from '../runtime.js';
import type { Shown } from './capture-session.js';
import { MERGING_REFUSED } from './each-second.js';
import type { Host } from './host.js';
import type { Turning } from './lane-watch.js';
import type { RunningLanes } from './lanes.js';
import { openSockets } from './open.js';
import { openLanes } from './open-lanes.js';
import { type DeviceSetup, isGone, OwnDevice } from './own-device.js';
import type { Movable, Place } from './place.js';
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
  readonly host: Pick<Host, 'runner' | 'io' | 'proc'>;
  readonly ip: Ip;
  readonly journal: Pick<Journal, 'record' | 'forget'>;
  readonly log: Log;
  readonly clock: Clock;
  /** A lane ended by itself: a line that names it. */
  readonly failed: (line: string, error: Error | undefined) => void;
  /** Somebody took the TUN away: `reconcile` makes it anew. */
  readonly gone: () => void;
}

/** What the lanes carry, known when there is a lease. */
export interface Tunnel extends Omit<DeviceSetup, 'mtu'> {
  readonly vni: number;
  /** Of our VTEP. */
  readonly mac: Uint8Array;
  /** Made for `threadsOf(count)` lanes. */
  readonly publisher: Publisher;
}

type State =
  /** No lane runs: before the start, between two runs, and once the TUN was taken away. */
  | { readonly is: 'standing' }
  /** Their threads are there; packets can flow once they are `running`. */
  | { readonly is: 'starting' | 'running'; readonly lanes: RunningLanes }
  /** For good, though what is under way comes to its end. */
  | { readonly is: 'closing' };

/** A TUN that was taken away twice within this time is so by a program that does not stop. */
const TAKEN_MS = 6_000;

/** Always the same. */
const NOBODY: readonly Shown[] = [];

export class DataPath implements Member, Movable {
  readonly name: string;
  readonly kind = { code: 'device-lost', severity: 'error' } as const;
  readonly #options: DataPathOptions;
  readonly #device: OwnDevice;
  #state: State = { is: 'standing' };
  #place: Place;
  #count: LaneCount;
  /** Those that are open; none or one a lane. */
  #sockets: readonly OpenUdp[] = [];
  /** The first of those that were open last, and the lanes that ran last: for the status. */
  #lastSockets: OpenUdp | undefined;
  #lastLanes: RunningLanes | undefined;
  #tunnel: Tunnel | undefined;
  #peerSockets = PEER_SOCKETS;
  /** When the TUN had been taken away, of late. */
  #takenAt: readonly number[] = [];
  /** What is under way; never rejects. */
  #working: Promise<unknown> = Promise.resolve();

  constructor(options: DataPathOptions, place: Place) {
    this.name = options.name;
    this.#options = options;
    this.#device = new OwnDevice(options);
    this.#place = place;
    this.#count = options.lanes;
  }

  /** The lanes are down: nothing passes. */
  get isUrgent(): boolean {
    return this.#state.is === 'standing';
  }

  /** How often somebody took the TUN away in the last few seconds. */
  get taken(): number {
    const now = this.#options.clock.now();
    return this.#takenAt.filter((at) => now - at < TAKEN_MS).length;
  }

  /** Opens the sockets and the TUN. Rejects with a StartError. */
  open(): Promise<void> {
    return this.#work(async () => {
      const { name: device, port, tier, lanes, host, log } = this.#options;
      const { address, vrf } = this.#place;
      const place = { device, address, port, vrf };
      const { tun, sockets, count } = await openLanes(place, tier, lanes, host, log);
      this.#listen(sockets);
      this.#count = count;
      this.#device.take(tun);
      if (tun.vnet && !this.#device.takes.tcp) log.warn(MERGING_REFUSED);
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
    return this.#state.is === 'running';
  }

  /** For who watches: none while the lanes are to be started anew. */
  get turning(): readonly Turning[] {
    return this.#state.is === 'running' ? this.#state.lanes.turning : [];
  }

  /** What is in force; after `start`. */
  get lanes(): RunningLanes {
    return this.#lastLanes!;
  }

  /** How many peers may have a socket of their own at the same time. */
  get peerSockets(): number {
    return this.#peerSockets;
  }

  /** The threads that can show what goes through them; none while no packets can flow. */
  get shown(): readonly Shown[] {
    return this.#state.is === 'running' ? this.#state.lanes.shown : NOBODY;
  }

  get tun(): Pick<OpenTun, 'vnet' | 'tso' | 'uso'> {
    return this.#device.tun ?? { vnet: false, tso: false, uso: false };
  }

  get sockets(): OpenUdp {
    return this.#lastSockets!;
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
        this.#listen(sockets);
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
      if (this.#state.is === 'running') {
        try {
          const changed = await this.#device.configure(this.#setup());
          return changed.length === 0 ? [] : [`${this.name}: ${changed.join(', ')}`];
        } catch (error) {
          if (!isGone(error)) throw error;
        }
      }
      const before = this.#device.tun;
      await this.#stop();
      await this.#start();
      if (this.#device.tun === before) return ['lanes started again'];
      const now = this.#options.clock.now();
      this.#takenAt = [...this.#takenAt.filter((at) => now - at < TAKEN_MS), now];
      return [`${this.name} was gone: made anew, and the lanes with it`];
    });
  }

  /** Stops the lanes, closes all: the TUN goes with that, its address and routes too. */
  async close(): Promise<void> {
    this.#state = { is: 'closing' };
    await this.#working;
    await this.#stop();
    this.#closeSockets();
    this.#device.drop();
  }

  async #start(): Promise<void> {
    const { failed, gone, host } = this.#options;
    if (this.#sockets.length === 0) this.#listen(await this.#openAt(this.#place));
    const check = () => this.#throwIfClosing();
    const tun = await this.#device.setUp(this.#setup(), this.#count.lanes, check);
    check();

    const lanes = host.io.startLanes(
      { tun, sockets: this.#sockets, count: this.#count },
      this.#tunnel!.publisher,
      this.#laneOptions(tun),
      this.#lastLanes?.counters,
    );
    this.#become({ is: 'starting', lanes });
    lanes.onEnd((line, error, tunGone) => {
      // Ended by weft itself, or not the first of them whose TUN is gone.
      if (!('lanes' in this.#state) || this.#state.lanes !== lanes) return;
      if (!tunGone) {
        failed(line, error);
        return;
      }
      this.#become({ is: 'standing' });
      gone();
    });
    await lanes.started;
    this.#lastLanes = lanes;
    if (this.#state.is === 'starting') this.#become({ is: 'running', lanes });
  }

  #laneOptions({ vnet }: OpenTun): LaneOptions {
    const { accept, host } = this.#options;
    const { vni, mac } = this.#tunnel!;
    const { tcp, udp } = this.#device.takes;
    const spare = Math.floor(host.io.spareDescriptors() / this.#count.lanes);
    this.#peerSockets = Math.min(PEER_SOCKETS, spare);
    return {
      vni,
      mac,
      mtu: this.#place.mtu,
      uso: udp,
      merges: tcp,
      udpSegment: this.#sockets.every(({ segment }) => segment),
      peerSockets: this.#peerSockets,
      vnet,
      accept,
    };
  }

  /** What the TUN is to have. */
  #setup(): DeviceSetup {
    const { address, network, anySource = false } = this.#tunnel!;
    return { mtu: this.#place.mtu, address, network, anySource };
  }

  #openAt({ address, vrf }: Place): Promise<readonly OpenUdp[]> {
    const { host, port, tier } = this.#options;
    return openSockets(host, address, port, tier, this.#count.lanes, vrf);
  }

  #listen(sockets: readonly OpenUdp[]): void {
    this.#sockets = sockets;
    this.#lastSockets = sockets[0];
  }

  #closeSockets(): void {
    this.#options.host.io.closeUdp(this.#sockets);
    this.#sockets = [];
  }

  async #stop(): Promise<void> {
    this.#become({ is: 'standing' });
    const { clock, log } = this.#options;
    await this.#lastLanes?.stop(clock, (name) => {
      const line = `${name} does not leave its loop: its thread is ended`;
      // When weft ends, the last line is the reason.
      if (this.#state.is === 'closing') log.debug(line);
      else log.warn(line);
    });
  }

  #become(state: State): void {
    if (this.#state.is !== 'closing') this.#state = state;
  }

  /** One thing after the other, and so that `close` can wait for it. */
  #work<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#working.then(() => {
      this.#throwIfClosing();
      return work();
    });
    this.#working = done.catch(() => {});
    return done;
  }

  #throwIfClosing(): void {
    if (this.#state.is === 'closing') {
      throw new HostError('ECANCELED', `${this.name} is being closed`);
    }
  }
}

/** Sockets, TUN and lanes in memory: none of them has a thread, and the kernel is a fake one. */
import type { OpenLanes, RunningLanes } from '../../../../src/control/daemon/lanes.js';
import type { PacketIo } from '../../../../src/control/daemon/packet-io.js';
import { createCounters } from '../../../../src/dataplane/forward/counters.js';
import type { LaneOptions } from '../../../../src/dataplane/forward/lane.js';
import type { NativeError } from '../../../../src/dataplane/io/native.js';
import type { Tier } from '../../../../src/dataplane/io/tiers.js';
import type { OpenTun } from '../../../../src/dataplane/io/tun.js';
import type { OpenUdp } from '../../../../src/dataplane/io/udp.js';
import type { Publisher } from '../../../../src/dataplane/routes/publisher.js';
import { formatAddress } from '../../../../src/dataplane/wire/ipv4.js';
import type { FakeKernel } from './kernel.js';

type End = (line: string, error: Error | undefined, tunGone: boolean) => void;

export class FakeIo implements PacketIo {
  readonly #kernel: FakeKernel;
  readonly #did: string[];
  /** Sockets that are open, as `192.168.56.11:8472`, of whoever. */
  readonly listening: string[] = [];
  /** What is refused: `udpOpen`, `tunOpen`. */
  refuse: { readonly syscall: string; readonly code: string } | undefined;
  /** Where the kernel refuses what several lanes need. */
  oneLane = false;
  takes = { tcp: true, udp: false };
  /** Whether the sockets have UDP_SEGMENT. */
  segments = true;
  /** While this is set, lanes that are started wait for `letStart`. */
  holdLanes = false;
  letStart = (): void => {};
  /** Where the last lanes look peers up, and how many routes there were when they began. */
  publisher: Publisher | undefined;
  routesAtStart = 0;
  /** All that were started, the last one last. */
  readonly lanes: FakeLanes[] = [];
  readonly #names = new Map<number, string>();
  #fd = 100;

  constructor(kernel: FakeKernel) {
    this.#kernel = kernel;
    this.#did = kernel.did;
  }

  openTun(name: string, tier: Tier, queues: number): OpenTun {
    if (this.refuse?.syscall === 'TUNSETIFF') throw refusal(this.refuse.syscall, this.refuse.code);
    if (this.#kernel.link(name) !== undefined) throw refusal('TUNSETIFF', 'EBUSY');
    if (queues > 1 && this.oneLane) throw refusal('TUNSETSTEERINGEBPF', 'EINVAL');
    this.#did.push(`open ${name}`);
    const { ifindex } = this.#kernel.add(name, { flags: [], queues });
    this.#names.set(ifindex, name);
    const fds = Array.from({ length: queues }, () => this.#fd++);
    this.#names.set(fds[0]!, `${name} ${ifindex}`);
    return { fd: fds[0]!, queues: fds, vnet: tier.vnet, tso: tier.vnet, uso: false };
  }

  closeTun({ fd }: OpenTun): void {
    const [name = '', index] = this.#names.get(fd)!.split(' ');
    this.#did.push(`close ${name}`);
    if (this.#kernel.link(name)?.ifindex === Number(index)) this.#kernel.delete(name);
  }

  openUdp(address: number, port: number, lanes: number, _tier: Tier, vrf?: string): OpenUdp[] {
    const at = `${formatAddress(address)}:${port}`;
    if (this.refuse?.syscall === 'SO_BINDTODEVICE') throw refusal('SO_BINDTODEVICE', 'EPERM');
    if (this.listening.includes(at)) throw refusal('bind', 'EADDRINUSE');
    const here = this.#kernel.links.flatMap(({ addresses }) => addresses);
    if (!here.some((one) => one.startsWith(`${formatAddress(address)}/`))) {
      throw refusal('bind', 'EADDRNOTAVAIL');
    }
    this.#did.push(`listen ${at}${vrf === undefined ? '' : ` in ${vrf}`}`);
    this.listening.push(at);
    return Array.from({ length: lanes }, () => {
      const listener = this.#fd++;
      this.#names.set(listener, at);
      const kinds = { segment: this.segments, gro: true, device: vrf, receiveBuffer: 16_777_216 };
      return { listener, sender: this.#fd++, ...kinds };
    });
  }

  closeUdp(sockets: readonly OpenUdp[]): void {
    for (const at of new Set(sockets.map(({ listener }) => this.#names.get(listener)!))) {
      this.#did.push(`unlisten ${at}`);
      this.listening.splice(this.listening.indexOf(at), 1);
    }
  }

  superPacketsTaken(): { tcp: boolean; udp: boolean } {
    return this.takes;
  }

  /** What V8 says of the lanes' memories. */
  noMemory: Error | undefined;

  reserve(): void {
    if (this.noMemory !== undefined) throw this.noMemory;
  }

  /** Threads that wait for a lane. */
  threads = 0;

  prepareThreads(threads: number): void {
    this.threads = threads;
  }

  releaseThreads(): void {
    this.threads = 0;
  }

  spareDescriptors(): number {
    return 10_000;
  }

  startLanes(
    { count }: OpenLanes,
    publisher: Publisher,
    options: LaneOptions,
    counters?: SharedArrayBuffer,
  ): RunningLanes {
    const held = this.holdLanes
      ? new Promise<void>((resolve) => {
          this.letStart = resolve;
        })
      : Promise.resolve();
    this.#did.push(`start lanes, MTU ${options.mtu}`);
    this.publisher = publisher;
    this.routesAtStart = publisher.counts.routes;
    const shared = counters ?? createCounters(count.lanes * count.threads);
    const lanes = new FakeLanes(count, options, shared, held, this.#did);
    this.lanes.push(lanes);
    return lanes;
  }

  /** Somebody deletes the TUN. */
  takeAway(name: string): void {
    this.#kernel.delete(name);
    for (const lanes of this.lanes.filter(({ running }) => running)) {
      lanes.end('the lane ended: its TUN is gone', undefined, true);
    }
  }
}

class FakeLanes implements RunningLanes {
  readonly count: OpenLanes['count'];
  readonly options: LaneOptions;
  readonly counters: SharedArrayBuffer;
  readonly started: Promise<unknown>;
  readonly #did: string[];
  #ends: End[] = [];
  /** Told again with every look unless `stuck`. */
  #turns = 0;
  stuck = false;
  /** A thread that has to be torn out of its loop. */
  mustBeTorn = false;
  #stopped = false;
  merges = true;
  udpSegment = true;
  segmentationRefused = 0;

  constructor(
    count: OpenLanes['count'],
    options: LaneOptions,
    counters: SharedArrayBuffer,
    started: Promise<void>,
    did: string[],
  ) {
    this.count = count;
    this.options = options;
    this.counters = counters;
    this.started = started;
    this.#did = did;
  }

  onEnd(call: End): void {
    this.#ends.push(call);
  }

  /** All threads end. */
  end(...[line, error, tunGone]: Parameters<End>): void {
    for (let lane = 0; lane < this.count.lanes; lane += 1) {
      for (const call of this.#ends) call(line, error, tunGone);
    }
  }

  async stop(_clock: unknown, torn: (name: string) => void): Promise<void> {
    if (this.#stopped) return;
    this.#did.push('stop lanes');
    if (this.mustBeTorn) torn('lane 0');
    // As threads do that are told to.
    this.end('the lane ended: without an error', undefined, false);
    this.#stopped = true;
  }

  get running(): boolean {
    return !this.#stopped;
  }

  get turning() {
    if (!this.stuck) this.#turns += 1;
    return [{ name: 'lane 0', turns: this.#turns }];
  }

  get shown() {
    return [];
  }

  batches() {
    return [{ packets: [], datagrams: [] }];
  }

  get reports() {
    return [{ running: this.running, busySeconds: 1.5, outboundPackets: 0, inboundPackets: 0 }];
  }
}

function refusal(syscall: string, code: string): NativeError {
  return Object.assign(new Error(`${syscall}: ${code}`), { code, errno: 1, syscall });
}

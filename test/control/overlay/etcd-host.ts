/** A host on a real etcd, its control plane alone: what a weft does but for packets. */
import type { Identity, OwnLease } from '../../../src/control/overlay/acquire.js';
import { Overlay, type OverlayOptions } from '../../../src/control/overlay/network.js';
import { describePeer, type Membership } from '../../../src/control/overlay/peers.js';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { Lines, realClock, seeded } from '../fakes.js';

export interface HostOptions extends Pick<OverlayOptions, 'reacquire' | 'saveTo'> {
  readonly prefix: string;
  readonly endpoints: readonly string[];
  readonly seed: number;
}

export class Host {
  readonly log = new Lines();
  readonly lost: string[] = [];
  readonly store: EtcdStore;
  readonly overlay: Overlay;
  members: Membership | undefined;

  constructor({ prefix, endpoints, seed, ...more }: HostOptions) {
    const { log } = this;
    const random = seeded(seed);
    this.store = new EtcdStore({ endpoints, prefix, clock: realClock, random, log });
    this.overlay = new Overlay({ store: this.store, clock: realClock, random, log, ...more });
  }

  /** Joins and follows. */
  async join(identity: Omit<Identity, 'publicIp'> & { publicIp: string }): Promise<OwnLease> {
    const config = await this.overlay.waitForConfig();
    const publicIp = parseAddress(identity.publicIp) as number;
    const own = await this.overlay.join(config, { ...identity, publicIp });
    this.overlay.follow({
      members: (members) => {
        this.members = members;
      },
      lost: (reason) => this.lost.push(reason),
    });
    return own;
  }

  get peers(): string[] {
    return this.members?.peers.map(describePeer).sort() ?? [];
  }

  async stop(): Promise<void> {
    await this.overlay.stop();
    await this.store.close();
  }
}

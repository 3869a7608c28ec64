/** What the daemon is told, what both backends start from, and what they come to. */
import type { Batch } from '../../dataplane/forward/batch.js';
import type { Accept } from '../../dataplane/forward/inbound.js';
import type { TierName } from '../../dataplane/io/tiers.js';
import type { Build, LaneCount } from '../../operate/status/status.js';
import type { Interface, Selection } from '../host/interfaces.js';
import type { Ip } from '../host/ip.js';
import type { Config } from '../overlay/config.js';
import type { Overlay } from '../overlay/network.js';
import type { Clock, Log, Random } from '../runtime.js';
import type { Store } from '../store/store.js';
import type { FirewallOptions } from './firewall.js';
import type { Host } from './host.js';
import type { HostQueues } from './host-queues.js';
import type { Lifecycle } from './lifecycle.js';
import type { LineStream } from './line-stream.js';
import type { Spent } from './pace.js';
import type { Parts } from './report.js';
import type { NamedStatus } from './status.js';

/**
 * Keeps what lanes had in hand at the end: the file, or undefined when it was nothing. `address`
 * (int32) and `port` are where weft listens. Throws what the file system says.
 */
export type SaveBatch = (
  batches: readonly Batch[],
  place: { device: string; address: number; port: number },
) => string | undefined;

export interface DaemonOptions {
  readonly version: string;
  readonly build: Build | null;
  /** Which interface and address to use. */
  readonly underlay: Selection;
  readonly subnetFile: string;
  /** The highest tier to use; what the kernel lacks of it is left out. */
  readonly offload: TierName;
  readonly lanes: LaneCount;
  /** Whose packets the lanes let in. */
  readonly accept: Accept;
  readonly firewall: FirewallOptions;
  /** Where health and metrics are told, for the status; null: nowhere. */
  readonly health: string | null;
  /** `-ip-blackhole-route`. */
  readonly blackhole: boolean;
  /** `-probe-peers`. */
  readonly probePeers: boolean;
  readonly openStore: () => Store;
  /** How long before its end the lease is renewed. */
  readonly renewMarginMs: number;
  readonly onLeaseLoss: 'exit' | 'reacquire';
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where its lines go; for the status. */
  readonly logStream: Pick<LineStream, 'lost' | 'trouble'>;
  /** Tries to tell the log of lines that it lost; none were, and it does nothing. */
  readonly retell: () => void;
  readonly lifecycle: Lifecycle;
  readonly saveBatch: SaveBatch;
  /** Where all this takes place. */
  readonly host: Host;
}

/** What both backends start from. */
export interface Ground {
  readonly config: Config;
  /** With the MTU of what leaves by it. */
  readonly underlay: Interface;
  /** Finds that MTU, which routes and devices may change. */
  readonly measure: (underlay: Interface) => Promise<Interface>;
  readonly store: Store;
  readonly overlay: Overlay;
  readonly socket: NamedStatus;
  readonly ip: Ip;
  readonly queues: HostQueues;
  readonly spent: Spent;
}

/** What the start has made, as it is just now. */
export interface Running {
  readonly ready: () => boolean;
  /** A line for each lane's thread that stands still. */
  readonly standing: () => readonly string[];
  readonly parts: () => Parts;
  /** Has path MTUs measured anew. */
  readonly remeasure?: () => void;
}

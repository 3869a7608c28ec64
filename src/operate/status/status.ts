/**
 * What `weft status` tells: plain values that the daemon fills and anybody may read as JSON.
 * Field names are stable; new ones may be added.
 */
import type { StoreState } from '../../control/store/state.js';
import type { CounterName } from '../../dataplane/forward/counters.js';
import type { DropName } from '../../dataplane/forward/drops.js';
import type { Accept } from '../../dataplane/forward/inbound.js';
import type { TierName } from '../../dataplane/io/tiers.js';
import type { Finding, Verdict } from '../findings/finding.js';
import type { DropSeen } from './drop-sample.js';
import type { HostCounters } from './host.js';
import type { PeerHealth } from './peer-health.js';
import type { SetUp } from './set-up.js';
import type { PeerSeen, StrangerSeen } from './traffic.js';

/** The commit that a weft was built of. */
export interface Build {
  readonly commit: string;
  /** ISO 8601; empty where it is not known. */
  readonly date: string;
  /** Whether it was built with changes that are in no commit. */
  readonly changed: boolean;
}

/** A weft on its way to its first packet. */
export interface Starting {
  readonly version: string;
  /** Null where it is not known. */
  readonly build: Build | null;
  readonly pid: number;
  readonly uptimeSeconds: number;
  /** What it does just now, or what it waits for and why. Only there while it is starting. */
  readonly waitingFor: string;
}

/** What the control socket answers. */
export type Answer = Status | HostGwStatus | Starting;

export function isStarting(answer: Answer): answer is Starting {
  return 'waitingFor' in answer;
}

/** A weft that is ready: packets flow, the peers are followed. */
export interface Status {
  readonly version: string;
  /** Null where it is not known. */
  readonly build: Build | null;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly verdict: Verdict;
  /** All that is wrong, what weighs most first. */
  readonly findings: readonly Finding[];
  /** Of these the texts of what weft would put right itself, and cannot just now. */
  readonly faults: readonly string[];
  /** Of all hosts' containers: `10.5.0.0/16`. */
  readonly overlayNetwork: string;
  readonly setUp: SetUp;
  /** Lines that standard error did not take; a fault tells why, as long as it takes none. */
  readonly logLinesLost: number;
  readonly backend: 'vxlan';
  /** Whether peers on the underlay interface's own network are reached without the tunnel. */
  readonly directRouting: boolean;
  /** Whose packets are let in: `-accept`. */
  readonly accept: Accept;
  readonly device: {
    readonly name: string;
    readonly address: string;
    readonly mtu: number;
    /** How often somebody took it away in the last few seconds. */
    readonly taken: number;
  };
  readonly underlay: {
    readonly interface: string;
    readonly mtu: number;
    /** Where weft listens. */
    readonly address: string;
    readonly port: number;
    /** What the lease tells the others. */
    readonly publicIp: string;
  };
  readonly store: string;
  /** What etcdctl needs beside --endpoints: `--cacert=/etc/ssl/ca.pem --user=weft`; empty where nothing. */
  readonly etcdctlFlags: string;
  /** Which network it is, however the store is reached. */
  readonly network: string;
  readonly storeState: StoreState & {
    /**
     * How many seconds less our lease has left than by our clock, and over how long that came to be;
     * below 0: more. Null where there is no such difference.
     */
    readonly leaseDrift: { readonly seconds: number; readonly overSeconds: number } | null;
    /** The seconds that were asked for and those that etcd granted, where these are fewer. */
    readonly shortLease: { readonly asked: number; readonly granted: number } | null;
    /** What the operator gave for TLS. */
    readonly certificates: readonly {
      /** `-etcd-certfile=/etc/ssl/client.pem`. */
      readonly name: string;
      /** By this host's clock; below 0 once it is valid, and once it is over. */
      readonly beginsInSeconds: number;
      readonly endsInSeconds: number;
    }[];
  };
  /** Leases of others that are not as they should be, at most 100. */
  readonly unsoundLeases: readonly UnsoundLease[];
  /** Why a flanneld refuses the network config though weft does not, and one that both take. */
  readonly flanneldRefuses: { readonly why: string; readonly better: string } | null;
  /** How the network config in the store differs from the one in force; null where it does not. */
  readonly configChange: ConfigChange | null;
  readonly lease: {
    readonly subnet: string;
    readonly vtepMac: string;
    readonly vni: number;
    /** `untold`: weft came up without the store, which has not said so yet. */
    readonly kind: 'leased' | 'reserved' | 'untold';
    /** The etcd lease in hexadecimal, as etcdctl shows it; null for a key without one. */
    readonly id: string | null;
    /** Until the etcd lease ends, if it is not renewed before; null for a key without one. */
    readonly expiresInSeconds: number | null;
    /** Why the lease is not ours any more; null while it is. */
    readonly lost: string | null;
  };
  readonly peers: readonly {
    readonly subnet: string;
    readonly publicIp: string;
    readonly vtepMac: string;
    /** Whether the kernel routes by the peer's own address, and not into the tunnel. */
    readonly direct: boolean;
    /** Of all peers with this public IP together. */
    readonly health: PeerHealth;
    /** The longest outer packet that reaches it whole; null: not known, or no way there. */
    readonly pathMtu: {
      readonly mtu: number;
      /** Which is the least; `measured` only where that is less than the other two. */
      readonly from: 'route' | 'device' | 'measured';
      /** Since the measurement that came to something; null: none did. */
      readonly measuredSecondsAgo: number | null;
      /** Whether it is being measured just now. */
      readonly checking: boolean;
      /** Why the last measurement came to nothing; empty unless it did. */
      readonly problem: string;
    } | null;
    /** Of all peers with this public IP together. */
    readonly seen: PeerSeen;
  }[];
  /** Why path MTUs are not measured on this host; empty where they are. */
  readonly pathsNotMeasured: string;
  readonly routes: {
    /** In the table of the lanes, our own subnet included. */
    readonly published: number;
    /** How many tables have been published. */
    readonly epoch: number;
    /** What could not be put into the kernel's table. */
    readonly problems: readonly string[];
  };
  readonly offload: {
    /** The tier in force: see dataplane/io/tiers.ts. */
    readonly tier: TierName;
    readonly tunTso: boolean;
    readonly tunUso: boolean;
    readonly udpGro: boolean;
    /** Whether the kernel takes merged packets from weft. */
    readonly tunMerges: boolean;
    /** Of the listening socket, in bytes as asked for; the kernel reserves twice as many. */
    readonly receiveBuffer: number;
  };
  readonly lanes: readonly {
    readonly running: boolean;
    /** Processor time of its threads since they were started; null where the kernel does not tell. */
    readonly busySeconds: number | null;
    /** Packets that came in, from the TUN and from the underlay. */
    readonly outboundPackets: number;
    readonly inboundPackets: number;
  }[];
  /** Threads of each lane: 2 is one a direction. */
  readonly laneThreads: 1 | 2;
  /** Why there are so many lanes, where nobody asked for them; empty where somebody did. */
  readonly lanesReason: string;
  /** How many peers may have a socket of their own; those beyond it share one. */
  readonly peerSockets: number;
  readonly counters: Readonly<Record<CounterName, number>>;
  /** Packets dropped, by reason; only the reasons that occurred. */
  readonly drops: Readonly<Partial<Record<DropName, number>>>;
  /** For each reason that occurred a packet that was dropped for it of late. */
  readonly dropSamples: readonly DropSeen[];
  /** The last senders that no lease names, the last one first. */
  readonly strangers: readonly StrangerSeen[];
  /** What the host's own queues lost since weft began. */
  readonly host: HostCounters;
  /** Two of these by their older names. */
  readonly kernelUdp: { readonly badChecksums: number; readonly bufferFull: number };
}

export interface UnsoundLease {
  readonly key: string;
  /** A clause of which the lease is the subject: `has a value that is not JSON`. */
  readonly why: string;
  /** Whether weft uses it all the same. */
  readonly used: boolean;
  /** What a real flanneld does with it; null where that is not known, or none reads it. */
  readonly flanneld:
    | ('drops all' | 'drops all, by key' | 'stops' | 'stalls' | 'is cut off')
    | ('misdirects' | 'skips' | 'takes')
    | null;
}

/** What a start would find in place of the network config that this host runs with. */
export interface ConfigChange {
  /** Whether a start takes it, refuses it, or finds none. */
  readonly is: 'another' | 'unusable' | 'gone';
  /** What differs, `Backend.VNI is 2, here 1`; or why it is unusable; empty where it is gone. */
  readonly what: readonly string[];
  /** Whether hosts with the one and hosts with the other may not reach each other. */
  readonly parts: boolean;
  /** The text in force. */
  readonly inForce: string;
}

/** The same of the host-gw backend, which has neither device nor lanes. */
export interface HostGwStatus
  extends Pick<
    Status,
    | 'version'
    | 'build'
    | 'pid'
    | 'uptimeSeconds'
    | 'verdict'
    | 'findings'
    | 'faults'
    | 'overlayNetwork'
    | 'setUp'
    | 'logLinesLost'
    | 'store'
    | 'etcdctlFlags'
    | 'network'
    | 'storeState'
    | 'unsoundLeases'
    | 'flanneldRefuses'
    | 'configChange'
  > {
  readonly backend: 'host-gw';
  /** The containers', which is that of the underlay. */
  readonly mtu: number;
  readonly underlay: Omit<Status['underlay'], 'port'>;
  readonly lease: Omit<Status['lease'], 'vtepMac' | 'vni'>;
  /** `direct`: the kernel has the route. */
  readonly peers: readonly Omit<Status['peers'][number], 'vtepMac' | 'pathMtu' | 'seen'>[];
  readonly routes: Pick<Status['routes'], 'problems'>;
}

/** How many lanes there are, and how many threads each has. */
export interface LaneCount {
  readonly lanes: number;
  /** 2: one thread a direction. */
  readonly threads: 1 | 2;
  /** Why so many lanes, where nobody asked for them; empty where somebody did. */
  readonly reason: string;
}

/** `2 (one for every 4 of 8 processors; -lanes sets it), 2 threads each`. */
export function describeLanes({ lanes, threads, reason }: LaneCount): string {
  const why = reason === '' ? '' : ` (${reason})`;
  return `${lanes}${why}${threads === 1 ? '' : `, ${threads} threads each`}`;
}

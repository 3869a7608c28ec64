/**
 * `/metrics` for Prometheus: what `weft status` tells, as numbers, by Prometheus' conventions (base
 * units, `_total` for what only grows). Nothing is counted here: each scrape reads the status.
 *
 * Peers are the only label without a bound of its own, so of more than PEERS of them those with most
 * traffic are told, and how many there are.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import { DROP_NAMES } from '../../dataplane/forward/drops.js';
import { SEVERITIES } from '../findings/finding.js';
import type { HostCounters } from '../status/host.js';
import { type Answer, type HostGwStatus, isStarting, type Status } from '../status/status.js';

const PEERS = 250;
const STATES = ['well', 'impaired', 'broken'] as const;

/** What the process itself takes. */
export interface Usage {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

export interface Scraped {
  readonly type: string;
  readonly body: string;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #answer: () => Answer;
  readonly #usage: () => Usage;

  constructor(answer: () => Answer, usage: () => Usage) {
    this.#answer = answer;
    this.#usage = usage;
  }

  async scrape(): Promise<Scraped> {
    this.#registry.clear();
    const answer = this.#answer();
    this.#aboutProcess(answer);
    if (!isStarting(answer)) {
      this.#aboutHealth(answer);
      this.#aboutStore(answer);
      if (answer.backend === 'vxlan') {
        this.#aboutTraffic(answer);
        this.#aboutQueues(answer.host);
        this.#aboutPeers(answer);
      }
    }
    return { type: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  #aboutProcess(answer: Answer): void {
    const { version, build, uptimeSeconds } = answer;
    const info = this.#gauge('weft_build_info', 'Which weft it is; always 1', [
      'version',
      'commit',
    ]);
    info.set({ version, commit: build?.commit ?? '' }, 1);
    this.#one('weft_ready', 'Whether packets flow (0: it is starting)', isStarting(answer) ? 0 : 1);
    this.#one('weft_uptime_seconds', 'Since weft was started', uptimeSeconds);
    const { residentBytes, cpuSeconds } = this.#usage();
    this.#one('process_resident_memory_bytes', 'Resident memory', residentBytes);
    this.#total('process_cpu_seconds_total', 'Processor time of all threads', cpuSeconds);
  }

  #aboutHealth({ verdict, findings, peers, logLinesLost }: Status | HostGwStatus): void {
    const state = this.#gauge('weft_verdict', 'The verdict: 1 for the state in force', ['state']);
    for (const one of STATES) state.set({ state: one }, verdict.state === one ? 1 : 0);
    const found = this.#gauge('weft_findings', 'What is wrong just now', ['severity', 'code']);
    const counts = new Map<string, number>();
    for (const { severity, code } of findings) {
      const key = `${severity} ${code}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    for (const [key, n] of counts) {
      const [severity = '', code = ''] = key.split(' ');
      found.set({ severity, code }, n);
    }
    const bySeverity = this.#gauge('weft_findings_by_severity', 'How many of each', ['severity']);
    for (const severity of SEVERITIES) {
      bySeverity.set({ severity }, findings.filter((one) => one.severity === severity).length);
    }
    this.#one('weft_peers', 'Other hosts in the network', peers.length);
    this.#total(
      'weft_log_lines_lost_total',
      'Lines that standard error did not take',
      logLinesLost,
    );
  }

  #aboutStore({ storeState, lease }: Status | HostGwStatus): void {
    const { awaySeconds, mended } = storeState;
    this.#one('weft_store_up', 'Whether the store answers', awaySeconds === null ? 1 : 0);
    this.#one(
      'weft_store_away_seconds',
      'Since it does not answer; 0 while it does',
      awaySeconds ?? 0,
    );
    this.#total('weft_store_mended_total', 'Changes that the watch had not told', mended);
    if (lease.expiresInSeconds !== null) {
      this.#one(
        'weft_lease_expires_in_seconds',
        'Until it ends unless renewed',
        lease.expiresInSeconds,
      );
    }
    this.#one(
      'weft_lease_lost',
      'Whether the lease is not ours any more',
      lease.lost === null ? 0 : 1,
    );
  }

  #aboutTraffic({ counters, drops, lanes, offload }: Status): void {
    const packets = this.#counter(
      'weft_packets_total',
      'Packets that came into weft and that left it, each way',
      [...['direction', 'point']],
    );
    const bytes = this.#counter('weft_bytes_total', 'Their inner bytes', ['direction', 'point']);
    for (const direction of ['outbound', 'inbound'] as const) {
      for (const point of ['in', 'out'] as const) {
        packets.inc({ direction, point }, counters[`${direction}_${point}_packets`]);
        bytes.inc({ direction, point }, counters[`${direction}_${point}_bytes`]);
      }
    }
    const dropped = this.#counter('weft_dropped_packets_total', 'Packets dropped, by reason', [
      'reason',
    ]);
    for (const reason of DROP_NAMES) {
      if (reason !== 'none') dropped.inc({ reason }, drops[reason] ?? 0);
    }
    const calls = this.#counter('weft_calls_total', 'System calls that moved packets', ['call']);
    calls.inc({ call: 'tun_read' }, counters.reads);
    calls.inc({ call: 'tun_write' }, counters.writes);
    calls.inc({ call: 'udp_receive' }, counters.receives);
    calls.inc({ call: 'udp_send' }, counters.sends);
    const running = this.#gauge('weft_lane_running', 'Whether the lane forwards', ['lane']);
    const busy = this.#counter(
      'weft_lane_busy_seconds_total',
      'Processor time of a lane: its rate is how busy it is',
      ['lane'],
    );
    for (const [lane, { running: runs, busySeconds }] of lanes.entries()) {
      running.set({ lane }, runs ? 1 : 0);
      if (busySeconds !== null) busy.inc({ lane }, busySeconds);
    }
    const tier = this.#gauge('weft_offload_tier', 'The offload tier in force; always 1', ['tier']);
    tier.set({ tier: offload.tier }, 1);
  }

  #aboutQueues(host: HostCounters): void {
    const lost = this.#counter(
      'weft_host_queue_events_total',
      "What the host's own queues lost since weft began, in its network namespace",
      ['kind'],
    );
    for (const [kind, n] of Object.entries(host)) lost.inc({ kind: snake(kind) }, n);
  }

  #aboutPeers({ peers }: Status): void {
    // Of several leases with one public IP each tells the counts of all of them together.
    const each = [...new Map(peers.map((peer) => [peer.publicIp, peer])).values()];
    const most = each.sort(
      (a, b) => b.seen.sentBytes + b.seen.receivedBytes - a.seen.sentBytes - a.seen.receivedBytes,
    );
    const packets = this.#counter('weft_peer_packets_total', 'Packets to and from a peer', [
      'peer',
      'direction',
    ]);
    const bytes = this.#counter('weft_peer_bytes_total', 'Their inner bytes', [
      'peer',
      'direction',
    ]);
    const dropped = this.#counter(
      'weft_peer_dropped_packets_total',
      'Packets that could not be sent to a peer',
      ['peer'],
    );
    const refused = this.#counter(
      'weft_peer_port_unreachable_total',
      'Answers that nothing listens there',
      ['peer'],
    );
    const heard = this.#gauge('weft_peer_last_heard_seconds', 'Since a packet came from a peer', [
      'peer',
    ]);
    const state = this.#gauge('weft_peer_health', 'How it stands with a peer; always 1', [
      ...['peer', 'health'],
    ]);
    const trip = this.#gauge('weft_peer_round_trip_seconds', 'Of the last echo answered', ['peer']);
    const mtu = this.#gauge(
      'weft_peer_path_mtu_bytes',
      'The longest packet that reaches a peer whole',
      ['peer'],
    );
    for (const { publicIp: peer, seen, pathMtu, health } of most.slice(0, PEERS)) {
      packets.inc({ peer, direction: 'outbound' }, seen.sentPackets);
      packets.inc({ peer, direction: 'inbound' }, seen.receivedPackets);
      bytes.inc({ peer, direction: 'outbound' }, seen.sentBytes);
      bytes.inc({ peer, direction: 'inbound' }, seen.receivedBytes);
      const { droppedFull, droppedUnreachable, droppedDenied, droppedFailed } = seen;
      dropped.inc({ peer }, droppedFull + droppedUnreachable + droppedDenied + droppedFailed);
      refused.inc({ peer }, seen.portUnreachable);
      if (seen.heardSecondsAgo !== null) heard.set({ peer }, seen.heardSecondsAgo);
      if (pathMtu !== null) mtu.set({ peer }, pathMtu.mtu);
      state.set({ peer, health: health.state }, 1);
      if (health.roundTripMs !== null) trip.set({ peer }, health.roundTripMs / 1000);
    }
  }

  #one(name: string, help: string, value: number): void {
    this.#gauge(name, help, []).set(value);
  }

  #total(name: string, help: string, value: number): void {
    this.#counter(name, help, []).inc(value);
  }

  #gauge<Label extends string>(name: string, help: string, labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }
}

/** `udpRcvbufErrors` → `udp_rcvbuf_errors`. */
function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

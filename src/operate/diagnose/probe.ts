/**
 * Asks peers how it stands with them, once, thoroughly, and judges each:
 *
 *   1. the way there, as the kernel's routes have it;
 *   2. pings to its own address, and at the same time small echoes through the tunnel;
 *   3. echoes of the tunnel's full MTU, where small ones pass;
 *   4. the path MTU, where it answers pings;
 *   5. by how much the lanes' counts for it grew meanwhile.
 */
import type { Echo, EchoResult } from '../../control/host/echo.js';
import { parseAddress } from '../../control/host/ipv4.js';
import { measurePath } from '../../control/host/path-measure.js';
import type { Way, Ways } from '../../control/host/ways.js';
import type { Clock } from '../../control/runtime.js';
import type { PeerSeen } from '../status/traffic.js';
import { judge, type Verdict } from './judge.js';
import { type Answers, type LanesSaw, NO_ANSWERS, type Observed } from './observed.js';

/** Peers that are asked at the same time. */
export const AT_ONCE = 16;
/** From one echo of a peer to the next. */
const APART_MS = 200;
/** For an answer; for one on the underlay longer, since ARP is tried for three seconds. */
const WAIT_MS = 1_500;
const PING_WAIT_MS = 3_500;
/** For the lanes to have sent it. */
const FLUSH_MS = 100;
/** Of small ones, headers included. */
const SMALL = 84;
/** At most, of the full size. */
const FULL_COUNT = 3;

export interface Target {
  readonly publicIp: string;
  /** Undefined: an address of which no more is known. */
  readonly subnet: string | undefined;
  /** Whether it is reached past the tunnel. */
  readonly direct: boolean;
}

export interface Setting {
  /** Echoes of each kind. */
  readonly count: number;
  /** UDP. */
  readonly port: number;
  /** The tunnel's. */
  readonly mtu: number;
  /** Our own address on the underlay, and the device that has it. */
  readonly here: string;
  readonly underlay: string;
}

type Sender = Pick<Echo, 'send'>;

export interface Tools {
  readonly clock: Clock;
  readonly underlay: Sender;
  /** From our address on the overlay; undefined: no weft runs. */
  readonly tunnel: Sender | undefined;
  readonly ways: (addresses: readonly string[]) => Promise<Ways>;
  /** What the lanes have seen until now, by public IP; undefined: there are none. */
  readonly seen: () => Promise<ReadonlyMap<string, PeerSeen> | undefined>;
  /** Told how many have just been asked, lot by lot. */
  readonly progress: (asked: number) => void;
}

export interface Probed extends Target {
  readonly observed: Observed;
  readonly verdict: Verdict;
  /** The longest packet that reaches it whole; null: not measured. */
  readonly pathMtu: number | null;
}

/** In the order of the targets. Rejects when the routes cannot be looked at. */
export async function probe(
  targets: readonly Target[],
  setting: Setting,
  tools: Tools,
): Promise<Probed[]> {
  const all: Probed[] = [];
  for (let from = 0; from < targets.length; from += AT_ONCE) {
    const some = await probeSome(targets.slice(from, from + AT_ONCE), setting, tools);
    tools.progress(some.length);
    all.push(...some);
  }
  return all;
}

async function probeSome(
  targets: readonly Target[],
  setting: Setting,
  tools: Tools,
): Promise<Probed[]> {
  await Promise.all(targets.map((target) => flush(target, tools)));
  const before = await tools.seen();
  const ways = await tools.ways([...new Set(targets.map(({ publicIp }) => publicIp))]);
  const asked = await Promise.all(
    targets.map((target) => ask(target, ways.get(target.publicIp), setting, tools)),
  );
  const after = await tools.seen();
  return asked.map(({ pathMtu, ...echoes }, i) => {
    const target = targets[i]!;
    const { publicIp, direct } = target;
    const { port, here, underlay } = setting;
    const way = ways.get(publicIp);
    const device = typeof way === 'object' ? way.device : underlay;
    const observed: Observed = {
      ...{ publicIp, port, here, direct, ...echoes },
      noWay: typeof way === 'string' ? way : '',
      leavesBy: device === underlay || underlay === '' ? '' : device,
      lanes: grown(before?.get(publicIp), after?.get(publicIp)),
    };
    return { ...target, observed, verdict: judge(observed), pathMtu };
  });
}

/** What ICMP said of an earlier packet is told to the next that is sent: not to ours. */
async function flush({ subnet, direct }: Target, { tunnel }: Tools): Promise<void> {
  const overlay = parseAddress(subnet?.split('/')[0] ?? '');
  if (tunnel === undefined || direct || overlay === null) return;
  await tunnel.send(overlay, SMALL, FLUSH_MS);
}

interface Asked extends Pick<Observed, 'underlay' | 'tunnel' | 'full'> {
  readonly pathMtu: number | null;
}

async function ask(
  { publicIp, subnet, direct }: Target,
  way: Way | string | undefined,
  { count, mtu }: Setting,
  { clock, underlay, tunnel }: Tools,
): Promise<Asked> {
  if (typeof way === 'string') return { underlay: null, tunnel: null, full: null, pathMtu: null };
  const host = parseAddress(publicIp)!;
  const overlay = parseAddress(subnet?.split('/')[0] ?? '');
  const through = direct || overlay === null ? undefined : tunnel;
  const pinging = series(underlay, { to: host, size: SMALL, count, ms: PING_WAIT_MS }, clock);
  let small: Answers | null = null;
  let full: Observed['full'] = null;
  if (through !== undefined && overlay !== null) {
    const echo = { to: overlay, ms: WAIT_MS };
    small = await series(through, { ...echo, size: SMALL, count }, clock);
    if (small.answered > 0) {
      const large = { ...echo, size: mtu, count: Math.min(count, FULL_COUNT) };
      full = { ...(await series(through, large, clock)), bytes: mtu };
    }
  }
  const pings = await pinging;
  const measurable = pings.answered > 0 && way !== undefined && way.mtu > 0;
  const path = measurable ? await measurePath(underlay, host, way.mtu, clock) : undefined;
  return { underlay: pings, tunnel: small, full, pathMtu: path?.found ?? null };
}

interface Series {
  /** Unsigned. */
  readonly to: number;
  /** Of the whole packet, in bytes. */
  readonly size: number;
  readonly count: number;
  /** For each answer. */
  readonly ms: number;
}

/** Sends so many echoes, one after the other, without waiting for the answers. */
async function series(by: Sender, { to, size, count, ms }: Series, clock: Clock): Promise<Answers> {
  const results = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      if (i > 0) await new Promise<void>((go) => void clock.after(i * APART_MS, go));
      const sent = clock.now();
      const result = await by.send(to, size, ms);
      return { result, tookMs: clock.now() - sent };
    }),
  );
  return results.reduce(takeOne, NO_ANSWERS);
}

function takeOne(
  answers: Answers,
  { result, tookMs }: { readonly result: EchoResult; readonly tookMs: number },
): Answers {
  // What was not sent is not lost; but one that was not sent among others is told by none.
  if (result.kind === 'cannot') return { ...answers, cannot: result.why };
  const sent = answers.sent + 1;
  switch (result.kind) {
    case 'answered': {
      const roundTripMs = Math.min(answers.roundTripMs ?? tookMs, tookMs);
      return { ...answers, sent, answered: answers.answered + 1, roundTripMs };
    }
    case 'too big':
      return { ...answers, sent, toldTooBig: true };
    case 'unreachable':
      return { ...answers, sent, unreachable: { code: result.code, from: result.from } };
    case 'silent':
      return { ...answers, sent };
  }
}

/** Null where one of them is not known. */
function grown(before: PeerSeen | undefined, after: PeerSeen | undefined): LanesSaw | null {
  if (before === undefined || after === undefined) return null;
  return {
    heard: after.receivedPackets - before.receivedPackets,
    refused: after.portUnreachable - before.portUnreachable,
    errors: after.otherErrors - before.otherErrors,
    denied: after.droppedDenied - before.droppedDenied,
    unreachable: after.droppedUnreachable - before.droppedUnreachable,
  };
}

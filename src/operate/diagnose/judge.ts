/**
 * What is wrong with a peer, if anything: decided from what was seen and from nothing else.
 *
 * An answer through the tunnel proves all of the way, there and back. Without one the reasons are
 * looked through from the surest to the least sure: no route; what the kernel told the lanes; what
 * the lanes heard; what ICMP said; what the underlay answers.
 */
import type { Code, PeerState } from '../status/peer-health.js';
import type { Answers, Observed } from './observed.js';

export interface Verdict {
  readonly code: Code;
  readonly state: PeerState;
  /** One sentence, without its full stop. */
  readonly words: string;
  /** What to type, or to do; empty where there is nothing. */
  readonly todo: string;
}

/** ICMP "unreachable" by which a host or network is not there; by the others somebody forbids it. */
const NOT_THERE = new Set([0, 1, 5, 6, 7, 11, 12]);

export function judge(seen: Observed): Verdict {
  if (seen.noWay !== '') return noRoute(seen);
  const asked = seen.direct ? seen.underlay : seen.tunnel;
  if (asked === null) return untried(seen);
  if (asked.answered > 0) return answering(seen, asked);
  return (
    toldToLanes(seen) ?? heardByLanes(seen, asked) ?? cannotAsk(seen, asked) ?? notAnswering(seen)
  );
}

/** Whether it is something to be put right. */
export function isFault({ state }: Pick<Verdict, 'state'>): boolean {
  return state !== 'well' && state !== 'unknown';
}

function noRoute({ publicIp, noWay }: Observed): Verdict {
  const words = `no packet of ours gets on its way to ${publicIp}: ${noWay}`;
  return { code: 'no-route', state: 'unreachable', words, todo: `ip route get ${publicIp}` };
}

/** The tunnel was not tried, since no weft runs or it may not be. */
function untried(seen: Observed): Verdict {
  const { publicIp, underlay } = seen;
  if (underlay !== null && underlay.answered > 0) {
    const words = `${publicIp} answers pings on the underlay; the tunnel was not tried`;
    return { code: 'underlay-only', state: 'well', words, todo: '' };
  }
  if (underlay === null || underlay.cannot !== '') {
    return untold(`nothing could be asked of ${publicIp}`, underlay?.cannot ?? '');
  }
  return otherDevice(seen) ?? hostGone(seen) ?? silent(seen);
}

function answering(seen: Observed, asked: Answers): Verdict {
  const { publicIp, direct, underlay } = seen;
  const { roundTripMs } = asked;
  const full = direct ? null : seen.full;
  const counted = full !== null && full.answered > 0 && !full.toldTooBig ? [asked, full] : [asked];
  const sent = counted.reduce((sum, one) => sum + one.sent, 0);
  const answered = counted.reduce((sum, one) => sum + one.answered, 0);
  const way = direct ? 'pings' : 'through the tunnel';
  if (answered < sent) {
    return {
      code: 'lossy',
      state: 'lossy',
      words: `${describeShare(sent - answered, sent)} of the echoes ${direct ? '' : 'through the tunnel '}to ${publicIp} or of their answers are lost`,
      todo: `ping -c 100 -i 0.2 ${publicIp}; then the counters of the interfaces: ip -s link`,
    };
  }
  if (full !== null && full.sent > 0 && full.answered === 0 && !full.toldTooBig) {
    if (full.cannot === '') return smallMtu(seen, full.bytes);
  }
  const took = roundTripMs === null ? '' : `, in ${formatMs(roundTripMs)}`;
  const mute = !direct && underlay !== null && underlay.sent > 0 && underlay.answered === 0;
  const remark = mute ? '; pings on the underlay it does not answer, which is no fault' : '';
  const words = `${publicIp} answers ${way}${took}${remark}`;
  return { code: 'well', state: 'well', words, todo: '' };
}

/** `40 %`; neither none nor all, as both some are lost and some are answered. */
function describeShare(lost: number, sent: number): string {
  const percent = Math.round((100 * lost) / sent);
  if (percent === 0) return 'less than 1 %';
  return percent === 100 ? 'more than 99 %' : `${percent} %`;
}

function smallMtu({ publicIp }: Observed, bytes: number): Verdict {
  return {
    code: 'small-mtu',
    state: 'small-mtu',
    words: `small packets pass the tunnel to ${publicIp}, those of ${bytes} bytes do not, and nobody says so`,
    todo: 'let ICMP "fragmentation needed" and fragments pass on the way, or set a smaller MTU in the network\'s Backend',
  };
}

/** Errors of sends are sure: the kernel says them of packets of ours. */
function toldToLanes(seen: Observed): Verdict | undefined {
  const { publicIp, port, direct, lanes } = seen;
  if (direct || lanes === null) return undefined;
  if (lanes.denied > 0) {
    const words = `this host's own firewall forbids sending UDP ${port} to ${publicIp}`;
    return { code: 'denied', state: 'unreachable', words, todo: 'nft list ruleset' };
  }
  if (lanes.refused > 0 && lanes.heard === 0) {
    return {
      code: 'refused',
      state: 'refused',
      words: `nothing listens on UDP ${port} at ${publicIp}: its VTEP does not run, or a firewall rejects it`,
      todo: `on ${publicIp}: ss -lun 'sport = :${port}'; start weft or flanneld there`,
    };
  }
  return undefined;
}

/** Packets come from it: it is not dead, whatever it does with echoes. */
function heardByLanes({ publicIp, direct, lanes }: Observed, asked: Answers): Verdict | undefined {
  if (direct || lanes === null || lanes.heard === 0) return undefined;
  const come = `packets come from ${publicIp} through the tunnel`;
  let words = come;
  if (asked.cannot !== '') words = `${come}; no echo could be sent to it (${asked.cannot})`;
  else if (asked.sent > 0) {
    words = `${come}; echoes to it are not answered: its firewall drops them, or ours do not arrive there`;
  }
  return { code: 'answers-no-echo', state: 'well', words, todo: '' };
}

function cannotAsk({ publicIp }: Observed, { cannot }: Answers): Verdict | undefined {
  if (cannot === '') return undefined;
  return untold(`no echo could be sent to ${publicIp}`, cannot);
}

function notAnswering(seen: Observed): Verdict {
  return otherDevice(seen) ?? hostGone(seen) ?? blocked(seen) ?? silent(seen);
}

function otherDevice({ publicIp, leavesBy }: Observed): Verdict | undefined {
  if (leavesBy === '') return undefined;
  return {
    code: 'other-device',
    state: 'silent',
    words: `packets for ${publicIp} leave by ${leavesBy}, not by the underlay interface, and nothing comes back`,
    todo: `ip route get ${publicIp}`,
  };
}

function hostGone({ publicIp, here, underlay, lanes }: Observed): Verdict | undefined {
  if (underlay !== null && underlay.answered > 0) return undefined;
  const told = underlay?.unreachable;
  const sure = told !== undefined && told !== null && NOT_THERE.has(told.code);
  if (!sure && (lanes?.unreachable ?? 0) === 0) return undefined;
  const gone = 'is it up? Once it is gone for good, remove its lease from the store';
  if (sure && told.from !== here) {
    const words = `${told.from}, a router on the way, says that ${publicIp} cannot be reached`;
    return { code: 'host-gone', state: 'unreachable', words, todo: `${publicIp}: ${gone}` };
  }
  return {
    code: 'host-gone',
    state: 'unreachable',
    words: `no host has the address ${publicIp}: nobody answers ARP for it`,
    todo: `ip neigh show ${publicIp}; ${gone}`,
  };
}

/** The host is there and the tunnel's packets do not come through. */
function blocked({ publicIp, port, direct, underlay, lanes }: Observed): Verdict | undefined {
  if (direct || underlay === null || underlay.answered === 0) return undefined;
  const arrives = `on ${publicIp}, to see whether ours arrive: tcpdump -ni any udp port ${port}`;
  if ((lanes?.errors ?? 0) > 0) {
    return {
      code: 'rejected',
      state: 'refused',
      words: `a firewall rejects UDP ${port} between here and ${publicIp}: underlay pings pass, ICMP errors answer the tunnel's packets`,
      todo: arrives,
    };
  }
  return {
    code: 'filtered',
    state: 'silent',
    words: `UDP ${port} is filtered between here and ${publicIp}: underlay pings pass, tunnel echoes do not`,
    todo: arrives,
  };
}

function silent({ publicIp, port, direct, underlay }: Observed): Verdict {
  const both = 'answers neither pings nor echoes through the tunnel';
  const alone = direct || underlay === null || underlay.cannot !== '' || underlay.sent === 0;
  const mute =
    underlay === null || direct ? 'answers no echo' : 'answers no echo through the tunnel';
  const through = direct ? 'ICMP is' : `ICMP and UDP ${port} are`;
  return {
    code: 'silent',
    state: 'silent',
    words: `${publicIp} ${alone ? mute : both}: it is down, or ${through} filtered on the way`,
    todo: `is ${publicIp} up? traceroute -n ${publicIp}`,
  };
}

function untold(what: string, why: string): Verdict {
  const words = why === '' ? what : `${what}: ${why}`;
  return { code: 'untold', state: 'unknown', words, todo: '' };
}

export function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

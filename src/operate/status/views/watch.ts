/** `weft status -watch`: what goes through just now, from two answers a second or so apart. */
import { describeFindings, describeVerdict } from '../../findings/describe.js';
import { describeProcess } from '../describe.js';
import { ago, columns, count } from '../format.js';
import { type Line, under } from '../lines.js';
import type { Status } from '../status.js';

/** Peers that are shown, those with most traffic first. */
const SHOWN = 20;

/** `before` is of the same process, and older. */
export function describeWatch(before: Status, now: Status): Line[] {
  const seconds = now.uptimeSeconds - before.uptimeSeconds;
  const rate = (name: keyof Status['counters']): number =>
    Math.max(0, now.counters[name] - before.counters[name]) / seconds;
  const per = (a: number, b: number): string => (b === 0 ? '–' : (a / b).toFixed(1));
  const out = rate('outbound_out_packets');
  const arrived = rate('inbound_out_packets');
  const lines: Line[] = [
    describeVerdict(now.verdict),
    ...describeFindings(now.findings),
    ['weft', describeProcess(now)],
    [
      'out',
      `${bits(rate('outbound_out_bytes'))}, ${whole(out)} packets/s; ` +
        `${per(out, rate('sends'))} packets a send, tier ${now.offload.tier}`,
    ],
    [
      'in',
      `${bits(rate('inbound_out_bytes'))}, ${whole(arrived)} packets/s; ` +
        `${per(rate('inbound_in_packets'), rate('receives'))} a receive, ` +
        `${per(arrived, rate('writes'))} merged a write`,
    ],
    ['lanes', describeBusy(before, now, seconds)],
    ...under('drops', describeDropRates(before, now, seconds)),
  ];
  return [...lines, ...under('peers', describePeerRates(before, now, seconds))];
}

/** `97 % busy, 3 % busy`: each by the processor time that it took. */
function describeBusy(before: Status, now: Status, seconds: number): string {
  const each = now.lanes.map(({ running, busySeconds }, lane) => {
    if (!running) return 'NOT RUNNING';
    const then = before.lanes[lane]?.busySeconds;
    if (busySeconds === null || then === null || then === undefined) return 'running';
    return `${Math.round((100 * Math.max(0, busySeconds - then)) / seconds)} % busy`;
  });
  return each.join(', ');
}

function describeDropRates(before: Status, now: Status, seconds: number): string[] {
  const rates = Object.entries(now.drops).flatMap(([reason, packets]) => {
    const rate = ((packets ?? 0) - (before.drops[reason as keyof Status['drops']] ?? 0)) / seconds;
    return rate > 0 ? [[reason, `${whole(rate)}/s`]] : [];
  });
  return rates.length === 0 ? ['none just now'] : columns(rates);
}

function describePeerRates(before: Status, now: Status, seconds: number): string[] {
  const earlier = new Map(before.peers.map((peer) => [peer.publicIp, peer.seen]));
  const rows = now.peers.map(({ publicIp, subnet, seen }) => {
    const then = earlier.get(publicIp) ?? seen;
    const out = Math.max(0, seen.sentBytes - then.sentBytes) / seconds;
    const back = Math.max(0, seen.receivedBytes - then.receivedBytes) / seconds;
    const heard = seen.heardSecondsAgo === null ? 'never' : ago(seen.heardSecondsAgo);
    return { traffic: out + back, cells: [publicIp, subnet, bits(out), bits(back), heard] };
  });
  if (rows.length === 0) return ['none yet'];
  rows.sort((a, b) => b.traffic - a.traffic);
  const head = ['public IP', 'subnet', 'out', 'in', 'last heard'];
  const table = columns([head, ...rows.slice(0, SHOWN).map(({ cells }) => cells)]);
  const more = rows.length - SHOWN;
  return more > 0 ? [...table, `and ${count(more)} more`] : table;
}

function whole(n: number): string {
  return count(Math.round(n));
}

/** Bytes a second, as bits a second. */
function bits(bytesPerSecond: number): string {
  const n = bytesPerSecond * 8;
  if (n < 1e3) return `${Math.round(n)} b/s`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kb/s`;
  if (n < 1e9) return `${(n / 1e6).toFixed(1)} Mb/s`;
  return `${(n / 1e9).toFixed(2)} Gb/s`;
}

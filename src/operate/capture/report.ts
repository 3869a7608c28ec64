/** Verdicts of a replay, as text and as JSON, one line a record; and their summary. */
import type { CounterTotals } from '../../dataplane/forward/counters.js';
import { type PlainJson, plainJson } from '../status/plain.js';
import type { CaptureRecord, OddRecords } from './capture.js';
import type { Fate, Verdict } from './verdict.js';

/** `1764040834.123456`, with as many digits as the file knows. */
function timeOf({ time }: CaptureRecord): string {
  if (time === undefined) return 'at unknown time';
  const { seconds, nanoseconds, digits } = time;
  return `${seconds}.${String(nanoseconds).padStart(9, '0').slice(0, digits)}`;
}

/** `   12  1764040834.123456  TCP 10.10.58.2:40116 > …: wrapped for 192.168.56.12, 5 datagrams` */
export function verdictText(record: CaptureRecord, verdict: Verdict): string {
  const { what, fate, drops, detail, packets } = verdict;
  const lost = Object.keys(drops).length === 0 ? '' : `; dropped: ${list(Object.entries(drops))}`;
  const head = `${String(record.number).padStart(5)}  ${timeOf(record)}  ${what}: ${fate}`;
  switch (fate) {
    case 'wrapped':
      return `${head} ${detail}, ${count(packets.length, 'datagram')}${lost}`;
    case 'unwrapped':
      return `${head}, ${count(packets.length, 'packet')}${lost}`;
    case 'dropped':
      return `${head}, ${Object.keys(drops).join(' ')}`;
    case 'not ours':
      return `${head}, ${detail}`;
  }
}

export function verdictJson(record: CaptureRecord, verdict: Verdict): PlainJson {
  const { what, fate, reason, drops, detail, packets } = verdict;
  return plainJson({
    record: record.number,
    time: record.time === undefined ? null : timeOf(record),
    what,
    verdict: fate,
    ...(reason === '' ? {} : { reason }),
    ...(Object.keys(drops).length === 0 ? {} : { drops }),
    ...(detail === '' ? {} : { detail }),
    packets: packets.length,
  });
}

export class Summary {
  records = 0;
  readonly fates: Record<Fate, number> = { wrapped: 0, unwrapped: 0, dropped: 0, 'not ours': 0 };
  readonly packets = { wrapped: 0, unwrapped: 0 };
  /** Packets, as `weft status` counts them: of one record a whole train may be. */
  readonly dropped = new Map<string, number>();
  readonly notOurs = new Map<string, number>();

  add({ fate, reason, drops, packets }: Verdict): void {
    this.records += 1;
    this.fates[fate] += 1;
    if (fate === 'wrapped' || fate === 'unwrapped') this.packets[fate] += packets.length;
    for (const [name, lost] of Object.entries(drops)) addTo(this.dropped, name, lost);
    if (fate === 'not ours') addTo(this.notOurs, reason, 1);
  }

  text(odd: OddRecords): string {
    const { wrapped, unwrapped, dropped, 'not ours': notOurs } = this.fates;
    const lines = [
      `${count(this.records, 'record')}: ` +
        `${wrapped} wrapped into ${count(this.packets.wrapped, 'datagram')}, ` +
        `${unwrapped} unwrapped into ${count(this.packets.unwrapped, 'packet')}, ` +
        `${dropped} dropped, ${notOurs} not ours`,
    ];
    if (this.dropped.size > 0) lines.push(`dropped:  ${list(this.dropped)}`);
    if (notOurs > 0) lines.push(`not ours: ${list(this.notOurs)}`);
    if (odd.longerThanOriginal > 0) {
      const records = count(odd.longerThanOriginal, 'record');
      lines.push(`odd: ${records} with more bytes than the packet had; the rest was left out`);
    }
    if (odd.longerThanSnapLength > 0) {
      lines.push(`odd: ${count(odd.longerThanSnapLength, 'record')} above the snap length`);
    }
    return lines.join('\n');
  }

  /** @param totals what of them does not depend on how records fall into batches is told */
  json(odd: OddRecords, totals: CounterTotals): PlainJson {
    const lane = Object.entries(totals.counters).filter(([name]) => /_(packets|bytes)$/.test(name));
    return plainJson({
      summary: {
        records: this.records,
        ...this.fates,
        datagrams: this.packets.wrapped,
        packets: this.packets.unwrapped,
        droppedBy: Object.fromEntries(this.dropped),
        notOursBy: Object.fromEntries(this.notOurs),
        lane: Object.fromEntries(lane),
        ...odd,
      },
    });
  }
}

function addTo(counts: Map<string, number>, reason: string, packets: number): void {
  counts.set(reason, (counts.get(reason) ?? 0) + packets);
}

function list(counts: Iterable<readonly [reason: string, count: number]>): string {
  return [...counts].map(([reason, n]) => `${reason} ${n}`).join(', ');
}

function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? '' : 's'}`;
}

/** Verdicts of a replay, as text and as JSON, one line a record; and their summary. */

import { type PlainJson, plainJson } from '../status/plain.js';
import type { CaptureRecord, OddRecords } from './capture.js';
import type { Fate, Verdict } from './replay.js';

function timeOf({ seconds, microseconds }: CaptureRecord): string {
  return `${seconds}.${String(microseconds).padStart(6, '0')}`;
}

/** `   12  1764040834.123456  TCP 10.10.58.2:40116 > …: wrapped for 192.168.56.12, 5 datagrams` */
export function verdictText(record: CaptureRecord, verdict: Verdict): string {
  const { what, fate, reason, detail, packets } = verdict;
  const head = `${String(record.number).padStart(5)}  ${timeOf(record)}  ${what}: ${fate}`;
  switch (fate) {
    case 'wrapped':
      return `${head} ${detail}, ${count(packets.length, 'datagram')}`;
    case 'unwrapped':
      return `${head}, ${count(packets.length, 'packet')}`;
    case 'dropped':
      return `${head}, ${reason}`;
    case 'not ours':
      return `${head}, ${detail}`;
  }
}

export function verdictJson(record: CaptureRecord, verdict: Verdict): PlainJson {
  const { what, fate, reason, detail, packets } = verdict;
  return plainJson({
    record: record.number,
    time: timeOf(record),
    what,
    verdict: fate,
    ...(reason === '' ? {} : { reason }),
    ...(detail === '' ? {} : { detail }),
    packets: packets.length,
  });
}

export class Summary {
  records = 0;
  readonly fates: Record<Fate, number> = { wrapped: 0, unwrapped: 0, dropped: 0, 'not ours': 0 };
  readonly packets = { wrapped: 0, unwrapped: 0 };
  readonly dropped = new Map<string, number>();
  readonly notOurs = new Map<string, number>();

  add({ fate, reason, packets }: Verdict): void {
    this.records += 1;
    this.fates[fate] += 1;
    if (fate === 'wrapped' || fate === 'unwrapped') this.packets[fate] += packets.length;
    if (fate === 'dropped') addTo(this.dropped, reason);
    if (fate === 'not ours') addTo(this.notOurs, reason);
  }

  text(odd: OddRecords): string {
    const { wrapped, unwrapped, dropped, 'not ours': notOurs } = this.fates;
    const lines = [
      `${count(this.records, 'record')}: ` +
        `${wrapped} wrapped into ${count(this.packets.wrapped, 'datagram')}, ` +
        `${unwrapped} unwrapped into ${count(this.packets.unwrapped, 'packet')}, ` +
        `${dropped} dropped, ${notOurs} not ours`,
    ];
    if (dropped > 0) lines.push(`dropped:  ${list(this.dropped)}`);
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

  json(odd: OddRecords): PlainJson {
    return plainJson({
      summary: {
        records: this.records,
        ...this.fates,
        datagrams: this.packets.wrapped,
        packets: this.packets.unwrapped,
        droppedBy: Object.fromEntries(this.dropped),
        notOursBy: Object.fromEntries(this.notOurs),
        ...odd,
      },
    });
  }
}

function addTo(counts: Map<string, number>, reason: string): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1);
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([reason, records]) => `${reason} ${records}`).join(', ');
}

function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? '' : 's'}`;
}

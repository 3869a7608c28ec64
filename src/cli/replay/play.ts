/** Plays a capture: a verdict for each record, what comes out into a file, a summary; and speed. */
import type { Clock } from '../../control/runtime.js';
import { type Capture, CaptureError } from '../../operate/capture/capture.js';
import type { PcapWriter } from '../../operate/capture/pcap-writer.js';
import type { Given, Replay } from '../../operate/capture/replay.js';
import { Summary, verdictJson, verdictText } from '../../operate/capture/report.js';
import { plainJson } from '../../operate/status/plain.js';
import { print, printJson, printText } from '../print.js';

export interface Play {
  /** For messages. */
  readonly file: string;
  readonly capture: Capture;
  readonly replay: Replay;
  readonly out: PcapWriter | undefined;
  readonly verdicts: boolean;
  readonly json: boolean;
  /** How often what the lane takes is run through it again, for the time it takes. */
  readonly loop: number;
  readonly clock: Clock;
}

/** What is kept for -loop, at most. */
const KEPT_MAX = 256 * 2 ** 20;
/** What a lane takes of a batch, at most. */
const BATCH = 64;

/**
 * Plays to the end; the summary is told even when the file breaks off.
 * @throws CaptureError for what is wrong with the capture
 */
export function play(how: Play): void {
  const { file, capture, replay, out, verdicts, json, loop } = how;
  const summary = new Summary();
  const kept = new Kept(loop > 0);
  let failure: unknown;
  try {
    for (const record of capture.records()) {
      kept.add(() => replay.prepare(record));
      const verdict = replay.take(record);
      summary.add(verdict);
      for (const packet of verdict.packets) out?.write(record.time, packet);
      if (json) printJson(verdictJson(record, verdict));
      else if (verdicts) print(verdictText(record, verdict));
    }
  } catch (error) {
    failure = error;
  }
  if (json) printJson(summary.json(capture.odd, replay.totals));
  else printText(`${summary.text(capture.odd)}\n`);
  if (failure !== undefined) throw failure;
  const unread = summary.notOurs.get('link_type') ?? 0;
  if (unread > 0 && unread === summary.records) {
    throw new CaptureError(`${file}: no record has a link type that weft reads`);
  }
  if (loop === 0) return;
  const speed = measure(how, kept);
  if (json) printJson(plainJson({ loop: speed }));
  else print(describeSpeed(speed));
}

class Kept {
  readonly batches: Given[][] = [];
  readonly #isWanted: boolean;
  #bytes = 0;

  constructor(isWanted: boolean) {
    this.#isWanted = isWanted;
  }

  add(prepare: () => ReturnType<Replay['prepare']>): void {
    if (!this.#isWanted) return;
    const given = prepare();
    if ('fate' in given) return;
    const bytes = given.side === 'tun' ? given.packet : given.datagram.payload;
    this.#bytes += bytes.length;
    if (this.#bytes > KEPT_MAX) {
      throw new CaptureError(
        `-loop keeps what the lane takes in memory, at most ${KEPT_MAX >> 20} MiB; ` +
          'take a part of the capture: editcap -r IN OUT 1-100000',
      );
    }
    const last = this.batches.at(-1);
    if (last === undefined || last.length === BATCH) this.batches.push([given]);
    else last.push(given);
  }
}

/** That the lane was given, in both directions. */
function packetsOf({ totals: { counters } }: Replay): number {
  return counters.inbound_in_packets + counters.outbound_in_packets;
}

interface Speed {
  readonly rounds: number;
  readonly packets: number;
  readonly seconds: number;
  /** Packets a second. */
  readonly rate: number;
}

/** Null where the lane takes nothing of the capture. */
function measure({ replay, loop, clock }: Play, { batches }: Kept): Speed | null {
  if (batches.length === 0) return null;
  const before = packetsOf(replay);
  const began = clock.now();
  for (let round = 0; round < loop; round += 1) for (const batch of batches) replay.run(batch);
  const seconds = (clock.now() - began) / 1000;
  const packets = packetsOf(replay) - before;
  return { rounds: loop, packets, seconds, rate: Math.round(packets / seconds) };
}

function describeSpeed(speed: Speed | null): string {
  if (speed === null) return 'loop: the lane takes none of it';
  const { packets, seconds, rate } = speed;
  return (
    `loop: ${packets} packets in ${seconds.toFixed(3)} s, ${rate} packets a second, ` +
    'through a lane between devices in memory'
  );
}

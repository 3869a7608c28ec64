/**
 * Log lines on standard error: as flanneld's, severity, time, text; with a priority in front where
 * it is the journal that reads them, which has the time itself.
 */

import fs from 'node:fs';
import { counted } from '../../operate/status/format.js';
import { plain, plainJson } from '../../operate/status/plain.js';
import type { Log } from '../runtime.js';
import type { LineStream } from './line-stream.js';

/** Of sd-daemon(3). */
const PRIORITIES = { E: 3, W: 4, I: 6, D: 7 } as const;
export type Severity = keyof typeof PRIORITIES;

/** One line, its line end included, whatever a name from the store holds. */
export function formatLine(severity: Severity, time: Date, text: string): string {
  return `${severity} ${time.toISOString().slice(11, 23)} ${plain(text)}\n`;
}

export function formatForJournal(severity: Severity, _time: Date, text: string): string {
  return `<${PRIORITIES[severity]}>${plain(text)}\n`;
}

const NAMES = { E: 'error', W: 'warning', I: 'info', D: 'debug' } as const;

/** `-log-format=json`: an object a line, whose names are stable. */
export function formatJson(severity: Severity, time: Date, text: string): string {
  return `${plainJson({ time: time.toISOString(), level: NAMES[severity], message: text })}\n`;
}

/**
 * Whether JOURNAL_STREAM (`device:inode`, systemd.exec(5)) names this very descriptor: it is
 * inherited by whoever has standard error elsewhere, too.
 */
export function isJournal(stream = '', fd = 2): boolean {
  try {
    const { dev, ino } = fs.fstatSync(fd, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** The same line again and again is said so often within this time, and then counted. */
const REPEATED = 5;
const REPEATED_MS = 60_000;

/** A log that can tell, without a line of its own, that lines were lost: see LineStream.retry. */
export interface RetellingLog extends Log {
  retell(): void;
}

/** `verbosity` 0: info and above; 1 and more: debug too. */
export function createLog(
  verbosity: number,
  stream: LineStream,
  format = formatLine,
  timeOfDay = () => new Date(),
): RetellingLog {
  let last = { severity: 'D' as Severity, text: '', at: 0, said: 0, unsaid: 0 };
  const write = (severity: Severity, text: string): void => {
    const now = timeOfDay();
    const at = now.getTime();
    // A clock that was set back is no reason to be silent.
    const isSame = severity === last.severity && text === last.text;
    const isSoon = at >= last.at && at - last.at < REPEATED_MS;
    if (isSame && isSoon && last.said >= REPEATED) {
      last.unsaid += 1;
      return;
    }
    if (last.unsaid > 0) put(last.severity, now, `the line before ${describeTimes(last.unsaid)}`);
    last =
      isSame && isSoon
        ? { ...last, said: last.said + 1 }
        : { severity, text, at, said: 1, unsaid: 0 };
    put(severity, now, text);
  };
  const put = (severity: Severity, now: Date, text: string): void => {
    stream.write(format(severity, now, text), (lines) => format('W', now, describeLost(lines)));
  };
  return {
    error: (text) => write('E', text),
    warn: (text) => write('W', text),
    info: (text) => write('I', text),
    debug: (text) => {
      if (verbosity > 0) write('D', text);
    },
    retell: () => stream.retry((lines) => format('W', timeOfDay(), describeLost(lines))),
  };
}

function describeLost(lines: number): string {
  return `${counted(lines, 'line')} of log could not be written`;
}

function describeTimes(times: number): string {
  return times === 1 ? 'once more' : `${times} times more`;
}

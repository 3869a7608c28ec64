/**
 * Text as a picture on a terminal, in place of the one before it. A line longer than the terminal is
 * wide goes on in the next row: here and not by the terminal, so that the rows are counted and the
 * picture never scrolls.
 */
import type { TerminalSize } from './print.js';

const HOME = '\x1b[H';
/** The rest of a line, and of the screen. */
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

/** So many rows as the terminal has; the last one tells that some are missing. */
export function fitScreen(text: string, { rows, columns }: TerminalSize): string {
  const lines = text.trimEnd().split('\n');
  const all = lines.flatMap((line) => wrap(line, columns));
  // Behind the last one the cursor is in a row of its own.
  const room = Math.max(rows - 1, 1);
  const kept = all.length <= room ? all : [...all.slice(0, room - 1), '…'];
  // Cleared before it is written: behind a full row the cursor is still on its last character.
  return `${HOME}${kept.map((row) => `${CLEAR_LINE}${row}\n`).join('')}${CLEAR_BELOW}`;
}

/** Each character counts as one column, those of a colour as none. A colour goes on in the next row. */
function wrap(line: string, columns: number): string[] {
  const wrapped = [''];
  let room = columns;
  let inColour = false;
  for (const character of line) {
    if (character === '\x1b') inColour = true;
    if (!inColour) {
      if (room === 0) {
        wrapped.push('');
        room = columns;
      }
      room -= 1;
    }
    wrapped[wrapped.length - 1] += character;
    if (character === 'm') inColour = false;
  }
  return wrapped;
}

/**
 * `weft status -watch`: a live view on a terminal, which is as it was afterwards; in a pipe a block
 * each interval, with an empty line between.
 */
import type { Clock } from '../control/runtime.js';
import { describe } from '../operate/status/describe.js';
import { type Line, layOut } from '../operate/status/lines.js';
import { type Answer, isStarting, type Status } from '../operate/status/status.js';
import { describeWatch } from '../operate/status/views/watch.js';
import { isTerminal, paint, printText, stopped, terminalSize } from './print.js';
import { fitScreen } from './screen.js';

/** The other screen, without a cursor; and back. */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
/** A rate needs two answers: the second is asked for soon. */
const SOON_MS = 500;

export interface WatchOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  /** After so many blocks it ends; 0: never. */
  readonly count: number;
  /** Undefined with why: no weft runs just now. */
  readonly ask: () => Promise<Answer | string>;
}

/** Until Ctrl-C, or `count` blocks: the exit code. */
export async function watch({ clock, intervalMs, count, ask }: WatchOptions): Promise<number> {
  const live = isTerminal(1);
  let before: Status | undefined;
  let code = 1;
  let wake = () => {};
  let ended = false;
  let picture: string | undefined;
  const draw = (): void => {
    if (picture !== undefined && !ended) paint(1, fitScreen(picture, terminalSize()));
  };
  const end = (): void => {
    ended = true;
    wake();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end);
  if (live) {
    process.on('SIGWINCH', draw);
    paint(1, ENTER);
  }
  try {
    for (let shown = 0; !ended && !stopped(1); ) {
      const answer = await ask();
      const text = render(before, answer, live);
      before = typeof answer !== 'string' && isVxlan(answer) ? answer : undefined;
      code =
        typeof answer !== 'string' && !isStarting(answer) && answer.verdict.state === 'well'
          ? 0
          : 1;
      // A rate needs two answers.
      if (text !== undefined) {
        shown += 1;
        picture = text;
        if (live) draw();
        else printText(shown > 1 ? `\n${text}` : text);
      }
      if (count > 0 && shown >= count) break;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(
          shown === 0 ? Math.min(intervalMs, SOON_MS) : intervalMs,
          resolve,
        );
        wake = () => {
          cancel();
          resolve();
        };
        if (ended) wake();
      });
    }
  } finally {
    if (live) {
      process.off('SIGWINCH', draw);
      paint(1, LEAVE);
    }
  }
  return code;
}

function isVxlan(answer: Answer): answer is Status {
  return !isStarting(answer) && answer.backend === 'vxlan';
}

/** Undefined where the first of two answers is all there is. */
function render(
  before: Status | undefined,
  answer: Answer | string,
  colours: boolean,
): string | undefined {
  if (typeof answer === 'string') return layOut([['none', answer, 'bad'] satisfies Line], colours);
  if (!isVxlan(answer)) return describe(answer, colours);
  if (before === undefined || before.pid !== answer.pid) return undefined;
  return layOut(describeWatch(before, answer), colours);
}

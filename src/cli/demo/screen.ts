/** What the demo tells while it runs: a heading a step, what was found below it, how it went. */
import { plain } from '../../operate/status/plain.js';
import { isTerminal, paint } from '../print.js';

/** A check that did not find what it should; the demo goes on with the next one. */
export class Unexpected extends Error {
  override readonly name = 'Unexpected';
  readonly expected: string;
  readonly came: string;

  constructor(expected: string, came: string) {
    super(`expected ${expected}, got ${came}`);
    this.expected = expected;
    this.came = came;
  }
}

/** How a step went; the fields of `--json`. */
export interface StepResult {
  step: string;
  outcome: 'passed' | 'failed' | 'not tried';
  seconds: number;
  expected?: string;
  came?: string;
}

const DIM = '\x1b[2m';
const END = '\x1b[0m';

export class Screen {
  readonly results: StepResult[] = [];
  readonly #out: 1 | 2;
  readonly #colours: boolean;
  /** The number of steps to come. */
  count = 0;

  /** `out`: standard output or error. */
  constructor(out: 1 | 2) {
    this.#out = out;
    this.#colours = isTerminal(out);
  }

  /** A line of the demo's own, with its colours; what is from outside goes by `note`. */
  line(text = ''): void {
    paint(this.#out, `${text}\n`);
  }

  /** Text below the heading of the step that runs. */
  note(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.line(`      ${this.#plain(line)}`);
  }

  bold(text: string): string {
    return this.#paint('1', text);
  }

  dim(text: string): string {
    return this.#colours ? `${DIM}${text}${END}` : text;
  }

  good(text: string): string {
    return this.#paint('32', text);
  }

  bad(text: string): string {
    return this.#paint('1;31', text);
  }

  /**
   * Runs a step and tells how it went; true when it passed. What it threw is told, with
   * `evidence` (a log's tail) below.
   */
  async step(name: string, work: () => Promise<void>, evidence: () => string): Promise<boolean> {
    this.line();
    this.line(this.bold(`${this.#number()} ${name}`));
    const started = performance.now();
    const seconds = () => Math.round((performance.now() - started) / 100) / 10;
    try {
      await work();
    } catch (error) {
      const expected = error instanceof Unexpected ? error.expected : 'no error';
      const came = error instanceof Unexpected ? error.came : messageOf(error);
      this.results.push({ step: name, outcome: 'failed', seconds: seconds(), expected, came });
      this.line(`   ${this.bad('FAILED')}`);
      this.note(`expected:  ${expected}`);
      this.note(`came:      ${came.trimEnd().replaceAll('\n', '\n           ')}`);
      this.note(evidence());
      return false;
    }
    this.results.push({ step: name, outcome: 'passed', seconds: seconds() });
    this.line(`   ${this.good('ok')} ${this.dim(`${seconds().toFixed(1)} s`)}`);
    return true;
  }

  /** A step that cannot be tried, since one that it builds on failed. */
  skip(name: string): void {
    this.line();
    this.line(`${this.bold(`${this.#number()} ${name}`)}  not tried`);
    this.results.push({ step: name, outcome: 'not tried', seconds: 0 });
  }

  /** But for the colours that this screen itself gives a whole line. */
  #plain(line: string): string {
    const own = this.#colours && line.startsWith(DIM) && line.endsWith(END);
    return own ? `${DIM}${plain(line.slice(DIM.length, -END.length))}${END}` : plain(line);
  }

  #number(): string {
    return `[${this.results.length + 1}/${this.count}]`;
  }

  #paint(code: string, text: string): string {
    return this.#colours ? `\x1b[${code}m${text}${END}` : text;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

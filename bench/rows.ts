/** The results of a side-by-side run: summed up, set against the bars, told as text and as plot. */
import { BARS, type Bar, barTitle, COMPARATORS, type Standing, standing } from './bars.js';
import type { Figures } from './cases.js';
import { figure, type Panel } from './plot.js';
import type { Wire } from './rig.js';
import { type Spread, spread } from './statistics.js';

/** One line of results: a case on a wire. */
export interface Row {
  readonly wire: Wire;
  readonly case: string;
  readonly title: string;
  /** The headline figure. */
  readonly unit: string;
  /** TCP's congestion control in the containers. */
  readonly congestionControl: string;
  readonly systems: Readonly<Record<string, SystemResult>>;
}

export interface SystemResult {
  readonly figures: Readonly<Record<string, Spread>>;
  /** Every figure to the same of another system, run by run with its neighbour in time. */
  readonly ratios: Readonly<Record<string, Readonly<Record<string, Spread>>>>;
  readonly runs: readonly Figures[];
}

/** What the others are set against, where it took part. */
const REFERENCES = ['kernel', 'limit', 'one-packet'];

export const WIRE_NAMES = { plain: 'plain wire', on: 'offloads on' } as const;

type Runs = ReadonlyMap<string, readonly Figures[]>;

/** The runs of each system become medians with their spread, and ratios. */
export function summarize(runs: Runs): Record<string, SystemResult> {
  return Object.fromEntries(
    [...runs].map(([name, all]) => {
      const keys = Object.keys(all[0] ?? {});
      const figures = keys.map((key) => [key, spread(all.map((run) => run[key]!))]);
      const ratios = REFERENCES.filter((other) => other !== name && runs.has(other)).map(
        (other) => [other, ratiosTo(all, runs.get(other)!)],
      );
      const result = { figures: Object.fromEntries(figures), runs: all };
      return [name, { ...result, ratios: Object.fromEntries(ratios) }];
    }),
  );
}

/** Of the figures that are never 0 over there. */
function ratiosTo(all: readonly Figures[], others: readonly Figures[]): Record<string, Spread> {
  const keys = Object.keys(all[0] ?? {}).filter((key) => others.every((run) => run[key]! > 0));
  return Object.fromEntries(
    keys.map((key) => [key, spread(all.map((run, i) => run[key]! / others[i]![key]!))]),
  );
}

export function showRow(row: Row): string {
  const lines = [`${row.title}, ${WIRE_NAMES[row.wire]}, TCP ${row.congestionControl}`];
  for (const [name, { figures, ratios }] of Object.entries(row.systems)) {
    const ratio = ['kernel', 'limit'].map((other) => {
      const of = ratios[other]?.[row.unit];
      return (of === undefined ? '' : `${of.median.toFixed(2)} of ${other}`).padEnd(15);
    });
    const cells = Object.entries(figures).map(([key, { min, median, max }], i) =>
      i === 0
        ? `${figure(median)} ${key} (${figure(min)}–${figure(max)})`
        : `${figure(median)} ${key}`,
    );
    lines.push(`  ${name.padEnd(18)} ${ratio.join('')}${cells.join('  ')}`);
  }
  return lines.join('\n');
}

/** The median that a bar asks for; undefined where it was not measured. */
function measuredFor(bar: Bar, rows: readonly Row[]): number | undefined {
  const row = rows.find((one) => one.wire === bar.wire && one.case === bar.case);
  const system = row?.systems[bar.system];
  const found =
    bar.to === undefined ? system?.figures[bar.figure] : system?.ratios[bar.to]?.[bar.figure];
  return found?.median;
}

export interface Verdict extends Bar {
  readonly measured: number | undefined;
  readonly standing: Standing;
}

function judge(bars: readonly Bar[], rows: readonly Row[]): Verdict[] {
  return bars.map((bar) => {
    const measured = measuredFor(bar, rows);
    return { ...bar, measured, standing: standing(bar, measured) };
  });
}

export const judgeBars = (rows: readonly Row[]): Verdict[] => judge(BARS, rows);

/** Those comparators that took part; one that is BELOW voids the comparison with it. */
export function judgeComparators(rows: readonly Row[]): Verdict[] {
  return judge(COMPARATORS, rows).filter((one) => one.measured !== undefined);
}

export function showComparators(verdicts: readonly Verdict[]): string {
  return verdicts
    .map(({ system, wire, standing: where, measured, floor, to }) => {
      const value = `${measured!.toFixed(2)}${to === undefined ? ' Gb/s' : ` of ${to}`}`;
      const word = where === 'BELOW' ? `VOID (${value}, not ${floor})` : `valid (${value})`;
      return `comparator ${system}, ${WIRE_NAMES[wire]}: ${word}`;
    })
    .join('\n');
}

export function showBars(verdicts: readonly Verdict[]): string {
  const cell = (value: number | undefined): string => (value?.toFixed(2) ?? '–').padStart(8);
  const lines = [`${'bar'.padEnd(58)}${'floor'.padStart(9)}${'goal'.padStart(8)}  measured`];
  for (const bar of verdicts) {
    const bound = bar.atMost ? '≤' : ' ';
    lines.push(
      `  ${barTitle(bar).padEnd(56)}${bound}${cell(bar.floor)}${cell(bar.goal)}` +
        `${cell(bar.measured)}  ${bar.standing}`,
    );
  }
  return lines.join('\n');
}

export function panelsOf(rows: readonly Row[]): Panel[] {
  return rows.map((row) => ({
    title: row.title,
    subtitle: WIRE_NAMES[row.wire],
    unit: row.unit,
    bars: Object.entries(row.systems).map(([name, { figures, ratios }]) => {
      const { min, median, max } = figures[row.unit]!;
      const ratio = ratios.kernel?.[row.unit]?.median;
      const bar = { name, min, median, max };
      return ratio === undefined ? bar : { ...bar, note: `${ratio.toFixed(2)} of kernel` };
    }),
  }));
}

/**
 * Bar charts as SVG, with nothing but text: a panel a case, a bar a system, a whisker from its
 * least to its greatest run, an axis with the unit. Panels of the same title stand side by side.
 */

export interface Bar {
  readonly name: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
  /** Stands behind the value: the ratio to something else. */
  readonly note?: string;
}

export interface Panel {
  readonly title: string;
  /** What tells this one from the others of its title: the wire. */
  readonly subtitle?: string;
  readonly unit: string;
  readonly bars: readonly Bar[];
}

const MARGIN = 14;
const CHARACTER = 6.6; // about the width of one, at this size
const PLOT = 300;
const BAR = 16;
const GAP = 7;
const HEAD = 30;
const AXIS = 36;
const TICK = '#c8ccd2';

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function colour(name: string): string {
  if (name === 'kernel') return '#8a8f98';
  if (name.includes('weft')) return name === 'weft' ? '#2f6fdb' : '#84a9e8';
  return name === 'limit' || name === 'one-packet' ? '#c9a227' : '#5f9e8f';
}

/** A number as a reader wants it: three digits, or whole ones from 1000 on. */
export function figure(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : String(Number(value.toPrecision(3)));
}

/** Three to six round numbers from 0 up to `most`. */
export function ticks(most: number): number[] {
  if (!(most > 0)) return [0];
  const raw = most / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw)!;
  const count = Math.floor(most / step + 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

function text(x: number, y: number, words: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}"${more}>${escapeXml(words)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, stroke: string, width = 1): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((n) => n.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${stroke}" stroke-width="${width}"/>`;
}

function heightOf({ bars }: Panel): number {
  return HEAD + bars.length * (BAR + GAP) + AXIS;
}

/** One panel with its corner at (x, y); names get `names` pixels. */
function drawPanel(panel: Panel, x: number, y: number, names: number): string[] {
  const { title, subtitle, unit, bars } = panel;
  const most = Math.max(...bars.map(({ max }) => max), Number.MIN_VALUE);
  const left = x + names + 8;
  const at = (value: number): number => left + (value / most) * PLOT;
  const top = y + HEAD - 4;
  const bottom = y + HEAD + bars.length * (BAR + GAP);
  const parts = [
    text(
      x,
      y + 14,
      subtitle === undefined ? title : `${title}, ${subtitle}`,
      ' font-weight="bold"',
    ),
  ];
  for (const tick of ticks(most)) {
    parts.push(
      line(at(tick), top, at(tick), bottom, TICK),
      text(at(tick), bottom + 13, figure(tick), ' text-anchor="middle" fill="#555"'),
    );
  }
  parts.push(text(left + PLOT / 2, bottom + 28, unit, ' text-anchor="middle" fill="#555"'));
  for (const [i, { name, min, median, max, note }] of bars.entries()) {
    const barTop = y + HEAD + i * (BAR + GAP);
    const middle = barTop + BAR / 2;
    const width = Math.max(0.5, at(median) - left).toFixed(1);
    parts.push(
      text(left - 8, middle + 4, name, ' text-anchor="end"'),
      `<rect x="${left}" y="${barTop}" width="${width}" height="${BAR}" fill="${colour(name)}"/>`,
      line(at(min), middle, at(max), middle, '#222', 1.4),
      line(at(min), middle - 4, at(min), middle + 4, '#222', 1.4),
      line(at(max), middle - 4, at(max), middle + 4, '#222', 1.4),
      text(at(max) + 7, middle + 4, figure(median) + (note === undefined ? '' : `  (${note})`)),
    );
  }
  parts.push(
    line(left, top, left, bottom, '#222'),
    line(left, bottom, left + PLOT, bottom, '#222'),
  );
  return parts;
}

/** One SVG document of the panels that have bars; the lines of `caption` stand below. */
export function plotBars(all: readonly Panel[], caption: readonly string[]): string {
  const panels = all.filter((panel) => panel.bars.length > 0);
  const longest = (words: readonly string[]): number =>
    Math.max(0, ...words.map((word) => word.length)) * CHARACTER;
  const bars = panels.flatMap((panel) => panel.bars);
  const names = longest(bars.map(({ name }) => name));
  const values = longest(bars.map(({ note = '', median }) => `${figure(median)}  (${note})`));
  const width = names + 8 + PLOT + 7 + values;

  const rows = new Map<string, Panel[]>();
  for (const panel of panels) {
    rows.set(panel.title, [...(rows.get(panel.title) ?? []), panel]);
  }
  const columns = Math.max(1, ...[...rows.values()].map((row) => row.length));
  const parts: string[] = [];
  let y = MARGIN;
  for (const row of rows.values()) {
    for (const [column, panel] of row.entries()) {
      parts.push(...drawPanel(panel, MARGIN + column * (width + MARGIN), y, names));
    }
    y += Math.max(...row.map(heightOf)) + MARGIN;
  }
  parts.push(
    text(MARGIN, y + 8, 'Bar: median of the runs. Whisker: from the least to the greatest.'),
  );
  y += 18;
  for (const words of caption) {
    parts.push(text(MARGIN, y + 8, words, ' fill="#555" font-size="10"'));
    y += 15;
  }
  const widest = Math.max(columns * (width + MARGIN) + MARGIN, longest(caption) * 0.85);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${widest.toFixed(0)}" height="${y + 8}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...parts,
    '</svg>\n',
  ].join('\n');
}

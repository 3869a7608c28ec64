/** Bar charts as SVG, with nothing but text: a panel a case, a bar a system, a line its spread. */

export interface Panel {
  readonly title: string;
  readonly bars: readonly {
    readonly name: string;
    readonly min: number;
    readonly median: number;
    readonly max: number;
  }[];
}

const WIDTH = 760;
const NAME = 150;
const VALUE = 90;
const BAR = 18;
const GAP = 6;
const HEAD = 30;

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function colour(name: string): string {
  if (name.startsWith('kernel')) return '#8a8f98';
  return name.startsWith('weft') ? '#2f6fdb' : '#c9a227';
}

/** One SVG document; `caption` stands below. */
export function plotBars(panels: readonly Panel[], caption: string): string {
  const parts: string[] = [];
  let y = 10;
  for (const { title, bars } of panels) {
    const most = Math.max(...bars.map(({ max }) => max), Number.MIN_VALUE);
    const scale = (WIDTH - NAME - VALUE - 20) / most;
    parts.push(`<text x="10" y="${y + 16}" font-weight="bold">${escapeXml(title)}</text>`);
    y += HEAD;
    for (const { name, min, median, max } of bars) {
      const middle = y + BAR / 2;
      parts.push(
        `<text x="${NAME}" y="${middle + 4}" text-anchor="end">${escapeXml(name)}</text>`,
        `<rect x="${NAME + 8}" y="${y}" width="${(median * scale).toFixed(1)}" height="${BAR}" fill="${colour(name)}"/>`,
        `<line x1="${(NAME + 8 + min * scale).toFixed(1)}" x2="${(NAME + 8 + max * scale).toFixed(1)}" y1="${middle}" y2="${middle}" stroke="#222" stroke-width="1.5"/>`,
        `<text x="${(NAME + 14 + max * scale).toFixed(1)}" y="${middle + 4}">${median >= 1000 ? Math.round(median) : median.toPrecision(3)}</text>`,
      );
      y += BAR + GAP;
    }
    y += 14;
  }
  parts.push(`<text x="10" y="${y + 12}" fill="#555">${escapeXml(caption)}</text>`);
  const height = y + 24;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

/** Lines of two columns, as all views of `weft status` have them. */
import { plain } from './plain.js';

export type Tone = 'good' | 'bad' | 'attention' | 'faint';

/**
 * An empty label stands under the line it belongs to. The tone is the label's; the text's where there is
 * no label.
 */
export type Line = readonly [label: string, text: string, tone?: Tone];

const LABEL = 10;
const COLOURS: Readonly<Record<Tone, string>> = {
  good: '\x1b[32m',
  bad: '\x1b[1;31m',
  attention: '\x1b[33m',
  faint: '\x1b[2m',
};
const END = '\x1b[0m';

/** What is from outside is made plain; the only colours are those of `tone`. */
export function layOut(lines: readonly Line[], colours = false): string {
  const text = lines.map(([name, about, tone]) => {
    const label = plain(name).padEnd(LABEL - 1);
    const rest = plain(about).trimEnd();
    if (!colours || tone === undefined) return `${label} ${rest}`.trimEnd();
    if (name === '') return `${label} ${COLOURS[tone]}${rest}${END}`;
    return `${COLOURS[tone]}${label}${END} ${rest}`.trimEnd();
  });
  return `${text.join('\n')}\n`;
}

/** Texts, the first of them with the label. */
export function under(label: string, texts: readonly string[]): Line[] {
  return texts.map((text, i): Line => [i === 0 ? label : '', text]);
}

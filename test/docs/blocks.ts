/** The fenced blocks of a document, with the heading that each stands below. */
import fs from 'node:fs';

export interface Block {
  /** The text of the nearest `##` heading, or of the title. */
  readonly heading: string;
  /** `sh`, `text`, `json`, … */
  readonly language: string;
  /** The words behind the language: on which machines the lines are typed. */
  readonly words: readonly string[];
  readonly text: string;
  /** The line of the file on which it begins, from 1. */
  readonly line: number;
}

export function blocksOf(file: string): Block[] {
  const blocks: Block[] = [];
  let heading = '';
  let open: { language: string; words: string[]; line: number; lines: string[] } | undefined;
  for (const [index, line] of fs.readFileSync(file, 'utf8').split('\n').entries()) {
    if (open === undefined) {
      heading = /^##? (.*)$/.exec(line)?.[1] ?? heading;
      const fence = /^```(.*)$/.exec(line);
      if (fence === null) continue;
      const [language = '', ...words] = fence[1]!.split(' ');
      open = { language, words, line: index + 1, lines: [] };
    } else if (line === '```') {
      const { language, words, lines } = open;
      blocks.push({ heading, language, words, line: open.line, text: `${lines.join('\n')}\n` });
      open = undefined;
    } else open.lines.push(line);
  }
  if (open !== undefined) throw new Error(`${file}:${open.line}: this block has no end`);
  return blocks;
}

/** A block of commands, and the block behind it: what they print, if the document says so. */
export interface Typed {
  readonly block: Block;
  readonly prints: Block | undefined;
}

export function typedOf(file: string): Typed[] {
  const blocks = blocksOf(file);
  return blocks.flatMap((block, i) => {
    if (block.language !== 'sh') return [];
    const next = blocks[i + 1];
    return [{ block, prints: next?.language === 'text' ? next : undefined }];
  });
}

/**
 * What differs from run to run is made the same: numbers, MACs, ids, runs of blanks, and whether weft was
 * made of just what is committed.
 */
function steady(line: string): string {
  return line
    .replace(/(\([0-9a-f]{7}), changed\)/, '$1)')
    .replace(/^( *build .*), changed since$/, '$1')
    .replace(/\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, 'MAC')
    .replace(/\b[0-9a-f]{7,64}\b…?/g, 'ID')
    .replace(/\d+/g, '0')
    .replace(/\s+/g, ' ')
    .trim();
}

/**
 * The first line of `prints` that `output` does not have, in this order; undefined when all are
 * there. `…` stands for anything, alone on a line for any lines.
 */
export function missing(prints: string, output: string): string | undefined {
  const lines = output.split('\n').map(steady);
  let from = 0;
  for (const wanted of prints.split('\n').map(steady)) {
    if (wanted === '' || wanted === '…') continue;
    const pieces = wanted.split('…').map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    const pattern = new RegExp(`^${pieces.join('.*')}$`);
    const at = lines.findIndex((line, i) => i >= from && pattern.test(line));
    if (at === -1) return wanted;
    from = at + 1;
  }
  return undefined;
}

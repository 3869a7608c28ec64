/**
 * Text from outside as it is shown to people: etcd's keys and values, names of hosts and devices,
 * what other programs say, what stands in files and in the environment. All of it goes through here
 * on its way to a log, a terminal or a status, so that no text moves the cursor, hides what stands
 * beside it, turns its order round or begins a line of its own.
 */

/**
 * Control characters (C0, DEL, C1), line and paragraph separators, format characters (those that
 * turn text round, join it, or are not seen), halves of surrogate pairs.
 */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cf}\p{Cs}]/gu;

/** Characters that are shown of one text. */
export const LONGEST = 2_000;

/** One line, whatever it was: `\u001b` for ESC; cut, with how many characters there were more. */
export function plain(text: string, longest = LONGEST): string {
  const kept = text.length <= longest ? text : whole(text.slice(0, longest));
  const clean = kept.replace(UNSEEN, escaped);
  if (kept.length === text.length) return clean;
  return `${clean}… (${(text.length - kept.length).toLocaleString('en-US')} characters more)`;
}

/** The same for text of several lines that is weft's own but for what stands in it. */
export function plainLines(text: string): string {
  return text
    .split('\n')
    .map((line) => plain(line))
    .join('\n');
}

/** What `plainJson` made, and nothing else. */
export type PlainJson = string & { readonly kind: 'plain JSON' };

/** JSON that shows nothing unseen either, and is read as what it was. */
export function plainJson(value: unknown): PlainJson {
  return JSON.stringify(value).replace(UNSEEN, escaped) as PlainJson;
}

function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('');
}

/** Without half a pair at its end. */
function whole(text: string): string {
  return /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text;
}

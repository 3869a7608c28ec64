/** Words for a command that somebody types. */

/** As one word for a shell. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Words between which there are spaces, as a line of `ip` is, each as one for a shell. */
export function quotedWords(line: string): string {
  return line.split(' ').map(quoted).join(' ');
}

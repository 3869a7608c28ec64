/** The word that somebody who mistyped one meant. */

/**
 * The nearest of `words`, by letters put in, left out, replaced or swapped with their neighbour:
 * one in a short word, and one for every three letters in a longer one. Undefined where none is near.
 */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const most = Math.max(1, Math.floor(word.length / 3));
  const typed = word.toLowerCase();
  let best: string | undefined;
  let least = most + 1;
  for (const candidate of words) {
    // A word that is all replaced is another word.
    if (Math.abs(candidate.length - word.length) > most || candidate.length === 1) continue;
    const steps = distance(typed, candidate.toLowerCase());
    if (steps < least) [best, least] = [candidate, steps];
  }
  return best;
}

/** Damerau and Levenshtein's, each letter moved once at most. */
export function distance(from: string, to: string): number {
  const [width, height] = [to.length + 1, from.length + 1];
  const steps = Array.from({ length: height }, (_, i) =>
    Array.from({ length: width }, (_, j) => (i === 0 ? j : i)),
  );
  for (let i = 1; i < height; i++) {
    for (let j = 1; j < width; j++) {
      const same = from[i - 1] === to[j - 1];
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      steps[i]![j] = Math.min(
        steps[i - 1]![j]! + 1,
        steps[i]![j - 1]! + 1,
        steps[i - 1]![j - 1]! + (same ? 0 : 1),
        swapped ? steps[i - 2]![j - 2]! + 1 : Number.POSITIVE_INFINITY,
      );
    }
  }
  return steps[height - 1]![width - 1]!;
}

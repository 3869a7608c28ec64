/**
 * Whether a path takes small packets and no large ones, decided from the last pairs of echoes: a
 * small one and one as large as the tunnel takes, which leave together.
 *
 *   1. The large ones count that were lost while the small one beside them was answered, since one
 *      came through. What an outage or a burst takes, it takes of both, and it does not count.
 *   2. They may be lost by chance. How likely that is follows from all other echoes, by Laplace's
 *      rule of succession; so a path that loses many must lose more of them in a row.
 *   3. Where it is too unlikely to be chance, it is not.
 */

/** How two echoes went that left together. */
export interface Pair {
  /** Whether it was answered. */
  readonly small: boolean;
  /** Whether it was, or somebody said that it does not fit: then senders are told too. Undefined: none was sent. */
  readonly full?: boolean | undefined;
}

/** Pairs that are remembered: most of a minute of a peer that is well. */
export const PAIRS = 20;
/** So many answers are believed of a path of which nothing is known yet. */
const BELIEVED = 9;
/** Less likely than this is no chance: five losses in a row where all else was answered. */
const CHANCE = 1e-6;

/** Large echoes that were lost beside small ones with an answer, since one came through. */
export function fullLosses(pairs: readonly Pair[]): number {
  let losses = 0;
  for (let i = pairs.length - 1; i >= 0 && pairs[i]!.full !== true; i -= 1) {
    if (pairs[i]!.small && pairs[i]!.full === false) losses += 1;
  }
  return losses;
}

/** Whether no chance explains these. */
export function isSmallPath(pairs: readonly Pair[]): boolean {
  const losses = fullLosses(pairs);
  if (losses === 0) return false;
  const echoes = pairs.flatMap(({ small, full }) => (full === undefined ? [small] : [small, full]));
  const others = echoes.length - losses;
  const lost = echoes.filter((answered) => !answered).length - losses;
  let chance = 1;
  for (let i = 0; i < losses; i += 1) chance *= (lost + 1 + i) / (others + 1 + BELIEVED + i);
  return chance < CHANCE;
}

/** What nft's rules do with a packet, from the words that `nft -j` prints. */
import type { Action } from './model.js';

/** `{"drop": null}` and the like; undefined if it is no verdict. */
export function actionOf(statement: unknown): Action | undefined {
  const [entry] = Object.entries((statement ?? {}) as Record<string, unknown>);
  const [word, value] = entry ?? [];
  switch (word) {
    case 'accept':
    case 'drop':
    case 'return':
      return { kind: word };
    case 'reject':
      return { kind: 'drop' };
    case 'continue':
      return { kind: 'next' };
    case 'jump':
    case 'goto': {
      const target = (value as { target?: unknown } | null)?.target;
      return typeof target === 'string' ? { kind: word, chain: target } : { kind: 'unknown' };
    }
    default:
      return undefined;
  }
}

/** Listings of `ip` by a child that ends with them: for who asks now and then, and has no `Ip`. */
import { HostError } from './errors.js';
import { parseArray, readFailures } from './ip.js';
import type { Runner } from './runner.js';

const ARGV = ['ip', '-j', '-force', '-batch', '-'];

/** Listings by line; as `askIp`. */
export type Ask = (
  lines: readonly string[],
) => Promise<ReadonlyMap<string, readonly unknown[] | string>>;

/** Asks for each line once, however many want to know it: for looks that belong together. */
export function askingOnce(runner: Runner): Ask {
  const known = new Map<string, readonly unknown[] | string>();
  return async (lines) => {
    const news = lines.filter((line) => !known.has(line));
    for (const [line, answer] of await askIp(runner, news)) known.set(line, answer);
    return new Map(lines.map((line) => [line, known.get(line) ?? []]));
  };
}

/**
 * What each line (`addr show dev ens33`, each one once) is answered, or `ip`'s words for why it was
 * refused. Rejects with a HostError when `ip` cannot be started or does not answer all of them.
 */
export async function askIp(
  runner: Runner,
  lines: readonly string[],
): Promise<ReadonlyMap<string, readonly unknown[] | string>> {
  const answers = new Map<string, readonly unknown[] | string>();
  if (lines.length === 0) return answers;
  const { stdout, stderr, signal } = await runner.run(ARGV, { input: `${lines.join('\n')}\n` });
  for (const { line, reason } of readFailures(stderr, lines, 1)) answers.set(line, reason);
  const arrays = stdout.split('\n').filter((text) => text !== '');
  for (const line of lines) {
    if (answers.has(line)) continue;
    const rows = parseArray(arrays.shift() ?? '');
    if (rows === null) {
      const why = signal === null ? stderr.trim() : `ended by ${signal}`;
      throw new HostError('EIP', `ip ${line}: no answer${why === '' ? '' : ` (${why})`}`);
    }
    answers.set(line, rows);
  }
  return answers;
}

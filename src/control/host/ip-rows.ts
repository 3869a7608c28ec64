/** What a listing of `ip -j` that ran to its end answered. */
import { HostError } from './errors.js';
import { parseArray } from './ip.js';
import type { Ran } from './runner.js';

/**
 * Its rows. iproute2 prints `[]` or `[ ]` where there is nothing, in every version that knows -j: an
 * `ip` that prints nothing at all, though it says that all went well, has not looked, and a host
 * without addresses, bridges or devices is something else. Throws a HostError for that, for words
 * that are no JSON, and for what `ip` refused.
 */
export function rowsOf(argv: readonly string[], { code, stdout, stderr }: Ran): unknown[] {
  const words = argv.filter((word) => word !== '-j').join(' ');
  if (code !== 0) throw new HostError('EIP', `${words}: ${stderr.trim() || `exit ${code}`}`);
  const rows = parseArray(stdout);
  if (rows !== null) return rows;
  const what = stdout.trim() === '' ? 'printed nothing' : 'did not answer in JSON';
  throw new HostError('EIP', `${words} ${what}; is it iproute2's ip?`);
}

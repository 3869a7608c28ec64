/** Tests that a test runs in a process of its own, for which the outer run knows one test only. */
import type { TestContext } from 'node:test';

/** A skipped test as the reporters `tap` and `spec` print it. */
const SKIPPED = /^\s*(?:ok \d+ - (.+?) # SKIP ?(.*)|﹣ (.+?) \([\d.]+ms\)(?: # (.*))?)$/gm;

/** Tests of an inner run that were skipped, each with why. */
export function skippedIn(output: string): [name: string, why: string][] {
  return [...output.matchAll(SKIPPED)].map(([, tapName, tapWhy, name, why]) => [
    tapName ?? name ?? '',
    tapWhy ?? why ?? '',
  ]);
}

/** Has the outer run count what was skipped inside, as skipped. */
export async function tellSkipped(t: TestContext, output: string): Promise<void> {
  for (const [name, why] of skippedIn(output)) await t.test(name, { skip: why || true }, () => {});
}

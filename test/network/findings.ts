/** Making a fault on a host on which weft runs, and seeing what weft finds: this, and nothing else. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Host, WEFT } from '../../src/lab/host.js';
import type { Finding } from '../../src/operate/findings/finding.js';
import { statusOf } from './spoil.js';

/** For a fault to be found and for its end weft promises 10 s; a machine that does much else takes longer. */
export const FOUND_WITHIN = 30_000;

/** Waits until weft finds just these, by their codes in order; notes do not count. */
export async function finds(
  host: Host,
  codes: readonly string[],
  within = FOUND_WITHIN,
): Promise<readonly Finding[]> {
  const deadline = performance.now() + within;
  for (;;) {
    const { findings } = await statusOf(host);
    const found = findings.filter(({ severity }) => severity !== 'note');
    if (found.map(({ code }) => code).join() === codes.join()) return found;
    assert.ok(performance.now() < deadline, `wanted ${codes.join()}: ${JSON.stringify(found)}`);
    await sleep(200);
  }
}

/** The only finding there comes to be. */
export async function findsOne(host: Host, code: string, within = FOUND_WITHIN): Promise<Finding> {
  const [found] = await finds(host, [code], within);
  return found!;
}

/** Finds nothing during so many milliseconds; notes do not count. */
export async function findsNothing(host: Host, ms: number): Promise<void> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const { findings } = await statusOf(host);
    assert.deepEqual(
      findings.filter(({ severity }) => severity !== 'note'),
      [],
    );
    await sleep(500);
  }
}

/** Types what a finding says. */
export async function cure(host: Host, { cure: command }: Finding): Promise<void> {
  await host.run(['sh', '-c', command]);
}

/** The exit code of `weft status`, and what its first line says. */
export async function verdictOf(host: Host): Promise<{ code: number; line: string }> {
  const { code, stdout } = await host.run([process.execPath, WEFT, 'status'], { mayFail: true });
  return { code, line: stdout.split('\n')[0]! };
}

/** What `/readyz` answers on `port`: the number of the status. */
export async function readyz(host: Host, port: number): Promise<number> {
  const { stdout } = await host.run([
    process.execPath,
    '-e',
    `fetch('http://127.0.0.1:${port}/readyz').then((r) => console.log(r.status))`,
  ]);
  return Number(stdout);
}

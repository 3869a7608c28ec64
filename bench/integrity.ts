/**
 * A figure counts only when what was carried was right. Asked of every pair: bytes arrive as they
 * were sent (SHA-256 at both ends), no receiver saw a bad checksum, and each weft accounts for
 * every packet and dropped none.
 */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { TRANSFER, type Transferred } from '../src/lab/transfer.js';
import type { Status } from '../src/operate/status/status.js';
import { kernelCount } from './kernel-counts.js';
import { isWeft, type Pair, weftStatus } from './rig.js';

const PORT = '40000';

/** Sends so many random bytes through a pair; what is wrong with what arrived, or nothing. */
export async function checkTransfer(
  { networks: [from, to] }: Pair,
  bytes: number,
): Promise<string | undefined> {
  const receiver = to.start([process.execPath, TRANSFER, 'receive', PORT]);
  await receiver.waitFor(/listening/, 5_000);
  const argv = [process.execPath, TRANSFER, 'send', to.address, PORT, String(bytes)];
  const { stdout } = await from.run(argv, { timeout: 60_000 });
  const [line] = await receiver.waitFor(/\{.*\}/, 20_000);
  await receiver.stop();
  const sent = JSON.parse(stdout) as Transferred;
  const arrived = JSON.parse(line) as Transferred;
  if (sent.bytes === arrived.bytes && sent.sha256 === arrived.sha256) return undefined;
  return `of ${sent.bytes} bytes sent ${arrived.bytes} arrived, SHA-256 ${sent.sha256} and ${arrived.sha256}`;
}

/** Bad checksums that TCP and UDP have seen in the four namespaces of a pair. */
function checksumErrors({ hosts, ends }: Pair): number {
  let total = 0;
  for (const { holder } of [...hosts, ...ends]) {
    for (const group of ['Tcp', 'Udp']) total += kernelCount(holder, group, 'InCsumErrors');
  }
  return total;
}

/** What a weft at rest cannot account for; nothing when in + generated = out + dropped, both ways. */
export function imbalance({ counters, drops }: Status): string[] {
  const dropped = { outbound: 0, inbound: 0 };
  for (const [reason, packets] of Object.entries(drops)) {
    dropped[/^(outbound|send)_/.test(reason) ? 'outbound' : 'inbound'] += packets;
  }
  // Another build of weft may have no such counter.
  const generated = { outbound: 0, inbound: counters.generated_packets ?? 0 };
  return (['outbound', 'inbound'] as const).flatMap((way) => {
    const into = counters[`${way}_in_packets`] + generated[way];
    const out = counters[`${way}_out_packets`];
    if (into === out + dropped[way]) return [];
    return [`${way}: ${into} in, ${out} out, ${dropped[way]} dropped`];
  });
}

/** What the wefts of a pair cannot account for, and what they dropped. */
async function checkWefts({ system, hosts }: Pair): Promise<string[]> {
  const wrong: string[] = [];
  for (const [end, vtep] of system.vteps.entries()) {
    if (!isWeft(vtep)) continue;
    const host = hosts[end]!;
    let status = await weftStatus(host);
    // The last packets of a case may still be on their way.
    for (let tries = 0; tries < 5 && imbalance(status).length > 0; tries += 1) {
      await sleep(200);
      status = await weftStatus(host);
    }
    for (const line of imbalance(status)) wrong.push(`end ${end + 1}: ${line}`);
    if (Object.keys(status.drops).length > 0) {
      wrong.push(`end ${end + 1}: dropped ${JSON.stringify(status.drops)}`);
    }
  }
  return wrong;
}

/** All of the above but the transfer, since a pair was opened; one line a violation. */
export async function checkCounters(pair: Pair): Promise<string[]> {
  const wrong = await checkWefts(pair);
  const errors = checksumErrors(pair);
  if (errors > 0) wrong.push(`${errors} bad checksums seen by TCP or UDP`);
  return wrong;
}

/**
 * What the host's own queues lost since weft began: the counters of this network namespace beside
 * the lanes' own, since a full queue below a socket is no error to who sends, and what never
 * reaches a socket or the TUN's queue no lane can count.
 */
import fs from 'node:fs';
import type { HostCounters } from '../../operate/status/host.js';

/** Where each is told: protocol and name in /proc/net/snmp. */
const SNMP: readonly (readonly [Exclude<keyof HostCounters, 'tunTxDrops'>, string, string])[] = [
  ['udpSndbufErrors', 'Udp', 'SndbufErrors'],
  ['udpMemErrors', 'Udp', 'MemErrors'],
  ['udpRcvbufErrors', 'Udp', 'RcvbufErrors'],
  ['udpInCsumErrors', 'Udp', 'InCsumErrors'],
  ['ipReasmFails', 'Ip', 'ReasmFails'],
  ['ipOutDiscards', 'Ip', 'OutDiscards'],
  ['ipFragFails', 'Ip', 'FragFails'],
];
/** Of the 16 numbers of a device in /proc/net/dev: TX drops. */
const TX_DROPPED = 11;

export class HostQueues {
  readonly #proc: string;
  readonly #read: (file: string) => string;
  readonly #begin: ReadonlyMap<string, number>;
  /** Of the device as it is now, and of those of its name before it. */
  #tunDrops = 0;
  #before = 0;

  /** Counts from now on. `read` gives a file's text; one that throws is as good as empty. */
  constructor(proc = '/proc', read = (file: string) => fs.readFileSync(file, 'utf8')) {
    this.#proc = proc;
    this.#read = read;
    this.#begin = parseSnmp(this.#text('net/snmp'));
  }

  /**
   * Looks at the TUN's own counter, which begins anew with each device of that name. To be called
   * each second: what a device lost since the last look goes with it.
   */
  lookAtTun(device: string): void {
    const now = parseTxDrops(this.#text('net/dev'), device);
    if (now === undefined) return;
    if (now < this.#tunDrops) this.#before += this.#tunDrops;
    this.#tunDrops = now;
  }

  /** Since the beginning; 0 also for what this kernel does not count. */
  counters(device: string): HostCounters {
    this.lookAtTun(device);
    const now = parseSnmp(this.#text('net/snmp'));
    const since = SNMP.map(([field, protocol, name]): [string, number] => {
      const key = `${protocol}.${name}`;
      return [field, Math.max(0, (now.get(key) ?? 0) - (this.#begin.get(key) ?? 0))];
    });
    return {
      ...(Object.fromEntries(since) as Omit<HostCounters, 'tunTxDrops'>),
      tunTxDrops: this.#before + this.#tunDrops,
    };
  }

  /** Not readable in some sandboxes: then nothing is known. */
  #text(file: string): string {
    try {
      return this.#read(`${this.#proc}/${file}`);
    } catch {
      return '';
    }
  }
}

/** A protocol's names stand in one line, their values in the next one of that protocol. */
function parseSnmp(text: string): ReadonlyMap<string, number> {
  const names = new Map<string, readonly string[]>();
  const found = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [protocol = '', ...cells] = line.trim().split(/:? +/);
    const columns = names.get(protocol);
    if (columns === undefined) names.set(protocol, cells);
    else
      for (const [i, name] of columns.entries()) found.set(`${protocol}.${name}`, Number(cells[i]));
  }
  return found;
}

/** Undefined while there is no such device. */
function parseTxDrops(text: string, device: string): number | undefined {
  for (const line of text.split('\n')) {
    // No blank need stand behind the colon.
    const at = line.indexOf(':');
    if (line.slice(0, at).trim() !== device) continue;
    return Number(
      line
        .slice(at + 1)
        .trim()
        .split(/ +/)[TX_DROPPED] ?? 0,
    );
  }
  return undefined;
}

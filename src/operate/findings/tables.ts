/** Tables of the kernel that drop packets once they are full: of connections, and of neighbours. */
import fs from 'node:fs';
import { readSysctl } from '../../control/host/sysctls.js';
import type { HostCheck, Subject } from './check.js';
import type { Finding } from './finding.js';

const CONNECTIONS = 'net/netfilter/nf_conntrack_max';
/** Above this share of its size a table will be full soon. */
const NEARLY = 0.95;

export class Tables implements HostCheck {
  readonly name = "the kernel's tables";
  /** How often the table of neighbours was full, as of the last look. */
  #overflows: number | undefined;

  async look({ proc }: Subject): Promise<readonly Finding[]> {
    const before = this.#overflows;
    this.#overflows = readOverflows(proc);
    const isFull = before !== undefined && (this.#overflows ?? 0) > before;
    return [...judgeConnections(proc), ...(isFull ? [neighboursFull(proc)] : [])];
  }
}

function judgeConnections(proc: string): Finding[] {
  const read = (key: string) => Number(readSysctl(key, proc) ?? Number.NaN);
  const [now, most] = [read('net/netfilter/nf_conntrack_count'), read(CONNECTIONS)];
  if (!(most > 0) || !(now >= most * NEARLY)) return [];
  const isFull = now >= most;
  return [
    {
      code: 'conntrack-full',
      severity: isFull ? 'error' : 'warning',
      scope: 'host',
      about: 'nf_conntrack',
      text:
        `the table of connections ${isFull ? 'is full' : 'is nearly full'} (${now} of ${most}): ` +
        `packets of new connections ${isFull ? 'are' : 'will be'} dropped`,
      cure: `sysctl -w net.netfilter.nf_conntrack_max=${2 * most}`,
    },
  ];
}

function neighboursFull(proc: string): Finding {
  const most = Number(readSysctl('net/ipv4/neigh/default/gc_thresh3', proc) ?? 0);
  const sizes = [1, 2, 4].map((n, i) => `net.ipv4.neigh.default.gc_thresh${i + 1}=${n * most}`);
  return {
    code: 'neighbour-table-full',
    severity: 'error',
    scope: 'host',
    about: 'arp_cache',
    text:
      `the table of neighbours is full (${most} entries): packets to hosts and containers that are ` +
      'not in it are dropped',
    cure: most > 0 ? `sysctl -w ${sizes.join(' ')}` : '',
  };
}

/** Undefined where it is not told, as in other network namespaces than the first. */
function readOverflows(proc: string): number | undefined {
  let text: string;
  try {
    text = fs.readFileSync(`${proc}/net/stat/arp_cache`, 'utf8');
  } catch {
    return undefined;
  }
  // entries allocs … table_fulls, and below them hexadecimal numbers, a line a processor.
  const [names = '', ...rows] = text.trim().split('\n');
  const at = names.trim().split(/\s+/).indexOf('table_fulls');
  if (at < 0) return undefined;
  return rows.reduce(
    (sum, row) => sum + Number.parseInt(row.trim().split(/\s+/)[at] ?? '0', 16),
    0,
  );
}
